"""A lost terminal (SIGHUP) does not end the head of a run, which would leave its jobs without one.

Snakemake would die at once: its jobs run on, its lock stays, and the next start has to wait for
both. So it continues instead, and writes its screen into a file.
"""

import os
import signal
from pathlib import Path

SCREEN = Path("logs/after-hangup.log")


def survive() -> None:
    """Continue after SIGHUP, with what the screen would show in `logs/after-hangup.log`.

    Where SIGHUP is ignored already, as under nohup, nothing changes.
    """
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _move_screen)


def _move_screen(*_: object) -> None:
    SCREEN.parent.mkdir(exist_ok=True)
    screen = os.open(SCREEN, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(screen, stream)
    os.close(screen)
