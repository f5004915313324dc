"""The bootstrap against brute force and known limits, and its intervals on simulated pairs."""

import numpy as np
import pytest
from evaluation_folders import outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from toolgain.bfcl.categories import CATEGORIES, POPULATION, group_of
from toolgain.bfcl.overall import CATEGORY_WEIGHTS, overall
from toolgain.records.comparison import NonInferiority
from toolgain.statistics import (
    bootstrap,
    intervals,
    power,
    repeats,
    score,
    seeds,
    simulate,
    verdict,
)
from toolgain.statistics.pairs import Design, Pair, design

Floats = NDArray[np.float64]


def layout(sizes: dict[str, int]) -> Design:
    items = [outcome(c, index, True) for c, size in sizes.items() for index in range(size)]
    return design([item.category for item in items], [item.cluster for item in items])


FULL = layout(dict(POPULATION))
SUBSET = layout({c: 3 if group_of(c) == "multi_turn" else 10 for c in CATEGORIES})

SMALLEST = layout(dict.fromkeys(CATEGORIES, 1))


def changes(placed: Design, share: float, seed: int = 0) -> Floats:
    generator = np.random.default_rng(seed)
    return generator.choice(
        [-1.0, 0.0, 1.0], len(placed.category), p=[share / 2, 1 - share, share / 2]
    )


def test_a_draw_is_the_official_formula_on_the_items_drawn() -> None:
    """Every draw is repeated by hand: item by item, with copies, through `overall`."""
    change = changes(SUBSET, 0.3)
    drawn = bootstrap.resample(SUBSET, 50, seed=3)
    found = bootstrap.bootstrap(SUBSET, change[:, None], drawn)
    copies = np.zeros((50, SUBSET.clusters))
    for clusters, counts in zip(drawn.clusters, drawn.counts, strict=True):
        copies[:, clusters] = counts
    for number in range(50):
        times = copies[number, SUBSET.cluster]
        means = {
            category: np.average(change[chosen], weights=times[chosen])
            for place, category in enumerate(CATEGORIES)
            if times[chosen := SUBSET.category == place].sum()
        }
        assert len(means) == len(CATEGORIES)
        scores = overall(means)
        expected = [scores["overall"], *scores["groups"].values()]
        assert found.draws[:, number, 0] == pytest.approx(expected, abs=1e-5)


def test_strata_keep_their_numbers_of_clusters() -> None:
    drawn = bootstrap.resample(FULL, 20, seed=1)
    for clusters, counts in zip(drawn.clusters, drawn.counts, strict=True):
        assert set(counts.sum(axis=1)) == {len(clusters)}


def test_multi_turn_categories_are_drawn_together() -> None:
    """A scenario brings its four items: the same change in all four is one observation."""
    change = np.zeros(len(FULL.category))
    for place, category in enumerate(CATEGORIES):
        if group_of(category) == "multi_turn":
            change[np.flatnonzero(FULL.category == place)[:40]] = 1.0
    found = bootstrap.bootstrap(FULL, change[:, None], bootstrap.resample(FULL, 1000, seed=1))
    one_category = np.sqrt(0.2 * 0.8 / 199)
    assert found.error[3, 0] == pytest.approx(one_category)


def test_same_seed_same_interval() -> None:
    change = changes(FULL, 0.1)[:, None]
    first, second = (
        bootstrap.bootstrap(FULL, change, bootstrap.resample(FULL, 1000, seed=7)) for _ in range(2)
    )
    assert np.array_equal(first.draws, second.draws)


def test_without_clusters_the_error_is_the_paired_standard_error() -> None:
    """Non-live items stand alone, so the sum over categories is exact."""
    change = changes(FULL, 0.2)
    found = bootstrap.bootstrap(FULL, change[:, None], bootstrap.resample(FULL, 1000, seed=1))
    variance = sum(
        (3 * CATEGORY_WEIGHTS[category]) ** 2
        * change[FULL.category == place].var(ddof=1)
        / POPULATION[category]
        for place, category in enumerate(CATEGORIES)
        if group_of(category) == "non_live"
    )
    assert found.error[1, 0] == pytest.approx(np.sqrt(variance))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 0.6), st.integers(0, 1000))
def test_p_below_alpha_exactly_where_the_interval_leaves_out_zero(share: float, seed: int) -> None:
    for placed in (FULL, SUBSET):
        change = changes(placed, share, seed)[:, None]
        change += (np.random.default_rng(seed).random(change.shape) < 0.02) * (1 - np.abs(change))
        found = bootstrap.bootstrap(placed, change, bootstrap.resample(placed, 1000, seed=1))
        for row in range(4):
            read = intervals.interval_to_read(placed, change, found, row, 0.05)[0]
            assert read.low[0] <= found.estimate[row, 0] <= read.high[0]
            assert (read.p[0] <= 0.05) == bool(read.low[0] > 0 or read.high[0] < 0)


