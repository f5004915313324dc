"""What a person sees after a failure, and what is not tried again."""

import os
import signal

import pytest

from . import cluster as machine
from .conftest import Site, jobs_in, tiny, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def last_block(site: Site) -> str:
    """The lines after Snakemake's own last ones."""
    return site.log.rpartition("At least one job did not complete successfully.")[2]


def test_bad_input_is_submitted_once_and_the_screen_ends_with_its_cause(site: Site) -> None:
    """A training run whose tasks were spoiled."""
    site.config = tiny(training={"trl": {"max_steps": 2}})
    site.succeed("results/tasks/grpo/tasks.json")
    (site.folder / "results/tasks/grpo/train.jsonl").write_text("no JSON\n")
    assert site.run("train") == 1
    assert len(site.jobs("train_run")) == 1, "exit code 2 must not be submitted again"
    block = last_block(site)
    (job,) = site.jobs("train_run")
    assert f"train_run grpo (Slurm job {job}, FAILED)" in block
    said = (site.folder / "logs/train/grpo.log").read_text().splitlines()
    cause = next(line for line in said if line.startswith("toolgain: "))
    assert " ".join(cause.removeprefix("toolgain: ").split()) in " ".join(block.split())
    assert "log:  logs/train/grpo.log" in block
    assert "correct it, then start again" in block


def test_ctrl_c_twice_leaves_no_job_in_the_queue(site: Site) -> None:
    site.config = tiny(training={"trl": {"max_steps": 16}})
    process = site.start("train")
    site.wait_for_job("train_run", "RUNNING")
    for _ in range(3):
        os.killpg(process.pid, signal.SIGINT)
    assert site.finish(process, 120) != 0
    wait_for(lambda: not jobs_in(str(site.folder)), "an empty queue", 60)


@pytest.mark.parametrize("name", ["results", "logs", ".snakemake"])
def test_each_folder_of_a_run_has_to_be_shared(site: Site, name: str) -> None:
    own = machine.LOCAL / f"{site.folder.name}-{name.strip('.')}"
    # A cluster that was started by hand keeps it from one session to the next.
    own.mkdir(exist_ok=True)
    (site.folder / name).symlink_to(own)
    assert site.run("all") == 2
    assert any(f"the nodes do not see {own}" in line for line in site.said()), site.log
    assert site.submitted() == []


def test_a_lost_terminal_does_not_end_the_run(site: Site) -> None:
    # Room for whole answers: where all are cut, four steps have no gradient and nothing to export.
    site.config = tiny(training={"trl": {"max_steps": 4, "max_completion_length": 64}})
    process = site.start("train")
    site.wait_for_job("train_run", "RUNNING")
    process.send_signal(signal.SIGHUP)
    code = site.finish(process)
    said = (site.folder / "logs/after-hangup.log").read_text()
    assert code == 0, said[-3000:]
    assert site.trained()["total_steps"] == 4
    assert "steps (100%) done" in said
