"""Are the verdicts as sure as they say? Simulated pairs of evaluations with known truth.

    .venv/bin/python benchmarks/calibration.py --write docs/statistics.md

Uses the real sizes and clusters of BFCL v3, read from the data of the harness's environment, and
the same functions as `toolgain compare`. Prints the tables; `--write` puts them into the document
between its markers. Ends with exit code 1, and the list, where a limit is missed by more than two
standard errors of the simulation.
"""

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

# Each process has a core to itself; set before numpy reads it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import yaml
from numpy.typing import NDArray

from toolgain.bfcl import data
from toolgain.bfcl.categories import CATEGORIES, group_of
from toolgain.bfcl.overall import weight_matrix
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
from toolgain.statistics.verdict import Settings

Floats = NDArray[np.float64]

SIMULATIONS = 1000
DRAWS = 1000
"""Fewer than the 10,000 of a comparison, and fresh ones for every batch, so that their own chance
averages out."""
BATCH = 100
ALPHA = 0.05
SEED = 20250408
SIMILARITY = 0.9
MARGIN = 0.01
BASELINES = (0.02, 0.1, 0.5, 0.85, 0.97, 1.0)
CORRELATIONS = (0.0, 0.3, 0.7)
SUBSETS = {
    "1 per category, 1 scenario": (1, 1),
    "10 per category, 3 scenarios (the default subset)": (10, 3),
    "30 per category, 20 scenarios": (30, 20),
    "100 per category, 50 scenarios": (100, 50),
}
FALSE_VERDICTS = 0.065
FALSELY_HELD = 0.035
COVERAGE = (0.935, 0.965)
USUAL = 0.9
"""The upper limit of coverage holds where the bootstrap's interval is read at least this often:
the score interval is cautious by intention."""
EXTREME = 1e-5


@dataclass(frozen=True)
class Cell:
    """One truth on one design, to be simulated."""

    layout: Design
    truth: simulate.Truth
    simulations: int
    draws: int
    """1 where no bootstrap is read."""


@dataclass(frozen=True)
class Tally:
    """How the intervals of many simulated pairs lie; Overall and the three groups."""

    excludes_zero: Floats
    """(4,)"""
    covers: Floats
    """(4,)"""
    held: Floats
    """(2,) how often non-live and live were said to have held."""
    usual: Floats
    """(4,) how often the bootstrap's interval was read."""
    percentile: float
    """How often the percentile interval of the Overall leaves out 0."""
    changed: float
    """Share of items that change."""


