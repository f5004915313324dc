"""Run a command that ends when its starter ends, even by kill -9.

    python -m toolgain.common.supervise COMMAND [ARGUMENT ...]

The starter holds the other end of standard input. When that closes, or on SIGTERM or SIGINT, the
command's whole process group is ended. When the command itself ends, what it left in its group
is ended too, and its exit status is passed on. Standard library only: it runs in every
environment.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType

GRACE_S = 10.0


def main(command: list[str]) -> int:
    """Run `command` on the leash; returns its exit status, or 143 when it was ended."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
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
            os.read(wake_read, 512)
        if 0 in readable and not os.read(0, 512):
            ended = True
    _end_group(child)
    return 143 if ended else child.wait()


def _end_group(child: "subprocess.Popen[bytes]") -> None:
    """SIGTERM to the whole group, SIGKILL to what is left after the grace time."""
    deadline = time.monotonic() + GRACE_S
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            # The leader stays a member of its group until it is waited for.
            child.poll()
            os.killpg(child.pid, 0)
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
