"""The folder that an evaluation leaves: its files, what they say, and what makes it not count."""

from pathlib import Path
from typing import Any

import pytest
from evaluation_folders import outcome

from toolgain.bfcl import data, outcomes
from toolgain.bfcl.outcomes import ItemOutcome, read_items
from toolgain.evaluation import outputs
from toolgain.evaluation.budget import Budget
from toolgain.evaluation.job import EvaluationJob, Ledger, evaluation_section, prepare_evaluation
from toolgain.evaluation.request_log import MatchedRequests
from toolgain.evaluation.validity import Validity
from toolgain.records.evaluation import EvaluationManifest
from toolgain.records.record import read_record
from toolgain.records.summary import Canary, Summary

ROOT = Path(__file__).parents[2]
HEALTHY = Canary(answered=True, parsed_call=True, text=True)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> EvaluationJob:
    """The evaluation of an endpoint's model `m` on one item of each category."""
    section = evaluation_section(None, "http://h/v1", None, 1)
    out = tmp_path_factory.mktemp("outputs") / "baseline"
    envs = ROOT / ".venvs/bfcl", ROOT / ".venvs/trl"
    return prepare_evaluation(out, section, None, "http://h/v1", "m", *envs)


def rows(job: EvaluationJob, right: bool = True, **other: Any) -> list[ItemOutcome]:
    """A row for each item."""
    return [
        outcome(item.category, item.index, right, id=item.id, occurrence=item.occurrence, **other)
        for item in data.flat(job.items)
    ]


def written(
    job: EvaluationJob,
    found: list[ItemOutcome],
    *,
    canary: Canary = HEALTHY,
    ledger: Ledger | None = None,
    **seen: Any,
) -> tuple[Validity, Summary, EvaluationManifest]:
    """What is written for these rows and this request log."""
    values: dict[str, Any] = {
        "seen": {}, "used": set(), "requests": len(found), "retried": 0, "models": {"m": 17},
        "calls": 17, "sampling": [job.sampling],
    }  # fmt: skip
    judged = outputs.write_evaluation(
        job,
        ledger or Ledger(Budget(job.out / "spent.json", None)),
        canary,
        found,
        [MatchedRequests(**values | seen)],
        "2026-11-18T10:00:00+00:00",
        12.345,
    )
    summary = read_record(Summary, job.out / outcomes.SUMMARY, "summary")
    return judged, summary, read_record(EvaluationManifest, job.out / outcomes.MANIFEST, "m")


def test_a_whole_evaluation_is_written_as_records_and_tables(job: EvaluationJob) -> None:
    found = rows(job)
    judged, summary, manifest = written(job, found, retried=2, failures={"timeout": 3})
    assert (judged.valid, judged.reasons, judged.warnings) == (True, [], [])
    assert (summary.valid, summary.n, summary.overall) == (True, 17, 100.0)
    assert (summary.retried_requests, summary.failed_attempts) == (2, {"timeout": 3})
    assert len(summary.categories) == 17
    assert all(one.n == one.correct == 1 for one in summary.categories.values())
    assert (manifest.subject, manifest.weights.digest) == ("baseline", None)
    assert manifest.times and manifest.times.wall_s == 12.35
    assert manifest.versions["nvidia-bfcl"]
    assert read_items(job.out) == found
    assert (job.out / outcomes.QUESTIONS).exists()


def test_a_missing_item_makes_it_not_count(job: EvaluationJob) -> None:
    judged, summary, _ = written(job, rows(job)[:-1])
    assert not judged.valid
    assert summary.reasons == judged.reasons != []


def test_answers_that_the_server_never_gave_make_it_not_count(job: EvaluationJob) -> None:
    found = rows(job)
    judged, summary, _ = written(job, found, unasked={found[0].key})
    assert not judged.valid
    assert "hold answers that the server never gave" in summary.reasons[0]
    assert found[0].id in summary.reasons[0]


def test_scores_that_differ_when_scored_again_make_it_not_count(job: EvaluationJob) -> None:
    judged, _, _ = written(job, rows(job), rescored=["simple_1"])
    assert not judged.valid


def test_a_server_that_never_answered_leaves_a_record_without_scores(job: EvaluationJob) -> None:
    canary = Canary(answered=False, failure="connection refused")
    judged, summary, _ = written(job, [], canary=canary, models={}, calls=0, sampling=[])
    assert not judged.valid
    assert (summary.overall, summary.categories) == (None, {})
    assert summary.canary == canary
    assert read_items(job.out) == []


def test_another_name_of_the_model_is_a_warning(job: EvaluationJob) -> None:
    judged, summary, _ = written(job, rows(job), models={"m-2": 17})
    assert judged.valid
    assert summary.warnings == ["the server calls its model m-2"]


def test_gpus_count_from_the_stage_s_own_clock_outside_of_slurm(
    job: EvaluationJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("SLURM_JOB_NUM_NODES", raising=False)
    _, _, manifest = written(job, rows(job))
    assert manifest.cost is not None
    assert (manifest.cost.gpus, manifest.cost.source) == (2, None)
    assert manifest.cost.gpu_hours == round(2 * 12.345 / 3600, 4)
    assert manifest.slurm_jobs == []
