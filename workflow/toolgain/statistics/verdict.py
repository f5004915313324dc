"""All numbers of one pair of evaluations, and the verdict. Numbers are in points.

The verdict's words and its sentence are in `answer`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from toolgain.bfcl.categories import CATEGORIES, GROUPS, POPULATION, group_of
from toolgain.bfcl.overall import weight_matrix
from toolgain.records.comparison import (
    CategoryChange,
    FamilyChange,
    Flips,
    GroupChange,
    Held,
    Mcnemar,
    NonInferiority,
    OverallChange,
    PooledItems,
    UnpairedZ,
    Word,
)
from toolgain.statistics import bootstrap, intervals, paired_tests, repeats, score
from toolgain.statistics.bootstrap import BootstrapChange, Resampling
from toolgain.statistics.pairs import Design, Pair, category_means
from toolgain.statistics.score import Interval

Floats = NDArray[np.float64]
LineType = TypeVar("LineType", bound=FamilyChange)

SMALL = 50
"""Below this number of items a category gets no verdict word."""
SINGLE_TURN = ("non_live", "live")


@dataclass(frozen=True)
class Settings:
    """How the change is judged; fixed before the run."""

    draws: int
    seed: int
    alpha: float
    margin: float
    """Non-inferiority margin in points."""


@dataclass(frozen=True)
class Judged:
    """A pair with its bootstrap."""

    pair: Pair
    settings: Settings
    change: BootstrapChange

    @cached_property
    def read(self) -> list[tuple[Interval, NDArray[np.bool_]]]:
        """The intervals of the Overall and of the groups, by `intervals.interval_to_read`."""
        design, change = self.pair.design, self.pair.change[:, None]
        alpha = self.settings.alpha
        return [
            intervals.interval_to_read(design, change, self.change, row, alpha) for row in range(4)
        ]

    @cached_property
    def method(self) -> str:
        """The method of the Overall's interval."""
        _, small = self.read[0]
        return intervals.SCORE if small[0] else intervals.STUDENTISED

    @cached_property
    def rows(self) -> tuple[Floats, Floats]:
        """(4,) Overall and groups before and after, in points."""
        return rows(self.pair)

    def line(self, row: int) -> OverallChange:
        """Values, change, interval and p of one row."""
        before, after = self.rows
        found, _ = self.read[row]
        return OverallChange(
            baseline=float(before[row]),
            trained=float(after[row]),
            delta=float(after[row] - before[row]),
            ci95=(100 * float(found.low[0]), 100 * float(found.high[0])),
            p=float(found.p[0]),
            standard_error=100 * float(self.change.error[row, 0]),
        )


def judge_pairs(pairs: Sequence[Pair], settings: Settings, draws: Resampling) -> list[Judged]:
    """Bootstrap each of `pairs`, which are of one design, with the same draws."""
    changes = repeats.bootstrap_repeats(pairs, draws, settings.seed)
    return [Judged(pair, settings, change) for pair, change in zip(pairs, changes, strict=True)]


def rows(pair: Pair) -> tuple[Floats, Floats]:
    """(4,) Overall and groups before and after, in points."""
    weights = 100 * weight_matrix()
    before, after = (category_means(pair.design, values) for values in (pair.before, pair.after))
    return weights @ before, weights @ after


def resampling(design: Design, settings: Settings) -> Resampling:
    """The draws, the same for every run that is compared on this design."""
    return bootstrap.resample(design, settings.draws, settings.seed)


def word(low: float, high: float) -> Word:
    """The verdict of an interval of the Overall's change."""
    if low > 0:
        return "improved"
    return "regressed" if high < 0 else "no_clear_change"


def overall_line(judged: Judged) -> OverallChange:
    """The primary line: the official Overall, with other intervals beside it."""
    alpha = judged.settings.alpha
    beside = {
        name: (100 * float(found.low[0]), 100 * float(found.high[0]))
        for name, found in (
            ("percentile", intervals.percentile(judged.change, 0, alpha)),
            ("bca", intervals.bca(judged.change, 0, alpha)),
        )
    }
    return judged.line(0).model_copy(update={"method": judged.method, "other_intervals": beside})


def groups(judged: Judged) -> dict[str, GroupChange]:
    """The family of the three groups.

    `ci95` and `p` are of one test and agree; neither is adjusted. `p_holm` is `p` corrected in
    the family, and the word reads it. `p_mcnemar` is McNemar's on the group's items, which knows
    neither clusters nor the formula.
    """
    design = judged.pair.design
    of_item = np.array([group_of(CATEGORIES[c]) for c in design.category])
    lines: dict[str, GroupChange] = {}
    for row, group in enumerate(GROUPS, start=1):
        change, line = judged.pair.change[of_item == group], judged.line(row)
        flips = flips_of(change)
        lines[group] = GroupChange(
            baseline=line.baseline,
            trained=line.trained,
            delta=line.delta,
            ci95=line.ci95,
            p=line.p,
            standard_error=100 * float(judged.change.error[row, 0]),
            n=len(change),
            gained=flips.gained,
            lost=flips.lost,
            p_mcnemar=paired_tests.mcnemar(flips.gained, flips.lost),
            p_holm=line.p,
            word=None,
        )
    return _family(lines, judged.settings.alpha)


