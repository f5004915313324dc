"""What a failed stage says of itself, for those who look from outside: the head and `status`.

A stage ends with one line, `toolgain: <cause>`, in its log. In a Slurm job it also leaves its exit
code behind, which neither Slurm nor Snakemake passes on: by it the head knows that a second try of
bad input would end the same way.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolgain.common.files import parse_json, read_text, write_json
from toolgain.common.logs import tail

FOLDER = Path(".snakemake/toolgain-failures")
MARK = "toolgain: "


@dataclass(frozen=True)
class Failure:
    """The end of a `toolgain` command in a Slurm job."""

    exit_code: int
    message: str


def record(failure: Failure) -> None:
    """Leave `failure` behind for the head, when this is a job that Snakemake submitted."""
    job_id = os.environ.get("SLURM_JOB_ID")
    if not job_id or not FOLDER.parent.is_dir():
        return
    try:
        write_json(FOLDER / f"{job_id}.json", vars(failure))
    except OSError:
        # A full disk: the message in the log has to do.
        return


def recorded(job_id: str, folder: Path = FOLDER) -> Failure | None:
    """What the `toolgain` command of a Slurm job left behind."""
    try:
        values = parse_json(read_text(folder / f"{job_id}.json"))
        return Failure(int(values["exit_code"]), str(values["message"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def said_in(log: Path) -> str | None:
    """The cause in a stage's log: its last line that begins with `toolgain: `."""
    lines = (line for line in tail(log).splitlines() if line.startswith(MARK))
    *_, last = "", *lines
    return last.removeprefix(MARK) or None


def not_valid(subject: str, reasons: Sequence[str]) -> str:
    """What is said at once of an evaluation that ended and does not count."""
    return (
        f"WARNING: the evaluation of {subject} is not valid and will not be compared: "
        f"{'; '.join(reasons)}. A running training job continues; Ctrl-C stops it with its "
        "last step saved, and after the cause is fixed the same command resumes."
    )
