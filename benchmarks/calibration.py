"""Are the verdicts as sure as they say? Simulated pairs of evaluations with known truth.

    .venv/bin/python benchmarks/calibration.py --write docs/measurement.md

Uses the real sizes and clusters of BFCL v3, read from the data of the harness's environment, and
the same functions as `toolgain compare`. Prints the tables; `--write` puts them into the document
between its markers.
"""

import argparse
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolgain.bfcl import data
from toolgain.bfcl.categories import CATEGORIES, group_of
from toolgain.statistics import bootstrap, intervals, power, repeats, seeds, simulate
from toolgain.statistics.bootstrap import Change
from toolgain.statistics.intervals import Interval
from toolgain.statistics.pairs import Design, Pair, design
from toolgain.statistics.verdict import Settings

Floats = NDArray[np.float64]

SIMULATIONS = 2000
DRAWS = 2000
"""Fewer than the 10,000 of a comparison, and fresh ones for every batch, so that their own chance
averages out. A line with 10,000 stands beside it."""
BATCH = 100
ALPHA = 0.05
SEED = 20250408
METHODS = ("verdict", "percentile", "BCa")
SUBSETS = {"10 per category, 3 scenarios": (10, 3), "30 per category, 20 scenarios": (30, 20)}


@dataclass(frozen=True)
class Tally:
    """How the intervals of many simulated pairs lie."""

    excludes_zero: dict[str, float]
    covers: dict[str, float]
    spread: float
    """Standard deviation of the estimated change, in points."""
    width: float
    """Median width of the verdict's interval, in points."""
    groups_cover: tuple[float, ...]
    """Coverage of the three groups' intervals."""
    changed: float
    """Share of items that change."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bfcl-env", type=Path, default=Path(".venvs/bfcl"))
    parser.add_argument("--simulations", type=int, default=SIMULATIONS)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--only", choices=["full", "subset", "special"], help="One table alone.")
    parser.add_argument("--write", type=Path, help="Document that holds the tables.")
    arguments = parser.parse_args()
    items = data.load_full(data.installed_data(arguments.bfcl_env))
    sections = {"full": full_set, "subset": subsets, "special": special}
    for name in [arguments.only] if arguments.only else sections:
        started = time.process_time()
        text = "\n".join(sections[name](items, arguments.simulations, arguments.draws))
        text += (
            f"\n\n{arguments.simulations} simulations for each line, "
            f"{arguments.draws} draws where no other number stands; "
            f"{(time.process_time() - started) / 60:.1f} minutes of one processor."
        )
        print(text, flush=True)
        if arguments.write:
            document = arguments.write.read_text(encoding="utf-8")
            document = replaced(document, f"calibration-{name}", text)
            arguments.write.write_text(document, encoding="utf-8")


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


def tally(layout: Design, truth: simulate.Truth, simulations: int, draws: int) -> Tally:
    """Simulate pairs and look where their intervals lie."""
    generator = np.random.default_rng(SEED)
    excludes = dict.fromkeys(METHODS, 0)
    covers = dict.fromkeys(METHODS, 0)
    groups_cover = np.zeros(3)
    estimates: list[float] = []
    widths: list[float] = []
    changed: list[float] = []
    true_groups = weights_of_groups() @ (truth.after - truth.before)
    for number, size in enumerate(batches(simulations)):
        resampling = bootstrap.resample(layout, draws, SEED + number)
        before, after = simulate.pairs(layout, truth, size, generator)
        change = after.astype(float) - before
        boot = bootstrap.bootstrap(layout, change, resampling)
        for name, found in overall_intervals(layout, change, boot):
            excludes[name] += int(((found.low > 0) | (found.high < 0)).sum())
            covers[name] += int(((found.low <= truth.change) & (found.high >= truth.change)).sum())
            if name == "verdict":
                widths += list(found.high - found.low)
        for row in (1, 2, 3):
            found = intervals.read(layout, change, boot, row, ALPHA)[0]
            inside = (found.low <= true_groups[row - 1]) & (found.high >= true_groups[row - 1])
            groups_cover[row - 1] += inside.sum()
        estimates += list(boot.estimate[0])
        changed.append(float((change != 0).mean()))
    return Tally(
        {name: count / simulations for name, count in excludes.items()},
        {name: count / simulations for name, count in covers.items()},
        100 * float(np.std(estimates)),
        100 * float(np.median(widths)),
        tuple(groups_cover / simulations),
        float(np.mean(changed)),
    )


def overall_intervals(
    layout: Design, change: Floats, boot: Change
) -> Iterator[tuple[str, Interval]]:
    yield "verdict", intervals.read(layout, change, boot, 0, ALPHA)[0]
    yield "percentile", intervals.percentile(boot, 0, ALPHA)
    yield "BCa", intervals.bca(boot, 0, ALPHA)


def weights_of_groups() -> Floats:
    from toolgain.bfcl.overall import weight_matrix

    return weight_matrix()[1:]


def batches(simulations: int) -> Iterator[int]:
    for start in range(0, simulations, BATCH):
        yield min(BATCH, simulations - start)


def uniform(accuracy: float, shift: float, correlation: float, similarity: float) -> simulate.Truth:
    before = np.full(len(CATEGORIES), accuracy)
    return simulate.Truth(before, before + shift, correlation, similarity)


def profile(shift: float, correlation: float, similarity: float) -> simulate.Truth:
    """Accuracies like those of a good small model."""
    typical = {"non_live": 0.85, "live": 0.80, "multi_turn": 0.30}
    before = np.array([typical[group_of(category)] for category in CATEGORIES])
    return simulate.Truth(before, before + shift, correlation, similarity)


HEAD = (
    "| accuracy | correlation | items changed | SD | false verdicts | (percentile, BCa) | "
    "coverage at {shift:g} points | (percentile, BCa) | power | predicted |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def line(label: str, truth: simulate.Truth, none: Tally, some: Tally, predicted: float) -> str:
    false, covers = none.excludes_zero, some.covers
    return (
        f"| {label} | {truth.correlation:g} | {none.changed:.1%} | {none.spread:.2f} | "
        f"**{false['verdict']:.1%}** | {false['percentile']:.1%}, {false['BCa']:.1%} | "
        f"**{covers['verdict']:.1%}** | {covers['percentile']:.1%}, {covers['BCa']:.1%} | "
        f"{some.excludes_zero['verdict']:.1%} | {predicted:.1%} |"
    ).replace("%", " %")


def predict(layout: Design, truth: simulate.Truth) -> float:
    """The power that is predicted for a true change."""
    facts = (layout, truth.variance, truth.change_correlation)
    error, reach = power.design_error(*facts), power.design_reach(*facts, ALPHA)
    return power.power_at(truth.change, error, reach, power.design_freedom(*facts))


def full_set(items: data.Items, simulations: int, draws: int) -> Iterator[str]:
    """All 4441 items."""
    layout = placed(items)
    shift = 0.02
    yield HEAD.format(shift=100 * shift)
    cases = [(f"{p:.0%}", p) for p in (0.1, 0.5, 0.9)] + [("85, 80, 30%", None)]
    group_lines = []
    for label, accuracy in cases:
        for correlation in (0.0, 0.3, 0.7):
            none, some = (
                uniform(accuracy, moved, correlation, 0.9)
                if accuracy is not None
                else profile(moved, correlation, 0.9)
                for moved in (0.0, shift)
            )
            quiet = tally(layout, none, simulations, draws)
            moving = tally(layout, some, simulations, draws)
            yield line(label, none, quiet, moving, predict(layout, some))
            group_lines.append(
                f"| {label} | {correlation:g} | "
                + " | ".join(f"{1 - cover:.1%}" for cover in quiet.groups_cover)
                + " | "
                + " | ".join(f"{cover:.1%}" for cover in moving.groups_cover)
                + " |"
            )
    yield ""
    yield (
        "The groups' intervals, which non-inferiority reads: how often they leave out 0 when "
        f"nothing changed, and how often they cover a change of {100 * shift:g} points.\n"
    )
    yield (
        "| accuracy | correlation | non-live leaves out 0 | live | multi-turn | non-live covers | "
        "live | multi-turn |\n|---|---|---|---|---|---|---|---|"
    )
    yield from (row.replace("%", " %") for row in group_lines)


def subsets(items: data.Items, simulations: int, draws: int) -> Iterator[str]:
    """Small subsets like the demo's."""
    shift = 0.1
    for name, (each, scenarios) in SUBSETS.items():
        layout = drawn(items, each, scenarios)
        yield f"\n{name}: {len(layout.category)} items, {layout.clusters} clusters.\n"
        yield HEAD.format(shift=100 * shift)
        for accuracy in (0.02, 0.1, 0.5, 0.85):
            for correlation in (0.0, 0.7):
                none, some = (uniform(accuracy, moved, correlation, 0.9) for moved in (0.0, shift))
                quiet = tally(layout, none, simulations, draws)
                moving = tally(layout, some, simulations, draws)
                predicted = predict(layout, some)
                yield line(f"{accuracy:.0%}", none, quiet, moving, predicted)


