"""Progress of an evaluation: a log line now and then, and a file that `toolgain status` reads."""

import logging
import time
from pathlib import Path

from toolgain.common import files
from toolgain.common.amounts import counted
from toolgain.common.progress import Progress
from toolgain.evaluation import box
from toolgain.evaluation.harness import HarnessFolders

log = logging.getLogger(__name__)

LOG_EVERY_S = 15.0
WRITE_EVERY_S = 2.0


def progress_file(out: Path) -> Path:
    """results/progress/evaluate-{subject}.json or trial.json, or a file in `out` outside of a
    results folder."""
    if out.parent.name == "evaluations":
        return out.parent.parent / "progress" / f"evaluate-{out.name}.json"
    if out.parts[-3:-1] == ("work", "trial"):
        return out.parents[2] / "progress" / "trial.json"
    return out / "progress.json"


class ItemProgress:
    """Counts finished items while the harness runs."""

    def __init__(
        self,
        out: Path,
        subject: str,
        alias: str,
        total: int,
        folders: HarnessFolders,
        before: int,
        done: int,
    ) -> None:
        """
        Args:
            alias: the model's name in the harness's files.
            total: items of all repeats.
            before: items of the repeats before this one.
            done: items that this repeat had finished before the harness started.
        """
        self.subject, self.total, self.folders = subject, total, folders
        self.alias = alias
        self.before, self.first = before, done
        self.done = done
        self.clock = time.monotonic()
        self._offsets: dict[str, int] = {}
        self._written = self._logged = 0.0
        self._file = Progress(
            [progress_file(out)],
            stage="evaluate",
            name=subject,
            step=before,
            total=total,
            unit="items",
            log=str(folders.log),
        )

    def __enter__(self) -> "ItemProgress":
        self._write("running")
        # The box is filled with what is done already, and counted from nothing.
        self.done = 0
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.done = sum(
            files.read_bytes(path, files.LARGEST_TABLE).count(b"\n")
            for path in (self.folders.output / "result").glob("*/*_result.json")
        )
        complete = self.before + self.done >= self.total
        self._write("failed" if kind else "finished" if complete else "running")

    def update(self) -> int:
        """Look at the files; returns a number that grows with any progress."""
        self.done += box.rows_written(self.folders.box, self.alias, self._offsets)
        time_now = time.monotonic()
        if time_now - self._written > WRITE_EVERY_S:
            self._write("running")
        if time_now - self._logged > LOG_EVERY_S:
            self._logged = time_now
            log.info("evaluate: %s: %s", self.subject, self._line())
        grown = (
            self.folders.requests,
            self.folders.log,
            self.folders.gateway / "gateway.log",
        )
        return self.done + sum(path.stat().st_size for path in grown if path.exists())

    @property
    def rate(self) -> float:
        """Items a second since the harness started."""
        return (self.done - self.first) / max(time.monotonic() - self.clock, 1e-9)

    def _line(self) -> str:
        done, rate = self.before + self.done, self.rate
        left = f", {(self.total - done) / rate:.0f} s left" if rate > 0 else ""
        return f"{done} of {counted(self.total, 'item')}, {rate:.1f} items/s{left}"

    def _write(self, state: str) -> None:
        self._written = time.monotonic()
        self._file.update(
            step=self.before + self.done,
            rate=round(self.rate, 3),
            state=state,
            message=self._line(),
        )
