"""rehearsal.json: what a few rows of a Gym environment came to before any training."""

from typing import Literal

from pydantic import Field

from toolgain.records.record import Count, Part, Record, Share


class Spread(Part):
    """A number per rollout."""

    mean: float = Field(description="Mean.")
    median: float = Field(description="Median.")
    largest: float = Field(description="Largest.")
    limit: float | None = Field(description="What the configuration allows; null: no limit.")


class UnplayableRow(Part):
    """A row that Gym cannot play."""

    file: Literal["train", "validation"] = Field(description="Which of the two files.")
    line: Count = Field(description="Its line, from 1 on.")
    reason: str = Field(description="What Gym says, or what is missing.")


class CheckedRows(Part):
    """Rows that were played by a model that does nothing, through Gym's agent and verifier."""

    checked: Count = Field(description="Rows played.")
    there: Count = Field(description="Rows in both files.")
    unplayable: Count = Field(description="Rows that Gym cannot play.")
    examples: list[UnplayableRow] = Field(description="Up to 20 of them.")
    reward_for_nothing: float | None = Field(
        description="Mean reward, by Gym's verifier, of a model that calls nothing; null: no row "
        "could be played."
    )
    rewarded_for_nothing: Share | None = Field(
        description="Share of rows whose reward for that is above zero; null: likewise."
    )


class Answers(Part):
    """What the model answered in the rollouts."""

    turns: Count = Field(description="Answers.")
    tool_calls: Count = Field(description="Calls that the server's parser read.")
    calls_as_text: Count = Field(description="Answers with a call that it did not read.")
    broken_arguments: Count = Field(description="Calls whose arguments are not a JSON object.")
    empty: Count = Field(description="Answers without text and calls.")
    cut: Count = Field(description="Answers that ended at the token limit.")
    overflows: Count = Field(description="Rollouts whose prompt did not fit into the context.")
    endless: Count = Field(
        description="Rollouts ended after training.gym.max_turns answers, the last with calls."
    )


class StepEstimate(Part):
    """What the rollouts of one training step would take at this model server."""

    rollouts: Count = Field(description="Prompts of a step times completions of a prompt.")
    seconds: float | None = Field(
        description="At the pace of the rehearsal; null: no rollout succeeded."
    )
    at_once: Count = Field(description="Maximum number of concurrent rollouts in the rehearsal.")


class Rehearsal(Record):
    """A rehearsal of the rollouts of a training run with NeMo Gym."""

    run: str | None = Field(description="Name of the run; null: outside of the workflow.")
    verdict: Literal["trainable", "not_trainable"] = Field(description="The answer.")
    reasons: list[str] = Field(description="Why it is not trainable.")
    warnings: list[str] = Field(description="What else to look at.")
    model: str = Field(description="Folder or endpoint of the model.")
    config_paths: list[str] = Field(description="The environment's YAML files.")
    agents: dict[str, int | None] = Field(
        description="The environment's agents and their max_steps; null: no limit of its own."
    )
    gym_version: str | None = Field(description="Version of nemo-gym; null: unknown.")
    rows: CheckedRows = Field(description="Every row, played by a model that does nothing.")
    rows_played: Count = Field(description="Rows that the model played.")
    rollouts_per_row: Count = Field(description="Rollouts of each.")
    failed: Count = Field(description="Rollouts without a reward.")
    errors: dict[str, Count] = Field(description="Failed rollouts by kind of error.")
    reward_mean: float | None = Field(description="Mean reward; null: all rollouts failed.")
    reward_std: float | None = Field(description="Standard deviation over all; null: likewise.")
    groups_without_spread: Share | None = Field(
        description="Share of rows with the same reward in every rollout, which gives no gradient; "
        "null: no row has two rewards."
    )
    answers: Answers = Field(description="Counts over all rollouts.")
    turns: Spread | None = Field(description="Answers per rollout; null: no rollout succeeded.")
    tool_calls: Spread | None = Field(description="Calls per rollout; null: likewise.")
    prompt_tokens: Spread | None = Field(description="Longest prompt of a rollout; null: likewise.")
    answer_tokens: Spread | None = Field(
        description="Tokens answered in a rollout; null: likewise."
    )
    seconds: Spread | None = Field(description="Seconds of a rollout; null: likewise.")
    start_s: float = Field(description="Seconds until the Gym servers answered.")
    step: StepEstimate = Field(description="What a training step would take.")
    seed: int = Field(description="Seed of the choice of rows.")
    finished: str = Field(description="ISO 8601 in UTC.")
