"""Simulated pairs of evaluations with known truth, for the calibration of the intervals.

Each item has a normal latent value before and one after the training; the item is answered right
where the value is below a threshold that gives the category's accuracy. Items of one cluster share
a part of the latent value, before and after apart, sized so that two outcomes of one evaluation
have the correlation asked for. What the training changed is thereby correlated within clusters as
well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from toolgain.bfcl.categories import CATEGORIES
from toolgain.bfcl.overall import CATEGORY_WEIGHTS
from toolgain.statistics.pairs import Design

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True)
class Truth:
    """What a simulated pair is drawn from."""

    before: Floats
    """(17,) accuracy of each category, as a fraction."""
    after: Floats
    """(17,)"""
    correlation: float
    """Of two outcomes of one evaluation in one cluster."""
    similarity: float
    """Latent correlation of an item's values before and after; 1 changes nothing."""

    @property
    def change(self) -> float:
        """The true change of the Overall, as a fraction."""
        weights = np.array([CATEGORY_WEIGHTS[category] for category in CATEGORIES])
        return float(weights @ (self.after - self.before))

    @property
    def latent(self) -> Floats:
        """(17,) latent correlation within clusters.

        It gives the correlation asked for at that accuracy of the two, before or after, which is
        nearer to one half: at 0 and 100 % outcomes have none.
        """
        nearer = np.where(abs(self.before - 0.5) < abs(self.after - 0.5), self.before, self.after)
        return np.array([latent_correlation(float(p), self.correlation) for p in nearer])

    @property
    def variance(self) -> Floats:
        """(17,) variance of an item's change."""
        both = np.array(
            [joint(p, q, self.similarity) for p, q in zip(self.before, self.after, strict=True)]
        )
        variance = self.before + self.after - 2 * both - (self.after - self.before) ** 2
        return np.asarray(variance)

    @property
    def change_correlation(self) -> Floats:
        """(17,) correlation of the changes of two items of one cluster."""
        shared = []
        for p, q, latent in zip(self.before, self.after, self.latent, strict=True):
            covariance = (
                joint(p, p, latent)
                + joint(q, q, latent)
                - 2 * joint(p, q, latent * self.similarity)
                - (q - p) ** 2
            )
            shared.append(covariance)
        return np.clip(np.array(shared) / np.maximum(self.variance, 1e-12), 0, 1)


def pairs(
    design: Design, truth: Truth, count: int, generator: np.random.Generator
) -> tuple[Flags, Flags]:
    """Draw `count` pairs: (n, count) outcomes before and after."""
    latent = truth.latent[design.category][:, None]
    shared, own = np.sqrt(latent), np.sqrt(1 - latent)
    cluster_before, cluster_after = _twins(design.clusters, count, truth.similarity, generator)
    item_before, item_after = _twins(len(design.category), count, truth.similarity, generator)
    before = shared * cluster_before[design.cluster] + own * item_before
    after = shared * cluster_after[design.cluster] + own * item_after
    return (
        before < ndtri(truth.before)[design.category][:, None],
        after < ndtri(truth.after)[design.category][:, None],
    )


def _twins(
    rows: int, count: int, similarity: float, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    first = generator.standard_normal((rows, count))
    other = generator.standard_normal((rows, count))
    return first, similarity * first + np.sqrt(1 - similarity**2) * other


def joint(p: float, q: float, correlation: float) -> float:
    """P(X < a and Y < b) of two normals with P(X < a) = p, P(Y < b) = q.

    By Plackett's identity: the derivative after the correlation is the density at (a, b).
    """
    a, b = float(ndtri(p)), float(ndtri(q))
    angles = np.arcsin(correlation) * (_NODES + 1) / 2
    sine = np.sin(angles)
    density = np.exp(-(a * a + b * b - 2 * a * b * sine) / (2 * np.cos(angles) ** 2))
    return p * q + float(np.arcsin(correlation) / 2 * (_WEIGHTS @ density) / (2 * np.pi))


def latent_correlation(p: float, correlation: float) -> float:
    """The latent correlation that gives two outcomes with accuracy `p` this `correlation`."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        reached = (joint(p, p, middle) - p * p) / (p * (1 - p))
        low, high = (middle, high) if reached < correlation else (low, middle)
    return (low + high) / 2 if correlation else 0.0