def special(items: data.Items, simulations: int, draws: int) -> Iterator[str]:
    """Nearly equal evaluations, repeats, and several runs, on all 4441 items."""
    layout = placed(items)
    yield "| case | items changed | false verdicts | beside it |\n|---|---|---|---|"
    truth = uniform(0.5, 0.0, 0.7, 0.9)
    for count in (draws, 10_000):
        found = tally(layout, truth, simulations, count)
        yield (
            (
                f"| 50%, correlation 0.7, with {count} draws | {found.changed:.1%} | "
                f"**{found.excludes_zero['verdict']:.1%}** | "
                f"percentile {found.excludes_zero['percentile']:.1%} |"
            )
            .replace("%", " %")
            .replace("50  %", "50 %")
        )
    for similarity in (0.9999, 0.99999):
        found = tally(layout, uniform(0.5, 0.0, 0.3, similarity), simulations, draws)
        yield (
            f"| the same weights again, nearly the same answers | {found.changed:.2%} | "
            f"**{found.excludes_zero['verdict']:.1%}** | "
            f"percentile {found.excludes_zero['percentile']:.1%} |"
        ).replace("%", " %")
    yield repeated(layout, simulations, draws).replace("%", " %")
    yield from (row.replace("%", " %") for row in several_runs(layout, simulations, draws))


