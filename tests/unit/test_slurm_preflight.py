"""What is said before anything is submitted: by Slurm's own words about its partitions and jobs."""

from pathlib import Path

import pytest
from slurm_programs import SlurmPrograms

from toolgain.slurm.preflight import (
    CHECKED,
    NO_SLURM,
    JobRequest,
    Partition,
    limit_minutes,
    mismatches,
    read_partitions,
    request_for,
    slurm_findings,
)

SCONTROL = (
    "PartitionName=batch Default=YES MaxNodes=UNLIMITED MaxTime=1-00:00:00 State=UP TotalNodes=4\n"
)
SINFO = "batch|64|500000|gpu:h100:8(S:0-1)\n"
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


def test_rules_with_the_same_finding_share_a_line_with_the_key(
    slurm: SlurmPrograms, folder: Path
) -> None:
    requests = [
        JobRequest(rule, cpus=80, memory_mb=900_000, minutes=60)
        for rule in ("evaluate_model", "export", "trial")
    ]
    assert list(slurm_findings(requests, folder, shortest=10)) == [
        "evaluate_model, trial: 80 CPUs per node (cluster.evaluate_cpus); partition batch has 64.",
        "evaluate_model, trial: 900000 MB of memory per node (cluster.evaluate_memory_gb); "
        "partition batch has 500000 MB.",
        "export: 80 CPUs per node; partition batch has 64.",
        "export: 900000 MB of memory per node (cluster.export_memory_gb); partition batch has "
        "500000 MB.",
    ]


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


# -- asking Slurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmPrograms:
    """A cluster of one partition with an empty queue, whose nodes see this host's files."""
    programs = SlurmPrograms(tmp_path / "bin", monkeypatch)
    programs.does("sbatch", "exit 0")
    programs.says("scontrol", SCONTROL)
    programs.says("sinfo", SINFO)
    programs.says("sacctmgr", "research\nteaching\n")
    programs.queue({})
    # The command after the options runs here.
    programs.does("srun", 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"')
    return programs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to work in."""
    for name in ("results", ".snakemake"):
        (tmp_path / "work" / name).mkdir(parents=True)
    return tmp_path / "work"


TRAINING = JobRequest("train_run", account="research", nodes=2, gpus=8, minutes=60)


def test_a_plan_that_fits_has_no_findings_and_the_folder_is_checked_once(
    slurm: SlurmPrograms, folder: Path
) -> None:
    assert list(slurm_findings([TRAINING], folder, shortest=10)) == []
    assert (folder / CHECKED).exists()
    assert not list(folder.rglob(".toolgain-*"))
    slurm.says("srun", "")
    assert list(slurm_findings([TRAINING], folder, shortest=10)) == []


def test_a_folder_that_the_nodes_do_not_see_is_named(slurm: SlurmPrograms, folder: Path) -> None:
    slurm.says("srun", "")
    found = list(slurm_findings([TRAINING], folder, shortest=10))
    assert found and all(line.startswith("the nodes do not see") for line in found)
    assert not (folder / CHECKED).exists()
    assert not list(folder.rglob(".toolgain-*"))


def test_without_a_free_cpu_the_check_of_the_folder_is_left_out(
    slurm: SlurmPrograms, folder: Path
) -> None:
    slurm.fails("srun", "srun: error: Unable to allocate resources")
    assert list(slurm_findings([TRAINING], folder, shortest=10)) == []
    assert not (folder / CHECKED).exists()


def test_everything_that_is_wrong_is_said_at_once(
    slurm: SlurmPrograms, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    requests = [
        JobRequest("train_run", account="reserch", nodes=5, minutes=60),
        JobRequest("export", partition="bach", minutes=60),
    ]
    account, partition, nodes = slurm_findings(requests, folder, shortest=10)
    assert account == (
        "Slurm knows no account 'reserch' for ada (SLURM_ACCOUNT or cluster.account); it has: "
        "research, teaching."
    )
    assert partition.startswith("Slurm knows no partition 'bach'")
    assert "train_run: 5 nodes (cluster.nodes); partition batch gives 4" in nodes


def test_what_sbatch_would_refuse_is_said_in_its_words(slurm: SlurmPrograms, folder: Path) -> None:
    """By `--test-only`, with the options of the job; what time alone mends is no finding."""
    asked = {"qos": "nope", "slurm_extra": "--exclusive --licenses='a b'", "runtime": 60}
    request = request_for("train_run", asked)
    assert request.options == ("--qos=nope", "--exclusive", "--licenses=a b")
    slurm.does(
        "sbatch",
        'case "$*" in *--test-only*--time=60\\ --qos=nope\\ --exclusive*) '
        'echo "allocation failure: Invalid qos specification" >&2; exit 1;; esac',
    )
    (line,) = slurm_findings([request, JobRequest("export", minutes=60)], folder, shortest=10)
    assert line.startswith("train_run: sbatch refuses the job: Invalid qos specification. Name a")
    slurm.fails("sbatch", "allocation failure: Unable to contact slurm controller")
    assert list(slurm_findings([request], folder, shortest=10)) == []


@pytest.mark.parametrize(
    ("states", "findings"), [("idle\nmix", 1), ("drain\ndrng", 0), ("idle\ndown*", 0), ("maint", 0)]
)
def test_nodes_that_come_back_are_waited_for(
    slurm: SlurmPrograms, folder: Path, states: str, findings: int
) -> None:
    """`--test-only` refuses what sbatch would queue where nodes are drained or down."""
    slurm.fails("sbatch", "allocation failure: Requested node configuration is not available")
    (slurm.folder / "states").write_text(states)
    choice = 'case "$*" in *=%t*) cat states;; *) cat sinfo.txt;; esac'
    slurm.does("sinfo", f"cd {slurm.folder}; {choice}")
    request = JobRequest("train_run", minutes=60)
    assert len(list(slurm_findings([request], folder, shortest=10))) == findings


def test_a_site_without_accounting_leaves_the_account_to_sbatch(
    slurm: SlurmPrograms, folder: Path
) -> None:
    slurm.fails("sacctmgr", "You are not running a supported accounting_storage plugin")
    request = JobRequest("train_run", account="anything", minutes=60)
    assert list(slurm_findings([request], folder, shortest=10)) == []


def test_jobs_of_an_earlier_start_are_named_with_what_to_do(
    slurm: SlurmPrograms, folder: Path
) -> None:
    slurm.queue({"41": "RUNNING", "42": "PENDING", "43": "COMPLETED"}, str(folder))
    (line,) = slurm_findings([TRAINING], folder, shortest=10)
    assert "41 (train_run grpo, RUNNING), 42 (train_run grpo, PENDING)." in line
    assert "`scancel 41 42`" in line
    slurm.queue({"41": "RUNNING"}, "/another/folder")
    assert list(slurm_findings([TRAINING], folder, shortest=10)) == []


def test_a_silent_slurm_is_one_line(slurm: SlurmPrograms, folder: Path) -> None:
    slurm.fails("squeue", "Unable to contact slurm controller")
    (line,) = slurm_findings([TRAINING], folder, shortest=10)
    assert line.startswith("Slurm does not answer (squeue: Unable to contact slurm controller)")


def test_a_machine_without_slurm_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(slurm_findings([TRAINING], folder, shortest=10)) == [NO_SLURM]
