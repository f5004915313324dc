"""comparison.json: evaluations compared. All scores are percent points."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from toolgain.common.errors import UserError
from toolgain.common.files import read_json
from toolgain.records.record import Count, Part, Record, read_record

EDGE = 100 + 1e-6
"""Sums of weights end at 100 but for rounding."""
Score = Annotated[float, Field(ge=-1e-6, le=EDGE, allow_inf_nan=False)]
Points = Annotated[float, Field(ge=-EDGE, le=EDGE, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Bounds = tuple[Points, Points]
Word = Literal["improved", "regressed", "no_clear_change"]
Held = Literal["yes", "no", "cannot tell"]

Verdict = Literal["improved", "regressed", "no_clear_change", "not_comparable"]
Condition = Any
"""A condition of an evaluation, of whatever form it has in the manifest; shown, never reckoned."""


class ComparisonPart(Part):
    """A part of comparison.json. A key that is not known is refused: the writer would lose it."""

    model_config = ConfigDict(extra="forbid")


class Reason(ComparisonPart):
    """Why two evaluations cannot be compared."""

    what: str = Field(
        description="What differs or is missing: a condition by its name in manifest.json, or "
        "`data_revision`, `scorer`, `calling_mode`, `items`, `errors`, `validity`, `canary`."
    )
    baseline: Condition = Field(description="Its value before.")
    trained: Condition = Field(description="Its value after.")
    message: str = Field(description="What is wrong with that.")
    advice: str = Field(description="What to do.")


class EqualCondition(ComparisonPart):
    """A condition of both sides."""

    what: str = Field(description="Its name in `comparable` of manifest.json.")
    baseline: Condition = Field(description="Its value before; null: not known.")
    trained: Condition = Field(description="Its value after; null: not known.")
    equal: bool = Field(description="Whether the two are equal.")


class ScoreChange(ComparisonPart):
    """A score before and after, with the interval and p of its change."""

    baseline: Score = Field(description="Score before, in percent.")
    trained: Score = Field(description="Score after, in percent.")
    delta: Points = Field(description="Change, in points.")
    ci95: Bounds = Field(
        description="Two-sided interval of the change at level 1 - `method.alpha`, in points."
    )
    p: Probability = Field(description="Two-sided p value; agrees with the interval.")

    @model_validator(mode="after")
    def in_order(self) -> Self:
        """Refuse an interval whose ends are swapped."""
        if self.ci95[0] > self.ci95[1]:
            raise ValueError(f"ci95 runs from {self.ci95[0]} to {self.ci95[1]}")
        return self


class OverallChange(ScoreChange):
    """The Overall's."""

    standard_error: Size | None = Field(None, description="Of the change, in points.")
    method: str | None = Field(
        None, description="How the interval was made; null: as `method.interval` says."
    )
    other_intervals: dict[str, tuple[float | None, float | None]] = Field(
        default_factory=dict,
        description="The percentile and the BCa interval, in points; the verdict reads neither.",
    )


class FamilyChange(ScoreChange):
    """One line of a family of tests; `ci95` and `p` are not adjusted, `word` reads `p_holm`."""

    n: Count = Field(description="Items.")
    gained: Count = Field(description="Items that rose.")
    lost: Count = Field(description="Items that fell.")
    p_mcnemar: Probability = Field(
        description="McNemar's exact test of these items, which takes them as independent."
    )
    p_holm: Probability = Field(
        description="`p` after Holm's correction, among the groups or among the categories."
    )
    word: Word | None = Field(
        description="What `p_holm` says; null: a category of fewer than 50 items."
    )


class GroupChange(FamilyChange):
    """A group's."""

    standard_error: Size = Field(description="Of the change, in points.")


class CategoryChange(FamilyChange):
    """A category's; a small one has no word."""

    population: Count = Field(description="Items of the category in BFCL v3.")
    small: bool = Field(description="Fewer than 50 items.")


class NonInferiority(ComparisonPart):
    """Whether the single-turn groups held within the margin."""

    margin: Size = Field(description="comparison.margin, in points.")
    groups: dict[str, Held] = Field(description="The answer for `non_live` and for `live`.")
    lost_bounds: dict[str, Points] = Field(
        description="By group, the upper bound of the share of items lost, in points."
    )
    smallest_margins: dict[str, Points] = Field(
        default_factory=dict,
        description="By group, the smallest margin within which it can be said to have held, of "
        "the design, if nothing changed, in points.",
    )
    held: Held = Field(description="The answer for both together.")
    sentence: str = Field(description="The same in words.")


class UnpairedZ(ComparisonPart):
    """The two-proportion z test."""

    z: float = Field(description="Its statistic.")
    p: Probability = Field(description="Two-sided p value.")


