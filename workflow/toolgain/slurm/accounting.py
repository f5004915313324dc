"""How GPU-hours are counted: those of a stage's Slurm jobs, from the accounting database."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolgain.common.files import read_json, write_json
from toolgain.records.training import Cost
from toolgain.slurm.queue import NoAnswerError, ask_slurm

FIELDS = "JobIDRaw,ElapsedRaw,AllocTRES,State,NodeList"


@dataclass(frozen=True)
class Usage:
    """What one Slurm job used. A requeued job appears once for each of its starts."""

    job_id: str
    seconds: int
    nodes: int
    gpus: int
    state: str
    node_list: str

    @property
    def gpu_hours(self) -> float:
        """GPUs x hours."""
        return self.gpus * self.seconds / 3600

    @property
    def node_hours(self) -> float:
        """Nodes x hours."""
        return self.nodes * self.seconds / 3600


def parse_usage(text: str) -> list[Usage]:
    """Jobs from `sacct -X -n -P --format=FIELDS`; those that never started are left out."""
    found = []
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) < 5 or not parts[1].isdigit() or not parts[2]:
            continue
        found.append(
            Usage(
                job_id=parts[0],
                seconds=int(parts[1]),
                nodes=_count(parts[2], "node"),
                gpus=_gpus(parts[2]),
                state=parts[3],
                node_list=parts[4],
            )
        )
    return found


def usage_of(job_ids: list[str]) -> list[Usage]:
    """What these jobs have used so far, every start of a requeued one.

    Raises:
        NoAnswerError: there is no accounting, or it does not answer.
    """
    return parse_usage(
        ask_slurm(
            "sacct", "-X", "-n", "-P", "-D", f"--format={FIELDS}", f"--jobs={','.join(job_ids)}"
        )
    )


def of_jobs(job_ids: list[str]) -> Cost | None:
    """What the jobs of a stage used, for its manifest: gpu_hours, node_hours, gpus, nodes, jobs.

    Returns:
        None without jobs, without accounting, or while its database is away.
    """
    try:
        used = usage_of(job_ids) if job_ids else []
    except NoAnswerError:
        return None
    if not used:
        return None
    return Cost(
        nodes=max(entry.nodes for entry in used),
        gpus=max(entry.gpus for entry in used),
        gpu_hours=round(sum(entry.gpu_hours for entry in used), 4),
        node_hours=round(sum(entry.node_hours for entry in used), 4),
        jobs=sorted({entry.job_id for entry in used}, key=int),
        source="sacct",
    )


def remember_this_job(path: Path) -> list[str]:
    """Add the Slurm job of this process to those in `path`, a file that outlives the job.

    A stage that was killed resumes in another job, which cannot know by itself what the ones before
    it have used.

    Returns:
        Every job that has worked on the stage, first to last; outside of Slurm those before.
    """
    known: list[str] = read_json(path, "Slurm jobs") if path.exists() else []
    job = os.environ.get("SLURM_JOB_ID")
    if not job or job in known:
        return known
    write_json(path, [*known, job])
    return [*known, job]


def jobs_of(record: Mapping[str, Any]) -> list[str]:
    """The Slurm jobs that a stage's manifest or record names, first to last."""
    return [str(job) for job in record.get("slurm_jobs") or []]


def _gpus(tres: str) -> int:
    """GPUs in a TRES list: all of them, or the sum by type where only types are accounted."""
    by_type = re.findall(r"(?:^|,)gres/gpu:[^=,]+=(\d+)", tres)
    return _count(tres, "gres/gpu") or sum(map(int, by_type))


def _count(tres: str, name: str) -> int:
    """The number of `name` in a TRES list such as `cpu=4,gres/gpu=32,node=4`."""
    match = re.search(rf"(?:^|,){re.escape(name)}=(\d+)", tres)
    return int(match[1]) if match else 0