def test_swapping_the_sides_mirrors_the_interval() -> None:
    change = changes(FULL, 0.15)[:, None] + 0.0
    drawn = bootstrap.resample(FULL, 2000, seed=1)
    there, back = (
        intervals.interval_to_read(FULL, c, bootstrap.bootstrap(FULL, c, drawn), 0, 0.05)[0]
        for c in (change, -change)
    )
    assert there.low[0] == pytest.approx(-back.high[0], abs=1e-6)
    assert there.p[0] == pytest.approx(back.p[0], abs=1e-3)


def test_few_scenarios_are_not_called_sure() -> None:
    """Three scenarios that happen not to change count as unknown, not as a change of zero."""
    change = changes(SUBSET, 0.2)
    for place, category in enumerate(CATEGORIES):
        if group_of(category) == "multi_turn":
            change[SUBSET.category == place] = 0.0
    found = bootstrap.bootstrap(SUBSET, change[:, None], bootstrap.resample(SUBSET, 1000, seed=1))
    read, small = intervals.interval_to_read(SUBSET, change[:, None], found, 3, 0.05)
    assert small[0]
    assert read.high[0] - read.low[0] > 0.2
    bare = intervals.percentile(found, 3, 0.05)
    assert bare.high[0] - bare.low[0] == pytest.approx(0.0)


def test_nothing_changed_is_no_proof_that_nothing_would() -> None:
    for placed in (FULL, SUBSET):
        change = np.zeros((len(placed.category), 1))
        found = bootstrap.bootstrap(placed, change, bootstrap.resample(placed, 1000, seed=1))
        for row in range(4):
            read, few = intervals.interval_to_read(placed, change, found, row, 0.05)
            assert few[0]
            assert read.low[0] < 0 < read.high[0]
            assert read.low[0] == pytest.approx(-read.high[0], abs=1e-6)
            assert read.p[0] == 1.0


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["none", "all", "category", "item"]),
    st.sampled_from([-1.0, 1.0]),
    st.sampled_from(CATEGORIES),
    st.sampled_from([FULL, SUBSET, SMALLEST]),
)
def test_extremes_stay_within_what_is_possible_and_p_agrees(
    kind: str, sign: float, category: str, placed: Design
) -> None:
    of_category = placed.category == CATEGORIES.index(category)
    chosen = {
        "none": np.zeros(len(of_category), dtype=bool),
        "all": np.ones(len(of_category), dtype=bool),
        "category": of_category,
        "item": np.arange(len(of_category)) == np.argmax(of_category),
    }[kind]
    change = sign * chosen.astype(float)
    found = bootstrap.bootstrap(placed, change[:, None], bootstrap.resample(placed, 1000, seed=1))
    lines = [
        intervals.interval_to_read(placed, change[:, None], found, row, 0.05)[0] for row in range(4)
    ]
    by_category, read = score.category_intervals(placed, change, 0.05)
    estimates = [*found.estimate[:, 0], *by_category]
    ends = [(line.low[0], line.high[0], line.p[0]) for line in lines]
    ends += list(zip(read.low, read.high, read.p, strict=True))
    for estimate, (low, high, p) in zip(estimates, ends, strict=True):
        assert -1 <= low <= estimate + 1e-9
        assert estimate - 1e-9 <= high <= 1
        assert low < high
        assert (p < 0.05) == (not low <= 0 <= high)


@pytest.mark.parametrize("row", [1, 2])
def test_a_group_that_fell_is_hardly_ever_said_to_have_held(row: int) -> None:
    """A subset in which nearly all is right, and a loss of two points that mostly does not show."""
    before = np.full(len(CATEGORIES), 0.99999)
    truth = simulate.Truth(before, before - 0.02, 0.3, similarity=0.9)
    ours, theirs = simulate.pairs(SUBSET, truth, 400, np.random.default_rng(3))
    change = theirs.astype(float) - ours
    found = bootstrap.bootstrap(SUBSET, change, bootstrap.resample(SUBSET, 1, seed=1))
    read = intervals.interval_to_read(SUBSET, change, found, row, 0.05)[0]
    assert (read.low > -0.01).mean() < 0.06
    assert ((read.low <= -0.02) & (read.high >= -0.02)).mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_verdicts_without_a_change_come_up_about_as_often_as_declared(correlation: float) -> None:
    """A short form of benchmarks/calibration.py; the bounds are four standard errors wide."""
    half = np.full(len(CATEGORIES), 0.5)
    truth = simulate.Truth(half, half, correlation, similarity=0.9)
    before, after = simulate.pairs(FULL, truth, 400, np.random.default_rng(5))
    change = after.astype(float) - before
    found = bootstrap.bootstrap(FULL, change, bootstrap.resample(FULL, 1000, seed=2))
    read = intervals.interval_to_read(FULL, change, found, 0, 0.05)[0]
    wrong = ((read.low > 0) | (read.high < 0)).mean()
    assert 0.006 < wrong < 0.094


