"""manifest.json and smoke.json of a run: what a training run came to."""

import shlex
from collections.abc import Iterator
from typing import Literal

from pydantic import Field
from typing_extensions import TypedDict

from toolgain.records.record import Count, Part, Record
from toolgain.records.tasks import Tasks

Curve = list[tuple[int, float]]
"""(step, value) by rising step."""


class Sign(TypedDict):
    """One sign of a healthy training: passed or not, and what that rests on."""

    name: str
    title: str
    passed: bool | None
    """None: what was measured cannot tell."""
    evidence: str


class Cost(Part):
    """What the Slurm jobs of a stage used."""

    nodes: Count = Field(description="Most nodes of one job.")
    gpus: Count = Field(description="Most GPUs of one job.")
    gpu_hours: float = Field(description="GPU-hours of all jobs.")
    node_hours: float | None = Field(
        None, description="Node-hours of all jobs; null: no accounting answered."
    )
    jobs: list[str] = Field([], description="Slurm job ids that were counted.")
    source: Literal["sacct"] | None = Field(
        None, description="`sacct`: Slurm's accounting; null: the stage's own clock."
    )


class Smoke(Record):
    """The smoke training that gates the long one."""

    run: str = Field(description="Name of the run.")
    fingerprint: str = Field(description="Digest of all that decides the training's outcome.")
    left_out: bool = Field(description="Whether training.smoke_steps is 0; the rest is null then.")
    passed: bool | None = Field(None, description="Always true where a smoke training took place.")
    steps: Count | None = Field(None, description="Steps done.")
    config_digest: str | None = Field(None, description="Digest of the training section.")
    finished: str | None = Field(None, description="End, ISO 8601 in UTC.")
    seconds_per_step: float | None = Field(
        None, description="Mean seconds of a step; null: the trainer wrote no step times."
    )
    reward: Curve = Field([], description="(step, mean reward).")
    accuracy: Curve = Field([], description="(step, validation accuracy from 0 to 1).")
    folder: str | None = Field(None, description="Its checkpoint folder.")
    slurm_jobs: list[str] = Field([], description="Every Slurm job that worked on it.")
    cost: Cost | None = Field(None, description="What they used; null: no accounting answered.")


class BaseWeights(Part):
    """The weights that the training began with."""

    path: str = Field(description="Folder.")
    digest: str = Field(description="Digest of the folder's files.")
    name: str | None = Field(None, description="Name shown in the report.")


class Segment(Part):
    """One launch of the training run; a run that was killed has several."""

    started: str = Field(description="ISO 8601 in UTC.")
    finished: str | None = Field(
        None,
        description="The same; of a killed launch, when it last wrote a file; null: it wrote none.",
    )
    host: str | None = Field(None, description="Host that it was launched on.")
    slurm_job_id: str | None = Field(None, description="null: outside of Slurm.")
    first_step: int | None = Field(None, description="null: no step was done.")
    last_step: int | None = Field(None, description="null: no step was done.")
    end: str = Field(description="`finished`, `failed`, `killed`, or why it was stopped in time.")
    world_size: int | None = Field(None, description="Processes; null: they never all started.")
    lost_s: float | None = Field(
        None, description="Seconds after the last save, done again; null: nothing followed."
    )


class Periods(Part):
    """Steps between validations and saves."""

    val_period: Count = Field(description="Steps between validations.")
    save_period: Count = Field(description="Steps between checkpoints.")
    keep_top_k: Count = Field(description="Best checkpoints kept, besides the latest.")


class StageTimes(Part):
    """Where the time of a training run went."""

    checkpoints: float = Field(description="Seconds of writing checkpoints.")
    steps: float = Field(description="Seconds of training steps.")


class Times(Part):
    """When a training run took place."""

    started: str | None = Field(description="ISO 8601 in UTC; null: no launch was recorded.")
    finished: str = Field(description="ISO 8601 in UTC.")
    wall_s: float = Field(description="Seconds of all launches.")
    lost_s: float = Field(description="Seconds that were done again after a kill.")
    stages: StageTimes = Field(description="Parts of it.")


class SlurmJob(Part):
    """The Slurm job that wrote the manifest."""

    job_id: str = Field(description="Id.")
    nodes: list[str] = Field(description="Names of its nodes.")
    account: str | None = Field(None, description="Slurm account.")
    partition: str | None = Field(None, description="Slurm partition.")
    gpus: int | None = Field(None, description="GPUs of the job.")
    restarts: int | None = Field(None, description="Times that Slurm requeued it.")
    log: str | None = Field(None, description="Its log file.")


