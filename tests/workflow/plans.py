"""Many dry runs at the price of one start: Snakemake is imported once and forked for each.

As a program: command lines as JSON on standard input, `[code, output]` of each on standard output.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

Job = tuple[str, str]
"""A rule and the first of its outputs."""


def outputs(commands: list[list[str]]) -> list[tuple[int, str]]:
    """Exit code and screen of each Snakemake command line (without `snakemake` itself)."""
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=True,
    )
    return [(code, text) for code, text in json.loads(done.stdout)]


def planned(screen: str) -> set[Job]:
    """The jobs that a dry run's screen names."""
    found = set()
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", screen):
        if head := re.match(r"(?:local)?rule (\w+):", block):
            output = re.search(r"^ +output: (\S+?),?(?: |$)", block, re.MULTILINE)
            found.add((head[1], output[1] if output else ""))
    return found


def _run(command: list[str]) -> tuple[int, str]:
    from snakemake import cli

    with tempfile.TemporaryFile() as screen:
        child = os.fork()
        if not child:
            os.dup2(screen.fileno(), 1)
            os.dup2(screen.fileno(), 2)
            sys.argv = ["snakemake", *command]
            try:
                cli.main(command)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        screen.seek(0)
        return os.waitstatus_to_exitcode(status), screen.read().decode()


if __name__ == "__main__":
    print(json.dumps([_run(command) for command in json.load(sys.stdin)]))
