"""`comparison`: how the change is judged."""

from typing import Annotated

from pydantic import Field

from toolgain.config.sections.base import Section, Share


class AssumedDiscordance(Section):
    """The share of items whose outcome a training run changes, by group."""

    non_live: Share = Field(0.05, description="Of the 7 non-live categories.")
    live: Share = Field(0.07, description="Of the 6 live categories.")
    multi_turn: Share = Field(0.20, description="Of the 4 multi-turn categories.")


class ComparisonSection(Section):
    """How the change is judged. Fixed before the run."""

    draws: Annotated[int, Field(ge=1000)] = Field(10_000, description="Bootstrap samples.")
    seed: int = Field(20250408, description="Seed of the bootstrap.")
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.05, description="Two-sided error level of the verdict and the intervals."
    )
    margin: Annotated[float, Field(gt=0)] = Field(
        1.0,
        description="Non-inferiority margin for single-turn groups, in points. Below 2.2 live can "
        "never be said to have held; on a subset it needs far more.",
    )
    primary: str | None = Field(
        None,
        description="Run or recipe whose verdict is the headline; null: the only run, or the mean "
        "of the runs of the only recipe.",
    )
    recipes: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(
        {},
        description="Runs that repeat one recipe, by its name; each recipe gets the mean of its "
        "runs. Empty: runs that differ in their seed alone are of one recipe.",
    )
    max_error_share: Share = Field(
        0.005,
        description="Above this share of questions without an answer the comparison is refused.",
    )
    assumed_discordance: AssumedDiscordance = Field(
        AssumedDiscordance(),
        description="Assumed before the run, for the smallest change that can be detected.",
    )
    assumed_correlation: Share = Field(
        0.3, description="Assumed correlation of the changes of two items of one cluster."
    )
