"""The NeMo RL backend: one segment of a training run in the present Slurm job."""

from pathlib import Path

import click

from toolgain.common.progress import Progress
from toolgain.config.sections import ClusterSection, TrainingSection
from toolgain.training.backend import LaunchOutcome, TrainingJob
from toolgain.training.store import saves

NEEDS_TRL_ENVIRONMENT = False
NEEDS_CLUSTER = True


def make_tasks(
    section: TrainingSection, cluster: ClusterSection, out: Path, bfcl_data: Path | None
) -> None:
    """Copy the data that NeMo Gym prepared into `out`, checked and described."""
    from toolgain.training.nemo_rl import gym

    gym.copy_tasks(section, cluster, out, bfcl_data)


def planned_steps(section: TrainingSection, train: Path) -> int:
    """Steps that follow from the epochs and the rows of `train`, or fewer by max_num_steps."""
    from toolgain.training.nemo_rl import plan

    return plan.steps_of_rows(section.nemo_rl, saves.validation_items(train))


def check(job: TrainingJob) -> None:
    """Nothing: it is checked with everything else that NeMo RL needs, before the launch."""


def start(job: TrainingJob, _: Path) -> LaunchOutcome:
    """Train up to the steps planned; NeMo RL resumes from the newest checkpoint by itself."""
    from toolgain.training.nemo_rl import launch

    progress = Progress(
        list(job.progress),
        stage="smoke" if job.smoke else "train",
        name=job.name,
        total=job.steps,
        log=str(job.folder),
    )

    def report(step: int, planned: int, reward: float | None, accuracy: float | None) -> None:
        progress.update(step=step, total=planned, reward=reward, accuracy=accuracy)
        shown = "" if reward is None else f" · reward {reward:.3f}"
        shown += "" if accuracy is None else f" · validation accuracy {accuracy:.3f}"
        click.echo(f"step {step} of {planned}{shown}")

    return launch.run_segment(
        job.section,
        weights=Path(job.weights.path),
        tasks=job.tasks,
        name=job.name,
        directory=job.folder,
        nodes=job.nodes,
        smoke=job.smoke,
        cluster=job.cluster,
        report=report,
    )
