"""What `toolgain status` shows of a results folder and of Slurm's queue."""

import json
import os
from pathlib import Path

import pytest

from toolgain.common.errors import UserError
from toolgain.head import status
from toolgain.slurm.queue import QueuedJob


def job(job_id: str, state: str, comment: str, reason: str = "None", nodes: str = "") -> QueuedJob:
    return QueuedJob(job_id, "toolgain_1", state, reason, nodes, "59:10", "/w", comment)


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def test_status_shows_what_waits_runs_and_is_done(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write(results / "config/training/grpo.json", {})
    write(results / "tasks/grpo/tasks.json", {})
    progress = {"step": 12, "total": 40, "unit": "steps", "reward": 0.5, "accuracy": 0.25}
    write(results / "progress/train-grpo.json", {**progress, "state": "running", "log": "t.log"})
    queue = [
        job("3", "FAILED", "rule_train_run_wildcards_grpo"),
        job("4", "RUNNING", "rule_train_run_wildcards_grpo", nodes="n[1-2]"),
        job("5", "PENDING", "rule_evaluate_model_wildcards_baseline", reason="Resources"),
    ]
    rows = {row.stage: row for row in status.stage_rows(results, queue, now=0.0)}
    train = rows["train grpo"]
    assert (train.state, train.job, train.place, train.left) == ("running", "4", "n[1-2]", "59:10")
    assert (train.progress, train.reward, train.accuracy) == ("12 of 40 steps", "0.500", "0.250")
    assert train.log == "t.log"
    assert rows["evaluate baseline"].state == "waiting (Resources)"
    assert rows["tasks grpo"].state == "done"
    assert rows["report"].state == "to do"


def test_status_shows_the_jobs_of_what_is_done(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write(results / "config/training/grpo.json", {})
    write(results / "runs/grpo/smoke.json", {"slurm_jobs": ["2"]})
    write(results / "runs/grpo/manifest.json", {"slurm_jobs": ["3", "4", "5", "8"]})
    write(results / "runs/grpo/best.json", {})
    write(results / "runs/grpo/export.json", {"slurm_jobs": []})
    write(results / "evaluations/baseline/summary.json", {})
    write(results / "evaluations/baseline/manifest.json", {"slurm_jobs": ["9", "10"]})
    rows = {row.stage: row for row in status.stage_rows(results, [], now=0.0)}
    assert rows["smoke grpo"].job == "2"
    assert rows["train grpo"].job == "3 ... 8 (4 jobs)"
    assert rows["evaluate baseline"].job == "9, 10"
    # The choice is made beside Snakemake, and this export ran outside of Slurm.
    assert (rows["select grpo"].job, rows["export grpo"].job) == ("", "")
    assert (rows["export grpo"].state, rows["evaluate baseline"].state) == ("done", "done")


def test_status_says_why_a_finished_evaluation_does_not_count(tmp_path: Path) -> None:
    results = tmp_path / "results"
    reasons = ["21 of 426 items have no answer", "the sandbox was not whole"]
    write(results / "evaluations/baseline/summary.json", {"valid": False, "reasons": reasons})
    rows = {row.stage: row for row in status.stage_rows(results, [], now=0.0)}
    assert rows["evaluate baseline"].state == "not valid"
    assert rows["evaluate baseline"].message == "; ".join(("will not be compared", *reasons))


def test_status_tells_a_silent_stage_from_a_running_one(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write(results / "config/training/grpo.json", {})
    stale = {"state": "running", "updated": "2026-01-01T00:00:00+00:00", "host": "elsewhere"}
    write(results / "progress/train-grpo.json", stale)
    os.utime(results / "config/training/grpo.json", (0, 0))
    rows = {row.stage: row for row in status.stage_rows(results, [], now=1_767_225_600.0 + 600)}
    assert rows["train grpo"].state == "silent for 10 min 00 s"


def test_status_shows_the_cause_of_a_failure_in_its_row(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write(results / "config/training/grpo.json", {"smoke_steps": 3})
    log = tmp_path / "logs/train/grpo.log"
    log.parent.mkdir(parents=True)
    log.write_text("12:00 step 1\ntoolgain: the disk is full; free some.\n")
    queue = [job("4", "FAILED", "rule_train_run_wildcards_grpo")]
    for known in (queue, []):
        rows = {row.stage: row for row in status.stage_rows(results, known, now=0.0)}
        assert rows["train grpo"].state == "failed"
        assert rows["train grpo"].message == "the disk is full; free some."
        assert rows["train grpo"].log == str(log)
        assert rows["smoke grpo"].state == "to do", "a planned smoke training has a row"
    queue = [job("4", "OUT_OF_MEMORY", "rule_train_run_wildcards_grpo")]
    rows = {row.stage: row for row in status.stage_rows(results, queue, now=0.0)}
    assert "more memory" in rows["train grpo"].message


@pytest.mark.parametrize(("backend", "key"), [("trl", "max_steps"), ("nemo_rl", "max_num_steps")])
def test_status_shows_the_plan_of_a_training_that_was_changed(
    tmp_path: Path, backend: str, key: str
) -> None:
    results = tmp_path / "results"
    done = {"step": 40, "total": 40, "state": "finished", "updated": "2026-01-01T00:00:00+00:00"}
    write(results / "progress/train-grpo.json", {**done, "reward": 0.9})
    write(results / "runs/grpo/manifest.json", {})
    write(results / "config/training/grpo.json", {"backend": backend, backend: {key: 60}})
    queue = [job("4", "PENDING", "rule_train_run_wildcards_grpo")]
    row = {row.stage: row for row in status.stage_rows(results, queue, now=0.0)}["train grpo"]
    assert (row.progress, row.reward) == ("0 of 60 steps", "")


def test_no_row_of_the_status_vanishes_while_a_plan_is_written_again(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write(results / "runs/grpo/manifest.json", {})
    (results / "tasks/second").mkdir(parents=True)
    titles = {row.stage for row in status.stage_rows(results, [], now=0.0)}
    assert {"train grpo", "train second", "export grpo", "evaluate second"} <= titles


def test_the_status_fits_80_columns(tmp_path: Path) -> None:
    rows = [
        status.StatusRow(
            "evaluate baseline", "waiting", "8123456 ... 8123499 (9 jobs)",
            message="ReqNodeNotAvail, UnavailableNodes:node[0001-0200]",
        ),
        status.StatusRow(
            "train grpo", "running", "8123457", "node[0101-0116]", "1200 of 4000 steps", "0.500",
            "0.250", "1-23:59:10", "logs/slurm/rule_train_run/grpo/8123457.log",
        ),
        status.StatusRow(
            "export grpo", "failed", message="a long cause " * 20, log="logs/export/x.log"
        ),
    ]  # fmt: skip
    lines = list(status.status_table(rows, 80))
    assert max(len(line) for line in lines) <= 80, lines
    text = "\n".join(lines)
    for word in ("8123456 ... 8123499", "node[0101-0116]", "logs/export/x.log", "1-23:59:10"):
        assert word in text


def test_status_of_a_folder_without_results_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        status.show_status(tmp_path / "results", watch=False)
