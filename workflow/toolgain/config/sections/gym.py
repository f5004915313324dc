"""`training.gym`: an environment of NeMo Gym, and its rehearsal."""

from typing import Annotated

from pydantic import Field

from toolgain.config.sections.base import Positive, Section


class GymSection(Section):
    """The environment of NeMo Gym, in a rehearsal and in a training run (docs/gym.md)."""

    config_paths: list[str] = Field(
        [],
        description="YAML files of the environment, as Gym's own commands take them; empty: those "
        "that the upstream YAML of `nemo_rl` names, whose model server is always the YAML's.",
    )
    overrides: dict[str, bool | int | float | str | list[str] | None] = Field(
        {}, description="Dotted keys of Gym's merged YAML and their values."
    )
    max_turns: Positive = Field(
        32,
        description="Maximum number of answers in one rollout. With TRL a rollout ends there, with "
        "the verifier's reward. NeMo RL has no such limit: there, what needs more fails the "
        "rehearsal.",
    )
    rollout_timeout_s: Annotated[float, Field(gt=0)] = Field(
        900.0, description="Timeout of a rollout, which has then failed; Gym itself has none."
    )
    health_timeout_s: Annotated[float, Field(gt=0)] | None = Field(
        40.0,
        description="How long a server of Gym, and in a rehearsal the model server, may answer "
        "nothing while its processes do nothing (stopped, or it hangs); it is then named and the "
        "stage ends. null: no such check.",
    )
    busy_timeout_s: Annotated[float, Field(gt=0)] | None = Field(
        45.0,
        description="Processor time that a server of Gym may spend within one request while it "
        "answers nothing else: a verifier that loops. null: no such check.",
    )
    rehearsal_rows: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Rows that `rehearse` plays before the smoke training; 0 leaves it out. It "
        "needs `make setup-gym`.",
    )
    rehearsal_rollouts: Annotated[int, Field(ge=2)] = Field(
        4, description="Rollouts of each of these rows."
    )
