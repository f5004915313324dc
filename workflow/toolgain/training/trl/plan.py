"""The plan of one launch: what the train stage tells the program, and what it hears at the end.

plan.json, processes.json and ended.json lie in the launch's log folder.
"""

from typing import Literal

from pydantic import Field, field_serializer

from toolgain.config.sections import TrainingSection
from toolgain.records.record import Count, Part


class LaunchPlan(Part):
    """plan.json: one launch of `toolgain.training.trl.grpo`."""

    section: TrainingSection
    steps: Count
    """Steps of the whole training."""
    val_period: Count
    save_period: Count
    weights: str
    """Folder of the base model."""
    train: str
    validation: str
    """Task files."""
    validation_limit: Count | None
    """Validation tasks that are asked; None: all."""
    checkpoint_dir: str
    log_dir: str
    """Folder of this launch."""
    log: str
    """The program's log."""
    progress: list[str]
    """Where its progress is written."""
    stage: Literal["smoke", "train"]
    name: str
    """Name of the run."""
    lease: str
    """The lease file, which must hold `token` as long as the program may write."""
    token: str
    stop_at: float | None
    """When to have saved and ended, in seconds since the epoch; None: no time limit."""
    stop_file: str
    """A file that asks the program to save and end."""
    resume: str | None
    """The checkpoint to resume from."""
    gym_environment: str | None = None
    """The Python environment of NeMo Gym, where the training plays its rows; None: task files."""

    @field_serializer("section")
    def _of_this_backend(self, section: TrainingSection) -> dict[str, object]:
        return section.frozen()


class Processes(Part):
    """processes.json: who takes part, once all ranks are there."""

    world_size: Count
    hosts: list[str]
    """The host of each rank."""
    gpus: Count = 0
    threads: Count | None = None
    versions: dict[str, str] = Field({})


class LaunchEnd(Part):
    """ended.json: how the program ended, written last."""

    step: Count
    stopped: str | None
    """Why it stopped before the last step, or None."""
