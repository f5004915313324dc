"""Snakemake's Slurm executor with another way of asking how the jobs stand.

Submission, cancellation and settings are those of `snakemake-executor-plugin-slurm`. What differs,
because 2.8.0 would lose or wait for long training runs otherwise:

- An unanswered question keeps the jobs. (2.8.0 forgets every running job after so many failed
  questions, and Ctrl-C can then cancel none.)
- A job that Slurm no longer knows counts as failed after a few answers without it. (2.8.0 waits
  forever.)
- The pause between questions is `--seconds-between-status-checks`, and at most four times that
  while nothing ends. (2.8.0 lets it grow to three minutes.)
- A submission waits for an absent slurmctld. (2.8.0 spends all retries within seconds.)
- An evaluation that ended and is not valid is said at once, while training runs continue.
- A failure names the job, its state and what the stage itself says of the cause.
- A stage that ended with exit code 2 (bad input) is not submitted again: it would end the same way.
  Nor is a job that sbatch refuses for what it asks. (2.8.0 spends all retries within a second.)
- A job that was requeued is told of, and what keeps one in the queue where it is more than its turn
  (held, a limit, a partition that is down).
- Ctrl-C cancels every job of this start, also one that sbatch had just taken, and a second Ctrl-C
  does not interrupt that. (2.8.0 leaves jobs in the queue.)
- `--verbose` is not passed on to the jobs: their part of Snakemake would then write the whole
  environment, tokens included, into Slurm's logs.
- The account is passed on as it is, without asking the accounting database.
"""

import asyncio
import getpass
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings, common_settings

from toolgain.common.errors import ExitCode
from toolgain.common.failures import recorded
from toolgain.common.signals import handling
from toolgain.head import command_line
from toolgain.head.last_words import invalid_evaluations
from toolgain.slurm.endings import Ending, Refusal, refusal_in
from toolgain.slurm.preflight import NO_SLURM, describe
from toolgain.slurm.queue import EndedJobs, NoAnswerError, QueuedJob, ask_slurm, jobs, standing
from toolgain.slurm.waiting import why_it_waits

# Here, since Snakemake imports its plugins before it reads anything else.
command_line.check_command_line()

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

PAUSE_GROWTH = 4
"""How many times its shortest the pause between two questions gets."""
CONTROLLER_WAIT = 1800
"""Timeout for slurmctld before a submission, in seconds."""
REFUSED_PAUSE = 60
"""Seconds before the next attempt after a refusal that time alone mends."""


