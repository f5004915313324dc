"""What Slurm says about jobs: in the queue, running, or ended and how.

A failed question is not an answer: every function tells the two apart, since taking one for the
other either forgets running jobs or waits forever.
"""

import getpass
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

WAITING = frozenset(
    {
        "PENDING",
        "CONFIGURING",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "SPECIAL_EXIT",
        "RESV_DEL_HOLD",
    }
)
RUNNING = frozenset(
    {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
)
ENDED_WELL = "COMPLETED"

ANSWERS_WITHOUT_JOB = 3
"""So many answers in a row that do not know a job make it a lost one."""
BAD_ANSWERS = 2
"""A dying node's job shows NODE_FAIL for a moment before Slurm requeues it."""

Standing = Literal["waiting", "running", "ended_well", "ended_badly"]


class NoAnswerError(Exception):
    """Slurm was asked and did not answer."""

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said
        """All that the command said, where it said something."""


@dataclass(frozen=True)
class QueuedJob:
    """A job as squeue shows it."""

    job_id: str
    name: str
    state: str
    reason: str
    nodes: str
    time_left: str
    work_dir: str
    comment: str

    @property
    def standing(self) -> Standing:
        """Its state as one of a few."""
        return standing(self.state)


FIELDS = ("%i", "%j", "%T", "%r", "%N", "%L", "%Z", "%k")
SEPARATOR = "\x1f"


def standing(state: str) -> Standing:
    """Whether a job in this state still waits or runs, or how it ended.

    Takes sacct's longer forms too, such as `CANCELLED by 0`.
    """
    first = state.split()[0].rstrip("+") if state.strip() else ""
    if first in WAITING:
        return "waiting"
    if first in RUNNING:
        return "running"
    return "ended_well" if first == ENDED_WELL else "ended_badly"


def parse_jobs(text: str) -> list[QueuedJob]:
    """The jobs of squeue's output in the format of `FIELDS`."""
    rows = (line.split(SEPARATOR) for line in text.splitlines() if line.strip())
    return [QueuedJob(*(value.strip() for value in row)) for row in rows if len(row) == len(FIELDS)]


def jobs(*filters: str, timeout: float = 60) -> list[QueuedJob]:
    """The jobs that squeue knows, ended ones of the last minutes included.

    Args:
        filters: further options of squeue, such as `--name=...`.

    Raises:
        NoAnswerError: slurmctld did not answer.
    """
    layout = SEPARATOR.join(FIELDS)
    return parse_jobs(
        ask_slurm("squeue", "-h", "--states=all", f"--format={layout}", *filters, timeout=timeout)
    )


def of_folder(folder: str) -> list[QueuedJob]:
    """This user's toolgain jobs that were submitted from `folder` and have not ended.

    Raises:
        NoAnswerError: slurmctld did not answer.
    """
    mine = jobs(f"--user={getpass.getuser()}")
    return [
        job
        for job in mine
        if job.work_dir == folder
        and job.comment.startswith("rule_")
        and job.standing in ("waiting", "running")
    ]


def state_of(job_id: str) -> str | None:
    """The state of a job, from squeue or, once squeue has forgotten it, from sacct.

    Returns:
        None when Slurm answered and knows no such job any more.

    Raises:
        NoAnswerError: slurmctld did not answer.
    """
    try:
        found = jobs(f"--jobs={job_id}")
    except NoAnswerError as error:
        # squeue calls an unknown id an error.
        if "Invalid job id" not in str(error):
            raise
        found = []
    if found:
        return found[0].state
    try:
        text = ask_slurm("sacct", "-X", "-n", "-P", "--format=State", f"--jobs={job_id}")
    except NoAnswerError:
        return None
    lines = text.split("\n")
    return lines[-2] if len(lines) > 1 and lines[-2] else None


class EndedJobs:
    """Which jobs have ended, told from one answer of squeue after another."""

    def __init__(self) -> None:
        self._absent: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    def state(self, job_id: str, known: Mapping[str, QueuedJob]) -> str | None:
        """The state in which a job ended; None while it has not, or nobody knows.

        Args:
            job_id: The job.
            known: The present answer of squeue, by job id.
        """
        found = known.get(job_id)
        if found is None:
            self._absent[job_id] += 1
            if self._absent[job_id] < ANSWERS_WITHOUT_JOB:
                return None
            try:
                return state_of(job_id) or "UNKNOWN"
            except NoAnswerError:
                return None
        del self._absent[job_id]
        if found.standing == "ended_well":
            return found.state
        if found.standing != "ended_badly":
            del self._failed[job_id]
            return None
        self._failed[job_id] += 1
        may_come_back = found.state in ("NODE_FAIL", "PREEMPTED")
        return None if may_come_back and self._failed[job_id] < BAD_ANSWERS else found.state


def is_alive(job_id: str) -> bool:
    """Whether a job still waits or runs.

    Raises:
        NoAnswerError: slurmctld did not answer, so that nobody can say.
    """
    state = state_of(job_id)
    return state is not None and standing(state) in ("waiting", "running")


def ask_slurm(*command: str, timeout: float = 60) -> str:
    """The output of a Slurm command.

    Raises:
        NoAnswerError: it failed, is missing or took too long.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    except FileNotFoundError:
        raise NoAnswerError(f"{command[0]} is not on the PATH") from None
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"{command[0]} gave no answer in {timeout:.0f} s") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        last = said.splitlines()[-1] if said else "failed"
        raise NoAnswerError(f"{command[0]}: {last.removeprefix(f'{command[0]}: ')}", said)
    return done.stdout
