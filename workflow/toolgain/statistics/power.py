"""The smallest change that a comparison can detect: a matter of its design, before the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtr, ndtri, stdtrit

from toolgain.bfcl.categories import CATEGORIES, group_of
from toolgain.bfcl.overall import CATEGORY_WEIGHTS
from toolgain.statistics import intervals, score
from toolgain.statistics.pairs import Design, design

Floats = NDArray[np.float64]

ASSUMED_DISCORDANCE: Mapping[str, float] = {"non_live": 0.05, "live": 0.07, "multi_turn": 0.20}
"""Share of items that change their outcome, by group, for a trained model: an assumption."""
ASSUMED_CORRELATION = 0.3
"""Correlation of the changes of two items of one cluster: an assumption."""
POWER = 0.8


class Placed(Protocol):
    """An item with its category and cluster."""

    @property
    def category(self) -> str: ...
    @property
    def cluster(self) -> str: ...


@dataclass(frozen=True)
class Plan:
    """What a comparison will be able to see, from its design and what is assumed of the change."""

    error: float
    """Standard error of the Overall's change, as a fraction."""
    reach: float
    """Half width that the interval will have, as a fraction."""
    freedom: float
    """How many equal clusters the change rests on."""
    alpha: float
    n: int
    discordance: Mapping[str, float]
    correlation: float

    @property
    def detectable(self) -> float:
        """The change found with 80 % power, as a fraction."""
        return detectable(self.error, self.reach, self.freedom)

    def record(self) -> dict[str, Any]:
        """The plan for comparison.json, in points."""
        return {
            "points": 100 * self.detectable,
            "standard_error": 100 * self.error,
            "power": POWER,
            "alpha": self.alpha,
            "basis": "assumed",
            "discordance": dict(self.discordance),
            "correlation": self.correlation,
        }

    def sentence(self) -> str:
        """One line for the log."""
        shares = ", ".join(f"{name} {100 * share:g} %" for name, share in self.discordance.items())
        return (
            f"{self.n} items can show a change of the Overall of {100 * self.detectable:.1f} "
            f"points or more with {100 * POWER:.0f} % power (assumed: items that change {shares}; "
            f"correlation within clusters {self.correlation:g})"
        )


def planned(
    items: Sequence[Placed],
    alpha: float = 0.05,
    discordance: Mapping[str, float] = ASSUMED_DISCORDANCE,
    correlation: float = ASSUMED_CORRELATION,
) -> Plan:
    """What a comparison on `items` can detect, before anything has been run."""
    placed = design([item.category for item in items], [item.cluster for item in items])
    return plan(placed, alpha, discordance, correlation)


def plan(
    placed: Design,
    alpha: float = 0.05,
    discordance: Mapping[str, float] = ASSUMED_DISCORDANCE,
    correlation: float = ASSUMED_CORRELATION,
) -> Plan:
    """As `planned`, for a design."""
    shares = np.array([discordance[group_of(category)] for category in CATEGORIES])
    error = design_error(placed, shares, correlation)
    reach = design_reach(placed, shares, correlation, alpha)
    freedom = design_freedom(placed, shares, correlation)
    return Plan(error, reach, freedom, alpha, len(placed.category), dict(discordance), correlation)


def design_error(placed: Design, variance: Floats, correlation: float | Floats) -> float:
    """The standard error of the Overall's change.

    Args:
        placed: the items' design.
        variance: (17,) variance of an item's change by category; for small changes that is the
            share of items that change.
        correlation: between the changes of two items of one cluster; one number, or (17,) by
            category, of which two categories take the geometric mean.
    """
    weights = np.array(list(CATEGORY_WEIGHTS.values())) / placed.counts
    scale = (weights * np.sqrt(variance))[placed.category]
    return float(np.sqrt(_by_cluster(placed, scale, correlation).sum()))


