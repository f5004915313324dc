"""Score intervals of a change: right where few items changed, or none, or all.

A bootstrap and Student's t take the variance from what was seen, so a stratum in which nothing
changed counts as certain. Here a change of `x` is kept unless it would have been unlikely, and
how unlikely is judged with the variance that `x` itself asks for: a loss of 2 points needs 2 % of
the items to be lost, whether or not any was seen. This is Wilson's (1927) and Tango's (1998)
construction, carried over to weighted strata of clusters:

    |estimate - x| <= t * sqrt(sum over strata of max(own, prior(x)))

`own` is the stratum's cluster-robust variance. `prior(x)` is the variance of a stratum whose items
change as often as was seen in all categories of the score together: each category's share of
changed items is drawn towards the common one by `PSEUDO_ITEMS` items, and the common one has seen
`PSEUDO_CHANGES` more changes than there were; what `x` needs beyond that is added. Two items of a
cluster are taken to change together with the correlation `PRIOR_CORRELATION`. The quantile is
Student's, with degrees of freedom that combine the strata's (Satterthwaite 1946).

benchmarks/calibration.py measures what the intervals hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtr, stdtrit

from toolgain.bfcl.categories import CATEGORIES
from toolgain.bfcl.overall import weight_matrix
from toolgain.statistics.pairs import Design

Floats = NDArray[np.float64]

PRIOR_CORRELATION = 0.3
"""Of the changes of two items of one cluster, where the data do not say otherwise."""
PSEUDO_ITEMS = 4.0
PSEUDO_CHANGES = 2.0
PRIOR_FREEDOM = 2.0
"""Degrees of freedom that the prior adds to each stratum's number of clusters minus 1."""
STEPS = 28
"""Halvings that find a bound: to 4e-9 of the scale."""


@dataclass(frozen=True)
class Interval:
    """Two-sided intervals of R changes, with the p value that belongs to them."""

    low: Floats
    high: Floats
    p: Floats
    """Two-sided; below alpha exactly where the interval leaves out 0."""


@dataclass(frozen=True)
class Weighing:
    """How a score weighs the items of a design; S strata."""

    weights: Floats
    """(17,) weight of each category's mean."""
    alone: Floats
    """(S, 17) sum of the squared shares of the items."""
    together: Floats
    """(S, 17, 17) sum over clusters of the products of two categories' shares."""
    unit: Floats
    """(S,) variance of the score where each item's change has variance 1."""
    freedom: Floats
    """(S,) degrees of freedom."""

    @property
    def size(self) -> float:
        """The number of independent items, equally weighed, that would vary as little."""
        return 1 / float(self.unit.sum())

    def prior(self, shares: Floats) -> Floats:
        """(S, R) variance where items of each category change as often as `shares` (17, R) say."""
        spread = np.sqrt(shares)
        shared = np.einsum("cr,scd,dr->sr", spread, self.together, spread, optimize=True)
        return np.asarray(
            (1 - PRIOR_CORRELATION) * (self.alone @ shares) + PRIOR_CORRELATION * shared
        )


@lru_cache(maxsize=8)
def weighings(design: Design) -> tuple[Weighing, ...]:
    """Those of the Overall and the three groups, in the order of `overall.weight_matrix`."""
    return tuple(_weighing(design, weights) for weights in weight_matrix())


@lru_cache(maxsize=8)
def category_weighings(design: Design) -> tuple[Weighing, ...]:
    """Those of the 17 categories, each of one stratum."""
    return tuple(
        _weighing(design, weights, np.zeros_like(design.stratum))
        for weights in np.eye(len(CATEGORIES))
    )


def _weighing(design: Design, weights: Floats, strata: NDArray[np.intp] | None = None) -> Weighing:
    stratum = design.stratum if strata is None else strata
    shares = (weights / np.maximum(design.counts, 1))[design.category]
    by_cluster = design.totals(shares)
    squares = design.totals(shares**2)
    number = int(stratum.max()) + 1
    alone = np.zeros((number, len(CATEGORIES)))
    np.add.at(alone, stratum, squares)
    together = np.array(
        [by_cluster[stratum == one].T @ by_cluster[stratum == one] for one in range(number)]
    )
    variance = (1 - PRIOR_CORRELATION) * squares.sum(axis=1)
    variance += PRIOR_CORRELATION * by_cluster.sum(axis=1) ** 2
    unit: Floats = np.bincount(stratum, weights=variance, minlength=number).astype(np.float64)
    fourth = np.bincount(stratum, weights=variance**2, minlength=number)
    clusters = np.divide(unit**2, fourth, out=np.ones(number), where=fourth > 0)
    return Weighing(weights, alone, together, unit, np.maximum(clusters - 1 + PRIOR_FREEDOM, 1))


def score_interval(
    design: Design, weighing: Weighing, change: Floats, estimate: Floats, own: Floats, alpha: float
) -> Interval:
    """The score interval of R changes.

    Args:
        design: of the n items.
        weighing: of the score.
        change: (n, R) changes of the items.
        estimate: (R,) change of the score, as a fraction.
        own: (S, R) cluster-robust variance that each stratum adds.
        alpha: two-sided error level.
    """
    shares = smoothed(design, weighing, squares(design, change))
    return solved(
        estimate,
        own,
        weighing.prior(shares),
        weighing.unit[:, None],
        weighing.freedom[:, None],
        weighing.weights @ shares,
        alpha,
    )


