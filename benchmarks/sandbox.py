"""What does the sandbox add to a start of the harness? The same program outside and inside.

    .venv/bin/python benchmarks/sandbox.py [--rounds 7]

Tries the kernel's layers as an evaluation does before its first start, then starts a Python of the
harness's environment that imports bfcl, outside and inside, one after the other in every round.
Prints medians of wall and processor time, what a start inside adds, and the ratio to a start
outside. On a busy machine, look at the processor time.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from toolgain.evaluation import sandbox_setup

BFCL_ENV = Path(".venvs/bfcl")
PROGRAM = "import bfcl.eval_checker.eval_runner"


def measured(command: Sequence[str]) -> tuple[float, float]:
    """Wall and processor seconds of a command and its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, cwd="/", capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    layers = sandbox_setup.layers()
    python = BFCL_ENV.absolute() / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        box = Path(folder)
        spec = sandbox_setup.spec_of(python, box, [], 0, -1, layers)
        program = [str(python), "-P", "-I", "-c", PROGRAM]
        commands = {
            "outside": program,
            "inside": [*sandbox_setup.COMMAND, "--spec", spec, "--", *program],
            "layers tried": [*sandbox_setup.COMMAND, "--probe"],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(options.rounds):
            for name, command in commands.items():
                times[name].append(measured(command))
            print(f"round {number + 1} of {options.rounds}", end="\r", file=sys.stderr)
    middle = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in times.items()
    }
    for name, (wall, used) in middle.items():
        print(f"{name:13} {wall:6.2f} s wall {used:6.2f} s processor")
    for number, what in enumerate(("wall", "processor")):
        outside, inside, tried = (middle[name][number] for name in commands)
        added = inside - outside
        print(
            f"{what:13} a start adds {added:.2f} s, the first one {added + tried:.2f} s; "
            f"{inside / outside:.2f} times a start outside"
        )


if __name__ == "__main__":
    main()