class Mcnemar(ComparisonPart):
    """McNemar's test."""

    gained: Count = Field(description="Items that rose.")
    lost: Count = Field(description="Items that fell.")
    p: Probability = Field(description="Two-sided, exact.")


class PooledItems(ComparisonPart):
    """Common tests on pooled items."""

    n: Count = Field(description="Items.")
    baseline: Score = Field(description="Mean over all items before, in percent.")
    trained: Score = Field(description="Mean over all items after, in percent.")
    delta: Points = Field(description="Its change, in points.")
    unpaired_z: UnpairedZ = Field(description="The unpaired z test.")
    mcnemar: Mcnemar = Field(description="McNemar's test.")
    sign_differs: bool = Field(description="Whether the official Overall moved the other way.")


class NoiseFloor(ComparisonPart):
    """How far the same weights move between repeats."""

    moved: Size = Field(
        description="Root mean square distance of the Overall between two repeats, in points."
    )
    times: Size | None = Field(description="The change over it; null: nothing moved.")
    overalls: dict[str, list[Score]] = Field(
        description="The Overall of each repeat in percent, by side."
    )
    discordance: dict[str, Probability] = Field(
        description="By group, the share of items whose outcome differs between two repeats."
    )
    sentence: str = Field(description="The same in words.")


class Behaviour(ComparisonPart):
    """How a model behaves, by scope; `calls`: answers with 0, 1, ... calls."""

    scopes: dict[str, dict[str, float | None]] = Field(
        description="By `all` and group, each measure: shares in percent, latencies in seconds; "
        "null: there is nothing to measure."
    )
    calls: list[Count] = Field(
        description="Single-turn answers with 0, 1, 2, 3, 4, and 5 or more calls."
    )


class Origin(ComparisonPart):
    """Which evaluation this is."""

    subject: str = Field(description="`baseline`, the name of the run, or the folder's.")
    path: str = Field(description="Folder.")
    digest: str | None = Field(
        description="Digest of the weights; null: not known (an endpoint, a plain folder)."
    )
    name: str | None = Field(description="Name shown in the report; null: none was given.")
    plain: bool = Field(description="Whether it is a harness folder without toolgain's record.")
    scored_again: bool = Field(
        False, description="`compare --rescore`: the folder's own scores are others."
    )
    behaviour: Behaviour = Field(description="Calls, tokens and latencies.")


class Flips(ComparisonPart):
    """Numbers of items."""

    gained: Count = Field(description="Items that rose.")
    lost: Count = Field(description="Items that fell.")


class RunComparison(ComparisonPart):
    """One run against the baseline; without numbers where they cannot be compared."""

    verdict: Verdict = Field(description="The run's verdict.")
    sentence: str = Field(description="The same in words.")
    overall: OverallChange | None = Field(
        None, description="The official Overall; null: not comparable."
    )
    groups: dict[str, GroupChange] = Field(
        default_factory=dict, description="The three groups; empty: not comparable."
    )
    categories: dict[str, CategoryChange] = Field(
        default_factory=dict, description="The 17 categories; empty: not comparable."
    )
    strict_overall: OverallChange | None = Field(
        None,
        description="The Overall without credit for calls not parsed or decoded, and empty or cut "
        "answers; null: not comparable.",
    )
    noninferiority: NonInferiority | None = Field(
        None,
        description="Whether the single-turn groups held within the margin; null: not comparable.",
    )
    pooled_items: PooledItems | None = Field(
        None, description="Common tests on pooled items; null: not comparable."
    )
    noise_floor: NoiseFloor | None = Field(
        None,
        description="How far the same weights move between repeats; null: there are none, or not "
        "comparable.",
    )
    aa: bool = Field(description="Whether both sides are the same weights (A/A).")
    reasons: list[Reason] = Field(
        description="Why the two cannot be compared; empty where they can."
    )
    equal: list[EqualCondition] = Field(
        description="The conditions side by side; empty with a harness folder."
    )
    trained: Origin = Field(description="The evaluation after.")
    n: Count = Field(description="Items that both sides have.")
    flips: Flips = Field(description="How many of them rose and fell.")
    error_migration: dict[str, dict[str, Count]] = Field(
        description="Items by error type before and after; `correct` stands for none."
    )


class PooledRuns(ComparisonPart):
    """The mean of runs that can be compared."""

    verdict: Word
    runs: Count
    overall: OverallChange
    ci95_these_runs: Bounds
    changes: list[Points]
    standard_deviation_of_runs: Size
    note: str


