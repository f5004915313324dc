"""Intervals and p values of the change, and which of them the verdict reads.

The verdict reads the studentised bootstrap interval in its symmetric form: a draw's distance from
the estimate is divided by the draw's own standard error, and the 95th percentile of its absolute
value takes the place of 1.96. The percentile interval is too short where few clusters carry the
result, as live's two largest function documents do, and the BCa and the equal-tailed studentised
ones are worse; `benchmarks/calibration.py` measures them. Sources: Efron and Tibshirani, An
Introduction to the Bootstrap (1993), chapters 12 to 14; Cameron, Gelbach and Miller (2008).

Where a stratum has fewer than `FEW` clusters, or fewer than `FEW` clusters changed, a bootstrap
has too little to draw from: three scenarios that did not change by chance would count as sure.
There the interval is Student's t with each stratum's variance pulled towards what the changes of
all strata suggest, as if one more cluster had been seen (`small_sample`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from toolgain.statistics.bootstrap import Change
from toolgain.statistics.pairs import Design

Floats = NDArray[np.float64]

STUDENTISED = "symmetric studentised cluster bootstrap"
SMALL_SAMPLE = "t with one pseudo-cluster per stratum"
FEW = 20


@dataclass(frozen=True)
class Interval:
    """Two-sided intervals of R changes, with the p value that belongs to them."""

    low: Floats
    high: Floats
    p: Floats
    """Two-sided; below alpha exactly where the interval leaves out 0."""


def read(
    design: Design, change: Floats, boot: Change, row: int, alpha: float
) -> tuple[Interval, NDArray[np.bool_]]:
    """The interval that the verdict reads.

    Args:
        design: of the n items.
        change: (n, R) changes of the items.
        boot: their bootstrap.
        row: 0 for the Overall, 1 to 3 for the groups.
        alpha: two-sided error level.

    Returns:
        The interval, and (R,) where it is the small-sample one.
    """
    careful = small_sample(boot, row, (change**2).mean(axis=0), alpha)
    few = np.full(change.shape[1], np.bincount(design.stratum).min() < FEW)
    if few.all():
        return careful, few
    usual = studentised(boot, row, alpha)
    few |= (_moved(design, change) < FEW) | ~np.isfinite(usual.high)
    return (
        Interval(
            np.where(few, careful.low, usual.low),
            np.where(few, careful.high, usual.high),
            np.where(few, careful.p, usual.p),
        ),
        few,
    )


def _moved(design: Design, change: Floats) -> NDArray[np.intp]:
    """(R,) number of clusters with an item that changed."""
    order = np.argsort(design.cluster, kind="stable")
    starts = np.searchsorted(design.cluster[order], np.arange(design.clusters))
    moved = np.logical_or.reduceat(change[order] != 0, starts, axis=0)
    counts: NDArray[np.intp] = moved.sum(axis=0)
    return counts


def small_sample(change: Change, row: int, mean_square: Floats, alpha: float) -> Interval:
    """Student's t interval for few clusters.

    Args:
        change: only its estimates and strata are read.
        row: 0 for the Overall, 1 to 3 for the groups.
        mean_square: (R,) mean of the squared changes of all items.
        alpha: two-sided error level.

    The degrees of freedom combine the strata's by Satterthwaite (1946); a stratum of k clusters
    has k - 1, or fewer where few clusters carry its change.
    """
    variance = np.zeros_like(mean_square)
    spread = np.zeros_like(mean_square)
    for stratum in change.strata:
        own, size = stratum.variance[row], stratum.clusters
        # A single cluster shows no variance at all; the prior alone speaks then.
        weight = size if size > 1 else 0
        pulled = (weight * own + stratum.unit[row] * mean_square) / (weight + 1)
        excess = stratum.fourth[row] - own**2 / size
        carried = np.divide(2 * own**2, excess, out=np.full_like(own, 1e6), where=excess > 1e-30)
        freedom = np.minimum(max(size - 1, 1), np.maximum(carried, 1))
        variance += pulled
        spread += pulled**2 / freedom
    freedom = np.divide(variance**2, spread, out=np.ones_like(variance), where=spread > 0)
    error = np.sqrt(variance)
    estimate = change.estimate[row]
    reach = stdtrit(freedom, 1 - alpha / 2) * error
    observed = np.divide(estimate, error, out=np.zeros_like(error), where=error > 0)
    p = np.where(error > 0, 2 * stdtr(freedom, -np.abs(observed)), 1.0)
    return Interval(estimate - reach, estimate + reach, p)


def studentised(change: Change, row: int, alpha: float) -> Interval:
    """The symmetric studentised interval of row `row` (0: Overall, 1 to 3: groups)."""
    estimate, error = change.estimate[row], change.error[row]
    moved = np.abs(change.draws[row] - estimate.astype(np.float32))
    # A draw without any variation lies at its own value: infinitely far unless it did not move.
    ratio = np.divide(
        moved,
        change.draw_errors[row],
        out=np.where(moved > 1e-7, np.float32(np.inf), np.float32(0)),
        where=change.draw_errors[row] > 1e-7,
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


def percentile(change: Change, row: int, alpha: float) -> Interval:
    """The percentile interval: the draws' own quantiles."""
    draws = change.draws[row]
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2], axis=0)
    tail = np.minimum((draws <= 0).sum(axis=0), (draws >= 0).sum(axis=0))
    return Interval(low, high, np.minimum(1.0, 2 * (tail + 1) / (len(draws) + 1)))


def bca(change: Change, row: int, alpha: float) -> Interval:
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
