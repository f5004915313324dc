"""`training` and `runs`: one GRPO training, and the runs that repeat or vary it."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from toolgain.config.sections.base import Section
from toolgain.config.sections.gym import GymSection
from toolgain.config.sections.nemo_rl import NemoRl
from toolgain.config.sections.tasks import TasksSection
from toolgain.config.sections.trl import Trl

WITHOUT_EFFECT = ("smoke_steps", "gym")
"""Keys of a training section that do not change what is trained; its backend's section has more."""


class TrainingSection(Section):
    """One GRPO training. Each run may override any of it."""

    backend: Literal["trl", "nemo_rl"] = Field(
        "nemo_rl", description="`trl` on one machine or a few hosts, `nemo_rl` on a GPU cluster."
    )
    seed: int = Field(1, description="Seed of the training.")
    smoke_steps: Annotated[int, Field(ge=0)] = Field(
        3, description="Steps of the smoke training that gates the long one; 0 leaves it out."
    )
    tasks: TasksSection = Field(TasksSection(), description="The training tasks.")
    trl: Trl = Field(Trl(), description="Read with backend `trl`.")
    nemo_rl: NemoRl = Field(NemoRl(), description="Read with backend `nemo_rl`.")
    gym: GymSection = Field(GymSection(), description="The rehearsal of NeMo Gym's environment.")

    @property
    def rehearses(self) -> bool:
        """Whether a rehearsal comes before the training."""
        return self.gym.rehearsal_rows > 0

    @model_validator(mode="after")
    def _both_task_files_or_none(self) -> "TrainingSection":
        tasks = self.tasks
        if self.backend == "trl" and (tasks.train_file is None) != (tasks.validation_file is None):
            given, missing = "train_file", "validation_file"
            if tasks.train_file is None:
                given, missing = missing, given
            raise ValueError(
                f"tasks.{given} is given without tasks.{missing}; give both, or none for the "
                "generated tasks"
            )
        return self

    @property
    def settings(self) -> Trl | NemoRl:
        """The section of the backend."""
        found: Trl | NemoRl = getattr(self, self.backend)
        return found

    def frozen(self) -> dict[str, object]:
        """What a training run may see: everything but the other backend's section."""
        return self.model_dump(exclude=TRAINERS - {self.backend})


TRAINERS: set[str] = set(get_args(TrainingSection.model_fields["backend"].annotation))
"""The values of `training.backend`; a trainer's own section has its name."""


class RunSection(Section):
    """One training run: a seed, a recipe, or both."""

    seed: int | None = Field(None, description="Seed of this run; default: training.seed.")
    training: dict[str, Any] = Field({}, description="Overrides of the training section.")


def deciding(training: TrainingSection) -> dict[str, object]:
    """What of a training section decides what comes of the training."""
    settings = training.settings
    decides = settings.model_dump(exclude=set(settings.WITHOUT_EFFECT))
    shared = training.model_dump(exclude={*WITHOUT_EFFECT, *TRAINERS})
    return {**shared, training.backend: decides}
