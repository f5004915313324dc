"""Where a long stage stands, in a small file that `toolgain status` reads.

Only the standard library is needed, so that programs in every environment can write it.
"""

import os
import socket
from pathlib import Path
from typing import Any

from toolgain.common.files import now, write_json


class Progress:
    """The progress file of one stage, in its work folder and, where asked, mirrored.

    Fields: stage, name, step, total, unit, reward, accuracy, rate, started, updated, pid, host,
    slurm_job_id, log, state (`running`, `finished` or `failed`), message.
    """

    def __init__(self, paths: list[Path], **fields: Any) -> None:
        self.paths = paths
        self.fields: dict[str, Any] = {
            "stage": None,
            "name": None,
            "step": 0,
            "total": None,
            "unit": "steps",
            "reward": None,
            "accuracy": None,
            "rate": None,
            "started": now(),
            "updated": now(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
            "log": None,
            "state": "running",
            "message": None,
        }
        self.update(**fields)

    def update(self, **fields: Any) -> None:
        """Change fields and write the file. A full disk must not end the work it reports on."""
        self.fields.update(fields, updated=now())
        for path in self.paths:
            try:
                write_json(path, self.fields)
            except OSError:
                continue


def results_folder(out: Path) -> Path:
    """The results folder that an output file of a rule lies in, else the file's own folder."""
    for parent in out.resolve().parents:
        if parent.name in ("runs", "evaluations"):
            return parent.parent
    return out.resolve().parent


def mirror(out: Path, stage: str, name: str) -> Path:
    """Where `toolgain status` looks for the progress of a stage that writes `out`."""
    return results_folder(out) / "progress" / f"{stage}-{name}.json"


def duration_words(seconds: float) -> str:
    """A duration for people: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
