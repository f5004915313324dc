"""How the jobs of a start are followed: by squeue's answers, and through Slurm's silence.

With programs in the place of Slurm's; a real cluster is in tests/slurm.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slurm_programs import SlurmPrograms
from snakemake_executor_plugin_slurm import Executor as SlurmExecutor

from snakemake_executor_plugin_toolgain_slurm import Executor
from toolgain.common import failures
from toolgain.common.errors import ExitCode
from toolgain.common.failures import Failure
from toolgain.slurm.queue import RUNNING, WAITING, EndedJobs, QueuedJob


def queued(state: str, job_id: str = "7") -> dict[str, QueuedJob]:
    """An answer of squeue with one job."""
    return {job_id: QueuedJob(job_id, "start", state, "None", "n1", "1:00", "/w", "rule_all")}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmPrograms:
    """Slurm's programs, and a folder to start in."""
    monkeypatch.chdir(tmp_path)
    return SlurmPrograms(tmp_path / "bin", monkeypatch)


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


def test_a_job_that_squeue_forgot_is_looked_up_after_three_answers(slurm: SlurmPrograms) -> None:
    slurm.fails("squeue", "slurm_load_jobs error: Invalid job id specified")
    slurm.says("sacct", "CANCELLED by 0\n")
    jobs = EndedJobs()
    assert [jobs.state("7", {}) for _ in range(3)] == [None, None, "CANCELLED by 0"]
    jobs = EndedJobs()
    assert [jobs.state("7", known) for known in ({}, {}, queued("RUNNING"), {}, {})] == [None] * 5


def test_a_job_that_nobody_knows_is_lost_and_one_that_nobody_can_ask_about_is_not(
    slurm: SlurmPrograms,
) -> None:
    slurm.fails("squeue", "Unable to contact slurm controller")
    jobs = EndedJobs()
    assert not any(jobs.state("7", {}) for _ in range(10))
    slurm.says("squeue", "")
    slurm.says("sacct", "")
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
        self.next_seconds_between_status_checks = self.shortest_pause = 5
        self._end_of, self._silent_since, self.endings = EndedJobs(), None, {}
        self._waits_told, self._running, self._main_event_loop, self.wait = (
            set(),
            set(),
            None,
            False,
        )
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


def test_the_thread_that_asks_may_run_before_the_start_is_over(
    slurm: SlurmPrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snakemake starts it in the middle of its own `__init__`; if it dies, nothing ever ends."""
    slurm.does("sbatch", "exit 0")

    def start(self: Any, workflow: Any, _logger: Any) -> None:
        self.workflow = workflow
        self._next_seconds_between_status_checks = None

        async def first_round() -> list[Any]:
            return [job async for job in self.check_active_jobs([])]

        assert asyncio.run(first_round()) == []

    monkeypatch.setattr(SlurmExecutor, "__init__", start)
    settings = SimpleNamespace(seconds_between_status_checks=7)
    executor = Executor(SimpleNamespace(remote_execution_settings=settings), None)
    assert executor.next_seconds_between_status_checks == 7


def test_what_ended_is_reported_and_the_rest_is_followed(slurm: SlurmPrograms) -> None:
    slurm.queue({"1": "RUNNING", "2": "COMPLETED", "3": "TIMEOUT", "4": "PENDING"})
    executor = Reported()
    assert executor.look("1", "2", "3", "4") == ["1", "4"]
    assert executor.succeeded == ["2"]
    (message,) = executor.failed
    assert message.startswith("Slurm job 3 ended as TIMEOUT: it reached its time limit")


def test_a_stage_that_ended_with_bad_input_is_not_submitted_again(
    slurm: SlurmPrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    slurm.queue({"3": "FAILED"})
    executor = Reported()
    executor.look("3")
    assert executor.planned.attempt == 1
    Path(".snakemake").mkdir()
    failures.record(Failure(ExitCode.BAD_INPUT, "model: no such folder."))
    executor.look("3")
    assert executor.planned.attempt > executor.planned.restart_times
    assert executor.failed[-1] == "Slurm job 3 ended as FAILED: model: no such folder. "


@pytest.mark.parametrize(
    ("said", "again"),
    [("Invalid qos specification", False), ("Unable to contact slurm controller", True)],
)
def test_what_sbatch_refuses_is_tried_again_where_time_may_mend_it(said: str, again: bool) -> None:
    executor = Reported()
    job = SubmittedJob("", executor.planned)
    executor._report_job_error_threadsafe(
        job,
        f"SLURM sbatch failed. The error message was 'sbatch: error: {said}'.\n  sbatch call:\n",
    )
    assert executor.failed == [f"sbatch refuses the job: {said}. "]
    assert executor.endings[executor.planned].title == "not submitted"
    assert (executor.planned.attempt <= executor.planned.restart_times) == again


def test_what_keeps_a_job_in_the_queue_is_said_once(
    slurm: SlurmPrograms, caplog: pytest.LogCaptureFixture
) -> None:
    executor = Reported()
    for reason in ("Priority", "PartitionDown", "PartitionDown", "Resources", "JobHeldAdmin"):
        slurm.queue({"1": "PENDING"}, reason=reason)
        assert executor.look("1") == ["1"]
    down, held = caplog.messages
    assert down.startswith("Slurm job 1 (train_run grpo) waits: PartitionDown: its partition takes")
    assert held.startswith("Slurm job 1 (train_run grpo) waits: JobHeldAdmin: it is held")


def test_a_job_that_comes_back_into_the_queue_is_told_of_each_time(
    slurm: SlurmPrograms, caplog: pytest.LogCaptureFixture
) -> None:
    executor = Reported()
    for state in ("PENDING", "RUNNING", "PENDING", "PENDING", "RUNNING", "NODE_FAIL", "PENDING"):
        slurm.queue({"1": state}, reason="BeginTime" if state == "PENDING" else "None")
        assert executor.look("1") == ["1"]
    assert len(caplog.messages) == 2
    assert all("(train_run grpo) is back in the queue" in line for line in caplog.messages)


def test_an_unanswered_question_keeps_every_job(
    slurm: SlurmPrograms, caplog: pytest.LogCaptureFixture
) -> None:
    slurm.fails("squeue", "Unable to contact slurm controller")
    executor = Reported()
    for _ in range(5):
        assert executor.look("1", "2") == ["1", "2"]
    slurm.queue({"1": "RUNNING", "2": "RUNNING"})
    assert executor.look("1", "2") == ["1", "2"]
    assert not executor.succeeded and not executor.failed
    silent, again = caplog.messages
    assert silent.startswith("Slurm does not answer (squeue: Unable to contact slurm controller)")
    assert again.startswith("Slurm answers again after")


def test_the_pause_between_questions_grows_while_nothing_ends(slurm: SlurmPrograms) -> None:
    slurm.queue({"1": "RUNNING", "2": "RUNNING"})
    executor = Reported()
    pauses = []
    for _ in range(20):
        executor.look("1", "2")
        pauses.append(executor.next_seconds_between_status_checks)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 20
    slurm.queue({"1": "RUNNING", "2": "COMPLETED"})
    assert executor.look("1", "2") == ["1"]
    assert executor.next_seconds_between_status_checks == 5
