"""The smallest change that a comparison can detect: a matter of its design, before the run.

Where the verdict will read the bootstrap, many clusters carry the change: the estimate is normal,
and its interval as wide as its standard error says. Where it will read the score interval, its
width depends on which of a few clusters come to change; the same interval is then taken of
simulated changes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from toolgain.bfcl.categories import CATEGORIES, group_of
from toolgain.bfcl.overall import CATEGORY_WEIGHTS
from toolgain.records.comparison import Detectable
from toolgain.statistics import bootstrap, intervals, score
from toolgain.statistics.pairs import Design, design

Floats = NDArray[np.float64]

ASSUMED_DISCORDANCE: Mapping[str, float] = {"non_live": 0.05, "live": 0.07, "multi_turn": 0.20}
"""Share of items that change their outcome, by group, for a trained model: an assumption."""
ASSUMED_CORRELATION = 0.3
"""Correlation of the changes of two items of one cluster: an assumption."""
POWER = 0.8
SEED = 20250408
SIMULATED_ITEMS = 200_000
"""Items times pairs that are simulated, and the fewest and the most pairs."""
SIMULATED_PAIRS = (100, 500)
STEPS = 10
"""Halvings that find the detectable change: to 0.1 points."""


class Placed(Protocol):
    """An item with its category and cluster."""

    @property
    def category(self) -> str: ...
    @property
    def cluster(self) -> str: ...


@dataclass(frozen=True)
class PowerPlan:
    """What a comparison will be able to see, from its design and what is assumed of the change."""

    error: float
    """Standard error of the Overall's change, as a fraction."""
    detectable: float | None
    """The change found with 80 % power, as a fraction; None where even a change of all is not."""
    alpha: float
    n: int
    discordance: Mapping[str, float]
    correlation: float

    def record(self) -> Detectable:
        """The plan for comparison.json, in points."""
        return Detectable(
            points=None if self.detectable is None else 100 * self.detectable,
            standard_error=100 * self.error,
            power=POWER,
            alpha=self.alpha,
            basis="assumed",
            discordance=dict(self.discordance),
            correlation=self.correlation,
        )

    def sentence(self) -> str:
        """One line for the log."""
        shares = ", ".join(f"{name} {100 * share:g} %" for name, share in self.discordance.items())
        found = (
            f"cannot show any change of the Overall, however large, with {100 * POWER:.0f} % power"
            if self.detectable is None
            else f"can show a change of the Overall of {100 * self.detectable:.1f} points or more "
            f"with {100 * POWER:.0f} % power"
        )
        return (
            f"{self.n} items {found} (assumed: items that change {shares}; correlation within "
            f"clusters {self.correlation:g})"
        )


def planned_power(
    items: Sequence[Placed],
    alpha: float = 0.05,
    discordance: Mapping[str, float] = ASSUMED_DISCORDANCE,
    correlation: float = ASSUMED_CORRELATION,
) -> PowerPlan:
    """What a comparison on `items` can detect, before anything has been run."""
    placed = design([item.category for item in items], [item.cluster for item in items])
    return plan(placed, alpha, discordance, correlation)


def plan(
    placed: Design,
    alpha: float = 0.05,
    discordance: Mapping[str, float] = ASSUMED_DISCORDANCE,
    correlation: float = ASSUMED_CORRELATION,
) -> PowerPlan:
    """As `planned_power`, for a design."""
    shares = np.array([discordance[group_of(category)] for category in CATEGORIES])
    error = design_error(placed, shares, correlation)
    found = detectable(placed, shares, correlation, alpha)
    return PowerPlan(error, found, alpha, len(placed.category), dict(discordance), correlation)


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


def detectable(
    placed: Design, shares: Floats, correlation: float | Floats, alpha: float
) -> float | None:
    """The change of all categories alike that ends as a verdict with probability `POWER`.

    Args:
        placed: the items' design.
        shares: (17,) share of items that change, by category; more where the change needs more.
        correlation: as for `design_error`.
        alpha: two-sided error level.
    """
    power = curve(placed, shares, correlation, alpha)
    if power(np.ones_like(shares)) < POWER:
        return None
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        enough = power(np.full_like(shares, middle)) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def curve(
    placed: Design, shares: Floats, correlation: float | Floats, alpha: float
) -> Callable[[Floats], float]:
    """The probability that a true change, (17,) by category, ends as a verdict.

    Args: as for `detectable`.
    """
    moved = 1 - np.exp(_logarithms(placed, shares))
    if not intervals.few_clusters(placed, 0) and moved.sum() >= intervals.FEW_CHANGED[0]:
        return lambda change: _normal(placed, shares, correlation, alpha, change)
    draws = _draws(placed, correlation)
    return lambda change: _simulated(placed, shares, alpha, change, draws)


def _normal(
    placed: Design, shares: Floats, correlation: float | Floats, alpha: float, change: Floats
) -> float:
    variance = np.maximum(shares, np.abs(change)) - change**2
    error = design_error(placed, variance, correlation)
    true = np.array(list(CATEGORY_WEIGHTS.values())) @ change
    limit = ndtri(1 - alpha / 2)
    signal = true / error if error > 0 else np.inf * true
    return float(ndtr(signal - limit) + ndtr(-signal - limit))


def _draws(placed: Design, correlation: float | Floats) -> NDArray[np.float32]:
    """(n, pairs) uniform numbers; those of two items of a cluster have the correlation.

    Each item takes its cluster's number with the probability that is the correlation's root, and
    otherwise one of its own.
    """
    generator = np.random.default_rng(SEED)
    n = len(placed.category)
    pairs = int(np.clip(SIMULATED_ITEMS // n, *SIMULATED_PAIRS))
    root = np.sqrt(np.broadcast_to(correlation, placed.counts.shape))[placed.category]
    shared = generator.random((placed.clusters, pairs), dtype=np.float32)[placed.cluster]
    own = generator.random((n, pairs), dtype=np.float32)
    return np.where(generator.random((n, pairs), dtype=np.float32) < root[:, None], shared, own)


def _simulated(
    placed: Design, shares: Floats, alpha: float, change: Floats, draws: NDArray[np.float32]
) -> float:
    moved = np.maximum(shares, np.abs(change))
    gained, lost = ((moved + sign * change)[placed.category, None] / 2 for sign in (1, -1))
    changes = (draws < gained).astype(float) - (draws > 1 - lost)
    own = bootstrap.bootstrap(placed, changes, bootstrap.resample(placed, 1, SEED))
    weighing = score.weighings(placed)[0]
    variance = np.array([stratum.variance[0] for stratum in own.strata])
    found = score.score_interval(placed, weighing, changes, own.estimate[0], variance, alpha)
    return float(np.mean(found.p < alpha))


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