def repeated(layout: Design, simulations: int, draws: int) -> str:
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
        boots = repeats.bootstrap(pairs, resampling, number)
        for pair, boot in zip(pairs, boots, strict=True):
            change = pair.change[:, None]
            changed.append(float((change != 0).mean()))
            found = {
                "verdict": intervals.read(layout, change, boot, 0, ALPHA)[0],
                "percentile": intervals.percentile(boot, 0, ALPHA),
            }
            for name, one in found.items():
                counts[name] += int(one.low[0] > 0 or one.high[0] < 0)
    return (
        "| two repeats, 5% of the outcomes flip in each | "
        f"{np.mean(changed):.1%} | **{counts['verdict'] / simulations:.1%}** | "
        f"percentile {counts['percentile'] / simulations:.1%} |"
    )


def noisy(
    outcomes: NDArray[np.bool_], count: int, share: float, generator: np.random.Generator
) -> Floats:
    flips = generator.random((len(outcomes), count)) < share
    return (outcomes[:, None] ^ flips).astype(float)


def several_runs(layout: Design, simulations: int, draws: int) -> Iterator[str]:
    """Three runs of one recipe, whose true changes differ by chance around zero."""
    for spread in (0.0, 0.01, 0.03):
        generator = np.random.default_rng(SEED)
        wrong = these = 0
        for number, size in enumerate(batches(simulations)):
            settings = Settings(draws=draws, seed=SEED + number, alpha=ALPHA, margin=1.0)
            resampling = bootstrap.resample(layout, draws, settings.seed)
            for _ in range(size):
                line = seeds.pooled(three_runs(layout, spread, generator), settings, resampling)
                low, high = line["overall"]["ci95"]
                wrong += low > 0 or high < 0
                low, high = line["ci95_these_runs"]
                these += low > 0 or high < 0
        yield (
            f"| three runs whose true changes vary by {100 * spread:g} points | | "
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


if __name__ == "__main__":
    main()