class Executor(SlurmExecutor):  # type: ignore[misc]
    """Submits as Snakemake's Slurm executor does; asks for status in its own way."""

    def __init__(self, workflow: Any, logger: Any) -> None:
        # The parent's start asks scontrol, and fails less plainly where there is none.
        if not shutil.which("sbatch"):
            print(f"toolgain: {NO_SLURM}", file=sys.stderr)
            sys.exit(ExitCode.BAD_INPUT)
        # Before the parent's start: the thread that asks begins there, and would die for good.
        settings = workflow.remote_execution_settings
        self.shortest_pause: int = max(1, settings.seconds_between_status_checks)
        """Seconds between two questions, as long as jobs end."""
        self.endings: dict[Any, Ending | Refusal] = {}
        """How the jobs that failed ended or were refused, by Snakemake's job."""
        self._end_of = EndedJobs()
        self._waits_told: set[tuple[str, str]] = set()
        self._running: set[str] = set()
        self._silent_since: float | None = None
        super().__init__(workflow, logger)

    def format_job_exec(self, job: Any) -> str:
        """The command of a job, without `--verbose`: there it would print the whole environment."""
        return re.sub(r" --verbose(?= |$)", "", str(super().format_job_exec(job)))

    def __post_init__(self, test_mode: bool = False) -> None:
        super().__post_init__(test_mode)
        self.next_seconds_between_status_checks: int = self.shortest_pause

    async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncGenerator[Any, None]:
        """Report the jobs that ended; yield those that did not, or whose state nobody knows."""
        pause: int = self.next_seconds_between_status_checks
        self.next_seconds_between_status_checks = self.shortest_pause
        if not active_jobs:
            return
        try:
            answer = await asyncio.to_thread(jobs, f"--name={self.run_uuid}")
        except NoAnswerError as error:
            self._note_silence(str(error))
            for job in active_jobs:
                yield job
            return
        self._note_answer()
        known = {job.job_id: job for job in answer}
        ended = False
        for job in active_jobs:
            # In a thread, since Slurm may be asked once more about a job that squeue forgot.
            state = await asyncio.to_thread(self._end_of.state, job.external_jobid, known)
            if state is None:
                self._note_waiting(known.get(job.external_jobid))
                yield job
                continue
            ended = True
            if standing(state) == "ended_well":
                self.report_job_success(job)
                for warning in invalid_evaluations(map(Path, map(str, job.job.output))):
                    self.logger.warning(warning)
            else:
                self._report_failure(job, state)
        if not ended:
            longest = PAUSE_GROWTH * self.shortest_pause
            self.next_seconds_between_status_checks = min(pause + 1, longest)

    def _report_failure(self, job: Any, state: str) -> None:
        """Tell Snakemake that a job failed, and whether trying again makes sense."""
        log = job.aux.get("slurm_logfile")
        failure = recorded(job.external_jobid)
        ending = Ending(job.external_jobid, state, Path(str(log)), failure)
        self.endings[job.job] = ending
        if failure is not None and failure.exit_code == ExitCode.BAD_INPUT:
            _never_again(job.job)
        # Snakemake appends a sentence of its own.
        said = ending.sentence.rstrip(".") + ". "
        self.report_job_error(job, msg=said, aux_logs=[str(log)])

    def cancel_jobs(self, active_jobs: list[Any]) -> None:
        """Cancel every job of this start. A second Ctrl-C meanwhile changes nothing."""
        with handling([signal.SIGINT], self._note_second_interrupt):
            try:
                # By the name that all of them bear: nobody may know yet what sbatch has just taken.
                ask_slurm("scancel", f"--user={getpass.getuser()}", f"--name={self.run_uuid}")
                self.logger.info("Every job of this start is cancelled; finished work is kept.")
            except NoAnswerError as error:
                ids = " ".join(str(job.external_jobid) for job in active_jobs if job.external_jobid)
                self.logger.error(f"Jobs may still be in the queue ({error}): scancel {ids}")

    def _note_second_interrupt(self, *_: object) -> None:
        self.logger.warning("The jobs are being cancelled; that takes at most a minute.")

    def run_job(self, job: Any) -> None:
        """Submit, once slurmctld is there."""
        end = time.monotonic() + CONTROLLER_WAIT
        while self.wait and time.monotonic() < end:
            try:
                ask_slurm("squeue", "-h", "--me")
                break
            except NoAnswerError as error:
                self._note_silence(str(error))
                time.sleep(self.shortest_pause)
        super().run_job(job)

    def _report_job_error_threadsafe(self, job_info: Any, msg: str) -> None:
        """What the parent calls where sbatch did not take a job, from a thread of its own."""
        refusal = refusal_in(msg)
        self.endings[job_info.job] = refusal
        if refusal.passing:
            # Here, since Snakemake itself would try again at once.
            end = time.monotonic() + REFUSED_PAUSE
            while self.wait and time.monotonic() < end:
                time.sleep(1)
        else:
            _never_again(job_info.job)
        super()._report_job_error_threadsafe(job_info, f"{refusal.cause} ")

    def get_account_arg(self, job: Any) -> Iterator[str]:
        """`-A` with the account that the job asks for, unasked: the preflight has checked it."""
        account = job.resources.get("slurm_account")
        yield f" -A {shlex.quote(str(account))}" if account else ""

    def _note_waiting(self, job: QueuedJob | None) -> None:
        """Say once that a job is back in the queue, and what keeps one there but its turn."""
        if job is None:
            return
        name = f"Slurm job {job.job_id} ({describe(job.comment)})"
        if job.standing == "running":
            self._running.add(job.job_id)
            return
        if job.standing == "waiting" and job.job_id in self._running:
            self._running.remove(job.job_id)
            self.logger.warning(
                f"{name} is back in the queue: a node failed, a job of higher priority took its "
                "place, or somebody requeued it. It resumes when it starts again."
            )
        why = why_it_waits(job.reason) if job.standing == "waiting" else None
        if why is not None and (job.job_id, job.reason) not in self._waits_told:
            self._waits_told.add((job.job_id, job.reason))
            self.logger.warning(f"{name} waits: {job.reason}: {why}.")

    def _note_silence(self, problem: str) -> None:
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            self.logger.warning(f"Slurm does not answer ({problem}); the jobs stay as they are.")

    def _note_answer(self) -> None:
        if self._silent_since is not None:
            seconds = time.monotonic() - self._silent_since
            self._silent_since = None
            self.logger.warning(f"Slurm answers again after {seconds:.0f} s.")


def _never_again(job: Any) -> None:
    """Have Snakemake not try a job again, which it does while an attempt is left."""
    job.attempt = job.restart_times + 1
