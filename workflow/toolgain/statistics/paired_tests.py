"""Exact and classical tests on paired outcomes, and corrections for several tests."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.special import bdtr, ndtr

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


def non_inferiority(low: float, high: float, lost: float, margin: float) -> Word:
    """Whether a change with the interval [`low`, `high`] stays above minus `margin`.

    "yes" is a one-sided test at half the interval's error level.

    Args:
        low, high: bounds of the change.
        lost: upper bound of the share lost; "yes" needs it within the margin, too.
        margin: in the same unit.
    """
    if high < -margin:
        return "no"
    return "yes" if low > -margin and lost <= margin else "cannot tell"


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
