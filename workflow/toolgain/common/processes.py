"""Start servers and the harness under a supervisor, with an environment that holds no secrets."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import psutil

from toolgain.common import package, supervise
from toolgain.common.errors import ResumeLaterError
from toolgain.common.files import read_text
from toolgain.common.signals import handling

STOP_S = 15.0

# What a child needs to find programs, libraries, devices and certificates. Everything else, keys
# and tokens above all, stays behind: the harness evaluates code that the model wrote.
_PASSED = (
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_HOME",
    "NVIDIA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "OMP_NUM_THREADS",
    "SLURM_JOB_ID",
)
# In addition for a server that is started with srun in a container.
_SLURM = ("SLURM", "ENROOT_", "PMI", "XDG_RUNTIME_DIR", "MUNGE")


@dataclass(frozen=True)
class Command:
    """A command line with the environment and folder to run it in."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """In addition to the scrubbed environment; may hold a key made for this job."""
    cwd: Path | None = None


def scrubbed_environment(
    first_on_path: Path | None, home: Path, with_slurm: bool = False
) -> dict[str, str]:
    """An environment without secrets.

    Args:
        first_on_path: folder that goes to the front of PATH.
        home: an empty folder that stands in for the user's home.
        with_slurm: keep what srun needs.
    """
    env = {name: os.environ[name] for name in _PASSED if name in os.environ}
    if with_slurm:
        env |= {name: value for name, value in os.environ.items() if name.startswith(_SLURM)}
    path = os.environ.get("PATH", os.defpath)
    env["PATH"] = f"{first_on_path.absolute()}:{path}" if first_on_path else path
    env["HOME"] = str(home)
    env["PYTHONPATH"] = str(package.ROOT)
    env["HF_HUB_OFFLINE"] = "1"
    env["TRANSFORMERS_OFFLINE"] = "1"
    env["PYTHONUNBUFFERED"] = "1"
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    return env


@contextmanager
def running(
    command: Command,
    env: Mapping[str, str],
    log: Path,
    claim: Path,
    pass_fds: Sequence[int] = (),
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `command` while the block runs; its whole tree ends with the block, whatever happens.

    Args:
        claim: file that names the processes while they run, for `end_leftovers`.
        pass_fds: descriptors that the command keeps.
    """
    become_subreaper()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        before = set(supervise.children_of(os.getpid()))
        process = subprocess.Popen(
            [sys.executable, "-P", "-I", supervise.__file__, str(claim), *command.argv],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**env, **command.env},
            cwd=command.cwd,
            # Ctrl-C in a terminal goes to us alone; we end the children in order.
            start_new_session=True,
            pass_fds=pass_fds,
        )
        try:
            yield process
        finally:
            stop(process)
            if process.returncode < 0:
                # Whoever killed the supervisor left the tree to us.
                _end_orphans(before)
            end_leftovers(claim)


def become_subreaper() -> None:
    """Let orphans of this process's children fall to it, not to the machine's first process."""
    supervise.libc.prctl(supervise.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_orphans(before: set[int]) -> None:
    """End every child that was not there `before`."""
    while orphans := set(supervise.children_of(os.getpid())) - before:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a supervised process, and wait for it."""
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_leftovers(claim: Path) -> int:
    """Kill what a killed attempt left behind: the processes of `claim`, and their sessions.

    Returns:
        How many there were.
    """
    try:
        claimed = [(int(pid), int(start)) for pid, start in json.loads(read_text(claim))]
    except (OSError, ValueError, TypeError):
        return 0
    sessions = {pid for pid, _ in claimed}
    earliest = min((start for _, start in claimed if start), default=0)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            # A number may have been given away again, even as that of a session.
            start = supervise.started(process.pid)
            mine = (process.pid, start) in claimed
            if mine or (os.getsid(process.pid) in sessions and start >= earliest > 0):
                found += [process, *process.children(recursive=True)]
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, timeout=10)
    claim.unlink(missing_ok=True)
    return len(set(found))


@contextmanager
def stopping_in_time() -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into an orderly end with exit code 75 while the block runs."""
    stops = (signal.SIGTERM, signal.SIGINT)

    def stop_now(number: int, frame: FrameType | None) -> None:
        # A second signal must not interrupt the clean-up.
        for one in stops:
            signal.signal(one, signal.SIG_IGN)
        name = signal.Signals(number).name
        raise ResumeLaterError(f"evaluate: stopped by {name}; run the same command to resume.")

    with handling(stops, stop_now):
        yield


def wait_until(deadline: float, step_s: float = 0.2) -> bool:
    """Sleep for a step; False when `deadline` (time.monotonic) has passed."""
    if time.monotonic() >= deadline:
        return False
    time.sleep(min(step_s, max(0.0, deadline - time.monotonic())))
    return True