def test_simulated_pairs_have_the_accuracy_change_and_correlation_asked_for() -> None:
    before = np.full(len(CATEGORIES), 0.3)
    truth = simulate.Truth(before, before + 0.1, correlation=0.4, similarity=0.8)
    first, second = simulate.pairs(FULL, truth, 200, np.random.default_rng(1))
    assert first.mean() == pytest.approx(0.3, abs=0.01)
    assert second.mean() == pytest.approx(0.4, abs=0.01)
    change = second.astype(float) - first
    assert change.var() == pytest.approx(float(truth.variance[0]), rel=0.03)
    base = CATEGORIES.index("multi_turn_base")
    one = first[FULL.category == base].ravel()
    other = first[FULL.category == base + 1].ravel()
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(0.4, abs=0.02)
    one, other = change[FULL.category == base].ravel(), change[FULL.category == base + 1].ravel()
    expected = float(truth.change_correlation[0])
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(expected, abs=0.02)
    assert truth.change == pytest.approx(0.1)


def test_power_is_what_simulations_find() -> None:
    before = np.full(len(CATEGORIES), 0.5)
    truth = simulate.Truth(before, before + 0.02, correlation=0.3, similarity=0.9)
    first, second = simulate.pairs(FULL, truth, 400, np.random.default_rng(2))
    change = second.astype(float) - first
    found = bootstrap.bootstrap(FULL, change, bootstrap.resample(FULL, 1000, seed=2))
    read = intervals.interval_to_read(FULL, change, found, 0, 0.05)[0]
    error = power.design_error(FULL, truth.variance, truth.change_correlation)
    assert error == pytest.approx(found.estimate[0].std(), rel=0.15)
    assert (read.low > 0).mean() == pytest.approx(predicted(FULL, truth), abs=0.1)


def predicted(design: Design, truth: simulate.Truth) -> float:
    change = truth.after - truth.before
    shares = truth.variance + change**2
    return power.curve(design, shares, truth.change_correlation, 0.05)(change)


@pytest.mark.parametrize("shift", [0.1, 0.15, 0.2])
def test_power_is_what_simulations_find_with_few_scenarios(shift: float) -> None:
    before = np.full(len(CATEGORIES), 0.4)
    truth = simulate.Truth(before, before + shift, correlation=0.3, similarity=0.95)
    first, second = simulate.pairs(SUBSET, truth, 600, np.random.default_rng(2))
    change = second.astype(float) - first
    found = bootstrap.bootstrap(SUBSET, change, bootstrap.resample(SUBSET, 1, seed=2))
    read = intervals.interval_to_read(SUBSET, change, found, 0, 0.05)[0]
    assert (read.low > 0).mean() == pytest.approx(predicted(SUBSET, truth), abs=0.08)


def test_the_plan_says_how_much_a_subset_can_show() -> None:
    full, subset = power.plan(FULL), power.plan(SUBSET)
    assert full.detectable is not None and subset.detectable is not None
    assert 0.015 < full.detectable < 0.03
    assert subset.detectable > 5 * full.detectable
    assert f"{100 * subset.detectable:.1f} points" in subset.sentence()
    shares = np.array([power.ASSUMED_DISCORDANCE[group_of(name)] for name in CATEGORIES])
    for placed, plan in ((FULL, full), (SUBSET, subset)):
        assert plan.detectable is not None
        reached = power.curve(placed, shares, power.ASSUMED_CORRELATION, 0.05)
        assert reached(np.full_like(shares, plan.detectable)) == pytest.approx(0.8, abs=0.03)


def test_a_design_that_can_show_nothing_says_so() -> None:
    single = design(list(CATEGORIES), list(CATEGORIES))
    plan = power.plan(single, alpha=0.001)
    assert plan.detectable is None
    assert plan.record().points is None
    assert "cannot show any change" in plan.sentence()


def repeated(outcomes: Floats, share: float, count: int, seed: int) -> Floats:
    flips = np.random.default_rng(seed).random((len(outcomes), count)) < share
    return np.abs(outcomes[:, None] - flips)


