"""Bad input on a cluster: one line each, exit code 2, nothing submitted, nothing written."""

import sys
from pathlib import Path
from typing import Any

import pytest

from toolgain.slurm.preflight import (
    JobRequest,
    Partition,
    limit_minutes,
    mismatches,
    read_partitions,
)

from . import cluster as machine
from .conftest import TRAINED, Site, slurm, state_of, tiny, wait_for

PARTITIONS = read_partitions(
    "PartitionName=batch Default=YES MaxNodes=UNLIMITED MaxTime=1-00:00:00 State=UP TotalNodes=4\n"
    "PartitionName=short Default=NO MaxNodes=1 MaxTime=00:10:00 State=DOWN TotalNodes=2\n",
    "batch|64|500000|gpu:h100:8(S:0-1)\nbatch|64|500000|gpu:h100:4\nshort|64+|500000+|(null)\n",
)


def test_partitions_are_read_as_slurm_prints_them() -> None:
    assert PARTITIONS["batch"] == Partition(
        "batch", True, True, 4, None, 1440, frozenset({4, 8}), 64, 500000
    )
    assert PARTITIONS["short"] == Partition(
        "short", False, False, 2, 1, 10, frozenset({0}), 64, 500000
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1-00:00:00", 1440), ("00:10:00", 10), ("2-12:30:00", 3630), ("UNLIMITED", None)],
)
def test_time_limits_are_read_in_minutes(text: str, expected: int | None) -> None:
    assert limit_minutes(text) == expected


def test_what_fits_is_not_mentioned() -> None:
    request = JobRequest("train_run", nodes=4, gpus=8, cpus=64, minutes=1440, whole_nodes=True)
    assert list(mismatches(request, PARTITIONS, shortest=10)) == []


def test_whole_nodes_have_all_their_gpus() -> None:
    request = JobRequest("train_run", nodes=2, gpus=6, minutes=60, whole_nodes=True)
    assert "have 4 or 8" in " ".join(mismatches(request, PARTITIONS, shortest=10))


def test_a_partition_that_is_down_is_named() -> None:
    request = JobRequest("evaluate_model", partition="short", minutes=5)
    assert "short is not up" in " ".join(mismatches(request, PARTITIONS, shortest=1))


@pytest.mark.parametrize(
    ("fields", "account", "refused"),
    [
        ("AllowAccounts=ALL", "research", False),
        ("AllowAccounts=research,teaching", "research", False),
        ("AllowAccounts=research,teaching", "guests", True),
        ("DenyAccounts=guests", "guests", True),
        ("DenyAccounts=guests", "research", False),
    ],
)
def test_an_account_that_may_not_use_the_partition_is_named(
    fields: str, account: str, refused: bool
) -> None:
    found = read_partitions(
        f"PartitionName=batch {fields} Default=YES MaxNodes=UNLIMITED MaxTime=UNLIMITED State=UP "
        "TotalNodes=4\n",
        "batch|64|500000|gpu:8\n",
    )
    lines = list(
        mismatches(JobRequest("train_run", account=account, minutes=60), found, shortest=10)
    )
    assert bool(lines) == refused
    if refused:
        assert f"account {account} (SLURM_ACCOUNT or cluster.account) may not use" in lines[0]


BAD: list[tuple[str, dict[str, Any], dict[str, str], str]] = [
    ("account", {}, {"SLURM_ACCOUNT": "reserch"}, "no account 'reserch' for root"),
    ("partition", {}, {"SLURM_PARTITION": "bach"}, "no partition 'bach'"),
    ("nodes", {"nodes": 5}, {}, "asks for 5 nodes (cluster.nodes); partition batch gives 4"),
    ("gpus", {"gpus_per_node": 16, "cpus_per_node": 8}, {}, "asks for 16 GPUs per node"),
    ("gres", {"gpus_per_node": 4, "cpus_per_node": 4}, {}, "takes whole nodes with 4 GPUs"),
    ("memory", {"memory_gb_per_node": 99}, {}, "asks for 99000 MB of memory per node"),
    ("limit", {"train_time": "2d"}, {}, "asks for 2880 minutes; partition batch allows 1440"),
    ("too-short", {"shortest_time": "5m", "train_time": "2m"}, {}, "limit of 2 minutes, too short"),
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
