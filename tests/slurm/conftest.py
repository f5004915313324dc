"""The test cluster for the session, and a folder in which the workflow runs on it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import cluster as machine

ROOT = Path(__file__).parents[2]
MODEL = os.environ.get("TOOLGAIN_TEST_MODEL", str(ROOT / "resources/demo-model"))

TINY: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("tiny.yaml").read_text())
"""17 items and a training run of a few short steps on one node."""

TRAINED = "results/runs/grpo/manifest.json"


def jobs_in(folder: str) -> list[str]:
    """The jobs in the queue that were submitted from `folder` or below."""
    rows = (line.split("|") for line in slurm("squeue", "-h", "-o", "%i|%Z").splitlines())
    return [job for job, where in rows if Path(where).is_relative_to(folder)]


@dataclass
class Site:
    """A folder on the cluster's shared disk with a configuration of its own."""

    folder: Path
    config: dict[str, Any] = field(default_factory=lambda: tiny())
    environment: dict[str, str] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    """A command in front of Snakemake's, such as one that enters a namespace."""
    process: "subprocess.Popen[bytes] | None" = None
    """The Snakemake that was started last."""

    def command(self, *arguments: str) -> list[str]:
        """Snakemake's command line, after the configuration has been written."""
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.config))
        return [
            *self.prefix,
            *(sys.executable, "-m", "snakemake"),
            *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder)),
            *("--profile", str(ROOT / "slurm")),
            # A drill need not wait as long as a site's slurmctld would like.
            *("--seconds-between-status-checks", "1"),
            *arguments,
            *("--configfile", str(path)),
        ]

    @property
    def variables(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        return {**kept, "SLURM_ACCOUNT": machine.ACCOUNT, "HF_HUB_OFFLINE": "1", **self.environment}

    @property
    def log(self) -> str:
        """What every Snakemake of this folder has said."""
        path = self.folder / "snakemake.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start Snakemake as somebody at a terminal of the login node."""
        with (self.folder / "snakemake.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*arguments),
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self.variables,
                cwd=self.folder,
            )
        return self.process

    def run(self, *arguments: str, seconds: float = 900) -> int:
        """Run Snakemake to its end; its exit code."""
        return self.finish(self.start(*arguments), seconds)

    def finish(self, process: "subprocess.Popen[bytes]", seconds: float = 900) -> int:
        """Wait for Snakemake's end; its exit code."""
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(
                f"not at its end after {seconds:.0f} s:\n{self.log[-4000:]}"
            ) from None

    def succeed(self, *arguments: str, seconds: float = 900) -> None:
        """Run Snakemake; it must end well."""
        assert self.run(*arguments, seconds=seconds) == 0, self.log[-6000:]

    def said(self) -> list[str]:
        """The lines that toolgain wrote for its user."""
        return [line for line in self.log.splitlines() if line.startswith("toolgain: ")]

    def submitted(self) -> list[tuple[str, str]]:
        """Rule and Slurm job id of every submission, in order."""
        found, rule = [], ""
        for line in self.log.splitlines():
            if match := re.match(r"rule (\w+):", line):
                rule = match[1]
            elif match := re.search(r"SLURM jobid (\d+) \(log: .*/rule_(\w+?)/", line):
                found.append((match[2] or rule, match[1]))
        return found

    def jobs(self, rule: str) -> list[str]:
        """Slurm job ids of a rule, in the order of submission."""
        return [job for name, job in self.submitted() if name == rule]

    def step(self) -> int:
        """The last step of the training that its progress file tells."""
        try:
            text = (self.folder / "results/progress/train-grpo.json").read_text()
            return int(json.loads(text)["step"])
        except (OSError, ValueError, KeyError):
            return -1

    def wait_for_step(self, step: int, seconds: float = 400) -> None:
        """Wait until the training has reached `step`."""
        wait_for(lambda: self.step() >= step, f"step {step} of the training", seconds, self)

    def wait_for_job(self, rule: str, state: str, after: str = "0", seconds: float = 180) -> str:
        """Wait for a job of `rule` in `state` that is younger than job `after`; its id."""

        def found() -> bool:
            return any(int(job) > int(after) and state_of(job) == state for job in self.jobs(rule))

        wait_for(found, f"a job of {rule} that is {state}", seconds, self)
        return self.jobs(rule)[-1]

    def read(self, name: str) -> Any:
        """A JSON file of this folder."""
        return json.loads((self.folder / name).read_text())

    def checkpoints(self) -> list[Path]:
        """The whole checkpoints of the training, by rising step."""
        found = (self.folder / "results/work/training").glob("*/step_*")
        return sorted(found, key=lambda path: int(path.name.removeprefix("step_")))

    def trained(self) -> Any:
        """The manifest of a finished training, whose curve has no gap and no step twice."""
        manifest = self.read(TRAINED)
        steps = [step for step, _ in manifest["curves"]["train/reward"]]
        assert steps == list(range(1, manifest["planned_steps"] + 1))
        assert manifest["total_steps"] == manifest["planned_steps"]
        return manifest


def tiny(**changes: dict[str, Any]) -> dict[str, Any]:
    """The tiny configuration with keys of some sections changed."""
    config = deepcopy(TINY)
    config["model"]["path"] = MODEL
    config["environments"] = {name: str(ROOT / ".venvs" / name) for name in ("bfcl", "trl", "gym")}
    for section, values in changes.items():
        merge(config[section], values)
    return config


def merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    """Put `values` into a nested mapping."""
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def idle_nodes() -> None:
    """Bring all four nodes back, whatever the drill before did to them."""
    for name in machine.NODES:
        machine.mend(name)
    wait_for(machine.healthy, "four nodes that take jobs", 60)


@pytest.fixture
def site(cluster: None, tmp_path: Path) -> Iterator[Site]:
    """A folder on a cluster of four idle nodes; the drill must leave no job behind."""
    idle_nodes()
    found = Site(tmp_path)
    yield found
    if found.process is not None and found.process.poll() is None:
        os.killpg(found.process.pid, signal.SIGKILL)
    left = jobs_in(os.path.realpath(tmp_path))
    for job in left:
        slurm("scancel", job, check=False)
    assert not left, f"left in the queue: {left}"


def slurm(*command: str, check: bool = True) -> str:
    """The output of a Slurm command."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
    return done.stdout


def state_of(job: str) -> str:
    """The state of a job, as squeue has it."""
    return slurm("squeue", "-h", "--states=all", "-j", job, "-o", "%T", check=False).strip()


def wait_for(
    condition: Callable[[], bool], what: str, seconds: float, site: Site | None = None
) -> None:
    """Wait until `condition` holds, for at most `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        over = site is not None and site.process is not None and site.process.poll() is not None
        if time.monotonic() > end or (over and not condition()):
            log = site.log[-4000:] if site else ""
            raise AssertionError(f"waited {seconds:.0f} s for {what}\n{log}")
        time.sleep(0.3)
