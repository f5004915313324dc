"""The lease on a checkpoint folder: one training writes into it at a time.

Two things together decide whether the holder is alive. A lock that the kernel ends with the
processes that hold it (`flock`) is proof on one machine. Between machines, where a shared file
system may not carry locks, the lease file counts: host, process and Slurm job of the holder, and
the file's age, since the holder touches it every few seconds.
"""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil

from toolgain.common.errors import StageError
from toolgain.common.files import now, read_text, write_json

BEAT_SECONDS = 10.0
"""How often the holder touches its lease."""

SILENT_SECONDS = 120.0
"""A holder on another machine, without a Slurm job to ask about, is dead after so long."""

GRACE_SECONDS = 15.0
"""How long the programs of a killed holder may take to end."""

JobAlive = Callable[[str], bool | None]
"""Whether a Slurm job waits or runs, or None when Slurm does not answer. Asked only for jobs other
than this process's own."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease."""

    token: str
    host: str
    pid: int
    process_started: float
    slurm_job_id: str | None
    slurm_restarts: str | None
    since: str

    def __str__(self) -> str:
        job = f", Slurm job {self.slurm_job_id}" if self.slurm_job_id else ""
        return f"process {self.pid} on {self.host}{job}, since {self.since}"


class Lease:
    """Holds `folder` from `with` to its end; raises StageError where another training lives."""

    def __init__(self, folder: Path, job_alive: JobAlive | None = None) -> None:
        self.folder = folder
        self.path = folder / "lease.json"
        self.job_alive = job_alive
        self.taken_from: Holder | None = None
        """The dead holder whose lease was taken over."""
        self.holder = _myself()
        self._lock: IO[str] | None = None
        self._ended = threading.Event()

    @property
    def token(self) -> str:
        """What the lease file must say for as long as the lease is held."""
        return self.holder.token

    def __enter__(self) -> "Lease":
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self._locked()
        self._lock = lock
        try:
            before = read_holder(self.path)
            if before is not None:
                alive = self._alive(before)
                if alive:
                    raise StageError(self._refusal(before, alive))
                self.taken_from = before
            write_json(self.path, asdict(self.holder))
            if (found := read_holder(self.path)) != self.holder:
                raise StageError(self._refusal(found, "it took the lease at the same moment"))
        except BaseException:
            lock.close()
            raise
        threading.Thread(target=self._beat, daemon=True, name="lease").start()
        return self

    def _locked(self) -> IO[str]:
        lock = (self.folder / "lease.lock").open("a")
        deadline = time.monotonic() + GRACE_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                # The programs of a stage that was killed a moment ago are still being ended.
                holder = read_holder(self.path)
                ending = holder is not None and self._alive(holder) is None
                if ending and time.monotonic() < deadline:
                    time.sleep(0.2)
                    continue
                lock.close()
                raise StageError(self._refusal(holder, "its lock is held")) from None
            except OSError:
                # A file system without locks: the lease file alone decides.
                return lock

    @property
    def descriptor(self) -> int:
        """The lock's file descriptor: a program that inherits it keeps the lock while it lives."""
        assert self._lock is not None
        return self._lock.fileno()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self.is_held():
            self.path.unlink(missing_ok=True)
        if self._lock:
            self._lock.close()

    def is_held(self) -> bool:
        """Whether the lease file still names this process."""
        found = read_holder(self.path)
        return found is not None and found.token == self.token

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            if self.is_held():
                try:
                    os.utime(self.path)
                except OSError:
                    continue

    def _alive(self, holder: Holder) -> str | None:
        """Why the holder counts as alive, or None."""
        if holder.host == socket.gethostname():
            return "it is running" if _runs(holder.pid, holder.process_started) else None
        if holder.slurm_job_id:
            mine = os.environ.get("SLURM_JOB_ID")
            if holder.slurm_job_id == mine:
                # The same job, started again elsewhere: its earlier start has ended.
                return None
            known = self.job_alive(holder.slurm_job_id) if self.job_alive else None
            if known is not None:
                return "Slurm says its job is there" if known else None
        age = self._age()
        return f"its last heartbeat was {age:.0f} s ago" if age < SILENT_SECONDS else None

    def _age(self) -> float:
        """Age of the lease by the clock of the file system, which all machines share."""
        probe = self.folder / f".lease.{uuid.uuid4().hex}"
        try:
            probe.touch()
            return probe.stat().st_mtime - self.path.stat().st_mtime
        except FileNotFoundError:
            return float("inf")
        finally:
            probe.unlink(missing_ok=True)

    def _refusal(self, holder: Holder | None, why: str) -> str:
        who = str(holder) if holder else "a process that left no name"
        return (
            f"training: another training writes into {self.folder} ({who}; {why}). Wait for it, or "
            "end it; nothing was changed."
        )


def read_holder(path: Path) -> Holder | None:
    """Who holds the lease in `path`, or None where there is none that can be read."""
    try:
        return Holder(**json.loads(read_text(path)))
    except (OSError, ValueError, TypeError):
        return None


def _myself() -> Holder:
    return Holder(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
        slurm_job_id=os.environ.get("SLURM_JOB_ID"),
        slurm_restarts=os.environ.get("SLURM_RESTART_COUNT"),
        since=now(),
    )


def _runs(pid: int, started: float) -> bool:
    """Whether this very process runs: process numbers are given out again."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