def design_reach(
    placed: Design, variance: Floats, correlation: float | Floats, alpha: float
) -> float:
    """The half width that the verdict's interval will have, as a fraction; see `intervals`.

    Args:
        placed, variance, correlation: as for `design_error`.
        alpha: two-sided error level.
    """
    moved = 1 - np.exp(_logarithms(placed, variance))
    if not intervals.few_clusters(placed, 0) and moved.sum() >= intervals.FEW_CHANGED[0]:
        return float(ndtri(1 - alpha / 2)) * design_error(placed, variance, correlation)
    weights = (np.array(list(CATEGORY_WEIGHTS.values())) / placed.counts)[placed.category]
    scale = weights * np.sqrt(variance)[placed.category]
    own = np.bincount(placed.stratum, weights=_by_cluster(placed, scale, correlation))
    weighing = score.weighings(placed)[0]
    shares = score.smoothed(placed, weighing, (placed.counts * variance)[:, None])
    seen = np.maximum(own, weighing.prior(shares)[:, 0])
    freedom = seen.sum() ** 2 / (seen**2 / weighing.freedom).sum()
    return float(stdtrit(freedom, 1 - alpha / 2) * np.sqrt(seen.sum()))


def _logarithms(placed: Design, variance: Floats) -> Floats:
    """(clusters,) logarithm of the probability that no item changes, were they independent."""
    same = np.log1p(-np.clip(variance, 0, 0.999))[placed.category]
    return np.bincount(placed.cluster, weights=same, minlength=placed.clusters).astype(np.float64)


def _by_cluster(placed: Design, scale: Floats, correlation: float | Floats) -> Floats:
    """(clusters,) variance of each cluster's sum, of items with standard deviation `scale`."""
    shared = np.broadcast_to(correlation, placed.counts.shape)[placed.category]
    alone = np.bincount(placed.cluster, weights=scale**2 * (1 - shared), minlength=placed.clusters)
    together = np.bincount(
        placed.cluster, weights=scale * np.sqrt(shared), minlength=placed.clusters
    )
    return np.asarray(alone + together**2, dtype=np.float64)


def design_freedom(placed: Design, variance: Floats, correlation: float | Floats) -> float:
    """How many equal clusters the change rests on: degrees of freedom after Satterthwaite (1946).

    Args:
        placed, variance, correlation: as for `design_error`.
    """
    weights = (np.array(list(CATEGORY_WEIGHTS.values())) / placed.counts)[placed.category]
    scale = weights * np.sqrt(variance)[placed.category]
    parts = _by_cluster(placed, scale, correlation)
    return float(parts.sum() ** 2 / max((parts**2).sum(), 1e-300))


def detectable(error: float, reach: float, freedom: float = np.inf, power: float = POWER) -> float:
    """The change that ends as a verdict with probability `power`.

    Args:
        error: standard error of the change, in any unit; the result has the same.
        reach: half width of the interval.
        freedom: as for `power_at`.
    """
    if error <= 0:
        return reach
    low, high = 0.0, reach + 10 * error
    for _ in range(50):
        middle = (low + high) / 2
        enough = power_at(middle, error, reach, freedom) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def power_at(change: float, error: float, reach: float, freedom: float = np.inf) -> float:
    """The probability that a true `change` ends as a verdict.

    Where few clusters carry the change, how much it varies is itself a matter of which of them
    come to change: the estimate is normal with a standard error that varies like the root of a
    chi-square with `freedom` degrees, and the interval is as wide as that error.

    Args:
        change: the true one.
        error: its standard error, in the unit of `change`.
        reach: half width of the interval, expected.
        freedom: `design_freedom`; infinite for the plain normal law.
    """
    scale = np.ones(1)
    if np.isfinite(freedom):
        levels = (np.arange(200) + 0.5) / 200
        scale = np.sqrt(gammaincinv(freedom / 2, levels) * 2 / freedom)
    limit = reach / error
    signal = change / error / scale
    return float(np.mean(ndtr(signal - limit) + ndtr(-signal - limit)))
