"""Exact and classical tests on paired outcomes, and corrections for several tests."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv, ndtr, stdtrit

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Word = Literal["yes", "no", "cannot tell"]


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p of the exact McNemar test.

    Args:
        gained: items right only after; lost: items right only before. With repeats, items whose
            mean rose or fell: then this is the exact sign test.

    Source: McNemar (1947); exact by the binomial with probability 1/2.
    """
    changed = gained + lost
    if changed == 0:
        return 1.0
    return float(min(1.0, 2 * bdtr(min(gained, lost), changed, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for being a family (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def clopper_pearson(successes: int, n: int, alpha: float) -> tuple[float, float]:
    """The exact two-sided interval of a proportion (Clopper and Pearson 1934)."""
    low = float(betaincinv(successes, n - successes + 1, alpha / 2)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - alpha / 2)) if successes < n else 1.0
    return low, high


def exact_change(gained: int, lost: int, n: int, alpha: float) -> tuple[float, float]:
    """An interval of the change of a proportion in `n` pairs that covers at least 1 - alpha.

    The two shares, of items gained and of items lost, get an exact interval each at alpha / 2;
    by Bonferroni their difference is covered whatever the shares are. It is wide, and it does
    not shrink to a point where no item changed.
    """
    gain = clopper_pearson(gained, n, alpha / 2)
    loss = clopper_pearson(lost, n, alpha / 2)
    return max(-1.0, gain[0] - loss[1]), min(1.0, gain[1] - loss[0])


def non_inferiority(low: float, high: float, margin: float) -> Word:
    """Whether a change with the interval [`low`, `high`] stays above minus `margin`.

    "yes" is a one-sided test at half the interval's error level.
    """
    if low > -margin:
        return "yes"
    return "no" if high < -margin else "cannot tell"


def held(words: Sequence[Word]) -> Word:
    """Whether all of several groups held: yes only if each does, no as soon as one does not."""
    if "no" in words:
        return "no"
    return "yes" if all(word == "yes" for word in words) else "cannot tell"


def unpaired_z(right_before: float, right_after: float, n: int) -> tuple[float, float]:
    """The two-proportion z test on pooled items as if they were two independent samples.

    Returns:
        z and the two-sided p. Shown beside ours because it is common; it ignores the pairing,
        the clusters and the formula.
    """
    pooled = (right_before + right_after) / (2 * n)
    error = float(np.sqrt(2 * pooled * (1 - pooled) / n))
    z = (right_after - right_before) / n / error if error else 0.0
    return z, float(2 * ndtr(-abs(z)))


def cluster_t(change: Floats, cluster: Ints, alpha: float) -> tuple[float, float]:
    """The t interval of a mean change whose items stand in clusters.

    Args:
        change: (n,) changes of a category's items.
        cluster: (n,) number of each item's cluster.
    """
    names, owner = np.unique(cluster, return_inverse=True)
    size = len(names)
    mean = float(change.mean())
    residual = np.bincount(owner, weights=change - mean, minlength=size) / len(change)
    error = float(np.sqrt(size / max(size - 1, 1) * (residual**2).sum()))
    reach = float(stdtrit(max(size - 1, 1), 1 - alpha / 2)) * error
    return max(-1.0, mean - reach), min(1.0, mean + reach)
