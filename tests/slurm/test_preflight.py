"""Bad input on a cluster: one line each, exit code 2, nothing submitted, nothing written."""

import sys
from pathlib import Path
from typing import Any

import pytest

from . import cluster as machine
from .conftest import TRAINED, Site, slurm, state_of, tiny, wait_for

BAD: list[tuple[str, dict[str, Any], dict[str, str], str]] = [
    ("account", {}, {"SLURM_ACCOUNT": "reserch"}, "no account 'reserch' for root"),
    ("partition", {}, {"SLURM_PARTITION": "bach"}, "no partition 'bach'"),
    ("nodes", {"nodes": 5}, {}, "train_run: 5 nodes (cluster.nodes); partition batch gives 4"),
    (
        "gpus",
        {"gpus_per_node": 16, "cpus_per_node": 8},
        {},
        "16 GPUs per node (cluster.gpus_per_node",
    ),
    ("gres", {"gpus_per_node": 4, "cpus_per_node": 4}, {}, "train_run: whole nodes with 4 GPUs"),
    (
        "memory",
        {"memory_gb_per_node": 99},
        {},
        "99000 MB of memory per node (cluster.memory_gb_per_node)",
    ),
    (
        "limit",
        {"train_time": "2d"},
        {},
        "2880 minutes (cluster.train_time); partition batch",
    ),
    (
        *("too-short", {"shortest_time": "5m", "train_time": "2m"}, {}),
        "a time limit of 2 minutes (cluster.train_time), too short",
    ),
]


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("cluster_keys", "environment", "line"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_slurm_is_asked_before_anything_is_submitted(
    site: Site, cluster_keys: dict[str, Any], environment: dict[str, str], line: str
) -> None:
    site.config = tiny(cluster=cluster_keys)
    site.environment = environment
    assert site.run("all") == 2
    assert any(line in said for said in site.said()), site.log
    assert site.submitted() == []
    assert not (site.folder / "results").exists()


@pytest.mark.cluster
def test_what_sbatch_would_refuse_is_found_in_a_dry_run_and_in_doctor_s_words(site: Site) -> None:
    words = ("--set-resources", "train_run:qos=nope", "export:slurm_extra='--licenses=matlab'")
    assert site.run("-n", "all", *words) == 2
    assert site.run("all", *words) == 2
    dry, real = site.said()[:3], site.said()[3:]
    assert dry[:2] == real[:2]
    export, train = dry[:2]
    assert "export: sbatch refuses the job: Invalid license specification." in export
    assert "train_run: sbatch refuses the job: Invalid qos specification." in train
    assert site.submitted() == []


@pytest.mark.cluster
def test_a_folder_that_the_nodes_do_not_share_is_refused(site: Site) -> None:
    own = machine.LOCAL / site.folder.name
    own.mkdir(exist_ok=True)
    site.folder = own
    assert site.run("all") == 2
    assert any("the nodes do not see" in line for line in site.said()), site.log
    assert not (own / "results").exists()


@pytest.mark.cluster
def test_jobs_of_an_earlier_start_are_named_and_nothing_is_submitted(site: Site) -> None:
    words = ["--parsable", "--account=research", "--comment=rule_train_run_wildcards_grpo"]
    job = slurm("sbatch", *words, f"--chdir={site.folder}", "--wrap=sleep 60").strip()
    assert site.run(TRAINED) == 2
    line = f"jobs of an earlier start in this folder are still in the queue: {job} (train_run grpo"
    assert any(line in said for said in site.said()), site.log
    assert site.submitted() == []
    slurm("scancel", job)
    wait_for(lambda: state_of(job) == "CANCELLED", "the job's end", 30)


def test_no_slurm_here_is_one_line(tmp_path: Path) -> None:
    """On a machine without Slurm's commands; a PATH without them is as good."""
    site = Site(tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "sh", "which", "git", "env", "tee", "uname"):
        for folder in ("/usr/bin", "/bin"):
            if Path(folder, name).exists():
                (tools / name).symlink_to(Path(folder, name))
                break
    site.environment = {"PATH": f"{Path(sys.executable).parent}:{tools}"}
    assert site.run("all") == 2, site.log
    assert any("no Slurm here" in line for line in site.said()), site.log
    assert not (tmp_path / "results").exists()
