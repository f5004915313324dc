"""What a training run must survive on a cluster; docs/reliability.md has the table."""

import math
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from toolgain.training.store.segments import read_segments

from . import cluster as machine
from .conftest import TRAINED, Site, idle_nodes, slurm, state_of, tiny, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def start_training(site: Site, steps: int, nodes: int = 1) -> "subprocess.Popen[bytes]":
    """Start a training run and wait until it has saved its first checkpoint."""
    site.config = tiny(training={"trl": {"max_steps": steps}}, cluster={"nodes": nodes})
    process = site.start(TRAINED)
    site.wait_for_step(3)
    return process


def ranks(job: str) -> Iterator[tuple[str, int]]:
    """Node and process id (as the node sees it) of every rank of a job's training."""
    for node in machine.NODES:
        search = machine.on_node(node, "pgrep", "-f", "toolgain.training.trl.grpo")
        found = subprocess.run(search, capture_output=True, text=True, check=False).stdout.split()
        for pid in found:
            read = machine.on_node(node, "cat", f"/proc/{pid}/environ")
            environ = subprocess.run(read, capture_output=True, check=False).stdout.decode()
            if f"SLURM_JOB_ID={job}\0" in environ and "RANK=" in environ:
                yield node, int(pid)


def test_a_training_run_survives_one_misfortune_after_another(site: Site) -> None:
    """Two nodes: a foreign scancel, a killed rank, a requeue and a dead node, in one training."""
    process = start_training(site, steps=30, nodes=2)
    first = site.jobs("train_run")[-1]

    slurm("scancel", first)
    second = site.wait_for_job("train_run", "RUNNING", after=first)
    assert state_of(first) == "CANCELLED"
    site.wait_for_step(site.step() + 3)

    node, pid = first_rank_of(second)
    subprocess.run(machine.on_node(node, "kill", "-9", str(pid)), check=True)
    third = site.wait_for_job("train_run", "RUNNING", after=second)
    assert state_of(second) == "FAILED"
    site.wait_for_step(site.step() + 3)

    slurm("scontrol", "requeue", third)
    runs_again(third, site)
    site.wait_for_step(site.step() + 3)

    machine.stop("n2")
    machine.cut_network("n2")
    runs_again(third, site)
    assert site.finish(process) == 0, site.log[-5000:]
    machine.start_node("n2")
    assert site.jobs("train_run") == [first, second, third]

    manifest = site.trained()
    ends = [segment["end"] for segment in manifest["segments"]]
    assert ends[-1] == "finished"
    assert len(ends) >= 5
    assert len({segment["slurm_job_id"] for segment in manifest["segments"]}) >= 3
    assert "n2" not in manifest["slurm"]["nodes"]
    assert len(manifest["slurm"]["nodes"]) == 2


def runs_again(job: str, site: Site) -> None:
    """Wait until a requeued job runs again under its own id.

    Slurm lets two minutes pass first; a drill need not wait for them.
    """
    wait_for(lambda: state_of(job) == "PENDING", "the requeue", 240, site)
    slurm("scontrol", "update", f"jobid={job}", "starttime=now")
    wait_for(lambda: state_of(job) == "RUNNING", "the same job again", 180, site)


def first_rank_of(job: str) -> tuple[str, int]:
    """The first rank of a job, once it is there."""
    found: list[tuple[str, int]] = []
    wait_for(lambda: bool(found.extend(ranks(job)) or found), f"a rank of job {job}", 60)
    return found[0]


def test_a_time_limit_ends_a_training_with_everything_saved(site: Site) -> None:
    """Two minutes per job, of which one is kept for the end; the next job resumes.

    No machine takes that many steps in a minute; when the second job trains, the drill is over.
    """
    site.config = tiny(training={"trl": {"max_steps": 5000}}, cluster={"train_time": "2m"})
    process = site.start(TRAINED, "--retries", "9")
    site.wait_for_step(3)
    first = site.jobs("train_run")[0]
    site.wait_for_job("train_run", "RUNNING", after=first, seconds=300)
    site.wait_for_step(site.step() + 3)
    assert state_of(first) != "TIMEOUT"
    process.send_signal(signal.SIGINT)
    assert site.finish(process, 90) != 0
    (training,) = (site.folder / "results/work/training").iterdir()
    before, after, *_ = read_segments(training)
    assert before["end"] == "the time limit is near"
    assert after["first_step"] == before["last_step"] + 1, "a step was lost"


