"""Commands of `toolgain` as a user gives them, each in a child of this process with limits."""

import importlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolgain import cli
from toolgain.evaluation import sandbox

# What the verbs import, once for all children.
for name in (
    *("checkpoint.export", "checkpoint.select", "comparison.compare", "comparison.tables"),
    *("config.freeze", "evaluation.evaluate", "head.doctor", "models.base", "report.render"),
    *("bfcl.v4", "training.train", "training.nemo_rl.backend", "training.trl.backend"),
):
    importlib.import_module(f"toolgain.{name}")

MEMORY = 3 << 30
"""Bytes that a command may take beyond what this process has."""
SECONDS = 300
"""Far more than any of them takes, on a busy machine too."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Exit status; negative: the signal that ended it."""
    stderr: str


def run(
    *words: object,
    before: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> Ended:
    """Run `toolgain` with `words` in a child of this process, between `before` and `after`."""
    read, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            os.dup2(write_end, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            before()
            sys.argv = ["toolgain", *map(str, words)]
            cli.main()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 99
        after()
        sys.stderr.flush()
        os._exit(code)
    os.close(write_end)
    with os.fdopen(read, "rb") as said:
        text = said.read().decode(errors="replace")
    return Ended(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text)


def said(ended: Ended) -> str:
    """The line that a command ended with; what it logged before is no part of it."""
    assert "Traceback" not in ended.stderr, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("toolgain: ")]
    assert len(lines) == 1, ended
    assert ended.stderr.splitlines()[-1] == lines[0], ended
    assert len(lines[0]) < 1000
    return lines[0]


def powerless() -> None:
    """As root, without the right to write where the modes forbid it."""
    sandbox.drop_capabilities()


def full() -> None:
    """No file may grow, as where the disk is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
