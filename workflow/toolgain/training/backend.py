"""What the stages ask of a trainer, and what a trainer tells them.

A trainer is a module with the functions of `Trainer`. `BACKENDS` maps the values of
`training.backend` to these modules, and nothing else in the code does.
"""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from toolgain.config.sections import ClusterSection, TrainingSection
from toolgain.records.model import Model
from toolgain.records.training import Handover, Sign
from toolgain.training.store.lease import Lease


@dataclass(frozen=True)
class TrainingJob:
    """One training, as a backend sees it."""

    name: str
    """Name of the run."""
    section: TrainingSection
    weights: Model
    """The base model."""
    tasks: Path
    """tasks.json, which describes the two task files beside it."""
    train: Path
    validation: Path
    """Task files, one JSON object a line."""
    folder: Path
    """The checkpoint folder."""
    steps: int
    """Steps planned."""
    val_period: int
    save_period: int
    nodes: int
    cluster: ClusterSection
    smoke: bool
    stop_at: float | None
    """When to have saved and ended, in seconds since the epoch; None without a time limit."""
    environment: Path
    """The trainer's Python environment."""
    gym_environment: Path
    """The Python environment of NeMo Gym, which need not be there."""
    progress: tuple[Path, ...]
    """Where its progress is written."""
    lease: Lease

    @property
    def logs(self) -> Path:
        """Folder of the launch folders exp_001, exp_002, ..."""
        return self.folder / "logs"


@dataclass(frozen=True)
class LaunchOutcome:
    """How a launch ended."""

    step: int
    """The last step that was done and saved."""
    planned_steps: int
    """Steps of the whole training, as it turned out: fewer where a trainer stops early by rule."""
    stopped: str | None
    """Why it ended before its last step with everything saved, or None."""
    message: str | None = None
    """The line that tells the person so, where the reason alone does not."""
    world_size: int = 1
    hosts: tuple[str, ...] = ()
    gpus: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    health: tuple[Sign, ...] = ()
    """Further signs of health that the backend watched."""
    wandb_url: str | None = None
    handover: Handover | None = None
    """What was handed to an upstream launcher, for the manifest."""
    lost_s: float = 0.0
    """Seconds of training after the last save, which the next launch does again."""


class Trainer(Protocol):
    """The functions of a trainer's module."""

    NEEDS_TRL_ENVIRONMENT: bool
    """Whether it trains in the environment of `environments.trl`."""
    NEEDS_CLUSTER: bool
    """Whether it trains on a Slurm cluster alone: from a checkout, in a container, on prepared
    data, all of which `toolgain doctor` looks at."""

    def make_tasks(
        self, section: TrainingSection, cluster: ClusterSection, out: Path, bfcl_data: Path | None
    ) -> None:
        """The tasks stage: train.jsonl, validation.jsonl and tasks.json in the folder `out`."""

    def planned_steps(self, section: TrainingSection, train: Path) -> int:
        """Steps of the training that the section asks for on the tasks in `train`."""

    def check(self, job: TrainingJob) -> None:
        """Raise UserError where the training could not succeed, such as for lack of disk space."""

    def start(self, job: TrainingJob, launch: Path) -> LaunchOutcome:
        """Train in `job.folder` from its latest usable checkpoint on.

        Leaves NeMo RL's checkpoint layout, and TensorBoard files below `job.logs`.

        Args:
            job: The training.
            launch: Folder of this launch, not there yet.

        Raises:
            StageError: the training failed.
        """


BACKENDS = {
    "trl": "toolgain.training.trl.backend",
    "nemo_rl": "toolgain.training.nemo_rl.backend",
}


def trainer(section: TrainingSection) -> Trainer:
    """The trainer of a section; its libraries are imported where it trains alone."""
    return cast(Trainer, importlib.import_module(BACKENDS[section.backend]))
