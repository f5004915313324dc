"""The Slurm profile as a fresh clone has it; needs no cluster."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "profiles/slurm/config.yaml"


def plan(folder: Path, **environment: str) -> str:
    """The dry run of the demo's chain with `--profile slurm`, in `folder`."""
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "-n", "all"]
    done = subprocess.run(
        [*command, "--configfile", "config/demo.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}, **environment},
    )
    # A fresh clone has no environments, which is said below its plan.
    assert done.returncode == 2, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone: only what git has."""
    folder = tmp_path_factory.mktemp("clone") / "toolgain"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def resources_of(rule: str, text: str) -> dict[str, str]:
    """The resources that a dry run prints for a rule."""
    block = text.split(f"\nrule {rule}:", 1)[1].split("\n\n")[0]
    line = re.search(r"resources: (.*)", block)
    assert line, block
    return dict(pair.split("=", 1) for pair in line[1].split(", "))


def test_the_profile_works_word_for_word_from_a_fresh_clone(clone: Path) -> None:
    text = plan(clone)
    assert resources_of("train_run", text)["mpi"] == "srun"
    assert "slurm_account" not in text
    assert "slurm_partition" not in text


def test_account_and_partition_come_from_the_environment(clone: Path) -> None:
    text = plan(clone, SLURM_ACCOUNT="research", SLURM_PARTITION="batch")
    for rule in ("train_run", "evaluate_model", "export"):
        asked = resources_of(rule, text)
        assert (asked["slurm_account"], asked["slurm_partition"]) == ("research", "batch")


def test_every_job_asks_for_memory_and_time(clone: Path) -> None:
    text = plan(clone)
    for rule in ("train_run", "evaluate_model", "export"):
        asked = resources_of(rule, text)
        assert int(asked["mem_mb"]) >= 1000
        assert int(asked["runtime"]) >= 10


def test_every_line_of_the_profile_is_explained() -> None:
    """Each key has a comment above it, itself or as the first of its group."""
    lines = PROFILE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r" *\??[a-z_-]+[^#]*:", line) and not line.startswith(" " * 4):
            assert lines[number - 1].lstrip().startswith("#"), f"no comment above: {line}"


def test_the_profile_caps_no_threads_and_holds_no_name() -> None:
    keys = {line.split(":")[0] for line in PROFILE.read_text().splitlines()}
    assert "cores" not in keys
    assert "slurm_account" not in keys