def test_repeats_narrow_the_interval_and_show_the_noise() -> None:
    truth = (np.random.default_rng(0).random(len(FULL.category)) < 0.5).astype(float)
    pairs = {
        count: Pair(FULL, repeated(truth, 0.1, count, 1), repeated(truth, 0.1, count, 2))
        for count in (1, 4)
    }
    drawn = bootstrap.resample(FULL, 1000, seed=1)
    error = {
        count: next(repeats.bootstrap_repeats([pair], drawn, 1)).error[0, 0]
        for count, pair in pairs.items()
    }
    assert error[4] == pytest.approx(error[1] / 2, rel=0.1)
    assert repeats.noise_floor(pairs[1], 1.0) is None
    noise = repeats.noise_floor(pairs[4], 1.0)
    assert noise is not None
    # Two evaluations differ by noise alone: 2 * 0.1 * 0.9 of the items change between them.
    expected = 100 * power.design_error(FULL, np.full(len(CATEGORIES), 0.18), 0.0)
    assert noise.moved == pytest.approx(expected, rel=0.5)
    assert noise.times == pytest.approx(1.0 / noise.moved)
    assert noise.discordance["live"] == pytest.approx(0.18, rel=0.1)


def test_drawing_repeats_widens_draws_and_their_errors_alike() -> None:
    """What drawing items and then repeats counts twice, the studentised form divides out."""
    truth = (np.random.default_rng(0).random(len(FULL.category)) < 0.5).astype(float)
    pair = Pair(FULL, repeated(truth, 0.1, 2, 1), repeated(truth, 0.1, 2, 2))
    drawn = bootstrap.resample(FULL, 4000, seed=1)
    items_only = bootstrap.bootstrap(FULL, pair.change[:, None], drawn)
    both = next(repeats.bootstrap_repeats([pair], drawn, 1))
    wider = both.draws[0].std() / items_only.draws[0].std()
    assert wider == pytest.approx(np.sqrt(1.5), rel=0.05)
    assert both.draw_errors[0].mean() / items_only.draw_errors[0].mean() == pytest.approx(
        wider, rel=0.05
    )


def test_two_repeats_of_one_model_moved_by_their_distance() -> None:
    baseline = np.zeros((len(FULL.category), 2))
    baseline[FULL.category == CATEGORIES.index("javascript"), 1] = 1.0
    pair = Pair(FULL, baseline, baseline[:, :1])
    noise = repeats.noise_floor(pair, 4.0)
    assert noise is not None
    assert noise.moved == pytest.approx(100 / 45)
    assert noise.sentence.endswith("the change is 1.8 times that")


def test_the_mean_of_runs_that_are_all_alike_is_no_surer_than_one() -> None:
    change = np.abs(changes(FULL, 0.05, 4)[:, None])
    pair = Pair(FULL, np.zeros_like(change), change)
    judging = verdict.Settings(draws=1000, seed=1, alpha=0.05, margin=1.0)
    drawn = verdict.resampling(FULL, judging)
    (one,) = verdict.judge_pairs([pair], judging, drawn)
    mean = seeds.pooled([pair] * 30, judging, drawn).overall
    assert mean.ci95 == pytest.approx(one.line(0).ci95)
    assert mean.p >= one.line(0).p


def test_a_group_that_lost_as_much_as_it_gained_is_not_said_to_have_held() -> None:
    """Non-live loses and gains 5 % of its items: the change is zero, what was lost is not."""
    change = np.zeros(len(FULL.category))
    for number, category in enumerate(CATEGORIES):
        if group_of(category) == "non_live":
            members = np.flatnonzero(FULL.category == number)
            change[members[::20]], change[members[10::20]] = 1.0, -1.0
    weighing = score.weighings(FULL)[1]
    assert score.lost_bound(FULL, weighing, change[:, None], 0.05)[0] > 0.05
    assert score.lost_bound(FULL, weighing, abs(change)[:, None], 0.05)[0] < 0.01


def test_the_smallest_margin_of_the_design_is_the_least_that_can_be_held() -> None:
    """Of items of which none changed: yes just above it, and just below the sentence says so."""
    right = np.ones((len(FULL.category), 1))
    pair = Pair(FULL, right, right)

    def held(margin: float) -> NonInferiority:
        judging = verdict.Settings(draws=100, seed=1, alpha=0.05, margin=margin)
        (judged,) = verdict.judge_pairs([pair], judging, verdict.resampling(FULL, judging))
        return verdict.single_turn_held(judged)

    least = max(held(1.0).smallest_margins.values())
    assert held(least * 1.001).held == "yes"
    below = held(least * 0.999)
    assert below.held == "cannot tell"
    assert f"live {least:.1f} points)" in below.sentence
