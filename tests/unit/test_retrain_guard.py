"""A finished run is trained again for reasons of the training's own, or on a person's word."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolgain.common.files import write_json, write_text
from toolgain.config.freeze import frozen
from toolgain.config.sections import Config, parse_config
from toolgain.head import retrain_guard

MANIFEST = Path("results/runs/grpo/manifest.json")


def config(steps: int = 40, model: str = "model") -> Config:
    return parse_config(
        {"model": {"path": model}, "training": {"backend": "trl", "trl": {"max_steps": steps}}}
    )


class Reason(SimpleNamespace):
    """What Snakemake says of a job; only what the guard reads."""

    def __str__(self) -> str:
        said = "Updated input files: results/tasks/grpo/tasks.json"
        return f"Finished (was: {said})" if self.finished else said


def plan(rule: str = "train_run", incomplete: bool = False, finished: bool = False) -> Any:
    """A workflow whose plan has one job."""
    job = SimpleNamespace(
        rule=SimpleNamespace(name=rule),
        wildcards=SimpleNamespace(run="grpo"),
        input=["results/model.json"],
    )
    return SimpleNamespace(
        dag=SimpleNamespace(
            needrun_jobs=lambda exclude_finished: [job],
            reason=lambda _: Reason(incomplete_output=incomplete, finished=finished),
        )
    )


@pytest.fixture(autouse=True)
def finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A results folder with a run that reached its last step."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(retrain_guard.WISH, raising=False)
    for stage in ("model", "training/grpo"):
        write_text(retrain_guard.FROZEN / f"{stage}.json", frozen(config(), stage) + "\n")
    write_json(MANIFEST, {"planned_steps": 40, "total_steps": 40})
    yield


def findings(workflow: Any, now: Config) -> list[str]:
    return list(retrain_guard.retraining_findings(workflow, now))


def test_a_finished_run_is_not_trained_again_for_a_files_time() -> None:
    (line,) = findings(plan(), config())
    assert "run 'grpo' is finished" in line
    assert "Updated input files" in line
    # An input that was deleted is made by itself first.
    first = "`snakemake --profile ... results/model.json`, then"
    assert f"{first} `snakemake --profile ... --touch {MANIFEST}`" in line
    assert "TOOLGAIN_RETRAIN=grpo" in line
    assert "\n" not in line


def test_a_dry_run_gives_the_same_reason_in_the_same_words() -> None:
    assert findings(plan(finished=True), config()) == findings(plan(), config())


def test_another_training_section_or_model_is_another_training() -> None:
    assert findings(plan(), config(steps=80)) == []
    assert findings(plan(), config(model="another")) == []


def test_the_person_may_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(retrain_guard.WISH, "other, grpo")
    assert findings(plan(), config()) == []
    monkeypatch.setenv(retrain_guard.WISH, "other")
    assert len(findings(plan(), config())) == 1


def test_other_stages_and_jobs_whose_snakemake_was_killed_pass() -> None:
    assert findings(plan(rule="evaluate_model"), config()) == []
    assert findings(plan(incomplete=True), config()) == []


@pytest.mark.parametrize(
    "manifest", [None, "[]", "{cut", '{"planned_steps": 40, "total_steps": 39}', "{}"]
)
def test_a_run_without_its_last_step_is_not_finished(manifest: str | None) -> None:
    MANIFEST.unlink()
    if manifest is not None:
        MANIFEST.write_text(manifest)
    assert findings(plan(), config()) == []
