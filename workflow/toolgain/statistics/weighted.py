"""The change of one weighted mean over paired items, with a score interval (`statistics.score`)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def mean_change(change: Floats, cluster: Ints, weight: Floats, alpha: float) -> MeanChange:
    """The change of the weighted mean of n items; with equal weights, that of a BFCL category.

    Args:
        change: (n,) score after minus score before, in [-1, 1].
        cluster: (n,) 0..clusters-1; items of one cluster are not independent.
        weight: (n,) positive.
        alpha: two-sided error level.
    """
    share = weight / weight.sum()
    estimate = float(share @ change)
    residual = np.bincount(cluster, weights=share * (change - estimate))
    number = len(residual)
    own = number / max(number - 1, 1) * float(residual @ residual)
    together = np.bincount(cluster, weights=share)
    alone = np.bincount(cluster, weights=share**2)
    variance = (1 - PRIOR_CORRELATION) * alone + PRIOR_CORRELATION * together**2
    unit = float(variance.sum())
    freedom = max(unit**2 / float(variance @ variance) - 1 + PRIOR_FREEDOM, 1.0)
    items = len(change)
    changed = (items * float(share @ change**2) + PSEUDO_CHANGES) / (items + PSEUDO_CHANGES)
    found = solved(
        np.array([estimate]),
        np.array([[own]]),
        np.array([[unit * changed]]),
        np.array([[unit]]),
        np.array([[freedom]]),
        np.array([changed]),
        alpha,
    )
    return MeanChange(estimate, float(found.low[0]), float(found.high[0]), float(found.p[0]))
