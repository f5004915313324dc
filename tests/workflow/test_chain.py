"""The whole chain with its real parts, and what a change runs again."""

from copy import deepcopy
from typing import Any

import pytest
from small_chain import SMALL, Chain

pytestmark = pytest.mark.slow

AFTER_EVALUATION = {"compare", "report", "all"}


def changed(**sections: Any) -> dict[str, Any]:
    """The small configuration with keys of some sections changed."""
    config = deepcopy(SMALL)
    for name, values in sections.items():
        config[name] = {**config.get(name, {}), **values}
    return config


def planned_after(chain: Chain, config: dict[str, Any], *arguments: str) -> set[str]:
    """The rules that would run with another configuration."""
    return Chain(chain.folder, config).planned(*arguments)


def test_the_chain_ends_with_a_comparison_of_real_items(finished_chain: Chain) -> None:
    baseline = finished_chain.read("evaluations/baseline/summary.json")
    comparison = finished_chain.read("comparison.json")
    training = finished_chain.read("runs/grpo/manifest.json")
    assert baseline["n"] == 17
    assert len(baseline["categories"]) == 17
    assert comparison["verdict"] in {"improved", "regressed", "no_clear_change", "not_comparable"}
    assert training["total_steps"] == training["planned_steps"] == 4
    assert [step for step, _ in training["curves"]["validation/accuracy"]] == [0, 2, 4]
    page = (finished_chain.folder / "results/report.html").read_text()
    assert "subset, not comparable with published scores" in page


def test_a_finished_run_has_nothing_to_do(finished_chain: Chain) -> None:
    assert finished_chain.planned() == set()


def test_the_order_of_keys_runs_nothing_again(finished_chain: Chain) -> None:
    reordered = {key: SMALL[key] for key in reversed(SMALL)}
    assert planned_after(finished_chain, reordered) == set()


def test_an_evaluation_change_never_trains(finished_chain: Chain) -> None:
    config = changed(evaluation={"parallelism": 2})
    assert planned_after(finished_chain, config) == {"freeze", "evaluate_model", *AFTER_EVALUATION}


def test_a_report_change_makes_the_report_alone(finished_chain: Chain) -> None:
    config = changed(report={"title": "Another title"})
    assert planned_after(finished_chain, config) == {"freeze", "report", "all"}


def test_a_comparison_change_compares_and_reports(finished_chain: Chain) -> None:
    config = changed(comparison={"draws": 2000})
    assert planned_after(finished_chain, config) == {"freeze", *AFTER_EVALUATION}


def test_a_training_change_leaves_the_baseline(finished_chain: Chain) -> None:
    config = changed(training={"seed": 5})
    chain = Chain(finished_chain.folder, config)
    rules = chain.planned()
    assert {"freeze_training", "train_run", "select", "export", "evaluate_model"} <= rules
    plan = chain.run("-n", "all")
    assert "subject=grpo" in plan.stdout + plan.stderr
    assert "subject=baseline" not in plan.stdout + plan.stderr


def test_forcing_the_evaluation_runs_both_evaluations_only(finished_chain: Chain) -> None:
    rules = finished_chain.planned("evaluate", "--forcerun", "evaluate")
    assert rules == {"evaluate_model", "evaluate"}


def test_snakemakes_own_report_holds_the_comparison(finished_chain: Chain) -> None:
    page = finished_chain.folder / "snakemake.html"
    done = finished_chain.run("--report", str(page))
    assert done.returncode == 0, done.stderr[-3000:]
    text = page.read_text()
    for word in ("Comparison", "The numbers, as JSON", "The report", "The same for a pull request"):
        assert word in text
