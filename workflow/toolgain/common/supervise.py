"""Run a command whose whole process tree ends when its starter ends, even by kill -9.

    python -P -I supervise.py CLAIM COMMAND [ARGUMENT ...]

The starter holds the other end of standard input. When that closes, on SIGTERM or SIGINT, or when
the command itself ends, everything that descends from the command is ended: this process is the
one that orphans fall to (PR_SET_CHILD_SUBREAPER), so neither a session of its own nor another
environment takes a process out of reach. The command's exit status is passed on. The file CLAIM
names both processes, for a later attempt that has to clean up. Standard library only: it runs in
every environment.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

GRACE_S = 10.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

libc = ctypes.CDLL(None, use_errno=True)


def supervise(claim: Path, command: list[str]) -> int:
    """Run `command`; returns its exit status, or 143 when it was ended."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Descriptors that the starter gave away go on to the command.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        close_fds=False,
        preexec_fn=die_with_parent,
    )
    write_claim(claim, [os.getpid(), child.pid])
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.set_wakeup_fd(wake_write)
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = ended or number != signal.SIGCHLD

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, end)
    while child.poll() is None and not ended:
        readable, _, _ = select.select([0, wake_read], [], [], 1.0)
        if wake_read in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 512)
            reap(child)
        if 0 in readable and not os.read(0, 512):
            ended = True
    end_tree(child)
    claim.unlink(missing_ok=True)
    return 143 if ended else child.wait()


def die_with_parent() -> None:
    """In the child, before it becomes the command."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def write_claim(claim: Path, pids: list[int]) -> None:
    """Say which processes these are; the time of their start tells them from later ones."""
    claim.write_text(json.dumps([[pid, started(pid)] for pid in pids]), encoding="utf-8")


def started(pid: int) -> int:
    """When a process started, in clock ticks since the machine did; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[19])


def reap(child: "subprocess.Popen[bytes]") -> None:
    """Wait for orphans that have ended; the command itself is left to `child`."""
    for pid in children_of(os.getpid()):
        if pid != child.pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def children_of(parent: int) -> list[int]:
    """The processes whose parent is `parent`, zombies too."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            text = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace")
            if int(text.rpartition(")")[2].split()[1]) == parent:
                found.append(int(name))
    return found


def end_tree(child: "subprocess.Popen[bytes]") -> None:
    """SIGTERM to the command's group; after the grace time, and to all who left it, SIGKILL."""
    deadline = time.monotonic() + GRACE_S
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            # Who has ended stays a member of its group until it is waited for.
            child.poll()
            reap(child)
            os.killpg(child.pid, 0)
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    # Killing a process makes its children ours; a tree that forks as fast as this loop loses as
    # soon as it is at its limit of processes.
    while orphans := children_of(os.getpid()):
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


if __name__ == "__main__":
    sys.exit(supervise(Path(sys.argv[1]), sys.argv[2:]))
