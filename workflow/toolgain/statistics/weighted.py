"""The change of weighted means over paired items, of any categories and weights.

One mean has a score interval (`statistics.score`). Groups of categories are read as those of the
official formula are (`statistics.intervals`): by the studentised bootstrap where enough clusters
changed, else by the score interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolgain.statistics import intervals
from toolgain.statistics.bootstrap import bootstrap, resample
from toolgain.statistics.pairs import Design
from toolgain.statistics.score import (
    PRIOR_CORRELATION,
    PRIOR_FREEDOM,
    PSEUDO_CHANGES,
    solved,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class MeanChange:
    """As fractions; `p` is two-sided and below alpha exactly where the interval leaves out 0."""

    change: float
    low: float
    high: float
    p: float


def mean_change(
    change: Floats,
    cluster: Ints,
    weight: Floats,
    alpha: float,
    category: Ints | None = None,
    stratum: Ints | None = None,
) -> MeanChange:
    """The change of the weighted mean of n items; with equal weights, that of a BFCL category.

    Args:
        change: (n,) score after minus score before, in [-1, 1].
        cluster: (n,) 0..clusters-1; items of one cluster are not independent.
        weight: (n,) positive.
        alpha: two-sided error level.
        category: (n,) 0..categories-1, whose shares of the score are fixed; one without.
        stratum: (clusters,) 0..strata-1: what is drawn from apart; one without.
    """
    share = weight / weight.sum()
    estimate = float(share @ change)
    of_item = np.zeros(len(change), np.intp) if category is None else category
    means = np.bincount(of_item, share * change) / np.bincount(of_item, share)
    residual = _sums(cluster, share * (change - means[of_item]))
    of_cluster = np.zeros(len(residual), np.intp) if stratum is None else stratum
    number = _sums(of_cluster, np.ones(len(of_cluster), dtype=np.float64))
    own: Floats = number / np.maximum(number - 1, 1) * _sums(of_cluster, residual**2)
    together = np.bincount(cluster, weights=share)
    alone = np.bincount(cluster, weights=share**2)
    variance = (1 - PRIOR_CORRELATION) * alone + PRIOR_CORRELATION * together**2
    unit: Floats = _sums(of_cluster, variance)
    freedom = unit**2 / _sums(of_cluster, variance**2) - 1 + PRIOR_FREEDOM
    items = len(change)
    changed = (items * float(share @ change**2) + PSEUDO_CHANGES) / (items + PSEUDO_CHANGES)
    found = solved(
        np.array([estimate]),
        own[:, None],
        unit[:, None] * changed,
        unit[:, None],
        np.maximum(freedom, 1.0)[:, None],
        np.array([changed]),
        alpha,
    )
    return MeanChange(estimate, float(found.low[0]), float(found.high[0]), float(found.p[0]))


def group_changes(
    change: Floats,
    design: Design,
    weights: Floats,
    few_changed: Sequence[int],
    alpha: float,
    draws: int,
    seed: int,
) -> list[MeanChange]:
    """The changes of the scores that weigh the categories' accuracies by the rows of `weights`.

    Args:
        change: (n,) of the items, in [-1, 1].
        design: of the items; its categories are the columns of `weights`.
        weights: (rows, categories); in each row they sum to 1.
        few_changed: (rows,) changed clusters below which the score interval is read.
        alpha: two-sided error level.
        draws, seed: of the bootstrap.
    """
    boot = bootstrap(design, change[:, None], resample(design, draws, seed), weights)
    changed = _sums(design.cluster, (change != 0).astype(np.float64)) > 0
    of_item = (weights / np.maximum(np.bincount(design.category), 1))[:, design.category]
    found = []
    for row, shares in enumerate(of_item):
        items = np.flatnonzero(shares > 0)
        counted = np.unique(design.cluster[items])
        strata, sizes = np.unique(design.stratum[counted], return_counts=True)
        varied = all(boot.strata[stratum].variance[row, 0] > 0 for stratum in strata)
        usual = intervals.studentised(boot, row, alpha)
        enough = (
            sizes.min() >= intervals.FEW_CLUSTERS and changed[counted].sum() >= few_changed[row]
        )
        if enough and varied and np.isfinite(usual.high[0]):
            low, high = max(float(usual.low[0]), -1.0), min(float(usual.high[0]), 1.0)
            found.append(MeanChange(float(boot.estimate[row, 0]), low, high, float(usual.p[0])))
            continue
        place = np.searchsorted(counted, design.cluster[items])
        _, category = np.unique(design.category[items], return_inverse=True)
        _, stratum = np.unique(design.stratum[counted], return_inverse=True)
        found.append(
            mean_change(
                change[items],
                place.astype(np.intp),
                shares[items],
                alpha,
                category.astype(np.intp),
                stratum.astype(np.intp),
            )
        )
    return found


def _sums(place: Ints, values: Floats) -> Floats:
    return np.bincount(place, values).astype(np.float64)
