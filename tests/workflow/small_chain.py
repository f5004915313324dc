"""A small chain in a folder of its own: real harness, real server, real GRPO, few items."""

import json
import os
import signal
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

SMALL: dict[str, Any] = {
    "model": {"path": str(ROOT / "resources/demo-model")},
    "evaluation": {
        "subset": {"non_live": 1, "live": 1, "multi_turn": 1},
        "parallelism": 4,
        "trial": False,
        "sampling": {"max_tokens": 48},
        "serve": {
            "backend": "transformers",
            "dtype": "float32",
            "max_model_len": 16384,
            "ready_timeout_s": 300,
        },
        "retry": {"request_timeout_s": 60, "backoff_s": 1},
    },
    "training": {
        "backend": "trl",
        "smoke_steps": 0,
        "tasks": {"train": 48, "validation": 8},
        "trl": {
            "max_steps": 4,
            "num_prompts_per_step": 2,
            "num_generations": 4,
            "max_completion_length": 32,
            "val_period": 2,
            "save_period": 2,
        },
    },
    "runs": {"grpo": {}},
    "environments": {
        "bfcl": str(ROOT / ".venvs/bfcl"),
        "trl": str(ROOT / ".venvs/trl"),
    },
}
"""Evaluation of 17 items and a training run of four steps."""


@dataclass
class Chain:
    """A folder in which the workflow of this repository runs."""

    folder: Path
    config: dict[str, Any] = field(default_factory=lambda: deepcopy(SMALL))

    def command(self, *arguments: str) -> list[str]:
        """The Snakemake command line, after the configuration has been written."""
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.config))
        return [
            *(sys.executable, "-m", "snakemake"),
            *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder)),
            *("--profile", str(ROOT / "profiles/local")),
            *arguments,
            *("--configfile", str(path)),
        ]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end."""
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Snakemake in a process group of its own."""
        with (self.folder / "snakemake.log").open("ab") as log:
            return subprocess.Popen(
                self.command(*arguments),
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(),
                # A script's background ignores Ctrl-C, and what it starts would inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def planned(self, *arguments: str) -> set[str]:
        """The rules that a dry run would run."""
        done = self.run("-n", *(arguments or ("all",)))
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines() + done.stderr.splitlines()
        return {
            line.split()[1].rstrip(":")
            for line in lines
            if line.startswith(("rule ", "localrule "))
        }

    def read(self, name: str) -> Any:
        """A JSON file of the results."""
        return json.loads((self.folder / "results" / name).read_text())


def _environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1"}