@dataclass
class Limits:
    """Which limits were missed."""

    simulations: int
    missed: list[str]

    def at_most(self, what: str, found: float, limit: float, simulations: int = 0) -> None:
        if found > limit + self.error(limit, simulations):
            self.missed.append(f"{what}: {found:.1%}, at most {limit:.1%} is allowed")

    def at_least(self, what: str, found: float, limit: float) -> None:
        if found < limit - self.error(limit):
            self.missed.append(f"{what}: {found:.1%}, at least {limit:.1%} is wanted")

    def error(self, share: float, simulations: int = 0) -> float:
        """Two standard errors of a simulated share."""
        return 2 * float(np.sqrt(share * (1 - share) / (simulations or self.simulations)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bfcl-env", type=Path, default=Path(".venvs/bfcl"))
    parser.add_argument("--simulations", type=int, default=SIMULATIONS)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=list(SECTIONS), help="One table alone.")
    parser.add_argument("--write", type=Path, help="Document that holds the tables.")
    arguments = parser.parse_args()
    items = data.load_full(data.installed_data(arguments.bfcl_env))
    limits = Limits(arguments.simulations, [])
    for name in [arguments.only] if arguments.only else SECTIONS:
        before = processor_time()
        with ProcessPoolExecutor(arguments.workers) as pool:
            lines = SECTIONS[name](pool, items, arguments.simulations, arguments.draws, limits)
            text = "\n".join(lines).replace("%", " %").replace("  %", " %")
        text += (
            f"\n\n{arguments.simulations} simulations for each cell, {arguments.draws} draws, "
            f"where no other number stands; {(processor_time() - before) / 60:.1f} minutes of "
            f"processor time."
        )
        print(text, flush=True)
        if arguments.write:
            document = arguments.write.read_text(encoding="utf-8")
            document = replaced(document, f"calibration-{name}", text)
            arguments.write.write_text(document, encoding="utf-8")
    if limits.missed:
        raise SystemExit("Limits missed:\n" + "\n".join(limits.missed))


def processor_time() -> float:
    """Seconds, of this process and of the children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def replaced(document: str, name: str, text: str) -> str:
    """`document` with what stands between the markers of `name` replaced by `text`."""
    pattern = rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)"
    new, count = re.subn(
        pattern, lambda found: found[1] + text + "\n" + found[2], document, flags=re.S
    )
    if count != 1:
        raise SystemExit(f"the document has no markers <!-- {name} --> and <!-- end {name} -->")
    return new


def placed(items: data.Items) -> Design:
    flat = data.flat(items)
    return design([item.category for item in flat], [item.cluster for item in flat])


def drawn(items: data.Items, each: int, scenarios: int) -> Design:
    sizes = {
        category: scenarios if group_of(category) == "multi_turn" else each
        for category in CATEGORIES
    }
    return placed(data.draw(items, sizes, 1))


def demo(items: data.Items) -> Design:
    """The design of config/demo.yaml."""
    return placed(data.draw(items, demo_sizes(), 1))


def demo_sizes() -> dict[str, int]:
    config = Path(__file__).parent.parent / "config/demo.yaml"
    subset = yaml.safe_load(config.read_text(encoding="utf-8"))["evaluation"]["subset"]
    own = subset.get("categories", {})
    return {category: own.get(category, subset[group_of(category)]) for category in CATEGORIES}


def tally(cell: Cell) -> Tally:
    """Simulate pairs and look where their intervals lie."""
    layout, truth = cell.layout, cell.truth
    generator = np.random.default_rng(SEED)
    weights = weight_matrix()
    change_of_row = weights @ (truth.after - truth.before)
    excludes, covers, usual, held = np.zeros(4), np.zeros(4), np.zeros(4), np.zeros(2)
    percentile, changed = 0.0, 0.0
    for number, size in enumerate(batches(cell.simulations)):
        resampling = bootstrap.resample(layout, cell.draws, SEED + number)
        before, after = simulate.pairs(layout, truth, size, generator)
        change = after.astype(float) - before
        boot = bootstrap.bootstrap(layout, change, resampling)
        for row, true in enumerate(change_of_row):
            found, few = intervals.interval_to_read(layout, change, boot, row, ALPHA)
            excludes[row] += ((found.low > 0) | (found.high < 0)).sum()
            covers[row] += ((found.low <= true + 1e-9) & (found.high >= true - 1e-9)).sum()
            usual[row] += (~few).sum()
            if row in (1, 2):
                weighing = score.weighings(layout)[row]
                lost = score.lost_bound(layout, weighing, change, ALPHA)
                held[row - 1] += ((found.low > -MARGIN) & (lost <= MARGIN)).sum()
        if cell.draws > 1:
            other = intervals.percentile(boot, 0, ALPHA)
            percentile += ((other.low > 0) | (other.high < 0)).sum()
        changed += (change != 0).mean() * size
    n = cell.simulations
    return Tally(excludes / n, covers / n, held / n, usual / n, percentile / n, changed / n)


def batches(simulations: int) -> Iterator[int]:
    for start in range(0, simulations, BATCH):
        yield min(BATCH, simulations - start)


def uniform(accuracy: float, shift: float, correlation: float, similarity: float) -> simulate.Truth:
    before = np.full(len(CATEGORIES), accuracy)
    return shifted(before, shift, correlation, similarity)


def profile(shift: float, correlation: float) -> simulate.Truth:
    """Accuracies like those of a good small model."""
    typical = {"non_live": 0.85, "live": 0.80, "multi_turn": 0.30}
    before = np.array([typical[group_of(category)] for category in CATEGORIES])
    return shifted(before, shift, correlation, SIMILARITY)


def shifted(before: Floats, shift: float, correlation: float, similarity: float) -> simulate.Truth:
    inside = [np.clip(values, EXTREME, 1 - EXTREME) for values in (before, before + shift)]
    return simulate.Truth(inside[0], inside[1], correlation, similarity)


def grid(
    pool: ProcessPoolExecutor,
    layout: Design,
    shifts: Sequence[float],
    simulations: int,
    draws: int,
    limits: Limits,
    name: str,
) -> Iterator[str]:
    """One table: every baseline and correlation, no change and changes in both directions."""
    head = (
        "accuracy", "correlation", "items changed", "false verdicts", "(percentile)",
        "lowest coverage", "highest", 'wrong "held"', "bootstrap read", "power", "predicted",
    )  # fmt: skip
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    rows: list[tuple[str, float, dict[float, simulate.Truth]]] = []
    for correlation in CORRELATIONS:
        for accuracy in BASELINES:
            truths = {
                shift: uniform(accuracy, shift, correlation, SIMILARITY)
                for shift in (0.0, *shifts)
                if -1e-9 <= accuracy + shift <= 1 + 1e-9
            }
            rows.append((f"{accuracy:.0%}", correlation, truths))
        truths = {shift: profile(shift, correlation) for shift in (0.0, *shifts)}
        rows.append(("85, 80, 30%", correlation, truths))
    cells = [Cell(layout, t, simulations, draws) for *_, ts in rows for t in ts.values()]
    found = iter(pool.map(tally, cells))
    for label, correlation, truths in rows:
        tallies = {shift: next(found) for shift in truths}
        where = f"{name}, accuracy {label}, correlation {correlation:g}"
        yield line(label, correlation, truths, tallies, layout)
        check(where, tallies, limits)


def check(where: str, tallies: dict[float, Tally], limits: Limits) -> None:
    for row, of in enumerate(("Overall", "non-live", "live", "multi-turn")):
        limits.at_most(
            f"{where}, {of}: false verdicts", tallies[0.0].excludes_zero[row], FALSE_VERDICTS
        )
        for shift, one in tallies.items():
            what = f"{where}, {of}: coverage of {100 * shift:+g} points"
            limits.at_least(what, one.covers[row], COVERAGE[0])
            if shift and one.usual[row] >= USUAL:
                limits.at_most(what, one.covers[row], COVERAGE[1])
    for shift in tallies:
        if shift < -MARGIN:
            limits.at_most(
                f"{where}: held wrongly at {100 * shift:+g} points",
                float(tallies[shift].held.max()),
                FALSELY_HELD,
            )


def line(
    label: str,
    correlation: float,
    truths: dict[float, simulate.Truth],
    tallies: dict[float, Tally],
    layout: Design,
) -> str:
    """Cells with four numbers are of the Overall, non-live, live and multi-turn."""
    none = tallies[0.0]
    moved = [one for shift, one in tallies.items() if shift]
    lowest = np.min([one.covers for one in moved], axis=0)
    highest = np.max([one.covers for one in moved], axis=0)
    falls = [one.held.max() for shift, one in tallies.items() if shift < -MARGIN]
    held = f"{max(falls):.1%}" if falls else "–"
    last = max(tallies, key=abs)
    some, predicted = tallies[last], predict(layout, truths[last])
    return (
        f"| {label} | {correlation:g} | {none.changed:.1%} | {four(none.excludes_zero)} | "
        f"({none.percentile:.1%}) | {four(lowest)} | {four(highest)} | {held} | "
        f"{none.usual[0]:.0%} | {some.excludes_zero[0]:.0%} | {predicted:.0%} |"
    ).replace("(0.0%)", "")


def four(shares: Floats) -> str:
    overall, *groups = (f"{100 * share:.1f}" for share in shares)
    return f"**{overall}** {' '.join(groups)}"


def predict(layout: Design, truth: simulate.Truth) -> float:
    """The power that is predicted for a true change."""
    change = truth.after - truth.before
    shares = truth.variance + change**2
    return power.curve(layout, shares, truth.change_correlation, ALPHA)(change)


def full_set(
    pool: ProcessPoolExecutor, items: data.Items, simulations: int, draws: int, limits: Limits
) -> Iterator[str]:
    """All 4441 items."""
    yield from grid(pool, placed(items), (-0.02, 0.02), simulations, draws, limits, "full set")


def subsets(
    pool: ProcessPoolExecutor, items: data.Items, simulations: int, draws: int, limits: Limits
) -> Iterator[str]:
    """Subsets, the smallest and the demo's among them."""
    layouts = {name: drawn(items, *size) for name, size in SUBSETS.items()}
    layouts["config/demo.yaml"] = demo(items)
    for name, layout in layouts.items():
        yield f"\n{name}: {len(layout.category)} items, {layout.clusters} clusters.\n"
        # A bootstrap is read nowhere here: some stratum has too few clusters.
        one = draws if not intervals.few_clusters(layout, 0) else 1
        shifts = (-0.1, -0.02, 0.02, 0.1)
        yield from grid(pool, layout, shifts, simulations, one, limits, name)


def special(
    pool: ProcessPoolExecutor, items: data.Items, simulations: int, draws: int, limits: Limits
) -> Iterator[str]:
    """Nearly equal evaluations, repeats, and several runs, on all 4441 items; and extremes."""
    layout = placed(items)
    yield "| case | simulations | items changed | false verdicts | beside it |"
    yield "|---|---|---|---|---|"
    for similarity in (0.9999, 0.99999):
        cell = Cell(layout, uniform(0.5, 0.0, 0.3, similarity), simulations, draws)
        found = tally(cell)
        share = float(found.excludes_zero[0])
        limits.at_most(f"similarity {similarity}", share, FALSE_VERDICTS)
        yield (
            f"| the same weights again, nearly the same answers | {simulations} | "
            f"{found.changed:.2%} | **{share:.1%}** | percentile {found.percentile:.1%} |"
        )
    few = max(simulations // 5, 1)
    yield repeated(layout, few, draws, limits)
    yield from several_runs(layout, few, draws, limits)
    yield ""
    yield "| extreme | Overall | p | non-live | live | multi-turn | held |"
    yield "|---|---|---|---|---|---|---|"
    yield from extremes(items, limits)


def extremes(items: data.Items, limits: Limits) -> Iterator[str]:
    """No change, total change and one category alone, on three designs."""
    layouts = {
        "4441 items": placed(items),
        "142 items": drawn(items, 10, 3),
        "17 items": drawn(items, 1, 1),
    }
    settings = Settings(draws=DRAWS, seed=SEED, alpha=ALPHA, margin=100 * MARGIN)
    for size, layout in layouts.items():
        none, whole = np.zeros((len(layout.category), 1)), np.ones((len(layout.category), 1))
        flips = (layout.category == CATEGORIES.index("live_relevance")).astype(float)[:, None]
        simple = (layout.category == CATEGORIES.index("simple")).astype(float)[:, None]
        one = np.zeros_like(none)
        one[np.argmax(simple)] = 1.0
        for name, before, after in (
            ("nothing changed", whole, whole),
            ("all gained", none, whole),
            ("all lost", whole, none),
            ("live_relevance alone gained", none, flips),
            ("simple alone gained", none, simple),
            ("one item of simple gained", none, one),
        ):
            (judged,) = verdict.judge_pairs(
                [Pair(layout, before, after)], settings, verdict.resampling(layout, settings)
            )
            lines = [judged.line(row) for row in range(4)]
            for of in (*lines, *verdict.category_family(judged).values()):
                low, high = of.ci95
                fits = -100 <= low <= of.delta + 1e-6 and of.delta - 1e-6 <= high <= 100
                agrees = (of.p < ALPHA) == (not low <= 0 <= high)
                if not (fits and agrees and low < high):
                    limits.missed.append(f"{size}, {name}: {of}")
            spans = [f"{of.ci95[0]:+.2f} to {of.ci95[1]:+.2f}" for of in lines]
            held = verdict.single_turn_held(judged).held
            yield (
                f"| {size}: {name} | {spans[0]} | {lines[0].p:.2g} | {spans[1]} | {spans[2]} | "
                f"{spans[3]} | {held} |"
            )


def repeated(layout: Design, simulations: int, draws: int, limits: Limits) -> str:
    """Two repeats of each side, sampled answers: half of the changes are noise."""
    generator = np.random.default_rng(SEED)
    counts = dict.fromkeys(("verdict", "percentile"), 0)
    changed = []
    truth = uniform(0.5, 0.0, 0.3, 0.97)
    for number, size in enumerate(batches(simulations)):
        before, after = simulate.pairs(layout, truth, size, generator)
        pairs = [
            Pair(layout, *(noisy(side, 2, 0.05, generator) for side in sides))
            for sides in zip(before.T, after.T, strict=True)
        ]
        resampling = bootstrap.resample(layout, draws, SEED + number)
        boots = repeats.bootstrap_repeats(pairs, resampling, number)
        for pair, boot in zip(pairs, boots, strict=True):
            change = pair.change[:, None]
            changed.append(float((change != 0).mean()))
            found = {
                "verdict": intervals.interval_to_read(layout, change, boot, 0, ALPHA)[0],
                "percentile": intervals.percentile(boot, 0, ALPHA),
            }
            for name, one in found.items():
                counts[name] += int(one.low[0] > 0 or one.high[0] < 0)
    share = counts["verdict"] / simulations
    limits.at_most("two repeats", share, FALSE_VERDICTS, simulations)
    return (
        f"| two repeats, 5% of the outcomes flip in each | {simulations} | "
        f"{np.mean(changed):.1%} | **{share:.1%}** | "
        f"percentile {counts['percentile'] / simulations:.1%} |"
    )


def noisy(
    outcomes: NDArray[np.bool_], count: int, share: float, generator: np.random.Generator
) -> Floats:
    flips = generator.random((len(outcomes), count)) < share
    return (outcomes[:, None] ^ flips).astype(float)


def several_runs(layout: Design, simulations: int, draws: int, limits: Limits) -> Iterator[str]:
    """Three runs of one recipe, whose true changes differ by chance around zero."""
    for spread in (0.0, 0.01, 0.03):
        generator = np.random.default_rng(SEED)
        wrong = these = 0
        for number, size in enumerate(batches(simulations)):
            settings = Settings(draws=draws, seed=SEED + number, alpha=ALPHA, margin=1.0)
            resampling = bootstrap.resample(layout, draws, settings.seed)
            for _ in range(size):
                line = seeds.pooled(three_runs(layout, spread, generator), settings, resampling)
                low, high = line.overall.ci95
                wrong += low > 0 or high < 0
                low, high = line.ci95_these_runs
                these += low > 0 or high < 0
        limits.at_most(
            f"runs that vary by {spread}", wrong / simulations, FALSE_VERDICTS, simulations
        )
        yield (
            f"| three runs whose true changes vary by {100 * spread:g} points | {simulations} | | "
            f"**{wrong / simulations:.1%}** | items alone {these / simulations:.1%} |"
        )


def three_runs(layout: Design, spread: float, generator: np.random.Generator) -> Sequence[Pair]:
    correlation, similarity = 0.3, 0.95
    base = uniform(0.5, 0.0, correlation, similarity)
    latent = base.latent[layout.category]
    cluster = generator.standard_normal(layout.clusters)
    item = generator.standard_normal(len(layout.category))

    def outcomes(cluster: Floats, item: Floats, accuracy: float) -> Floats:
        value = np.sqrt(latent) * cluster[layout.cluster] + np.sqrt(1 - latent) * item
        return (value < simulate.ndtri(accuracy)).astype(float)[:, None]

    def moved(values: Floats) -> Floats:
        other = generator.standard_normal(len(values))
        return similarity * values + np.sqrt(1 - similarity**2) * other

    baseline = outcomes(cluster, item, 0.5)
    trained = []
    for _ in range(3):
        accuracy = float(np.clip(0.5 + spread * generator.standard_normal(), 0.01, 0.99))
        trained.append(outcomes(moved(cluster), moved(item), accuracy))
    return [Pair(layout, baseline, one) for one in trained]


SECTIONS = {"full": full_set, "subset": subsets, "special": special}

if __name__ == "__main__":
    main()
