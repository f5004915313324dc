"""How a run takes Ctrl-C, at any moment up to its last."""

import subprocess
import sys

RUN = """
import os, signal, sys
from toolgain.head import interrupt

def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)

class Late:
    # Deleted with the modules, after everything else of the interpreter's end.
    def __del__(self, ctrl_c=ctrl_c):
        ctrl_c()

late = Late()
interrupt.end_once()
try:
    ctrl_c()
except KeyboardInterrupt:
    for _ in range({further}):
        ctrl_c()
    sys.exit(1)
"""


def test_a_ctrl_c_that_comes_while_the_interpreter_ends_changes_no_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(further=2)], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("toolgain: it is ending") == 2
