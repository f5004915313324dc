"""The scenario pages: results folders and the reports made of them.

    python tests/browser/scenarios.py FOLDER [SCENARIO ...]

writes FOLDER/<scenario>/report.html for looking at.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from report_fixtures import BFCL_ENV, Effect, evaluation_folder, scored, spoil, train
from toolgain.bfcl.outcomes import ItemOutcome
from toolgain.common.errors import NotValidError
from toolgain.comparison import compare
from toolgain.config.sections import ComparisonSection, ReportSection
from toolgain.report import render

IMPROVED = Effect(0.2, 0.03, (("multi_turn_base", 0.12, 0.02), ("irrelevance", 0.05, 0.09)))
UNCHANGED = Effect(0.025, 0.02)
WORSE = Effect(0.0, 0.6)
LEARNED = Effect(0.4, 0.01)
LARGE, SMALL = 60, 10
"""Items of each category in a large and in a small subset."""


def _chain(
    results: Path, runs: dict[str, Effect | None], per_category: int | None = None, **options: Any
) -> None:
    evaluations = results / "evaluations"
    repeats = range(options.get("repeats", 1))
    models = [(None, 0), *((effect, seed if effect else 0) for seed, effect in
                           enumerate(runs.values(), start=1))]  # fmt: skip
    wanted = {(per_category, *model, repeat) for model in models for repeat in repeats}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: scored(*one), sorted(wanted, key=str)))

    def outcomes(effect: Effect | None, seed: int) -> list[ItemOutcome]:
        return [
            outcome for repeat in repeats for outcome in scored(per_category, effect, seed, repeat)
        ]

    evaluation_folder(
        evaluations / "baseline", outcomes(None, 0), per_category=per_category, digest="ba5e" * 16
    )
    for seed, (run, effect) in enumerate(runs.items(), start=1):
        evaluation_folder(
            evaluations / run,
            outcomes(effect, seed if effect else 0),
            per_category=per_category,
            digest=f"{seed:02d}" * 32,
            **options.get("trained", {}),
        )
        if options.get("trainings", True):
            train(
                results / "runs" / run,
                seed=seed,
                curves=options.get("curves", True),
                healthy=effect is None or effect.gain > effect.loss,
            )
    # Where the two sides may not be compared, the file is written all the same.
    with suppress(NotValidError):
        compare.compare_folders(
            evaluations / "baseline",
            [evaluations / run for run in runs],
            ComparisonSection.model_validate(options.get("comparison") or {}),
            results / "comparison.json",
            BFCL_ENV,
        )


def improved(results: Path) -> None:
    """A clear gain on all items."""
    _chain(results, {"grpo": IMPROVED})


def no_clear_change(results: Path) -> None:
    """A change inside the noise, with a noise floor from two evaluations of each side."""
    _chain(results, {"grpo": UNCHANGED}, LARGE, repeats=2)


def regressed(results: Path) -> None:
    """A clear loss."""
    _chain(results, {"grpo": WORSE}, SMALL)


def not_comparable(results: Path) -> None:
    """The trained side was measured with errors and another parser."""
    trained = {
        "valid": False,
        "reasons": ["7 of 142 items (4.9 %) got no answer (5xx 7); allowed is 0.5 %"],
        "errors": {"5xx": 7},
        "conditions": {"tool_parser": None},
    }
    _chain(results, {"grpo": LEARNED}, SMALL, trained=trained)


def several_runs(results: Path) -> None:
    """Three seeds and their mean."""
    effects = {"seed1": IMPROVED, "seed2": Effect(0.16, 0.03), "seed3": Effect(0.22, 0.02)}
    _chain(results, dict(effects), LARGE)


def two_recipes(results: Path) -> None:
    """Two seeds of each of two recipes; one recipe is declared the answer."""
    low, high = Effect(0.1, 0.03), Effect(0.3, 0.02)
    recipes = {"low rate": ["low-1", "low-2"], "high rate": ["high-1", "high-2"]}
    _chain(
        results,
        {"low-1": low, "low-2": low, "high-1": high, "high-2": high},
        SMALL,
        comparison={"recipes": recipes, "primary": "high rate"},
    )


def subset_run(results: Path) -> None:
    """A stratified subset, as in the demo."""
    _chain(results, {"grpo": LEARNED}, SMALL)


def no_curves(results: Path) -> None:
    """A training run that left no curves."""
    _chain(results, {"grpo": LEARNED}, SMALL, curves=False)


def no_training(results: Path) -> None:
    """Two evaluations alone, compared by hand."""
    _chain(results, {"grpo": LEARNED}, SMALL, trainings=False)


def hostile(results: Path) -> None:
    """Answers and records that try to break the page."""
    _chain(results, {"grpo": LEARNED}, SMALL)
    for subject in ("baseline", "grpo"):
        spoil(results / "evaluations" / subject)


def zero_flips(results: Path) -> None:
    """The same answers on both sides."""
    _chain(results, {"grpo": None}, SMALL)


SCENARIOS: dict[str, Callable[[Path], None]] = {
    function.__name__: function
    for function in [
        improved, no_clear_change, regressed, not_comparable, several_runs, two_recipes,
        subset_run, no_curves, no_training, hostile, zero_flips,
    ]
}  # fmt: skip


def build(name: str, folder: Path) -> Path:
    """Make the results of a scenario and its report; the report's path."""
    results = folder / "results"
    SCENARIOS[name](results)
    out = results / "report.html"
    render.write_report(results / "comparison.json", results, ReportSection(), out)
    return out


if __name__ == "__main__":
    for name in sys.argv[2:] or SCENARIOS:
        print(build(name, Path(sys.argv[1]) / name))
