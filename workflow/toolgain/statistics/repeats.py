"""Repeated evaluations of the same weights: the noise floor, and its part in the interval."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from toolgain.bfcl.categories import CATEGORIES, GROUPS, group_of
from toolgain.bfcl.overall import weight_matrix
from toolgain.records.comparison import NoiseFloor
from toolgain.statistics import bootstrap as clusters
from toolgain.statistics.bootstrap import ROWS, BootstrapChange, Resampling
from toolgain.statistics.pairs import Design, Pair, category_means

Floats = NDArray[np.float64]

TOGETHER = 16
"""Pairs whose bootstrap is one multiplication: a quarter of the time of one pair after another."""


def bootstrap_repeats(
    pairs: Sequence[Pair], resampling: Resampling, seed: int
) -> Iterator[BootstrapChange]:
    """The bootstrap of the item means: clusters are drawn, then repeats of each item drawn.

    Args:
        pairs: all of one design; each gets a change of its own.
        resampling: of that design.
        seed: of the draws of repeats.
    """
    for start in range(0, len(pairs), TOGETHER):
        batch = pairs[start : start + TOGETHER]
        moved = np.stack([pair.change for pair in batch], axis=1)
        together = clusters.bootstrap(batch[0].design, moved, resampling)
        for number, pair in enumerate(batch):
            yield _with_repeats(pair, together.of(number), resampling, seed)


def _with_repeats(
    pair: Pair, change: BootstrapChange, resampling: Resampling, seed: int
) -> BootstrapChange:
    """Add the noise of repeats drawn again to the bootstrap of clusters.

    Drawing at both levels counts the repeats' noise nearly twice, in the draws and in their
    standard errors alike; the studentised interval divides the two and is right, a percentile
    interval would be too long.
    """
    noisy = np.flatnonzero((pair.baseline.std(axis=1) > 0) | (pair.trained.std(axis=1) > 0))
    if not len(noisy):
        return change
    generator = np.random.default_rng([seed, 1])
    design = pair.design
    weights = weight_matrix()[:, design.category[noisy]] / design.counts[design.category[noisy]]
    draws, draw_variance = change.draws.copy(), change.draw_errors**2
    residual = _residuals(pair)
    for members, drawn in zip(resampling.clusters, resampling.counts, strict=True):
        place = np.full(design.clusters, -1)
        place[members] = np.arange(len(members))
        owner = place[design.cluster[noisy]]
        here = np.flatnonzero(owner >= 0)
        if not len(here):
            continue
        copies = drawn[:, owner[here]]
        moved = np.zeros_like(copies)
        spread = np.zeros(len(here))
        for outcomes in (pair.baseline, pair.trained):
            rates, count = outcomes[noisy[here]].mean(axis=1), outcomes.shape[1]
            right = generator.binomial((copies * count).astype(np.int64), rates)
            sign = 1 if outcomes is pair.trained else -1
            moved += (sign * (right / count - copies * rates)).astype(np.float32)
            spread += rates * (1 - rates) / count
        size = len(members)
        correction = np.float32(size / max(size - 1, 1))
        for row in np.flatnonzero(weights[:, here].any(axis=1)):
            share = weights[row, here].astype(np.float32)
            noise = moved @ share
            centre = residual[row, members].astype(np.float32)
            first = drawn @ centre
            # Sum over the drawn copies of (residual + noise) squared, minus its mean's square.
            cross = moved @ (share * centre[owner[here]])
            square = copies @ (share**2 * spread).astype(np.float32)
            added = 2 * cross + square - (2 * first * noise + noise**2) / size
            draws[row, :, 0] += noise
            draw_variance[row, :, 0] += correction * added
    return BootstrapChange(
        change.estimate,
        change.error,
        draws,
        np.sqrt(np.maximum(draw_variance, 0)),
        change.skew,
        change.strata,
    )


def _residuals(pair: Pair) -> Floats:
    """(4, clusters) share of each cluster in the change, around its categories' means."""
    design = pair.design
    deviation = pair.change - category_means(design, pair.change)[design.category]
    weights = weight_matrix()[:, design.category] / design.counts[design.category]
    return np.array(
        [
            np.bincount(design.cluster, weights=row * deviation, minlength=design.clusters)
            for row in weights
        ]
    ).reshape(ROWS, -1)


def noise_floor(pair: Pair, delta: float) -> NoiseFloor | None:
    """How far the same weights move between repeats; None without repeats.

    Args:
        pair: with 2 or more repeats on at least one side.
        delta: change of the Overall, in points.

    Returns:
        `moved`: root mean square distance of the Overall between two repeats of the same
        weights, in points; with two repeats of one model that is their distance. `times`: the
        change over it. `discordance`: share of items whose outcome differs between two repeats.
    """
    sides = {"baseline": pair.baseline, "trained": pair.trained}
    sides = {name: outcomes for name, outcomes in sides.items() if outcomes.shape[1] > 1}
    if not sides:
        return None
    series = {name: _overalls(pair.design, outcomes) for name, outcomes in sides.items()}
    moved = float(np.sqrt(np.mean([2 * np.var(values, ddof=1) for values in series.values()])))
    times = abs(delta) / moved if moved else None
    said = f"the change is {times:.1f} times that" if times is not None else "not at all"
    return NoiseFloor(
        moved=moved,
        times=times,
        overalls={name: [float(value) for value in values] for name, values in series.items()},
        discordance=_discordance(pair.design, sides),
        sentence=f"the same weights moved by {moved:.2f} points; {said}",
    )


def _overalls(design: Design, outcomes: Floats) -> Floats:
    weights = 100 * weight_matrix()[0]
    return np.array([weights @ category_means(design, column) for column in outcomes.T])


def _discordance(design: Design, sides: dict[str, Floats]) -> dict[str, float]:
    of_item = np.array([group_of(CATEGORIES[c]) for c in design.category])
    shares = []
    for outcomes in sides.values():
        count = outcomes.shape[1]
        rates = outcomes.mean(axis=1)
        # Two of `count` repeats drawn without replacement differ with this probability.
        shares.append(2 * rates * (1 - rates) * count / (count - 1))
    mean = np.mean(shares, axis=0)
    return {group: float(mean[of_item == group].mean()) for group in GROUPS}
