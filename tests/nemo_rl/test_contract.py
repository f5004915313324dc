"""Training with NeMo RL's contract on a real Slurm cluster of several hosts.

The checkout is of our own making (tests/nemo_rl/checkout): a ray.sub and a GRPO program that keep
upstream's contract, with failures on demand. Everything around it is real: Slurm, its job steps,
the launcher, the train stage. docs/nemo-rl.md says what was tried with upstream's own files.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import made
import pytest

from slurm import cluster as machine
from slurm.conftest import slurm, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
RAY = Path(os.environ.get("TOOLGAIN_RAY", ROOT / ".venvs/ray"))
TOOLGAIN = Path(sys.executable).parent / "toolgain"
MARKED = "marked-secret-value"

# What Snakemake's jobstep plugin leaves of Slurm's variables.
STRIP = (
    "unset $(compgen -e | grep -E '^(SLURM|SRUN|SBATCH)_' | grep -vE "
    "'^SLURM_(JOB_ID|JOBID|CLUSTER_NAME|SUBMIT_DIR|SUBMIT_HOST)$')"
)


@dataclass
class Run:
    """One training, launched as often as it takes."""

    folder: Path
    nodes: int = 3
    settings: dict[str, Any] = field(default_factory=dict)
    site: dict[str, Any] = field(default_factory=dict)
    limit: str = "10"
    """Time limit of a job, in minutes."""
    container: str | None = None
    """An image; None: one that no one opens."""
    launches: int = 0
    job: str = ""

    def __post_init__(self) -> None:
        self.root = made.checkout(self.folder / "rl")
        base = made.model(self.folder / "base")
        made.data(self.folder / "tasks")
        self.write("weights.json", {"path": str(base), "digest": "d", "name": "base"})
        self.write("tasks/tasks.json", {"train": 60, "validation": 8})

    def write(self, name: str, value: Any) -> None:
        (self.folder / name).write_text(json.dumps(value))

    def fail(self, **faults: Any) -> None:
        """What is to go wrong in the next launches."""
        (self.root / "faults.json").write_text(json.dumps(faults))

    def start(self) -> None:
        """Submit a job that trains, in the batch step and with the environment Snakemake leaves."""
        self.launches += 1
        self.write("section.json", made.training(**self.settings).frozen())
        image = {"container": self.container} if self.container else {}
        site = made.cluster(self.root, gpus_per_node=machine.GPUS, nemo_rl=self.site, **image)
        self.write("cluster.json", site.model_dump())
        command = [str(TOOLGAIN), "train", "--run", "grpo", "--nodes", str(self.nodes)]
        for name, file in (
            ("config", "section.json"),
            ("cluster", "cluster.json"),
            ("weights", "weights.json"),
            ("tasks", "tasks/tasks.json"),
            ("out", "results/runs/grpo/manifest.json"),
        ):
            command += [f"--{name}", file]
        code = self.folder / f"code-{self.launches}"
        text = f"{STRIP}\n{shlex.join(command)}\necho $? > {code}.tmp; mv {code}.tmp {code}\n"
        script = self.folder / "job.sh"
        script.write_text("#!/bin/bash\n" + text)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
        environment |= {"HF_TOKEN": MARKED, "MY_API_KEY": MARKED, "PORT": "8888"}
        ask = ["sbatch", "--parsable", f"--nodes={self.nodes}", f"--ntasks={self.nodes}"]
        ask += [f"--account={machine.ACCOUNT}", f"--time={self.limit}", "--mem=1500"]
        ask += [f"--gres=gpu:{machine.GPUS}", "--cpus-per-task=8", f"--chdir={self.folder}"]
        ask += [f"--output={self.log_file}", str(script)]
        submitted = subprocess.run(
            ask,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        self.job = submitted.stdout.strip()

    @property
    def log_file(self) -> Path:
        return self.folder / f"log-{self.launches}"

    def wait(self, seconds: float = 240) -> tuple[int, str]:
        """Exit code and output of the launch, and no step of it left."""
        code = self.folder / f"code-{self.launches}"
        self.until(code.exists, "the end of the job", seconds)
        return int(code.read_text()), self.log_file.read_text()

    def launch(self, seconds: float = 240) -> tuple[int, str]:
        """Submit and wait."""
        self.start()
        return self.wait(seconds)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
        """Wait for something, and show the logs where it does not come."""
        try:
            wait_for(condition, what, seconds)
        except AssertionError as error:
            logs = [*sorted(self.folder.rglob("*.log")), self.log_file]
            tails = [f"== {p.name}\n{p.read_text()[-1500:]}" for p in logs if p.is_file()]
            raise AssertionError(f"{error}\n" + "\n".join(tails)) from None

    def steps(self) -> list[str]:
        """Steps of the job that Slurm still knows."""
        return slurm("squeue", "-h", "-s", "-j", self.job, "-o", "%i", check=False).split()

    @property
    def checkpoints(self) -> Path:
        return next(iter((self.folder / "results/work/training").glob("*")), self.folder / "none")

    def manifest(self) -> Any:
        return json.loads((self.folder / "results/runs/grpo/manifest.json").read_text())

    def health(self) -> dict[str, str]:
        """The evidence of what failed, by name; what cannot be told has not."""
        return {h["name"]: h["evidence"] for h in self.manifest()["health"] if h["passed"] is False}


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """End what a failed drill leaves in the queue."""
    yield
    for line in slurm("squeue", "-h", "-o", "%i|%Z").split():
        number, _, folder = line.partition("|")
        if folder == os.path.realpath(tmp_path):
            slurm("scancel", number, check=False)


@pytest.fixture(scope="session")
def ray() -> Path:
    """An environment with Ray from the package index."""
    if not (RAY / ".ready").exists():
        subprocess.run(["make", "--silent", ".venvs/ray/.ready"], cwd=ROOT, check=True)
    return RAY


def test_a_training_over_three_hosts_with_real_ray(
    cluster: None, tmp_path: Path, ray: Path
) -> None:
    run = Run(tmp_path, site={"env": {"TEST_RAY": str(ray)}, "setup_minutes": 2})
    code, log = run.launch()
    assert code == 0, log
    driver = next(run.checkpoints.glob("launches/*/*-logs/ray-driver.log")).read_text()
    assert "Ray has (hosts, worker_units): 3 24" in driver
    manifest = run.manifest()
    assert (manifest["total_steps"], manifest["planned_steps"]) == (10, 10)
    assert len(manifest["hosts"]) == 3
    assert manifest["world_size"] == 24
    assert [step for step, _ in manifest["curves"]["train/reward"]] == list(range(1, 11))
    assert [item["step"] for item in manifest["checkpoints"]] == [2, 4, 6, 8, 10]
    assert [item["kept"] for item in manifest["checkpoints"]][:2] == [False, False]
    assert run.health().keys() <= {"memory"}, run.health()
    # The worker's step outlives ray.sub; it is ended, and the job's variables held no secret.
    run.until(lambda: not run.steps(), "the job's steps to be gone")
    hits = [p for p in tmp_path.rglob("*") if p.is_file() and MARKED.encode() in p.read_bytes()]
    assert hits == []
    private = next(run.checkpoints.glob("launches/*"))
    assert private.stat().st_mode & 0o077 == 0
    # Once more: nothing to do, and said so at once.
    code, log = run.launch()
    assert code == 0 and "10" in log


def test_a_training_run_survives_one_misfortune_after_another(
    cluster: None, tmp_path: Path
) -> None:
    run = Run(tmp_path)

    # The head dies in step 3, after the save of step 2.
    run.fail(die_at=3, exit_code=137)
    code, log = run.launch()
    assert code == 1
    assert "step 2 of 10 is saved; ray.sub ended with exit code 137" in log

    # A kill in the middle of a save leaves tmp_step_4, which the next launch clears away.
    run.fail(die_in_save=4)
    code, log = run.launch()
    assert code == 1
    assert (run.checkpoints / "tmp_step_4").is_dir()

    # The environment hangs in step 6: ended, and a reason to resume, not a failure.
    run.fail(hang_at=6)
    code, log = run.launch()
    assert code == 75, log
    assert "ended as a hang" in log
    assert not (run.checkpoints / "tmp_step_4").exists()

    # ray.sub is told to end: it returns 0 while the training still runs.
    run.fail(step_seconds=2)
    run.start()
    run.until(lambda: driver_says(run, "Step 6/10"), "step 6")
    shell = subprocess.run(
        machine.on_node(head_of(run.job), "pgrep", "-f", f"bash {run.root}/ray.sub"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()[0]
    subprocess.run(machine.on_node(head_of(run.job), "kill", "-TERM", shell), check=True)
    code, log = run.wait()
    assert code == 1, log
    assert "ray.sub ended with exit code 0, while its job steps" in log
    run.until(lambda: not run.steps(), "the job's steps to be gone")

    # The time limit comes: saved before it, and the next job resumes.
    run.fail(step_seconds=2)
    run.limit = "2"
    run.site = {"setup_minutes": 1.6, "step_minutes": 0.01, "margin_minutes": 0.1}
    code, log = run.launch()
    assert code == 75, log
    assert "stopped before the time limit" in log

    run.fail()
    run.limit, run.site = "10", {}
    code, log = run.launch()
    assert code == 0, log
    manifest = run.manifest()
    assert manifest["total_steps"] == 10
    steps = [step for step, _ in manifest["curves"]["train/reward"]]
    assert steps == list(range(1, 11))
    assert len(manifest["segments"]) == 6
    assert manifest["segments"][-1]["end"] == "finished"
    assert "hang" in run.health()
    assert sum(segment.get("lost_s") or 0 for segment in manifest["segments"]) > 0


def driver_says(run: Run, text: str) -> bool:
    """Whether the newest launch's training has printed `text`."""
    logs = sorted(run.checkpoints.glob("launches/*/*-logs/ray-driver.log"))
    return bool(logs) and run.job in logs[-1].parent.name and text in logs[-1].read_text()


