"""What a stage cost: GPU-hours of its Slurm jobs, from the accounting database.

Without accounting the running job itself still knows its nodes and GPUs and since when it runs;
earlier attempts are then missing, and `source` says so.
"""

import os
import re
import time
from dataclasses import dataclass
from typing import Any

from toolgain.slurm.allocation import Allocation
from toolgain.slurm.queue import NoAnswerError, ask

FIELDS = "JobIDRaw,ElapsedRaw,AllocTRES,State,NodeList,Comment,WorkDir"


@dataclass(frozen=True)
class Usage:
    """What one Slurm job used. A requeued job appears once for each of its starts."""

    job_id: str
    seconds: int
    nodes: int
    gpus: int
    state: str
    node_list: str
    comment: str
    work_dir: str

    @property
    def gpu_hours(self) -> float:
        return self.gpus * self.seconds / 3600

    @property
    def node_hours(self) -> float:
        return self.nodes * self.seconds / 3600


def parse_usage(text: str) -> list[Usage]:
    """Jobs from `sacct -X -n -P --format=FIELDS`; those that never started are left out."""
    found = []
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) < 7 or not parts[1].isdigit() or not parts[2]:
            continue
        found.append(
            Usage(
                job_id=parts[0],
                seconds=int(parts[1]),
                nodes=_count(parts[2], "node"),
                gpus=_count(parts[2], "gres/gpu"),
                state=parts[3],
                node_list=parts[4],
                comment=parts[5],
                work_dir="|".join(parts[6:]),
            )
        )
    return found


def usage_of(job_ids: list[str]) -> list[Usage]:
    """What these jobs have used so far, every start of a requeued one.

    Raises:
        NoAnswerError: there is no accounting, or it does not answer.
    """
    return parse_usage(
        ask("sacct", "-X", "-n", "-P", "-D", f"--format={FIELDS}", f"--jobs={','.join(job_ids)}")
    )


def cost(job_ids: list[str], current: Allocation | None, started: float) -> dict[str, Any]:
    """The `cost` entry of a manifest.

    Args:
        job_ids: the Slurm jobs of all attempts of the stage, this one included.
        current: the allocation of this attempt, or None outside of Slurm.
        started: when this attempt began, in seconds since the epoch.
    """
    mine = os.environ.get("SLURM_JOB_ID")
    wanted = sorted({*job_ids, *([mine] if mine else [])})
    if wanted:
        try:
            used = usage_of(wanted)
        except NoAnswerError:
            used = []
        if used:
            return {
                "nodes": max(entry.nodes for entry in used),
                "gpus": max(entry.gpus for entry in used),
                "gpu_hours": round(sum(entry.gpu_hours for entry in used), 4),
                "node_hours": round(sum(entry.node_hours for entry in used), 4),
                "jobs": sorted({entry.job_id for entry in used}),
                "source": "sacct",
            }
    hours = (time.time() - started) / 3600
    nodes = len(current.nodes) if current else 1
    gpus = current.gpus if current else 0
    return {
        "nodes": nodes,
        "gpus": gpus,
        "gpu_hours": round(gpus * hours, 4),
        "node_hours": round(nodes * hours, 4),
        "jobs": wanted,
        "source": "this attempt alone: no accounting" if wanted else "this machine's clock",
    }


def _count(tres: str, name: str) -> int:
    """The number of `name` in a TRES list such as `cpu=4,gres/gpu=32,node=4`."""
    match = re.search(rf"(?:^|,){re.escape(name)}=(\d+)", tres)
    return int(match[1]) if match else 0
