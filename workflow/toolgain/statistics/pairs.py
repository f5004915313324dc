"""Two evaluations side by side, as arrays: the input of every statistic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolgain.bfcl.categories import CATEGORIES, group_of

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Design:
    """Which item belongs to which category, cluster and stratum.

    Clusters are the units that are drawn together; strata are what is drawn from separately: each
    non-live category, live, and multi-turn. A stratum holds whole clusters.
    """

    category: Ints
    """(n,) position in CATEGORIES."""
    cluster: Ints
    """(n,) 0..clusters-1."""
    stratum: Ints
    """(clusters,) number of each cluster's stratum."""

    @property
    def counts(self) -> Ints:
        """(17,) number of items of each category."""
        return np.bincount(self.category, minlength=len(CATEGORIES))

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return len(self.stratum)

    def totals(self, values: Floats) -> Floats:
        """(clusters, 17) sums of `values` (n,) by cluster and category."""
        width = len(CATEGORIES)
        cells = np.bincount(
            self.cluster * width + self.category, weights=values, minlength=self.clusters * width
        )
        return cells.astype(np.float64).reshape(self.clusters, width)


def design(categories: Sequence[str], clusters: Sequence[str]) -> Design:
    """The design of items given by the names of their category and cluster."""
    position = {name: number for number, name in enumerate(CATEGORIES)}
    category = np.array([position[name] for name in categories], dtype=np.intp)
    # A cluster never reaches over strata, whatever names a foreign file uses.
    strata = [name if group_of(name) == "non_live" else group_of(name) for name in categories]
    pairs = np.array([f"{s}\0{c}" for s, c in zip(strata, clusters, strict=True)])
    names, cluster = np.unique(pairs, return_inverse=True)
    _, stratum = np.unique([name.split("\0")[0] for name in names], return_inverse=True)
    return Design(category, cluster.astype(np.intp), stratum.astype(np.intp))


@dataclass(frozen=True)
class Pair:
    """The outcomes of the same items before and after; with repeats, one column each."""

    design: Design
    baseline: Floats
    """(n, repeats) 1 where the item was answered right."""
    trained: Floats
    """(n, repeats)"""

    @property
    def before(self) -> Floats:
        """(n,) item means of the baseline."""
        return np.asarray(self.baseline.mean(axis=1))

    @property
    def after(self) -> Floats:
        """(n,) item means of the trained model."""
        return np.asarray(self.trained.mean(axis=1))

    @property
    def change(self) -> Floats:
        """(n,) item means after minus before, in [-1, 1]."""
        return self.after - self.before

    def equals(self, other: "Pair") -> bool:
        """Whether the outcomes are the same."""
        return np.array_equal(self.baseline, other.baseline) and np.array_equal(
            self.trained, other.trained
        )


def category_means(design: Design, values: Floats) -> Floats:
    """(17,) mean of `values` by category."""
    sums = np.bincount(design.category, weights=values, minlength=len(CATEGORIES))
    return sums / design.counts