def category_family(judged: Judged) -> dict[str, CategoryChange]:
    """The family of the seventeen categories, by score intervals; read as the groups are."""
    pair, alpha = judged.pair, judged.settings.alpha
    design = pair.design
    before, after = (100 * category_means(design, values) for values in (pair.before, pair.after))
    _, found = score.category_intervals(design, pair.change, alpha)
    lines: dict[str, CategoryChange] = {}
    for number, category in enumerate(CATEGORIES):
        change = pair.change[design.category == number]
        flips = flips_of(change)
        lines[category] = CategoryChange(
            baseline=float(before[number]),
            trained=float(after[number]),
            delta=float(after[number] - before[number]),
            ci95=(100 * float(found.low[number]), 100 * float(found.high[number])),
            p=float(found.p[number]),
            n=len(change),
            gained=flips.gained,
            lost=flips.lost,
            p_mcnemar=paired_tests.mcnemar(flips.gained, flips.lost),
            p_holm=float(found.p[number]),
            word=None,
            population=POPULATION[category],
            small=len(change) < SMALL,
        )
    return _family(lines, alpha)


def flips_of(change: Floats) -> Flips:
    """How many of the items rose and fell."""
    return Flips(gained=int((change > 0).sum()), lost=int((change < 0).sum()))


def _family(lines: dict[str, LineType], alpha: float) -> dict[str, LineType]:
    """The lines with their p corrected for being tested together, and the word that follows."""
    corrected = paired_tests.holm([line.p for line in lines.values()])
    found: dict[str, LineType] = {}
    for (name, line), p in zip(lines.items(), corrected, strict=True):
        clear: Word | None = word(*line.ci95) if p < alpha else "no_clear_change"
        if isinstance(line, CategoryChange) and line.small:
            clear = None
        found[name] = line.model_copy(update={"p_holm": p, "word": clear})
    return found


def single_turn_held(judged: Judged) -> NonInferiority:
    """Whether the single-turn groups held within the margin.

    `lost_bounds` are the upper bounds of the share of items lost, in points. "yes" needs them
    within the margin as well: a group that lost much and gained as much did not hold.
    `smallest_margins` are what the design could show of items that did not change; where the margin
    is smaller, the sentence says so.
    """
    margin, alpha = judged.settings.margin, judged.settings.alpha
    design, change = judged.pair.design, judged.pair.change[:, None]
    words: dict[str, Held] = {}
    bounds: dict[str, float] = {}
    smallest: dict[str, float] = {}
    for group in SINGLE_TURN:
        row = GROUPS.index(group) + 1
        low, high = judged.line(row).ci95
        weighing = score.weighings(design)[row]
        bounds[group] = 100 * float(score.lost_bound(design, weighing, change, alpha)[0])
        smallest[group] = 100 * score.smallest_margin(design, weighing, alpha)
        words[group] = paired_tests.non_inferiority(low, high, bounds[group], margin)
    answer = paired_tests.held(list(words.values()))
    sentence = f"single-turn held within {margin:g} point{'s' * (margin != 1)}: {answer}"
    beyond = [f"{group} {least:.1f}" for group, least in smallest.items() if least > margin]
    if answer == "cannot tell" and beyond:
        sentence += (
            " (so few items cannot show it: the smallest margin within reach, if nothing changed, "
            f"is {' and '.join(beyond)} points)"
        ).replace("non_live", "non-live")
    return NonInferiority(
        margin=margin,
        groups=words,
        lost_bounds=bounds,
        smallest_margins=smallest,
        held=answer,
        sentence=sentence,
    )


def pooled_items(judged: Judged) -> PooledItems:
    """Common tests on pooled items, which weigh items otherwise than the official Overall."""
    pair = judged.pair
    n = len(pair.change)
    before, after = float(pair.before.sum()), float(pair.after.sum())
    z, z_p = paired_tests.unpaired_z(before, after, n)
    flips = flips_of(pair.change)
    delta, official = 100 * (after - before) / n, judged.line(0).delta
    return PooledItems(
        n=n,
        baseline=100 * before / n,
        trained=100 * after / n,
        delta=delta,
        unpaired_z=UnpairedZ(z=z, p=z_p),
        mcnemar=Mcnemar(
            gained=flips.gained,
            lost=flips.lost,
            p=paired_tests.mcnemar(flips.gained, flips.lost),
        ),
        sign_differs=delta * official < 0,
    )


def error_migration(before: Sequence[str], after: Sequence[str]) -> dict[str, dict[str, int]]:
    """How often an item's error type became which; `correct` stands for none.

    Args:
        before, after: error types of the same items, empty where right.
    """
    moves = Counter(
        (old or "correct", new or "correct") for old, new in zip(before, after, strict=True)
    )
    table: dict[str, dict[str, int]] = {}
    for (old, new), count in sorted(moves.items()):
        table.setdefault(old, {})[new] = count
    return table
