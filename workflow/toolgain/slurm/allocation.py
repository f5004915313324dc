"""The allocation this process runs in, asked of Slurm.

Snakemake's jobstep plugin takes every SLURM_* variable away except the job's id, so that a
multi-node rule sees no node list, no number of GPUs and no end of its time. `scontrol show job`
knows all of it.
"""

import os
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from toolgain.common.errors import StageError
from toolgain.records.training import SlurmJob
from toolgain.slurm import queue

QUERY_SECONDS = 60
"""How long a query may take before it counts as failed."""


@dataclass(frozen=True)
class Allocation:
    """What Slurm gave a job."""

    job_id: str
    nodes: tuple[str, ...]
    cpus: int
    """CPUs in all."""
    gpus: int
    """GPUs in all; 0 without any."""
    end: float | None
    """When the time limit strikes, in seconds since the epoch; None without a limit."""
    restarts: int
    """How often this job id was requeued."""
    account: str | None
    partition: str | None
    submit_host: str | None = None
    log: str | None = None
    """Where Slurm writes the batch script's output."""

    @property
    def cpus_per_node(self) -> int:
        """CPUs of each node, where all have as many; at least 1."""
        return max(1, self.cpus // len(self.nodes))

    @property
    def gpus_per_node(self) -> int:
        """GPUs of each node, where all have as many."""
        return self.gpus // len(self.nodes)

    def seconds_left(self, now: float | None = None) -> float | None:
        """Seconds until the time limit, or None without one."""
        return None if self.end is None else self.end - (time.time() if now is None else now)

    def variables(self) -> dict[str, str]:
        """The SLURM_* variables that a batch script has and that the rule's shell lost."""
        nodes = ",".join(self.nodes)
        count = str(len(self.nodes))
        cpus = str(self.cpus_per_node)
        values = {
            "SLURM_JOB_ID": self.job_id,
            "SLURM_JOBID": self.job_id,
            "SLURM_JOB_NODELIST": nodes,
            "SLURM_NODELIST": nodes,
            "SLURM_JOB_NUM_NODES": count,
            "SLURM_NNODES": count,
            "SLURM_CPUS_ON_NODE": cpus,
            "SLURM_JOB_CPUS_PER_NODE": cpus + (f"(x{count})" if len(self.nodes) > 1 else ""),
            "SLURM_RESTART_COUNT": str(self.restarts),
            # Several steps at once: without it the second one waits for the first to end.
            "SLURM_OVERLAP": "1",
        }
        if self.gpus:
            values["SLURM_GPUS_ON_NODE"] = str(self.gpus_per_node)
        if self.account:
            values["SLURM_JOB_ACCOUNT"] = self.account
        if self.partition:
            values["SLURM_JOB_PARTITION"] = self.partition
        return values


def current() -> Allocation | None:
    """The allocation of this process, or None outside of Slurm.

    Raises:
        StageError: there is a job id, but Slurm does not answer for it.
    """
    job_id = os.environ.get("SLURM_JOB_ID")
    return of_job(job_id) if job_id else None


def of_job(job_id: str) -> Allocation:
    """The allocation of a running job.

    Raises:
        StageError: Slurm does not answer, or the job has no nodes.
    """
    text = _ask("scontrol", "show", "job", "-o", job_id)
    fields = parse_job(text)
    node_list = fields.get("NodeList")
    if node_list is None:
        raise StageError(f"Slurm job {job_id} has no nodes: state {fields.get('JobState')}.")
    names = _ask("scontrol", "show", "hostnames", node_list).split()
    return allocation(fields, tuple(names))


def parse_job(text: str) -> dict[str, str]:
    """The fields of one line of `scontrol show job -o`; those that say `(null)` are left out.

    A value may hold spaces (a command line, a comment); it ends where the next `Name=` begins.
    """
    starts = list(re.finditer(r"(?:^|\s)([A-Za-z][A-Za-z:/_]*)=", text))
    fields: dict[str, str] = {}
    for match, following in zip(starts, [*starts[1:], None], strict=True):
        value = text[match.end() : following.start() if following else len(text)].strip()
        if value not in ("", "(null)", "N/A"):
            # The first one counts: a command line at the end may hold anything.
            fields.setdefault(match[1], value)
    return fields


def allocation(fields: dict[str, str], nodes: tuple[str, ...]) -> Allocation:
    """The allocation that `scontrol show job` describes on `nodes`."""
    gpus = re.search(r"gres/gpu(?::[^=,]+)?=(\d+)", fields.get("TRES", fields.get("AllocTRES", "")))
    return Allocation(
        job_id=fields["JobId"],
        nodes=nodes,
        cpus=int(fields.get("NumCPUs", "1").split("-")[0]),
        gpus=int(gpus[1]) if gpus else 0,
        end=_seconds(fields.get("EndTime")) if fields.get("TimeLimit") != "UNLIMITED" else None,
        restarts=int(fields.get("Restarts", "0")),
        account=fields.get("Account"),
        partition=fields.get("Partition"),
        submit_host=fields.get("AllocNode:Sid", "").split(":")[0] or None,
        log=fields.get("StdOut"),
    )


def node_address(node: str) -> str:
    """The address under which the other nodes reach `node`; its name where Slurm has no other."""
    try:
        fields = parse_job(_ask("scontrol", "show", "node", "-o", node))
    except StageError:
        return node
    return fields.get("NodeAddr", node)


def manifest_entry(found: Allocation | None) -> SlurmJob | None:
    """What a manifest records about the Slurm job, or None outside of Slurm."""
    if found is None:
        return None
    return SlurmJob(
        job_id=found.job_id,
        nodes=list(found.nodes),
        account=found.account,
        partition=found.partition,
        gpus=found.gpus,
        restarts=found.restarts,
        log=found.log and str(Path(found.log)),
    )


def _seconds(text: str | None) -> float | None:
    """Slurm's local time stamp in seconds since the epoch."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def _ask(*command: str) -> str:
    """The output of a Slurm command; retried, because slurmctld may be away for a while."""
    for pause in (1, 2, 4, 8, 15, 30, 30, None):
        try:
            said = queue.ask_slurm(*command, timeout=QUERY_SECONDS)
            if said.strip():
                return said
            problem = "it printed nothing"
        except queue.NoAnswerError as error:
            problem = str(error)
        gone = any(sign in problem for sign in ("Invalid job id", "not found", "not on the PATH"))
        if pause is None or gone:
            break
        time.sleep(pause)
    raise StageError(f"`{' '.join(command)}`: {problem}.")
