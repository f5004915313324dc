"""How the jobs of a start are followed: by squeue's answers, and through Slurm's silence.

Programs in the place of Slurm's print what Slurm prints; a real cluster is in tests/slurm.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_toolgain_slurm import LONGEST_PAUSE, SHORTEST_PAUSE, Executor
from toolgain.common import failures
from toolgain.common.errors import ExitCode
from toolgain.common.failures import Failure
from toolgain.slurm.queue import RUNNING, SEPARATOR, WAITING, EndedJobs, QueuedJob


def queued(state: str, job_id: str = "7") -> dict[str, QueuedJob]:
    """An answer of squeue with one job."""
    return {job_id: QueuedJob(job_id, "start", state, "None", "n1", "1:00", "/w", "rule_all")}


def program(folder: Path, name: str, script: str) -> None:
    """A program on the PATH."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@given(st.lists(st.sampled_from(sorted(WAITING | RUNNING))))
def test_a_job_that_waits_or_runs_has_not_ended(states: list[str]) -> None:
    jobs = EndedJobs()
    assert not any(jobs.state("7", queued(state)) for state in states)


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED"])
def test_an_end_counts_at_once(state: str) -> None:
    assert EndedJobs().state("7", queued(state)) == state


def test_the_job_of_a_dying_node_may_come_back() -> None:
    jobs = EndedJobs()
    answers = ["NODE_FAIL", "PENDING", "RUNNING", "NODE_FAIL", "NODE_FAIL"]
    said = [jobs.state("7", queued(state)) for state in answers]
    assert said == [None, None, None, None, "NODE_FAIL"]


def test_a_job_that_squeue_forgot_is_looked_up_after_three_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "squeue", "echo 'squeue: Invalid job id specified' >&2; exit 1")
    program(tmp_path, "sacct", "echo CANCELLED by 0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    jobs = EndedJobs()
    assert [jobs.state("7", {}) for _ in range(3)] == [None, None, "CANCELLED by 0"]
    jobs = EndedJobs()
    assert [jobs.state("7", known) for known in ({}, {}, queued("RUNNING"), {}, {})] == [None] * 5


def test_a_job_that_nobody_knows_is_lost_and_one_that_nobody_can_ask_about_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path, "squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    jobs = EndedJobs()
    assert not any(jobs.state("7", {}) for _ in range(10))
    program(tmp_path, "squeue", "exit 0")
    program(tmp_path, "sacct", "exit 0")
    assert jobs.state("7", {}) == "UNKNOWN"


# -- the executor


@dataclass(eq=False)
class PlannedJob:
    """A job of Snakemake's plan."""

    output: tuple[str, ...] = ()
    attempt: int = 1
    restart_times: int = 3


@dataclass
class SubmittedJob:
    """The same once Slurm has it."""

    external_jobid: str
    job: PlannedJob
    aux: dict[str, str] = field(default_factory=lambda: {"slurm_logfile": "logs/slurm.log"})


class Reported(Executor):
    """The executor without a Snakemake around it, which notes what it would tell Snakemake."""

    def __init__(self) -> None:
        self.run_uuid = "start"
        self.logger = logging.getLogger("executor")
        self.next_seconds_between_status_checks = SHORTEST_PAUSE
        self._end_of, self._silent_since, self.endings = EndedJobs(), None, {}
        self.planned = PlannedJob()
        self.succeeded: list[str] = []
        self.failed: list[str] = []

    def report_job_success(self, job_info: Any) -> None:
        self.succeeded.append(job_info.external_jobid)

    def report_job_error(self, job_info: Any, msg: str = "", **_: Any) -> None:
        self.failed.append(msg)

    def look(self, *ids: str) -> list[str]:
        """One round of questions; the jobs that are still followed."""

        async def remaining() -> list[str]:
            asked = [SubmittedJob(one, self.planned) for one in ids]
            return [job.external_jobid async for job in self.check_active_jobs(asked)]

        return asyncio.run(remaining())


def squeue_says(folder: Path, **states: str) -> None:
    rows = [
        SEPARATOR.join((one[1:], "start", state, "None", "n1", "1:00", "/w", "rule_all"))
        for one, state in states.items()
    ]
    (folder / "answer").write_text("\n".join(rows) + "\n")
    program(folder, "squeue", f"cat {folder}/answer")


def test_what_ended_is_reported_and_the_rest_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    squeue_says(tmp_path, j1="RUNNING", j2="COMPLETED", j3="TIMEOUT", j4="PENDING")
    executor = Reported()
    assert executor.look("1", "2", "3", "4") == ["1", "4"]
    assert executor.succeeded == ["2"]
    (message,) = executor.failed
    assert message.startswith("Slurm job 3 ended as TIMEOUT: it reached its time limit")


def test_a_stage_that_ended_with_bad_input_is_not_submitted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    squeue_says(tmp_path, j3="FAILED")
    executor = Reported()
    executor.look("3")
    assert executor.planned.attempt == 1
    (tmp_path / ".snakemake").mkdir()
    failures.record(Failure(ExitCode.BAD_INPUT, "model: no such folder."))
    executor.look("3")
    assert executor.planned.attempt > executor.planned.restart_times
    assert executor.failed[-1] == "Slurm job 3 ended as FAILED: model: no such folder. "


def test_an_unanswered_question_keeps_every_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path, "squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    executor = Reported()
    for _ in range(5):
        assert executor.look("1", "2") == ["1", "2"]
    squeue_says(tmp_path, j1="RUNNING", j2="RUNNING")
    assert executor.look("1", "2") == ["1", "2"]
    assert not executor.succeeded and not executor.failed
    silent, again = caplog.messages
    assert silent.startswith("Slurm does not answer (squeue: Unable to contact slurm controller)")
    assert again.startswith("Slurm answers again after")


def test_the_pause_between_questions_grows_while_nothing_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    squeue_says(tmp_path, j1="RUNNING", j2="RUNNING")
    executor = Reported()
    pauses = []
    for _ in range(20):
        executor.look("1", "2")
        pauses.append(executor.next_seconds_between_status_checks)
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    squeue_says(tmp_path, j1="RUNNING", j2="COMPLETED")
    assert executor.look("1", "2") == ["1"]
    assert executor.next_seconds_between_status_checks == SHORTEST_PAUSE
