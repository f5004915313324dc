"""What becomes of a run when the Snakemake at its head is ended, started twice, or misled."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolgain.common.files import canonical_json, digest

from . import cluster as machine
from .conftest import ROOT, TRAINED, Site, jobs_in, slurm, state_of, tiny, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def start_training(site: Site, steps: int = 16) -> "subprocess.Popen[bytes]":
    site.config = tiny(training={"trl": {"max_steps": steps}})
    process = site.start(TRAINED)
    site.wait_for_step(3)
    return process


def test_ctrl_c_cancels_the_jobs_and_a_cut_off_checkpoint_is_passed_over(site: Site) -> None:
    process = start_training(site)
    process.send_signal(signal.SIGINT)
    assert site.finish(process, 90) != 0
    wait_for(lambda: not jobs_in(str(site.folder)), "an empty queue", 60)
    newest = site.checkpoints()[-1]
    weights = newest / "policy/weights/model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    site.succeed(TRAINED)
    manifest = site.trained()
    step = int(newest.name.removeprefix("step_"))
    assert manifest["segments"][-1]["first_step"] <= step
    said = (site.folder / "logs/train/grpo.log").read_text()
    assert f"{newest.name} is passed over" in said


def test_term_lets_the_running_jobs_end_and_submits_no_more(site: Site) -> None:
    process = start_training(site, steps=10)
    process.terminate()
    site.finish(process)
    assert site.trained()["total_steps"] == 10
    assert len(site.jobs("train_run")) == 1


def test_after_kill_9_no_second_trainer_touches_the_run(site: Site) -> None:
    process = start_training(site, steps=24)
    job = site.jobs("train_run")[-1]
    process.kill()
    process.wait()
    assert state_of(job) == "RUNNING"

    # Started again as it is: Snakemake's own lock speaks.
    assert site.run(TRAINED) == 1
    assert "unlock" in site.log
    assert site.run("--unlock", TRAINED) == 0

    # Started again after --unlock: the running job is named, nothing is submitted.
    assert site.run(TRAINED) == 2
    assert any(
        f"still in the queue: {job} (train_run grpo, RUNNING)" in line for line in site.said()
    )
    assert site.jobs("train_run") == [job]

    # Past every check of the head, on another node: the lease refuses.
    words = ["srun", "--account=research", "--mem=1000", "--time=5", "--exclude=n1"]
    stage = [str(Path(sys.executable).parent / "toolgain"), "train", "--run", "grpo"]
    stage += ["--config", "results/config/training/grpo.json", "--weights", "results/model.json"]
    stage += ["--tasks", "results/tasks/grpo/tasks.json", "--trl-env", str(ROOT / ".venvs/trl")]
    stage += ["--out", "results/runs/grpo/second.json"]
    second = subprocess.run(
        [*words, *stage],
        cwd=site.folder,
        capture_output=True,
        text=True,
        check=False,
        env=site.variables,
    )
    assert second.returncode == 1
    assert "another training writes into" in second.stderr
    assert f"Slurm job {job}" in second.stderr

    # When the job has ended, the next start finds its work done.
    wait_for(lambda: state_of(job) == "COMPLETED", "the end of the job", 180)
    site.succeed(TRAINED)
    segments = site.trained()["segments"]
    assert [segment["end"] for segment in segments] == ["finished"]


def test_two_workflows_in_one_folder_and_two_clones_on_one_cluster(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    process = start_training(site)
    assert site.run(TRAINED) != 0
    assert "cannot be locked" in site.log
    other = Site(tmp_path_factory.mktemp("clone"), tiny())
    other.succeed(TRAINED)
    site.process = process
    assert site.finish(process) == 0, site.log[-4000:]
    assert site.trained()["slurm"]["job_id"] != other.trained()["slurm"]["job_id"]


def test_a_config_edited_while_a_job_waits_changes_nothing_of_it(site: Site) -> None:
    """On a login node without any network but the cluster's."""
    with machine.isolated_login_node() as prefix:
        site.prefix = prefix
        for node in machine.NODES:
            slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=drill")
        site.config = tiny(training={"seed": 5, "trl": {"max_steps": 4}})
        process = site.start(TRAINED)
        wait_for(lambda: bool(site.jobs("train_run")), "a waiting job", 120, site)
        assert state_of(site.jobs("train_run")[0]) == "PENDING"
        frozen = site.read("results/config/training/grpo.json")
        site.config["training"]["seed"] = 6
        site.command()
        for node in machine.NODES:
            slurm("scontrol", "update", f"nodename={node}", "state=resume")
        assert site.finish(process) == 0, site.log[-4000:]
    manifest = site.trained()
    assert manifest["seed"] == frozen["seed"] == 5
    assert manifest["config_digest"] == digest(frozen)


def test_files_that_arrive_late_are_waited_for(site: Site) -> None:
    """The node writes into a folder that this host sees only seconds later."""
    runs = site.folder / "results/runs"
    site.config = tiny(training={"trl": {"max_steps": 2}})
    site.succeed("results/runs/grpo/smoke.json")
    own = machine.ROOT / "node" / "n1" / "late"
    subprocess.run(["cp", "-a", str(runs), str(own)], check=True)
    subprocess.run(machine.on_node("n1", "mount", "--bind", str(own), str(runs)), check=True)
    try:
        process = site.start(
            TRAINED, "--set-resources", "train_run:slurm_extra='--exclude=n2,n3,n4'"
        )
        written = own / "grpo/manifest.json"
        wait_for(written.exists, "the manifest on the node", 180, site)
        job = site.jobs("train_run")[-1]
        wait_for(lambda: state_of(job) == "COMPLETED", "the end of the job", 60, site)
        time.sleep(12)
        assert process.poll() is None
        subprocess.run(["cp", str(written), str(site.folder / TRAINED)], check=True)
        assert site.finish(process, 90) == 0, site.log[-4000:]
    finally:
        subprocess.run(machine.on_node("n1", "umount", "-l", str(runs)), check=True)
    assert site.jobs("train_run") == [job]


def test_a_finished_training_is_not_done_again_for_a_files_time(site: Site) -> None:
    """Touched inputs, a lost .snakemake and a forced rule are refused; a wish is granted."""
    site.config = tiny(training={"trl": {"max_steps": 2}})
    site.succeed(TRAINED)
    jobs = site.submitted()
    tasks = site.folder / "results/tasks/grpo/tasks.json"
    tasks.write_text(tasks.read_text() + "\n")
    assert site.run(TRAINED) == 2
    assert any("run 'grpo' is finished" in line for line in site.said()), site.log
    assert site.submitted() == jobs
    site.succeed("--touch", TRAINED)
    site.succeed(TRAINED)
    assert site.submitted() == jobs
    assert site.run(TRAINED, "--forcerun", "train_run") == 2
    site.environment = {"TOOLGAIN_RETRAIN": "grpo"}
    site.succeed(TRAINED, "--forcerun", "train_run")
    assert len(site.submitted()) == len(jobs) + 1
    assert canonical_json(site.trained()["segments"]).count("finished") >= 1