def squares(design: Design, change: Floats) -> Floats:
    """(17, R) sums of the squared changes of each category's items."""
    return np.array(
        [
            np.bincount(design.category, weights=column, minlength=len(CATEGORIES))
            for column in (change**2).T
        ]
    ).T


def smoothed(design: Design, weighing: Weighing, seen: Floats) -> Floats:
    """(17, R) share of items that change, by category, of `squares` seen."""
    counts = design.counts[:, None]
    counted = weighing.weights > 0
    items = counts[counted].sum()
    common = (seen[counted].sum(axis=0) + PSEUDO_CHANGES) / (items + PSEUDO_CHANGES)
    return np.asarray((seen + PSEUDO_ITEMS * common) / (counts + PSEUDO_ITEMS))


def category_intervals(design: Design, change: Floats, alpha: float) -> tuple[Floats, Interval]:
    """The changes of the 17 categories and their intervals, each from its own items alone.

    Args:
        design: of the n items.
        change: (n,) changes of the items.
        alpha: two-sided error level.
    """
    counts = design.counts
    members = design.totals(np.ones(len(change)))
    sums = design.totals(change)
    estimate = sums.sum(axis=0) / counts
    residual = (sums - members * estimate) / counts
    clusters = np.count_nonzero(members, axis=0)
    own = clusters / np.maximum(clusters - 1, 1) * (residual**2).sum(axis=0)
    seen = squares(design, change[:, None])[:, 0]
    shares = (seen + PSEUDO_CHANGES) / (counts + PSEUDO_CHANGES)
    found = category_weighings(design)
    unit = np.array([weighing.unit[0] for weighing in found])
    freedom = np.array([weighing.freedom[0] for weighing in found])
    return estimate, solved(
        estimate, own[None], (unit * shares)[None], unit[None], freedom[None], shares, alpha
    )


def solved(
    estimate: Floats,
    own: Floats,
    prior: Floats,
    unit: Floats,
    freedom: Floats,
    share: Floats,
    alpha: float,
) -> Interval:
    """Find the bounds; within [-1, 1].

    Args:
        estimate: (R,)
        own, prior: (S, R) variances.
        unit, freedom: (S, 1) or (S, R).
        share: (R,) share of items that change, as weighed by the score.
        alpha: two-sided error level.
    """

    def variance(x: Floats) -> Floats:
        needed = np.maximum(np.abs(x) - share, 0)
        # Where all change alike there is no variance left: hence 1 - x squared.
        found: Floats = np.maximum(own, (prior + unit * needed) * (1 - x * x))
        return found

    none = variance(np.zeros_like(estimate))
    total = none.sum(axis=0)
    joint = total**2 / (none**2 / freedom).sum(axis=0)
    critical = stdtrit(joint, 1 - alpha / 2)
    p = 2 * stdtr(joint, -np.abs(estimate) / np.sqrt(total))
    # Zero is decided by p alone, so that p and the interval never disagree.
    excluded = p < alpha
    limit = critical**2

    def kept(x: Floats) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (estimate - x) ** 2 <= limit * variance(x).sum(axis=0)
        return found

    # Both bounds at once: the low ones in the first row, the high ones in the second.
    side = np.array([[-1.0], [1.0]])
    towards_zero = side * estimate < 0
    far = np.where(excluded & towards_zero, 0.0, side)
    near = np.where(~excluded & towards_zero, 0.0, estimate)
    reached = _kept_both(kept, far)
    ends = far.copy()
    for _ in range(STEPS):
        half = (near + far) / 2
        inside = _kept_both(kept, half)
        near, far = np.where(inside, half, near), np.where(inside, far, half)
    low, high = np.where(reached, ends, near)
    return Interval(low, high, np.minimum(p, 1.0))


def _kept_both(kept: Callable[[Floats], NDArray[np.bool_]], bounds: Floats) -> NDArray[np.bool_]:
    return np.stack([kept(bounds[0]), kept(bounds[1])])


def smallest_margin(design: Design, weighing: Weighing, alpha: float) -> float:
    """The smallest margin within which the score can be said to have held, as a fraction.

    Of items of which none changed: the end of the interval and the upper bound of the share lost,
    whichever is farther from 0.
    """
    none = np.zeros((len(design.category), 1))
    own = np.zeros((len(weighing.unit), 1))
    found = score_interval(design, weighing, none, np.zeros(1), own, alpha)
    return max(-float(found.low[0]), float(lost_bound(design, weighing, none, alpha)[0]))


def lost_bound(design: Design, weighing: Weighing, change: Floats, alpha: float) -> Floats:
    """(R,) upper bounds of the share of items that were lost, as the score weighs them.

    Clopper and Pearson's (1934) at `alpha / 2`, with the number of independent items that the
    design is worth in place of its number of items (Korn and Graubard 1998).

    Args:
        design: of the n items.
        weighing: of the score.
        change: (n, R) changes of the items.
        alpha: two-sided error level.
    """
    shares = (weighing.weights / design.counts)[design.category]
    lost = np.minimum(shares @ np.maximum(-change, 0), 1.0)
    successes, failures = weighing.size * lost, weighing.size * (1 - lost)
    bound = betaincinv(successes + 1, np.maximum(failures, 1e-9), 1 - alpha / 2)
    return np.asarray(np.where(lost >= 1 - 1e-12, 1.0, bound))
