"""`training.gym`: an environment of NeMo Gym, and its rehearsal."""

from typing import Annotated

from pydantic import Field

from toolgain.config.sections.base import Positive, Section


class GymSection(Section):
    """The environment of NeMo Gym that a rehearsal and a TRL training play (docs/gym.md)."""

    config_paths: list[str] = Field(
        [],
        description="YAML files of the environment, as Gym's own commands take them; empty: those "
        "that the upstream YAML of `nemo_rl` names.",
    )
    overrides: dict[str, bool | int | float | str | list[str] | None] = Field(
        {}, description="Dotted keys of Gym's merged YAML and their values."
    )
    max_turns: Positive = Field(
        32,
        description="Most answers of one rollout. In a TRL training the rollout ends with the last "
        "and earns what it earns; in a rehearsal one that asks for more has failed.",
    )
    rollout_timeout_s: Annotated[float, Field(gt=0)] = Field(
        900.0, description="A rollout that takes longer has failed; Gym itself waits for ever."
    )
    rehearsal_rows: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Rows that `rehearse` plays before the smoke training; 0 leaves it out. It "
        "needs `make setup-gym`.",
    )
    rehearsal_rollouts: Annotated[int, Field(ge=2)] = Field(
        4, description="Rollouts of each of these rows."
    )
