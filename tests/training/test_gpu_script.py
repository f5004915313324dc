"""`make test-gpu` without a GPU: it says so, and its dry run does all of it on the CPU."""

import json
import os
import subprocess

import pytest
from training_place import ROOT, TRL_ENV

pytestmark = pytest.mark.slow

PYTHON = TRL_ENV / "bin/python"


def script(*words: str) -> "subprocess.CompletedProcess[str]":
    around = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [ROOT / "tests/gpu/run.sh", *words],
        env=around | {"GPU_PYTHON": str(PYTHON), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_gpu_it_is_skipped_and_says_so() -> None:
    done = script()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("test-gpu: skipped, there is no GPU that torch of ")


def test_the_dry_run_stops_resumes_exports_and_compares() -> None:
    done = script("--cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["greedy_answers_equal"] is True
    assert measured["prompts_compared"] == 3
    assert measured["weights_changed"] > 0
