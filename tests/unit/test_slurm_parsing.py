"""Reading what Slurm prints: jobs, allocations, usage; and what a command line is made of."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from toolgain.common.errors import UserError
from toolgain.config.sections import load_config, minutes, parse_config
from toolgain.slurm import accounting, launch, resources
from toolgain.slurm.allocation import Allocation, allocation, parse_job
from toolgain.slurm.queue import SEPARATOR, QueuedJob, parse_jobs, standing

SHOW_JOB = (
    "JobId=7 JobName=toolgain_1 UserId=ada(1000) Account=research JobState=RUNNING Reason=None "
    "Dependency=(null) Requeue=1 Restarts=2 TimeLimit=1-00:00:00 EndTime=2026-03-02T10:00:00 "
    "Partition=batch AllocNode:Sid=login:4711 NodeList=n[1-2] NumNodes=2 NumCPUs=32 CPUs/Task=2 "
    "TRES=cpu=32,mem=8000M,node=2,billing=32,gres/gpu=16 Comment=rule_train_run_wildcards_grpo "
    "Command=/bin/a b=c StdOut=/home/ada/logs/7.log"
)
TWO_NODES = allocation(parse_job(SHOW_JOB), ("n1", "n2"))


def test_an_allocation_is_read_from_scontrol() -> None:
    assert TWO_NODES.job_id == "7"
    assert (TWO_NODES.gpus_per_node, TWO_NODES.cpus_per_node) == (8, 16)
    assert TWO_NODES.restarts == 2
    assert TWO_NODES.account == "research"
    assert TWO_NODES.submit_host == "login"
    assert TWO_NODES.log == "/home/ada/logs/7.log"
    assert TWO_NODES.end is not None
    assert TWO_NODES.seconds_left(TWO_NODES.end - 60) == 60


def test_a_job_without_a_limit_has_no_end() -> None:
    text = SHOW_JOB.replace("TimeLimit=1-00:00:00", "TimeLimit=UNLIMITED")
    assert allocation(parse_job(text), ("n1", "n2")).end is None


def test_the_variables_that_the_rule_lost_come_back() -> None:
    variables = TWO_NODES.variables()
    assert variables["SLURM_JOB_NODELIST"] == "n1,n2"
    assert variables["SLURM_JOB_NUM_NODES"] == "2"
    assert variables["SLURM_GPUS_ON_NODE"] == "8"
    assert variables["SLURM_RESTART_COUNT"] == "2"
    assert variables["SLURM_OVERLAP"] == "1"


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Za-z]{1,9}", fullmatch=True),
        st.from_regex(r"[a-z0-9/,.]{1,12}", fullmatch=True),
        min_size=1,
    )
)
def test_fields_survive_being_printed(fields: dict[str, str]) -> None:
    assert parse_job(" ".join(f"{key}={value}" for key, value in fields.items())) == fields


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("PENDING", "waiting"),
        ("REQUEUED", "waiting"),
        ("RUNNING", "running"),
        ("COMPLETING", "running"),
        ("COMPLETED", "ended_well"),
        ("CANCELLED by 0", "ended_badly"),
        ("CANCELLED+", "ended_badly"),
        ("NODE_FAIL", "ended_badly"),
        ("OUT_OF_MEMORY", "ended_badly"),
        ("", "ended_badly"),
    ],
)
def test_a_state_says_how_a_job_stands(state: str, expected: str) -> None:
    assert standing(state) == expected


def test_jobs_are_read_from_squeue_and_other_lines_are_not() -> None:
    row = ("8", "toolgain_1", "PENDING", "Resources", "", "1:00:00", "/home/ada/w", "rule_export")
    assert parse_jobs(SEPARATOR.join(row) + "\nslurm_load_jobs error\n") == [QueuedJob(*row)]


def test_usage_counts_every_start_of_a_requeued_job() -> None:
    used = accounting.parse_usage(
        "7|1800|billing=4,cpu=4,gres/gpu=16,mem=8000M,node=2|REQUEUED|n[1-2]\n"
        "7|3600|billing=4,cpu=4,gres/gpu=16,mem=8000M,node=2|COMPLETED|n[1-2]\n"
        "8|0||CANCELLED by 0|None assigned\n"
    )
    assert [entry.gpu_hours for entry in used] == [8.0, 16.0]
    assert sum(entry.node_hours for entry in used) == 3.0


def test_a_requeued_job_is_asked_for_with_its_earlier_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def sacct(*command: str) -> str:
        asked.extend(command)
        return "7|1800|gres/gpu=4,node=1|REQUEUED|n1\n7|3600|gres/gpu=4,node=1|COMPLETED|n2\n"

    monkeypatch.setattr(accounting, "ask_slurm", sacct)
    used = accounting.of_jobs(["7"])
    assert used is not None
    assert (used.gpu_hours, used.jobs) == (6.0, ["7"])
    assert "-D" in asked, "without --duplicates sacct tells of the last start alone"


def test_a_stage_remembers_every_job_that_worked_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "work" / "slurm_jobs.json"
    # 12 was requeued, and worked twice.
    for job_id in ("9", "12", "12"):
        monkeypatch.setenv("SLURM_JOB_ID", job_id)
        remembered = accounting.remember_this_job(file)
    assert remembered == ["9", "12"]
    monkeypatch.delenv("SLURM_JOB_ID")
    assert accounting.remember_this_job(file) == ["9", "12"]


def test_outside_of_slurm_there_is_nothing_to_remember(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert accounting.remember_this_job(tmp_path / "slurm_jobs.json") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("record", "jobs"),
    [
        ({"slurm_jobs": ["7", "8"]}, ["7", "8"]),
        ({"slurm_jobs": []}, []),
        # A stage that failed before it could write, or somebody's own record.
        ({}, []),
        ({"slurm_jobs": None}, []),
    ],
)
def test_the_jobs_of_a_stage_are_read_from_its_record(
    record: dict[str, Any], jobs: list[str]
) -> None:
    assert accounting.jobs_of(record) == jobs


def test_several_nodes_are_started_by_srun_and_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "current", lambda: TWO_NODES)
    monkeypatch.setattr(launch, "node_address", lambda node: f"{node}.example")
    line = launch.launch_command(
        ["python", "-m", "program", "plan.json"], nodes=2, processes=8, threads=2
    )
    assert line[:3] == ["srun", "--nodes=2", "--ntasks=2"]
    assert "--kill-on-bad-exit=1" in line
    assert "--gres=gpu:8" in line
    assert "OMP_NUM_THREADS=2" in line
    assert "--rdzv-endpoint=n1.example:20007" in line
    assert "--rdzv-id=7-2" in line
    assert line[-3:] == ["-m", "program", "plan.json"]


def test_one_process_is_started_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "current", lambda: None)
    assert launch.launch_command(["python", "x.py"], nodes=1, processes=1) == ["python", "x.py"]


def test_several_nodes_need_an_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "current", lambda: None)
    with pytest.raises(UserError, match="2 nodes are needed, there is no Slurm job here"):
        launch.launch_command(["python", "x.py"], nodes=2, processes=1)


def test_threads_are_an_equal_share_of_what_the_job_has() -> None:
    small = Allocation("1", ("n1",), 1, 0, None, 0, None, None)
    assert launch.threads_per_process(small, 4) == 1


def test_a_stage_asks_for_what_its_section_says() -> None:
    config = parse_config(
        {
            "model": {"path": "m"},
            "evaluation": {
                "serve": {
                    "data_parallel_size": 4,
                    "tensor_parallel_size": 2,
                    "tool_parser": "hermes",
                }
            },
            "cluster": {"nodes": 4, "gpus_per_node": 8, "cpus_per_node": 64, "account": "research"},
        }
    )
    asked = resources.for_training(config)
    assert (asked["nodes"], asked["gres"], asked["mpi"]) == (4, "gpu:8", "srun")
    assert asked["tasks_per_node"] * asked["cpus_per_task"] == 64
    assert asked["slurm_account"] == "research"
    assert resources.for_evaluation(config)["gres"] == "gpu:8"
    assert resources.for_smoke(config)["nodes"] == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        *(("90m", 90), ("4h", 240), ("2d", 2880), ("4:00:00", 240), ("04:30:00", 270)),
        *(("1-12:00:00", 2160), (yaml.safe_load("4:00:00"), 240), ("100:00:00", 6000)),
        *(("1-12", 2160), ("1-12:30", 2190), ("0-2", 120)),
    ],
)
def test_a_duration_may_be_written_in_every_usual_way(given: Any, expected: int) -> None:
    cluster = {"train_time": given, "smoke_time": given}
    config = parse_config({"model": {"path": "m"}, "cluster": cluster})
    assert resources.for_training(config)["runtime"] == expected
    assert resources.for_smoke(config)["runtime"] == expected


@pytest.mark.parametrize("given", ["4 hours", "0m", "0:00:00", "4:00:30", "", None])
def test_another_duration_is_refused_with_the_ways_to_say_it(given: Any) -> None:
    with pytest.raises(UserError, match=r"`cluster\.train_time`: ") as refused:
        parse_config({"model": {"path": "m"}, "cluster": {"train_time": given}})
    assert "say 90m, 4h, 2d" in str(refused.value) or "the minimum is 1m" in str(refused.value)


KEYS = ("train_time", "shortest_time", "smoke_time", "export_time", "evaluate_time")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("written", ["2:30", "'2:30'", "02:30", "10:05"])
def test_what_can_be_hours_or_minutes_is_refused_with_both_readings(
    tmp_path: Path, key: str, written: str
) -> None:
    """Slurm reads 2:30 as 2 min 30 s, people as 2 h 30 min, YAML without quotes as 150."""
    path = tmp_path / "c.yaml"
    path.write_text(f"model: {{path: m}}\ncluster:\n  {key}: {written}\n")
    first, second = map(int, written.strip("'").split(":"))
    with pytest.raises(UserError) as refused:
        load_config(path)
    said = str(refused.value)
    assert f"{first} h {second} min or, as Slurm reads it, {first} min {second} s" in said
    assert f"say {first * 60 + second}m" in said
    # One or the other: the line, where YAML made a number of it, or the key.
    assert "c.yaml, line 3" in said or f"`cluster.{key}`" in said
    for answer in (f"{first * 60 + second}m", f"{first}:{second:02}:00"):
        path.write_text(f"model: {{path: m}}\ncluster:\n  {key}: {answer}\n")
        assert minutes(getattr(load_config(path).cluster, key)) == first * 60 + second


@pytest.mark.parametrize("given", ["240", 240])
def test_a_time_without_a_unit_is_asked_for_one(given: Any) -> None:
    with pytest.raises(UserError, match="it has no unit: say 240m for minutes"):
        parse_config({"model": {"path": "m"}, "cluster": {"train_time": given}})


def test_gpus_that_are_accounted_by_type_alone_are_counted() -> None:
    def gpus(tres: str) -> int:
        (usage,) = accounting.parse_usage(f"4711|3600|{tres}|COMPLETED|n1")
        return usage.gpus

    assert gpus("billing=8,cpu=64,gres/gpu:h100=8,mem=400G,node=1") == 8
    assert gpus("cpu=64,gres/gpu:a100=2,gres/gpu:h100=4,node=1") == 6
    assert gpus("cpu=64,gres/gpu=8,gres/gpu:h100=8,node=1") == 8