class Handover(Part):
    """What one training job hands to NeMo RL's ray.sub."""

    nodes: Count = Field(description="Nodes of the training.")
    gpus_per_node: int = Field(description="GPUs of each.")
    program: list[str] = Field(description="Command line that is started.")
    command: str = Field(description="COMMAND: the shell text of the driver; holds no secret.")
    environment: dict[str, str] = Field(
        description="Variables that toolgain sets, without COMMAND, MOUNTS and secrets."
    )
    inherited: list[str] = Field(
        description="Names of the variables that are inherited from the shell unchanged."
    )
    mounts: list[str] = Field(description="MOUNTS: `source:target` in the container.")
    overrides: list[str] = Field(description="Overrides of the upstream YAML, in Hydra's grammar.")
    time_budget: str = Field(
        description="How `checkpoint_must_save_by` follows from the time limit."
    )

    def lines(self) -> Iterator[str]:
        """All of it as text, for a reader and his shell."""
        yield f"nodes: {self.nodes} x {self.gpus_per_node} GPUs"
        yield f"time budget: {self.time_budget}"
        yield f"program: {shlex.join(self.program)}"
        yield "environment:"
        yield from (f"  {name}={shlex.quote(value)}" for name, value in self.environment.items())
        yield "taken over as they are here: " + " ".join(self.inherited)
        yield "mounts:"
        yield from (f"  {mount}" for mount in self.mounts)
        yield f"overrides ({len(self.overrides)}):"
        yield from (f"  {override}" for override in self.overrides)
        yield "COMMAND:"
        yield from (f"  {line}" for line in self.command.splitlines())


class Saved(Part):
    """One checkpoint that was written."""

    step: Count = Field(description="Step.")
    accuracy: float | None = Field(
        description="Validation accuracy from 0 to 1; null: this step was not validated."
    )
    kept: bool = Field(description="Whether it is still there.")


class Trained(Record):
    """What the choice of a checkpoint needs to know of a training run."""

    checkpoint_dir: str = Field(description="Folder of the checkpoints.")
    curves: dict[str, Curve] = Field(
        {},
        description="Curves by TensorBoard name, each (step, value); `train/reward`, and "
        "`validation/accuracy` from 0 to 1 with the base model at step 0.",
    )
    validation_items: Count | None = Field(
        None,
        description="Validation tasks; null: unknown, or the accuracy is a mean of rewards beyond "
        "0 and 1, no share of tasks.",
    )
    checkpoints: list[Saved] = Field([], description="Every checkpoint that was written.")


class Manifest(Trained):
    """A finished training run."""

    run: str = Field(description="Name of the run.")
    fingerprint: str = Field(description="Digest of all that decides the training's outcome.")
    backend: Literal["trl", "nemo_rl"] = Field(description="The trainer.")
    seed: int = Field(description="Seed of the training.")
    config_digest: str = Field(description="Digest of the training section.")
    weights: BaseWeights = Field(description="The base model.")
    planned_steps: Count = Field(description="Steps planned.")
    total_steps: Count = Field(description="Step of the last whole checkpoint.")
    segments: list[Segment] = Field(description="Launches, first to last.")
    hosts: list[str] = Field(description="Every host that took part.")
    world_size: Count | None = Field(description="Processes of the last launch.")
    health: list[Sign] = Field(
        description="Signs of a healthy training: `name`, `title`, `passed` (null: what was "
        "measured cannot tell), and the `evidence` in words."
    )
    periods: Periods = Field(description="Steps between validations and saves.")
    tasks: Tasks = Field(description="The content of tasks.json.")
    versions: dict[str, str] = Field(description="Versions of the trainer's software.")
    times: Times = Field(description="When it took place.")
    cost: Cost = Field(description="What it used.")
    slurm: SlurmJob | None = Field(description="The last Slurm job; null: outside of Slurm.")
    slurm_jobs: list[str] = Field(description="Every Slurm job that worked on it.")
    wandb_url: str | None = Field(None, description="Run at Weights & Biases; null: none.")
    handover: Handover | None = Field(
        None, description="What the last job handed to ray.sub; null: trained without NeMo RL."
    )
    commit: str | None = Field(None, description="Commit of toolgain; null: no git checkout.")
