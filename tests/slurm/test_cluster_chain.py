"""The whole chain on the cluster, and the evaluation alone: what is submitted, what leaks."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolgain.common import package

from . import cluster as machine
from .conftest import Site, jobs_in, tiny, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TOKENS = {"HF_TOKEN": "hf_Marked51Value", "WANDB_API_KEY": "wb_Marked52Value"}
GYM = package.environment("gym") / "bin" / "python"
XLAM = "resources_servers/xlam_fc/configs/xlam_fc.yaml"
PLAYS: dict[str, Any] = (
    {"environment": "nemo_gym", "gym": {"config_paths": [XLAM], "max_turns": 1}}
    if GYM.exists()
    else {}
)
MARKS = tuple(value.encode() for value in TOKENS.values())


class Watch:
    """Notes, while it runs, which marked value shows up in a command line or a stored script.

    This machine sees the processes of every node.
    """

    def __init__(self) -> None:
        self.hits: set[str] = set()
        self.looks = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(1.0):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                self._look(path)
            for pattern in ("state/hash.*/job.*/script", "spool/*/job*/slurm_script"):
                for path in machine.ROOT.glob(pattern):
                    self._look(path)

    def _look(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError:
            return
        if any(mark in content for mark in MARKS):
            self.hits.add(f"{path}: {content[:200]!r}")


@pytest.fixture(scope="module")
def chain(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Watch]]:
    """One full run over two nodes with `--verbose` and marked tokens in the environment.

    Where NeMo Gym is installed, its servers play and verify, on both nodes.
    """
    site = Site(tmp_path_factory.mktemp("chain"), environment=TOKENS)
    site.config = tiny(
        training={"trl": {"max_steps": 4, "max_completion_length": 64}, **PLAYS},
        evaluation={"trial": True},
        cluster={"nodes": 2},
    )
    with Watch() as watch:
        site.succeed("all", "--verbose", "--retries", "1", seconds=1500)
    yield site, watch


def test_the_chain_ends_with_a_report(chain: tuple[Site, Watch]) -> None:
    site, _ = chain
    rules = [rule for rule, _ in site.submitted()]
    assert sorted(rules) == ["evaluate_model", "evaluate_model", "export", "train_run", "trial"]
    assert site.trained()["hosts"] == ["n1", "n2"]
    assert (site.folder / "results/report.html").stat().st_size > 10_000
    assert site.read("results/comparison.json")["n"] == 17
    assert jobs_in(str(site.folder)) == []
    for _, job in site.submitted():
        assert list((site.folder / "logs/slurm").rglob(f"{job}.log")), f"no log of job {job}"


def test_the_model_is_tried_before_it_is_trained(chain: tuple[Site, Watch]) -> None:
    site, _ = chain
    (trial,) = site.jobs("trial")
    assert all(int(job) > int(trial) for job in site.jobs("train_run"))
    tried = site.read("results/trial.json")
    assert tried["items"] == 17
    assert tried["slurm_jobs"] == [trial]


@pytest.mark.skipif(not PLAYS, reason="needs NeMo Gym: make setup-gym")
def test_every_host_plays_with_gym_servers_of_its_own(chain: tuple[Site, Watch]) -> None:
    """They listen on the loopback of their host, which is a network of its own here."""
    site, _ = chain
    manifest = site.trained()
    assert manifest["versions"]["nemo-gym"] == "0.4.0"
    assert {turns for _, turns in manifest["curves"]["train/turns"]} == {1.0}
    started = (site.folder / "results/work/training").glob("*/logs/exp_*/gym-*/servers.json")
    assert {path.parent.name for path in started} == {"gym-0", "gym-1"}


def test_gpu_hours_and_job_ids_are_in_the_manifests(chain: tuple[Site, Watch]) -> None:
    site, _ = chain
    manifest = site.trained()
    assert manifest["slurm"]["job_id"] == site.jobs("train_run")[-1]
    assert manifest["cost"]["source"] == "sacct"
    assert manifest["cost"]["node_hours"] > 0
    evaluations = [
        site.read(f"results/evaluations/{subject}/manifest.json")
        for subject in ("baseline", "grpo")
    ]
    worked = [job for evaluation in evaluations for job in evaluation["slurm_jobs"]]
    assert sorted(worked) == sorted(site.jobs("evaluate_model"))
    assert site.read("results/runs/grpo/export.json")["slurm_jobs"] == site.jobs("export")


def test_tokens_show_up_nowhere(chain: tuple[Site, Watch]) -> None:
    site, watch = chain
    assert watch.looks > 10
    assert watch.hits == set()
    read = 0
    for path in site.folder.rglob("*"):
        if path.is_file():
            read += 1
            content = path.read_bytes()
            assert not any(mark in content for mark in MARKS), path
    assert read > 100


def test_what_the_chain_wrote_is_private(chain: tuple[Site, Watch]) -> None:
    site, _ = chain
    for path in (site.folder / "results").rglob("*"):
        if not path.is_symlink():
            assert not path.stat().st_mode & 0o077, path


def test_status_shows_every_stage(chain: tuple[Site, Watch]) -> None:
    site, _ = chain
    done = subprocess.run(
        [str(Path(sys.executable).with_name("toolgain")), "status"],
        cwd=site.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    stages = ("train grpo", "export grpo", "evaluate baseline", "evaluate grpo", "report")
    for stage in stages:
        assert any(line.startswith(stage) and " done" in line for line in lines), done.stdout
    trained = next(line for line in lines if line.startswith("train grpo"))
    assert site.jobs("train_run")[-1] in trained, done.stdout


def rerun(site: Site, config: dict[str, Any], *arguments: str) -> list[str]:
    """The rules that a second run submits."""
    before = len(site.submitted())
    site.config = config
    site.succeed(*arguments, seconds=1500)
    return sorted(rule for rule, _ in site.submitted()[before:])


def test_the_evaluation_alone_is_two_jobs(chain: tuple[Site, Watch]) -> None:
    site, _ = chain
    trained = (site.folder / "results/runs/grpo/manifest.json").stat().st_mtime_ns
    submitted = rerun(site, site.config, "evaluate", "--forcerun", "evaluate")
    assert submitted == ["evaluate_model", "evaluate_model"], "neither a trial nor a training"
    assert (site.folder / "results/runs/grpo/manifest.json").stat().st_mtime_ns == trained


@pytest.mark.parametrize(
    "change",
    [
        {"parallelism": 2},
        {"repeats": 2},
        {"serve": {"backend": "endpoint", "url": "http://127.0.0.1:1/v1"}},
    ],
    ids=["changed", "repeats", "endpoint"],
)
def test_an_evaluation_change_plans_evaluations_comparison_and_report(
    chain: tuple[Site, Watch], change: dict[str, Any]
) -> None:
    site, _ = chain
    config = json.loads(json.dumps(site.config))
    for key, value in change.items():
        if isinstance(value, dict):
            config["evaluation"][key] = {**config["evaluation"][key], **value}
        else:
            config["evaluation"][key] = value
    plan = subprocess.run(
        Site(site.folder, config).command("-n", "all"),
        capture_output=True,
        text=True,
        check=True,
        env=site.variables,
    )
    text = plan.stdout + plan.stderr
    rules = {line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith("rule ")}
    assert rules == {"freeze", "evaluate_model", "compare", "report", "all"}


def test_a_model_server_that_never_comes_up_is_named_and_the_next_run_resumes(site: Site) -> None:
    site.config = tiny(evaluation={"serve": {"ready_timeout_s": 1}})
    assert site.run("baseline", "--retries", "0") == 1
    log = (site.folder / "logs/evaluate/baseline.log").read_text()
    assert "toolgain: evaluate:" in log
    assert "Slurm job" in site.log
    site.config = tiny()
    site.succeed("baseline")
    assert site.read("results/evaluations/baseline/summary.json")["n"] == 17
    manifest = site.read("results/evaluations/baseline/manifest.json")
    assert manifest["slurm_jobs"] == site.jobs("evaluate_model")
    assert len(manifest["slurm_jobs"]) == 2, "the failed job has cost something too"


def test_a_model_server_that_dies_in_mid_evaluation_costs_no_finished_item(site: Site) -> None:
    process = site.start("baseline")
    progress = site.folder / "results/progress/evaluate-baseline.json"

    def under_way() -> bool:
        try:
            return int(json.loads(progress.read_text())["step"]) >= 3
        except (OSError, ValueError, KeyError):
            return False

    wait_for(under_way, "a few items", 180, site)
    job = site.jobs("evaluate_model")[-1]
    servers = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/environ")
        if is_server(path, job)
    ]
    assert servers
    for pid in servers:
        os.kill(pid, 9)
    assert site.finish(process) == 0, site.log[-4000:]
    summary = site.read("results/evaluations/baseline/summary.json")
    assert summary["n"] == 17
    assert not [flag for flag in summary["flags"] if flag == "inference_error"]


def is_server(environ: Path, job: str) -> bool:
    """Whether a process is the model server of a Slurm job."""
    try:
        own = f"SLURM_JOB_ID={job}\0".encode() in environ.read_bytes()
        return (
            own
            and b"toolgain.serving.transformers_server" in (environ.parent / "cmdline").read_bytes()
        )
    except OSError:
        return False
