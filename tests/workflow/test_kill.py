"""Kill -9 in the middle of a stage, then run again: it resumes, and the result is whole."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from small_chain import Chain

pytestmark = pytest.mark.slow


def kill_in_the_middle(chain: Chain, target: str, reached: Callable[[], bool]) -> None:
    """Start the workflow, wait for `reached`, kill Snakemake and all it started, unlock."""
    process = chain.start(target)
    deadline = time.monotonic() + 300
    while not reached():
        log = (chain.folder / "snakemake.log").read_text()
        assert process.poll() is None, f"ended before the kill:\n{log[-4000:]}"
        assert time.monotonic() < deadline, f"never got to the middle:\n{log[-4000:]}"
        time.sleep(0.1)
    family = psutil.Process(process.pid)
    for member in [*family.children(recursive=True), family]:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    # A killed Snakemake leaves its lock behind, and says what to do about it.
    assert chain.run(target, "--unlock").returncode == 0


def lines_in(pattern: str, folder: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in folder.glob(pattern))


def test_a_killed_training_run_resumes_from_its_last_checkpoint(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    work = tmp_path / "results/work/training"
    kill_in_the_middle(chain, "train", lambda: any(work.glob("*/step_2")))

    done = chain.run("train")

    assert done.returncode == 0, done.stderr[-4000:]
    manifest = chain.read("runs/grpo/manifest.json")
    assert manifest["total_steps"] == 4
    assert len(manifest["segments"]) == 2
    assert manifest["segments"][1]["first_step"] == 3


def test_a_killed_evaluation_resumes_from_its_last_good_item(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    work = tmp_path / "results/work/evaluations"
    rows = "**/result/**/*_result.json"
    kill_in_the_middle(chain, "baseline", lambda: lines_in(rows, work) >= 3)

    done = chain.run("baseline")

    assert done.returncode == 0, done.stderr[-4000:]
    summary = chain.read("evaluations/baseline/summary.json")
    assert summary["valid"], summary["reasons"]
    assert summary["n"] == 17
