"""Ctrl-C ends a run once. A further one, while the stages end, is answered and changes nothing.

Snakemake waits for its stages after a first Ctrl-C. A second one would tear that waiting apart: a
traceback in place of the cause, and stages without a head. A terminal sends each Ctrl-C to the
stages too; at the second one a training ends at once, without a last save.
"""

import atexit
import os
import signal
import sys

_seen = 0


def end_once() -> None:
    """From now on have the first SIGINT end the run and every further one a line on the screen.

    Where SIGINT is ignored already, as in the background of a script, nothing changes.
    """
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)


def seen() -> bool:
    """Whether this run was ended by Ctrl-C."""
    return _seen > 0


def _interrupted(*_: object) -> None:
    global _seen
    _seen += 1
    if _seen == 1:
        # The interpreter hands a signal back to its default, death, while it shuts down: a late
        # Ctrl-C would end the process after its last words with another exit code.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt
    # Not print: the signal may have come in the middle of another line.
    group = os.getpgid(0)
    os.write(
        sys.__stderr__.fileno() if sys.__stderr__ else 2,
        b"toolgain: it is ending: what runs is told to stop, which takes up to a minute. If it "
        b"never ends: kill -9 -- -%d, then the same command with --unlock.\n" % group,
    )
