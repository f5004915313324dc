"""Where the package and the environments of its checkout are, whatever the working folder."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the package; it goes on PYTHONPATH of programs that run in an environment
in which the package is not installed."""

HOME_VARIABLE = "TOOLGAIN_HOME"


def environment(name: str) -> Path:
    """The Python environment of a stage that `make setup` made in the checkout.

    Args:
        name: `bfcl` or `trl`.

    Returns:
        `.venvs/<name>` of the checkout that the package is installed from, or of the folder that
        TOOLGAIN_HOME names.
    """
    home = os.environ.get(HOME_VARIABLE)
    return (Path(home).absolute() if home else ROOT.parent) / ".venvs" / name
