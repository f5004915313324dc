"""Intervals and p values of the change, and which of them the verdict reads.

The verdict reads the studentised bootstrap interval in its symmetric form: a draw's distance from
the estimate is divided by the draw's own standard error, and the 95th percentile of its absolute
value takes the place of 1.96. The percentile interval is too short where few clusters carry the
result, as live's two largest function documents do, and the BCa and the equal-tailed studentised
ones are worse; `benchmarks/calibration.py` measures them. Sources: Efron and Tibshirani, An
Introduction to the Bootstrap (1993), chapters 12 to 14; Cameron, Gelbach and Miller (2008).

A bootstrap cannot draw what was never seen. Where a stratum of the score has fewer than
`FEW_CLUSTERS` clusters, or fewer than `FEW_CHANGED` clusters changed, the score interval of
`score` is read in its place.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from toolgain.bfcl.categories import CATEGORIES, GROUPS, group_of
from toolgain.statistics import score
from toolgain.statistics.bootstrap import BootstrapChange
from toolgain.statistics.pairs import Design
from toolgain.statistics.score import Interval

Floats = NDArray[np.float64]

STUDENTISED = "symmetric studentised cluster bootstrap"
SCORE = "score interval with a prior per stratum"
LEAST_ERROR = 0.7
"""A draw's standard error counts as at least this share of the estimate's. Without it, draws that
by chance leave out live's two largest documents, of 268 items, have next to none, and the interval
is too long where such documents change as one."""
FEW_CLUSTERS = 50
"""In any stratum of the score. On the full set `javascript` has just 50."""
FEW_CHANGED = (100, 40, 40, 40)
"""Changed clusters, for the Overall and the groups; below, the bootstrap's intervals were too short
in the simulations."""


def interval_to_read(
    design: Design, change: Floats, boot: BootstrapChange, row: int, alpha: float
) -> tuple[Interval, NDArray[np.bool_]]:
    """The interval that the verdict reads.

    Args:
        design: of the n items.
        change: (n, R) changes of the items.
        boot: their bootstrap.
        row: 0 for the Overall, 1 to 3 for the groups.
        alpha: two-sided error level.

    Returns:
        The interval, and (R,) where it is the score interval.
    """
    own = np.array([stratum.variance[row] for stratum in boot.strata])
    few = few_clusters(design, row) | (changed_clusters(design, change, row) < FEW_CHANGED[row])
    # A stratum in which nothing varies, since nothing changed or all did, gives a bootstrap
    # nothing to draw.
    few |= (own[np.unique(design.stratum[_counted(design, row)])] <= 0).any(axis=0)
    usual = None if few.all() else studentised(boot, row, alpha)
    if usual is not None:
        few |= ~np.isfinite(usual.high)
        if not few.any():
            return _possible(usual), few
    weighing = score.weighings(design)[row]
    careful = score.score_interval(design, weighing, change, boot.estimate[row], own, alpha)
    if usual is None:
        return careful, few
    usual = _possible(usual)
    return (
        Interval(
            np.where(few, careful.low, usual.low),
            np.where(few, careful.high, usual.high),
            np.where(few, careful.p, usual.p),
        ),
        few,
    )


def few_clusters(design: Design, row: int) -> bool:
    """Whether a stratum that counts in `row` has too few clusters to draw from."""
    _, sizes = np.unique(design.stratum[_counted(design, row)], return_counts=True)
    return bool(sizes.min() < FEW_CLUSTERS)


def _possible(found: Interval) -> Interval:
    return Interval(np.maximum(found.low, -1), np.minimum(found.high, 1), found.p)


def _counted(design: Design, row: int) -> NDArray[np.bool_]:
    """(clusters,) whether a cluster counts in `row`."""
    if row == 0:
        return np.ones(design.clusters, dtype=bool)
    member = np.array([group_of(name) == GROUPS[row - 1] for name in CATEGORIES])
    found = np.zeros(design.clusters, dtype=bool)
    found[design.cluster[member[design.category]]] = True
    return found


def changed_clusters(design: Design, change: Floats, row: int) -> NDArray[np.intp]:
    """(R,) number of clusters that count in `row` and hold an item that changed."""
    order = np.argsort(design.cluster, kind="stable")
    starts = np.searchsorted(design.cluster[order], np.arange(design.clusters))
    moved = np.logical_or.reduceat(change[order] != 0, starts, axis=0)
    counts: NDArray[np.intp] = moved[_counted(design, row)].sum(axis=0)
    return counts


def studentised(change: BootstrapChange, row: int, alpha: float) -> Interval:
    """The symmetric studentised interval of row `row` (0: Overall, 1 to 3: groups)."""
    estimate, error = change.estimate[row], change.error[row]
    moved = np.abs(change.draws[row] - estimate.astype(np.float32))
    errors = np.maximum(change.draw_errors[row], np.float32(LEAST_ERROR) * error.astype(np.float32))
    # Without any variation a draw lies at its own value: infinitely far unless it did not move.
    ratio = np.divide(
        moved,
        errors,
        out=np.where(moved > 1e-7, np.float32(np.inf), np.float32(0)),
        where=errors > 1e-7,
    )
    draws = len(ratio)
    # The rank makes p <= alpha and "0 outside" the same statement.
    rank = min(int(np.ceil((1 - alpha) * (draws + 1))), draws) - 1
    critical = np.partition(ratio, rank, axis=0)[rank]
    reach = np.where(error > 0, critical * error, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.where(error > 0, np.abs(estimate) / error, 0.0)
    p = (1 + (ratio >= observed).sum(axis=0)) / (draws + 1)
    return Interval(estimate - reach, estimate + reach, np.where(error > 0, p, 1.0))


def percentile(change: BootstrapChange, row: int, alpha: float) -> Interval:
    """The percentile interval: the draws' own quantiles."""
    draws = change.draws[row]
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2], axis=0)
    tail = np.minimum((draws <= 0).sum(axis=0), (draws >= 0).sum(axis=0))
    return Interval(low, high, np.minimum(1.0, 2 * (tail + 1) / (len(draws) + 1)))


def bca(change: BootstrapChange, row: int, alpha: float) -> Interval:
    """The bias-corrected and accelerated interval (Efron 1987); without a p value."""
    draws, estimate, skew = change.draws[row], change.estimate[row], change.skew[row]
    centre = estimate.astype(np.float32)
    below = (draws < centre).mean(axis=0) + (draws == centre).mean(axis=0) / 2
    bias = ndtri(np.clip(below, 1e-4, 1 - 1e-4))
    ordered = np.sort(draws, axis=0)
    bounds = []
    for level in (alpha / 2, 1 - alpha / 2):
        shifted = bias + ndtri(level)
        share = ndtr(bias + shifted / (1 - skew * shifted))
        place = np.clip((share * len(draws)).astype(int), 0, len(draws) - 1)
        bounds.append(np.take_along_axis(ordered, place[None], axis=0)[0].astype(float))
    return Interval(bounds[0], bounds[1], np.full_like(estimate, np.nan))
