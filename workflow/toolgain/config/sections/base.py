"""What every section of the configuration shares."""

from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from toolgain.common.characters import without_halves

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


def _check_texts(values: Iterable[object]) -> None:
    """Refuse texts that no file name, no argument of a program and no request can hold."""
    for value in values:
        if isinstance(value, str) and ("\x00" in value or without_halves(value) != value):
            raise ValueError(
                "the text holds a NUL or half a character, which no name can hold; take it out"
            )


def check_save_period(save_period: int, val_period: int, reason: str) -> None:
    """Refuse checkpoints of steps without a validation; `reason` says what becomes of them.

    Raises:
        ValueError: with the period to set.
    """
    if save_period % val_period:
        raise ValueError(
            f"save_period {save_period} is not a multiple of val_period {val_period}: {reason}; "
            f"set save_period to {val_period}"
        )


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", validate_default=True, allow_inf_nan=False, defer_build=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _texts_can_be_names(cls, value: object) -> object:
        _check_texts(
            [value] if isinstance(value, str) else value if isinstance(value, list) else []
        )
        return value

    @field_validator("*")
    @classmethod
    def _named_texts_can_be_names(cls, value: object) -> object:
        # Only now: before, a dictionary may be a section, which names its own keys.
        _check_texts([*value, *value.values()] if isinstance(value, dict) else [])
        return value

    OF_THE_USER: ClassVar[tuple[str, ...] | None] = None
    """In a section about the place, the keys that its user decides; the others are its
    administrator's. None: a section that is the user's altogether."""
    WITHOUT_EFFECT: ClassVar[tuple[str, ...]] = ()
    """In a trainer's section, the keys that do not change what is trained."""
    READS_GYM: ClassVar[bool] = False
    """In a trainer's section, whether `training.gym` counts though `environment` does not ask."""
    ENDS_ROLLOUTS: ClassVar[bool] = False
    """In a trainer's section, whether it ends a rollout with answer `training.gym.max_turns` and
    takes the verifier's reward; else the agent alone ends one."""
    EXPORT_GPUS: ClassVar[int] = 0
    TITLE: ClassVar[str] = ""
    """In a trainer's section: its name for people."""
    STEPS_KEY: ClassVar[str] = ""
    """In a trainer's section: its key for the number of steps."""
    """In a trainer's section, the GPUs that the export of its checkpoints needs."""