def head_of(job: str) -> str:
    """The first node of a job."""
    nodes = slurm("squeue", "-h", "-j", job, "-o", "%N").strip()
    return slurm("scontrol", "show", "hostnames", nodes).split()[0]


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"no_metric": True}, "no checkpoint in .* carries val:accuracy"),
        ({"nan_metric": True}, "no checkpoint in .* carries val:accuracy"),
        ({"zero_from": 3}, "ended to save the GPUs: train/reward is exactly 0 in steps"),
        ({"nan_at": 3}, "ended to save the GPUs: train/loss is nan in step 3"),
        ({"empty_at": 3}, "ended to save the GPUs: step 3 had no valid sample"),
        ({"out_of_memory_at": 3}, "Out of memory: ray-driver.log: torch.OutOfMemoryError"),
        ({"other_config": {"grpo.val_period": 7}}, "grpo.val_period: asked 2, trained with 7"),
    ],
)
def test_what_makes_a_training_worthless_ends_it(
    cluster: None, tmp_path: Path, faults: dict[str, Any], message: str
) -> None:
    run = Run(tmp_path, nodes=1)
    # Slow enough to be seen before its last step.
    run.fail(step_seconds=0.6, **faults)
    code, log = run.launch()
    assert code == 1, log

    assert re.search(message, log), log
    assert not (tmp_path / "results/runs/grpo/manifest.json").exists()


def test_what_can_be_known_before_is_said_before(cluster: None, tmp_path: Path) -> None:
    run = Run(
        tmp_path, nodes=1, settings={"num_prompts_per_step": 5, "overrides": {"grpo.sead": 1}}
    )
    code, log = run.launch()
    assert code == 2
    assert "unknown key `grpo.sead`; did you mean `grpo.seed`?" in log
    run.settings = {"num_prompts_per_step": 5}
    code, log = run.launch()
    assert code == 2
    assert "global batch 20 mod 8 = 4" in log
    assert not list(run.folder.glob("results/work/training/*/launches"))
