"""The next steps that the report names, and what each would cost."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import run_records
from toolgain.config.sections import load_config
from toolgain.report.cost import CostTable, StageCost
from toolgain.report.next_steps import next_steps


def sources(subset: bool, verdict: str = "improved", **manifest: Any) -> Any:
    run = SimpleNamespace(manifest=run_records.manifest(total_steps=40, **manifest))
    drawn = {"non_live": 10} if subset else None
    comparison = SimpleNamespace(subset=drawn, n=142, verdict=verdict)
    return SimpleNamespace(runs={"grpo": run}, comparison=comparison)


def stage(title: str, run: str, kind: str, hours: float, where: str = "job 7") -> StageCost:
    return StageCost(title, run, kind, 3600 * hours, 1, 8, 8 * hours, where, "")


COST = CostTable(
    (
        stage("Evaluation before", "", "evaluation", 1),
        stage("Training", "grpo", "training", 10),
        stage("Evaluation after", "", "evaluation", 1),
    ),
    None,
    None,
    (),
)


def test_each_way_on_has_a_command_and_a_cost() -> None:
    steps = {step.title.split(":")[0].split(",")[0]: step for step in
             next_steps(sources(subset=True), COST, 1420)}  # fmt: skip
    seeds, items, longer, cut = steps.values()
    assert seeds.cost == "about 22 h and 176.0 GPU-hours (for both, by this run)"
    assert items.edit == "evaluation: {subset: null}"
    assert items.cost.startswith("about 20 h and 160.0 GPU-hours")
    assert longer.edit == "training: {trl: {max_steps: 80}}"
    assert all(step.command == "snakemake --profile slurm all" for step in steps.values())
    assert cut.edit == ""


def test_all_items_asked_need_no_step_to_all_items() -> None:
    assert not [s for s in next_steps(sources(subset=False), COST, 142) if "in place of" in s.title]


def test_more_steps_are_no_advice_where_the_model_regressed() -> None:
    def longer(verdict: str) -> list[str]:
        steps = next_steps(sources(subset=True, verdict=verdict), COST, 1420)
        return [step.edit for step in steps if "max_steps" in step.edit]

    assert longer("no_clear_change")
    assert not longer("regressed")


def test_what_cannot_be_compared_is_measured_again_before_anything_else() -> None:
    again, cut = next_steps(sources(subset=True, verdict="not_comparable"), COST, 1420)
    assert "once what makes them not comparable is mended" in again.title
    assert again.cost == "about 2 h and 16.0 GPU-hours (by this run)"
    assert cut.cost == "what was left"


def test_the_edits_are_allowed_in_a_configuration(tmp_path: Path) -> None:
    for number, step in enumerate(next_steps(sources(subset=True), COST, 1420)):
        path = tmp_path / f"{number}.yaml"
        edit = f"runs: {{grpo: {{}}, {step.edit}}}" if step.place else step.edit
        path.write_text(f"model: {{path: m}}\n{edit}\n")
        load_config(path)
