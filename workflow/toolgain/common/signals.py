"""Signals that ask for an end, and processes that end with the one that started them.

Standard library only: programs in every environment use it.
"""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from toolgain.common.supervise import die_with_parent

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""`scancel`, Ctrl-C, and Slurm's warning before a time limit."""

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def handling(numbers: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    """Have `handler` called for these signals while the block runs.

    Outside of the main thread nothing is changed: whoever called us handles signals.
    """
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in before:
            signal.signal(number, handler)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def end_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends; Linux alone can."""
    if sys.platform == "linux":
        die_with_parent()
