"""What a person sees after a failure, and what is not tried again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from . import cluster as machine
from .conftest import Site, jobs_in, tiny, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def last_block(site: Site) -> str:
    """The lines after Snakemake's own last ones."""
    return site.log.rpartition("At least one job did not complete successfully.")[2]


def status(site: Site) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("toolgain")), "status"],
        cwd=site.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_bad_input_is_submitted_once_and_the_screen_ends_with_its_cause(site: Site) -> None:
    """The tasks' file is spoiled after the start's checks, while the training waits for it."""
    site.config = tiny(training={"trl": {"steps": 2}})
    site.succeed("results/tasks/grpo/tasks.json")
    (site.folder / "results/tasks/grpo/tasks.json").write_text("{}\n")
    site.succeed("--touch", "results/tasks/grpo/tasks.json")
    assert site.run("train") == 1
    assert len(site.jobs("train_run")) == 1, "exit code 2 must not be submitted again"
    block = last_block(site)
    (job,) = site.jobs("train_run")
    assert f"train_run grpo (Slurm job {job}, FAILED)" in block
    said = (site.folder / "logs/train/grpo.log").read_text().splitlines()
    cause = next(line for line in said if line.startswith("toolgain: "))
    assert cause.removeprefix("toolgain: ").split() <= block.split()
    assert "log:  logs/train/grpo.log" in block
    assert "correct it, then start again" in block
    assert cause.removeprefix("toolgain: ")[:60] in " ".join(status(site).split())


def test_memory_that_ran_out_names_the_key_and_its_raise_plans_the_rest(site: Site) -> None:
    site.config = tiny(training={"trl": {"steps": 2}})
    site.start(*("all", "--retries", "0"))
    job = site.wait_for_job("train_run", "RUNNING")
    # As Slurm ends a job that the kernel killed for memory; the test cluster has no cgroups.
    assert job
    assert site.process is not None
    site.process.send_signal(signal.SIGINT)
    assert site.finish(site.process, 120) != 0
    wait_for(lambda: not jobs_in(str(site.folder)), "an empty queue", 60)
    site.config["cluster"]["memory_gb_per_node"] = 5
    plan = subprocess.run(
        site.command("-n", "all"), capture_output=True, text=True, check=True, env=site.variables
    )
    for rule in ("train_run", "export", "evaluate_model", "compare", "report"):
        assert f"rule {rule}:" in plan.stdout + plan.stderr


def test_ctrl_c_twice_leaves_no_job_in_the_queue(site: Site) -> None:
    site.config = tiny(training={"trl": {"steps": 16}})
    process = site.start("train")
    site.wait_for_job("train_run", "RUNNING")
    for _ in range(3):
        os.killpg(process.pid, signal.SIGINT)
    assert site.finish(process, 120) != 0
    wait_for(lambda: not jobs_in(str(site.folder)), "an empty queue", 60)


@pytest.mark.parametrize("name", ["results", "logs", ".snakemake"])
def test_each_folder_of_a_run_has_to_be_shared(site: Site, name: str) -> None:
    own = machine.LOCAL / f"{site.folder.name}-{name.strip('.')}"
    own.mkdir()
    (site.folder / name).symlink_to(own)
    assert site.run("all") == 2
    assert any(f"the nodes do not see {own}" in line for line in site.said()), site.log
    assert site.submitted() == []


def test_a_lost_terminal_does_not_end_the_run(site: Site) -> None:
    site.config = tiny(training={"trl": {"steps": 4}})
    process = site.start("train")
    site.wait_for_job("train_run", "RUNNING")
    process.send_signal(signal.SIGHUP)
    assert site.finish(process) == 0, site.log[-3000:]
    assert site.trained()["total_steps"] == 4
    said = (site.folder / "logs/after-hangup.log").read_text()
    assert "steps (100%) done" in said
