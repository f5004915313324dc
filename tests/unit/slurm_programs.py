"""Programs in the place of Slurm's, which print what Slurm prints; the real ones: tests/slurm."""

from pathlib import Path

import pytest

from toolgain.slurm.queue import SEPARATOR


class SlurmPrograms:
    """A folder of programs, alone on the PATH with those of the system."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def says(self, name: str, text: str) -> None:
        """The program `name` prints `text`."""
        (self.folder / f"{name}.txt").write_text(text)
        self.does(name, f"cat {self.folder}/{name}.txt")

    def fails(self, name: str, problem: str) -> None:
        """The program `name` fails with a line on stderr."""
        self.does(name, f"echo '{problem}' >&2; exit 1")

    def does(self, name: str, script: str) -> None:
        """The program `name` is this shell script."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def queue(self, states: dict[str, str], folder: str = "/w", reason: str = "None") -> None:
        """squeue shows these jobs, submitted from `folder`, all with one reason to wait."""
        rows = (
            SEPARATOR.join(
                (job, "start", state, reason, "n1", "1:00", folder, "rule_train_run_wildcards_grpo")
            )
            for job, state in states.items()
        )
        self.says("squeue", "".join(f"{row}\n" for row in rows))
