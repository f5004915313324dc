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

    what: str
    baseline: Condition
    trained: Condition
    message: str
    advice: str


class EqualCondition(ComparisonPart):
    """A condition of both sides."""

    what: str
    baseline: Condition
    trained: Condition
    equal: bool


class ScoreChange(ComparisonPart):
    """A score before and after, with the interval and p of its change."""

    baseline: Score
    trained: Score
    delta: Points
    ci95: Bounds
    p: Probability

    @model_validator(mode="after")
    def in_order(self) -> Self:
        """Refuse an interval whose ends are swapped."""
        if self.ci95[0] > self.ci95[1]:
            raise ValueError(f"ci95 runs from {self.ci95[0]} to {self.ci95[1]}")
        return self


class OverallChange(ScoreChange):
    """The Overall's."""

    standard_error: Size | None = None
    method: str | None = None
    other_intervals: dict[str, tuple[float | None, float | None]] = Field(default_factory=dict)


class FamilyChange(ScoreChange):
    """One line of a family of tests; `ci95` and `p` are not adjusted, `word` reads `p_holm`."""

    n: Count
    gained: Count
    lost: Count
    p_mcnemar: Probability
    p_holm: Probability
    word: Word | None


class GroupChange(FamilyChange):
    """A group's."""

    standard_error: Size


class CategoryChange(FamilyChange):
    """A category's; a small one has no word."""

    population: Count
    small: bool


class NonInferiority(ComparisonPart):
    """Whether the single-turn groups held within the margin."""

    margin: Size
    groups: dict[str, Held]
    lost_bounds: dict[str, Points]
    smallest_margins: dict[str, Points] = Field(
        default_factory=dict,
        description="Of the design: below these margins no group can be said to have held, though "
        "nothing changed.",
    )
    held: Held
    sentence: str


class UnpairedZ(ComparisonPart):
    """The two-proportion z test."""

    z: float
    p: Probability


class Mcnemar(ComparisonPart):
    """McNemar's test."""

    gained: Count
    lost: Count
    p: Probability


class PooledItems(ComparisonPart):
    """Common tests on pooled items."""

    n: Count
    baseline: Score
    trained: Score
    delta: Points
    unpaired_z: UnpairedZ
    mcnemar: Mcnemar
    sign_differs: bool


class NoiseFloor(ComparisonPart):
    """How far the same weights move between repeats."""

    moved: Size
    times: Size | None
    overalls: dict[str, list[Score]]
    discordance: dict[str, Probability]
    sentence: str


class Behaviour(ComparisonPart):
    """How a model behaves, by scope; `calls`: answers with 0, 1, ... calls."""

    scopes: dict[str, dict[str, float | None]]
    calls: list[Count]


class Origin(ComparisonPart):
    """Which evaluation this is."""

    subject: str
    path: str
    digest: str | None
    name: str | None
    plain: bool
    scored_again: bool = Field(
        False, description="`compare --rescore`: the folder's own scores are others."
    )
    behaviour: Behaviour


class Flips(ComparisonPart):
    """Numbers of items."""

    gained: Count
    lost: Count


class RunComparison(ComparisonPart):
    """One run against the baseline; without numbers where they cannot be compared."""

    verdict: Verdict
    sentence: str
    overall: OverallChange | None = None
    groups: dict[str, GroupChange] = Field(default_factory=dict)
    categories: dict[str, CategoryChange] = Field(default_factory=dict)
    strict_overall: OverallChange | None = None
    noninferiority: NonInferiority | None = None
    pooled_items: PooledItems | None = None
    noise_floor: NoiseFloor | None = None
    aa: bool
    reasons: list[Reason]
    equal: list[EqualCondition]
    trained: Origin
    n: Count
    flips: Flips
    error_migration: dict[str, dict[str, Count]]


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

    names: list[str]
    verdict: Verdict
    sentence: str
    runs: Count | None = None
    overall: OverallChange | None = None
    ci95_these_runs: Bounds | None = None
    changes: list[Points] = Field(default_factory=list)
    standard_deviation_of_runs: Size | None = None
    note: str | None = None


class Method(ComparisonPart):
    """How the Overall's interval was made, and what was declared before the run."""

    interval: str | None
    draws: Count
    seed: int
    alpha: Probability
    clusters: Count | None
    declared: str


class Detectable(ComparisonPart):
    """The smallest change that the design detects; known before the run."""

    points: Size | None
    """None: not even a change of every item would be found."""
    standard_error: Size
    power: Probability
    alpha: Probability
    basis: Literal["assumed"]
    discordance: dict[str, Probability]
    correlation: Probability


class Comparison(Record):
    """Two or more evaluations compared, or why they cannot be."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    sentence: str
    primary: str
    headline: OverallChange | None
    aa: bool
    reasons: list[Reason]
    n: Count
    subset: dict[str, Condition] | None
    warnings: list[str] = Field(default_factory=list)
    checks_impossible: list[str] = Field(default_factory=list)
    population: Count = 0
    repeats: Count = 1
    method: Method | None = None
    detectable_change: Detectable | None = None
    noise_floor: NoiseFloor | None = None
    runs: dict[str, RunComparison]
    recipes: dict[str, RecipeComparison] = Field(default_factory=dict)
    baseline: Origin | None = None
    equal: list[EqualCondition] = Field(default_factory=list)
    anchors: list[dict[str, Condition]] = Field(default_factory=list)

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
