"""What the train stage asks of a trainer, and what a trainer tells it.

A backend is a function `start(job, launch) -> Outcome` that trains in `job.folder` from its latest
usable checkpoint on, leaves NeMo RL's checkpoint layout and TensorBoard files below `job.logs`, and
returns or raises StageError. `BACKENDS` names them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolgain.training.store.lease import Lease


@dataclass(frozen=True)
class Job:
    """One training, as a backend sees it."""

    name: str
    """Name of the run."""
    section: dict[str, Any]
    """The training section."""
    weights: dict[str, Any]
    """Path and digest of the base model."""
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
    cluster: dict[str, Any]
    """The cluster section: where things are on this machine. Empty without a cluster."""
    smoke: bool
    stop_at: float | None
    """When to have saved and ended, in seconds since the epoch; None without a time limit."""
    environment: Path
    """The trainer's Python environment."""
    progress: tuple[Path, ...]
    """Where its progress is written."""
    lease: Lease

    @property
    def logs(self) -> Path:
        """Folder of the launch folders exp_001, exp_002, ..."""
        return self.folder / "logs"


@dataclass(frozen=True)
class Outcome:
    """How a launch ended."""

    step: int
    """The last step that was done and saved."""
    planned_steps: int
    """Steps of the whole training, as it turned out: fewer where a trainer stops early by rule."""
    stopped: str | None
    """Why it ended before its last step with everything saved, or None."""
    world_size: int = 1
    hosts: tuple[str, ...] = ()
    gpus: int = 0
    versions: dict[str, Any] = field(default_factory=dict)
    health: tuple[dict[str, Any], ...] = ()
    """Further signs of health that the backend watched: name, title, passed, evidence."""
    wandb_url: str | None = None
    lost_s: float = 0.0
    """Seconds of training after the last save, which the next launch does again."""


Backend = Callable[[Job, Path], Outcome]

BACKENDS = {
    "trl": "toolgain.training.trl.backend",
    "nemo_rl": "toolgain.training.nemo_rl.backend",
}
"""The module of each trainer; its function `start` is the backend."""