class RecipeComparison(ComparisonPart):
    """The mean of a recipe's runs; without numbers where one of them cannot be compared."""

    names: list[str] = Field(description="Its runs.")
    verdict: Verdict = Field(description="The verdict of their mean.")
    sentence: str = Field(description="The same in words.")
    runs: Count | None = Field(None, description="Number of runs; null: not comparable.")
    overall: OverallChange | None = Field(
        None,
        description="The mean change of the Overall, with the interval for a further run of the "
        "recipe; null: not comparable.",
    )
    ci95_these_runs: Bounds | None = Field(
        None,
        description="Its interval for these very runs, in points; null: not comparable.",
    )
    changes: list[Points] = Field(default_factory=list, description="Each run's change, in points.")
    standard_deviation_of_runs: Size | None = Field(
        None, description="Of the changes, in points; null: not comparable."
    )
    note: str | None = Field(None, description="What the two intervals speak of.")


class Method(ComparisonPart):
    """How the Overall's interval was made, and what was declared before the run."""

    interval: str | None = Field(
        description="How the Overall's interval of the first comparable run was made; null: none "
        "is comparable."
    )
    draws: Count = Field(description="Bootstrap samples.")
    seed: int = Field(description="Seed of the bootstrap.")
    alpha: Probability = Field(description="Two-sided error level; intervals are of 1 - alpha.")
    clusters: Count | None = Field(
        description="Clusters of the items; null: no evaluation is valid."
    )
    declared: str = Field(description="What was declared before the run.")


class Detectable(ComparisonPart):
    """The smallest change that the design detects; known before the run."""

    points: Size | None = Field(
        description="In points; null: not even a change of every item would be found."
    )
    standard_error: Size = Field(description="Expected of the change, in points.")
    power: Probability = Field(description="Probability of finding it.")
    alpha: Probability = Field(description="Two-sided error level.")
    basis: Literal["assumed"] = Field(description="What it rests on.")
    discordance: dict[str, Probability] = Field(
        description="By group, the share of items assumed to change."
    )
    correlation: Probability = Field(
        description="Assumed correlation of the changes of two items of a cluster."
    )


class Comparison(Record):
    """Evaluations compared, or why they cannot be. A key without a value may be missing."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict = Field(description="The answer, of `primary`.")
    sentence: str = Field(description="The same in words.")
    primary: str = Field(description="The run or recipe whose verdict it is.")
    headline: OverallChange | None = Field(
        description="Its change of the official Overall; null: not comparable."
    )
    aa: bool = Field(description="Whether a run has the baseline's weights (A/A).")
    reasons: list[Reason] = Field(
        description="Why `primary` cannot be compared; empty where it can."
    )
    n: Count = Field(description="Items of the baseline.")
    subset: dict[str, Condition] | None = Field(
        description="evaluation.subset, by which items were drawn; null: all of them."
    )
    warnings: list[str] = Field(
        default_factory=list, description="What to know though it can be compared."
    )
    checks_impossible: list[str] = Field(
        default_factory=list, description="Checks for which a side does not hold the facts."
    )
    population: Count = Field(0, description="Items of BFCL v3.")
    repeats: Count = Field(1, description="Answers of the baseline to each item.")
    method: Method | None = Field(None, description="How the change was judged.")
    detectable_change: Detectable | None = Field(
        None,
        description="The smallest change that the design detects, known before the run; null: no "
        "evaluation is valid.",
    )
    noise_floor: NoiseFloor | None = Field(
        None,
        description="That of `primary`, else of the first run with one; null: one answer to each "
        "item.",
    )
    runs: dict[str, RunComparison] = Field(description="Each run against the baseline.")
    recipes: dict[str, RecipeComparison] = Field(
        default_factory=dict, description="The mean of each recipe of two or more runs."
    )
    baseline: Origin | None = Field(None, description="The evaluation before.")
    equal: list[EqualCondition] = Field(
        default_factory=list, description="The conditions of the first run and the baseline."
    )
    anchors: list[dict[str, Condition]] = Field(
        default_factory=list,
        description="Published scores, each with its source and why it is not comparable.",
    )

    @model_validator(mode="after")
    def whole(self) -> Self:
        """Refuse a verdict without the numbers, or the reasons, that it stands on."""
        if self.verdict == "not_comparable":
            if not self.reasons:
                raise ValueError("not_comparable without a reason")
        elif self.headline is None:
            raise ValueError(f"{self.verdict} without a headline")
        return self

    @property
    def alpha(self) -> float:
        """The two-sided error level; intervals are of 1 - alpha."""
        return self.method.alpha if self.method else 0.05


def read_comparison(path: Path) -> Comparison:
    """Read comparison.json.

    Raises:
        UserError: the file is missing, or is not what `toolgain compare` writes; one line.
    """
    content = read_json(path, "comparison")
    version = content.get("schema") if isinstance(content, dict) else None
    if isinstance(version, int) and version != 1:
        raise UserError(
            f"comparison: {path} has schema {version}; this version of toolgain reads 1. "
            "Compare again."
        )
    return read_record(Comparison, path, "comparison")
