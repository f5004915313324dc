"""The scenario pages: results folders and the reports made of them.

    python tests/browser/scenarios.py FOLDER [SCENARIO ...]

writes FOLDER/<scenario>/report.html for looking at.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from report_fixtures import (
    MULTI_TURN,
    ROOT,
    Effect,
    all_items,
    draw_after,
    draw_before,
    evaluate,
    subset,
    train,
)
from toolgain import comparison
from toolgain.errors import NotValidError
from toolgain.report import render

IMPROVED = Effect(0.2, 0.03, {"multi_turn_base": (0.12, 0.02), "irrelevance": (0.05, 0.09)})
UNCHANGED = Effect(0.025, 0.017)
WORSE = Effect(0.02, 0.16)
SUBSET = {"non_live": 10, "live": 10, "multi_turn": 3, "seed": 1, "n": 142, "population": 4441}


def _chain(results: Path, runs: dict[str, Effect], **options: Any) -> None:
    per_category = options.get("per_category")
    items = subset(per_category) if per_category else list(all_items())
    drawn = SUBSET | {"n": len(items)} if per_category else None
    before = draw_before(items)
    hostile = options.get("hostile", False)
    evaluate(
        results / "evaluations/baseline", items, before, subject="baseline", seed=1,
        digest="ba5e" * 16, subset_of=drawn, hostile=hostile, repeats=options.get("repeats", 1),
    )  # fmt: skip
    for number, (run, effect) in enumerate(runs.items(), start=1):
        after = draw_after(items, before, effect, number)
        evaluate(
            results / "evaluations" / run, items, after, subject=run, seed=1 + number,
            digest=f"{number:02d}" * 32, subset_of=drawn, hostile=hostile,
            repeats=options.get("repeats", 1),
            **options.get("trained", {}),
        )  # fmt: skip
        if options.get("trainings", True):
            train(
                results / "runs" / run, seed=number, curves=options.get("curves", True),
                healthy=effect.gain > effect.loss,
            )  # fmt: skip
    evaluations = results / "evaluations"
    # Where the two sides may not be compared, the file is written all the same.
    with suppress(NotValidError):
        comparison.run(
            evaluations / "baseline", [evaluations / run for run in runs], None,
            results / "comparison.json", ROOT / ".venvs/bfcl",
        )  # fmt: skip


def improved(results: Path) -> None:
    """A clear gain on all items."""
    _chain(results, {"grpo": IMPROVED})


def no_clear_change(results: Path) -> None:
    """A change inside the noise, with a noise floor from two evaluations of each side."""
    _chain(results, {"grpo": UNCHANGED}, repeats=2)


def regressed(results: Path) -> None:
    """A clear loss, on a large subset."""
    _chain(results, {"grpo": WORSE}, per_category=80)


def not_comparable(results: Path) -> None:
    """The trained side was measured with errors and another parser."""
    _chain(
        results,
        {"grpo": UNCHANGED},
        per_category=80,
        trained={
            "valid": False,
            "reasons": ["43 of 1003 items (4.3 %) got no answer (5xx 43); allowed is 0.5 %"],
            "errors": {"5xx": 43},
            "conditions": {"tool_parser": None},
        },
    )


def several_runs(results: Path) -> None:
    """Three seeds and a pooled line."""
    _chain(
        results,
        {"seed1": IMPROVED, "seed2": UNCHANGED, "seed3": Effect(0.16, 0.03)},
        per_category=120,
    )


def subset_run(results: Path) -> None:
    """A stratified subset, as in the demo."""
    _chain(results, {"grpo": Effect(0.4, 0.01)}, per_category=10)


def no_curves(results: Path) -> None:
    """A training that left no curves."""
    _chain(results, {"grpo": IMPROVED}, curves=False, per_category=10)


def no_training(results: Path) -> None:
    """Two evaluations alone, compared by hand."""
    _chain(results, {"grpo": IMPROVED}, trainings=False, per_category=10)


def hostile(results: Path) -> None:
    """Answers that try to break the page."""
    _chain(results, {"grpo": Effect(0.3, 0.1)}, per_category=10, hostile=True)


def zero_flips(results: Path) -> None:
    """The same answers on both sides."""
    _chain(results, {"grpo": Effect(0, 0)}, per_category=10)


SCENARIOS: dict[str, Callable[[Path], None]] = {
    function.__name__: function
    for function in [
        improved, no_clear_change, regressed, not_comparable, several_runs, subset_run, no_curves,
        no_training, hostile, zero_flips,
    ]
}  # fmt: skip


def build(name: str, folder: Path) -> Path:
    """Make the results of a scenario and its report; the report's path."""
    results = folder / "results"
    SCENARIOS[name](results)
    out = results / "report.html"
    render.run(results / "comparison.json", results, {}, out)
    return out


__all__ = ["MULTI_TURN", "SCENARIOS", "build"]

if __name__ == "__main__":
    for name in sys.argv[2:] or SCENARIOS:
        print(build(name, Path(sys.argv[1]) / name))
