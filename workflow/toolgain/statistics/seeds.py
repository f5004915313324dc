"""Several runs against one baseline: the mean change, and what a further run would do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from toolgain.records.comparison import PooledRuns
from toolgain.statistics import bootstrap
from toolgain.statistics.bootstrap import Resampling
from toolgain.statistics.pairs import Pair
from toolgain.statistics.verdict import Settings, judge_pairs, resampling, rows, word


@dataclass(frozen=True)
class RunSpread:
    """What the mean change of several runs varies by, in points."""

    items: float
    """Standard error over items, of the mean of these runs."""
    reach_of_items: float
    """From the mean to one end of its interval at `alpha`."""
    by_items: float
    """Variance between runs that single items explain."""
    between: float
    """Variance between runs."""
    runs: int
    alpha: float

    def reach(self, alpha: float) -> float:
        """From the mean to that end of the interval that speaks of a further run, at any level."""
        normal = float(ndtri(1 - alpha / 2))
        # The items' interval was made at one level; at others it grows like the normal one.
        wide = self.reach_of_items * normal / float(ndtri(1 - self.alpha / 2))
        shared = max(0.0, 1 - self.by_items / self.runs / max(self.items**2, 1e-30))
        student = float(stdtrit(self.runs - 1, 1 - alpha / 2))
        both = np.sqrt(shared * wide**2 + student**2 * self.between / self.runs)
        return max(wide, float(both))

    def p(self, delta: float) -> float:
        """The level at which the interval around `delta` begins to hold 0."""
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if self.reach(middle) < abs(delta) else (middle, high)
        return high


def pooled(
    pairs: Sequence[Pair], settings: Settings, draws: Resampling | None = None
) -> PooledRuns:
    """The mean over runs that share the baseline's items.

    Two things might have been otherwise: the items, and the runs. `ci95_these_runs` holds the
    items alone: the bootstrap of each item's mean over the runs. It speaks of these very runs.
    `ci95` speaks of the recipe, so of a further run as well. Its half width adds, as squares, the
    part of the items that all runs share (normal) and that of the runs' own spread (Student's t
    with runs - 1 degrees of freedom, on the variance of the runs' changes as it is). It is never
    narrower than the items alone. Two or three runs say little about a further one, and the
    interval shows it.

    Args:
        pairs: each run with the baseline, all of one design.
        settings: how the change is judged.
        draws: `resampling(design, settings)` where it has been made already.
    """
    runs = len(pairs)
    mean = Pair(
        pairs[0].design,
        pairs[0].baseline,
        np.mean([pair.after for pair in pairs], axis=0)[:, None],
    )
    if draws is None:
        draws = resampling(mean.design, settings)
    (judged,) = judge_pairs([mean], settings, draws)
    line = judged.line(0)
    changes = np.array([after[0] - before[0] for before, after in map(rows, pairs)])
    between = float(changes.var(ddof=1))
    # What the runs' changes would vary by if runs differed item by item only.
    # Standard errors need no draws.
    one_draw = bootstrap.resample(mean.design, 1, settings.seed)
    apart = np.stack([pair.after - mean.after for pair in pairs], axis=1)
    errors = bootstrap.bootstrap(mean.design, apart, one_draw).error[0]
    by_items = float(((100 * errors) ** 2).sum()) / (runs - 1)
    delta, items = line.delta, line.standard_error or 0.0

    def to(end: float) -> RunSpread:
        return RunSpread(
            items=items,
            reach_of_items=abs(end - delta),
            by_items=by_items,
            between=between,
            runs=runs,
            alpha=settings.alpha,
        )

    ends = [to(end) for end in line.ci95]
    below, above = (end.reach(settings.alpha) for end in ends)
    interval = max(-100.0, delta - below), min(100.0, delta + above)
    # Never surer than the items alone: runs that are all alike are one run.
    p = max(line.p, ends[0 if delta > 0 else 1].p(delta))
    return PooledRuns(
        verdict=word(*interval),
        runs=runs,
        overall=line.model_copy(update={"ci95": interval, "p": p}),
        ci95_these_runs=line.ci95,
        changes=[float(value) for value in changes],
        standard_deviation_of_runs=float(np.sqrt(between)),
        note=(
            f"mean of {runs} runs, taken as one recipe: the interval speaks of a further run of "
            "it, ci95_these_runs of these runs alone"
        ),
    )
