"""Progress of an evaluation: a log line now and then, and a file that `toolgain status` reads."""

import logging
import os
import platform
import time
from pathlib import Path

from toolgain.common.files import now, write_json
from toolgain.evaluation.harness import HarnessFolders

log = logging.getLogger(__name__)

LOG_EVERY_S = 15.0
WRITE_EVERY_S = 2.0


def progress_file(out: Path) -> Path:
    """results/progress/evaluate-{subject}.json, or a file in `out` outside of a results folder."""
    if out.parent.name == "evaluations":
        return out.parent.parent / "progress" / f"evaluate-{out.name}.json"
    return out / "progress.json"


class Progress:
    """Counts finished items while the harness runs."""

    def __init__(
        self, out: Path, subject: str, total: int, folders: HarnessFolders, before: int, done: int
    ) -> None:
        """
        Args:
            total: items of all repeats.
            before: items of the repeats before this one.
            done: items that this repeat had finished before the harness started.
        """
        self.path = progress_file(out)
        self.subject, self.total, self.folders = subject, total, folders
        self.before, self.first = before, done
        self.done = done
        self.started, self.clock = now(), time.monotonic()
        self._offsets: dict[Path, int] = {}
        self._written = self._logged = 0.0

    def __enter__(self) -> "Progress":
        self.done = 0
        self.update()
        self._write("running")
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.update()
        complete = self.before + self.done >= self.total
        self._write("failed" if kind else "finished" if complete else "running")

    def update(self) -> int:
        """Look at the files; returns a number that grows with any progress."""
        for path in (self.folders.output / "result").glob("*/*_result.json"):
            self.done += self._new_lines(path)
        time_now = time.monotonic()
        if time_now - self._written > WRITE_EVERY_S:
            self._write("running")
        if time_now - self._logged > LOG_EVERY_S:
            self._logged = time_now
            log.info("evaluate: %s: %s", self.subject, self._line())
        grown = (self.folders.requests, self.folders.log)
        return self.done + sum(path.stat().st_size for path in grown if path.exists())

    def _new_lines(self, path: Path) -> int:
        with path.open("rb") as file:
            file.seek(self._offsets.get(path, 0))
            block = file.read()
            self._offsets[path] = file.tell()
        return block.count(b"\n")

    @property
    def rate(self) -> float:
        """Items a second since the harness started."""
        return (self.done - self.first) / max(time.monotonic() - self.clock, 1e-9)

    def _line(self) -> str:
        done, rate = self.before + self.done, self.rate
        left = f", {(self.total - done) / rate:.0f} s left" if rate > 0 else ""
        return f"{done} of {self.total} items, {rate:.1f} items/s{left}"

    def _write(self, state: str) -> None:
        self._written = time.monotonic()
        write_json(
            self.path,
            {
                "stage": "evaluate",
                "name": self.subject,
                "step": self.before + self.done,
                "total": self.total,
                "unit": "items",
                "reward": None,
                "accuracy": None,
                "rate": round(self.rate, 3),
                "started": self.started,
                "updated": now(),
                "pid": os.getpid(),
                "host": platform.node(),
                "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
                "log": str(self.folders.log),
                "state": state,
                "message": self._line(),
            },
        )
