"""`training` and `runs`: one GRPO training, and the runs that repeat or vary it."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from toolgain.config.sections.base import Section
from toolgain.config.sections.gym import GymSection
from toolgain.config.sections.nemo_rl import NemoRl
from toolgain.config.sections.tasks import TasksSection
from toolgain.config.sections.trl import Trl

WITHOUT_EFFECT = ("smoke_steps", "gym", "environment")
"""Keys of a training section that do not change what is trained; its backend's section has more."""

GYM_DECIDES = ("config_paths", "overrides", "max_turns")
"""Keys of `training.gym` that change what is trained where the training plays in Gym."""


class TrainingSection(Section):
    """One GRPO training. Each run may override any of it."""

    backend: Literal["trl", "nemo_rl"] = Field(
        "nemo_rl", description="`trl` on one machine or a few hosts, `nemo_rl` on a GPU cluster."
    )
    seed: int = Field(1, description="Seed of the training.")
    environment: Literal["generated", "nemo_gym"] = Field(
        "generated",
        description="With backend `trl`: toolgain's own tasks and reward, or an environment of "
        "NeMo Gym (`gym`, `make setup-gym`). `nemo_rl` always trains with NeMo Gym.",
    )
    smoke_steps: Annotated[int, Field(ge=0)] = Field(
        3, description="Steps of the smoke training that gates the long one; 0 leaves it out."
    )
    tasks: TasksSection = Field(TasksSection(), description="The training tasks.")
    trl: Trl = Field(Trl(), description="Read with backend `trl`.")
    nemo_rl: NemoRl = Field(NemoRl(), description="Read with backend `nemo_rl`.")
    gym: GymSection = Field(GymSection(), description="The environment of NeMo Gym.")

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

    @model_validator(mode="after")
    def _gym_environment_is_named(self) -> "TrainingSection":
        if self.plays_gym and not self.gym.config_paths:
            raise ValueError(
                "environment is nemo_gym and gym.config_paths names no environment; give its YAML "
                "files, such as resources_servers/xlam_fc/configs/xlam_fc.yaml, which verifies the "
                "generated tasks"
            )
        return self

    @property
    def plays_gym(self) -> bool:
        """Whether a TRL training plays in NeMo Gym."""
        return self.backend == "trl" and self.environment == "nemo_gym"

    @property
    def settings(self) -> Trl | NemoRl:
        """The section of the backend."""
        found: Trl | NemoRl = getattr(self, self.backend)
        return found

    def frozen(self) -> dict[str, object]:
        """What a training run may see: everything but the other backend's section."""
        return self.model_dump(exclude=TRAINERS.keys() - {self.backend})


TRAINERS: dict[str, type[Trl | NemoRl]] = {"trl": Trl, "nemo_rl": NemoRl}
"""The values of `training.backend`, which are the keys of the trainers' own sections, and the types
of these."""


class RunSection(Section):
    """One training run: a seed, a recipe, or both."""

    seed: int | None = Field(None, description="Seed of this run; null: training.seed.")
    training: dict[str, Any] = Field({}, description="Overrides of the training section.")


def deciding(training: TrainingSection) -> dict[str, object]:
    """What of a training section decides what comes of the training."""
    settings = training.settings
    decides = settings.model_dump(exclude=set(settings.WITHOUT_EFFECT))
    shared = training.model_dump(exclude={*WITHOUT_EFFECT, *TRAINERS})
    if training.plays_gym:
        shared["gym"] = training.gym.model_dump(include=set(GYM_DECIDES))
    elif settings.READS_GYM and (training.gym.config_paths or training.gym.overrides):
        shared["gym"] = training.gym.model_dump(include={"config_paths", "overrides"})
    return {**shared, training.backend: decides}