def test_an_absent_slurmctld_or_slurmdbd_stops_nothing(site: Site) -> None:
    """The controller is away for a minute and the database for longer while a training runs."""
    process = start_training(site, steps=30)
    job = site.jobs("train_run")[-1]
    with ExitStack() as afterwards:
        # Whatever comes of this test, the following ones need both.
        machine.stop("slurmdbd")
        afterwards.callback(machine.start_slurmdbd)
        machine.stop("slurmctld")
        try:
            wait_for(lambda: "Slurm does not answer" in site.log, "an outage noticed", 60, site)
            # A fast machine may have trained all steps by then.
            site.wait_for_step(min(site.step() + 3, 30))
            time.sleep(60)
        finally:
            machine.start_slurmctld()
        wait_for(lambda: "Slurm answers again" in site.log, "an answer", 90, site)
        assert site.finish(process) == 0, site.log[-5000:]
    assert site.jobs("train_run") == [job]
    assert [segment["end"] for segment in site.trained()["segments"]] == ["finished"]


def test_a_drained_node_is_left_after_its_job_and_taken_by_no_other(site: Site) -> None:
    process = start_training(site, steps=14)
    first = site.jobs("train_run")[-1]
    slurm("scontrol", "update", "nodename=n1", "state=drain", "reason=drill")
    slurm("scancel", first)
    second = site.wait_for_job("train_run", "RUNNING", after=first)
    assert slurm("squeue", "-h", "-j", second, "-o", "%N").strip() == "n2"
    assert site.finish(process) == 0, site.log[-5000:]
    assert site.trained()["segments"][-1]["end"] == "finished"


@pytest.fixture(scope="module")
def trained_on(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Any]:
    """The manifest of one and the same training on so many hosts; each is trained once."""

    @cache
    def manifest(hosts: int) -> Any:
        idle_nodes()
        site = Site(tmp_path_factory.mktemp(f"hosts{hosts}"))
        site.config = tiny(
            training={
                "trl": {"max_steps": 6, "num_prompts_per_step": 4, "max_completion_length": 64}
            },
            cluster={"nodes": hosts},
        )
        site.succeed(TRAINED)
        return site.trained()

    return manifest


@pytest.mark.parametrize("hosts", [2, 4])
def test_every_rank_of_several_hosts_takes_part(
    trained_on: Callable[[int], Any], hosts: int
) -> None:
    manifest = trained_on(hosts)
    assert manifest["hosts"] == list(machine.NODES[:hosts])
    assert manifest["world_size"] == hosts
    assert manifest["slurm"]["nodes"] == list(machine.NODES[:hosts])


@pytest.mark.parametrize("hosts", [2, 4])
def test_several_hosts_earn_what_one_does(trained_on: Callable[[int], Any], hosts: int) -> None:
    """Prompts and batch are the same; the completions are drawn apart on each rank, so that mean
    rewards differ by the noise of sampling, which the groups' standard deviations give."""
    (one, error), (several, its_error) = (mean_reward(trained_on(n)) for n in (1, hosts))
    assert abs(one - several) <= 4 * math.hypot(error, its_error)


def mean_reward(manifest: Any) -> tuple[float, float]:
    """The mean reward over the steps, and its standard error from the sampling alone."""
    rewards, deviations = (
        [value for _, value in manifest["curves"][name]]
        for name in ("train/reward", "train/reward_std")
    )
    completions = 4 * 4  # of a step
    variance = sum(deviation**2 / completions for deviation in deviations)
    return sum(rewards) / len(rewards), math.sqrt(variance) / len(rewards)


def test_a_full_disk_fails_one_save_and_the_training_resumes_once_there_is_room(
    site: Site,
) -> None:
    """The checkpoints lie on a small disk of n1, which is filled up in mid-training."""
    site.config = tiny(training={"trl": {"max_steps": 16}})
    work = site.folder / "results/work/training"
    work.mkdir(parents=True)
    mount = ("mount", "-t", "tmpfs", "-o", "size=700m", "drill", str(work))
    subprocess.run(machine.on_node("n1", *mount), check=True)
    filler = str(work / "filler")
    try:
        process = site.start(
            TRAINED, "--set-resources", "train_run:slurm_extra='--exclude=n2,n3,n4'", "--jobs", "1"
        )
        site.wait_for_step(3)
        fill = f"dd if=/dev/zero of={filler} bs=1M status=none; true"
        subprocess.run(machine.on_node("n1", "sh", "-c", fill), check=True, capture_output=True)
        first = site.jobs("train_run")[0]
        wait_for(lambda: state_of(first) == "FAILED", "the failed save", 120, site)
        subprocess.run(machine.on_node("n1", "rm", filler), check=True)
        assert site.finish(process) == 0, site.log[-5000:]
    finally:
        subprocess.run(machine.on_node("n1", "umount", "-l", str(work)), check=True)
    assert "No space left on device" in site.log or "free" in site.log
    assert site.trained()["segments"][-1]["end"] == "finished"
