"""One segment of a NeMo RL training: what it needs and how it ended; tests/nemo_rl runs one."""

from pathlib import Path
from typing import Any

import made
import pytest
from slurm_programs import SlurmPrograms
from test_checkpoints import make

from toolgain.common.errors import UserError
from toolgain.training.nemo_rl.launch import judge, train
from toolgain.training.nemo_rl.watch import ADVICE, Alarm, Logs


def judged(
    total: int,
    code: int | None = 0,
    logs: Logs | None = None,
    alarm: Alarm | None = None,
    told: bool = False,
    outlived: tuple[str, ...] = (),
) -> tuple[str, str]:
    """How a segment of 10 planned steps ended that saved step `total`."""
    return judge(total, 10, code, logs or Logs(), alarm, told, list(outlived))


@pytest.mark.parametrize("code", [0, 1, None])
def test_a_training_is_finished_by_its_last_checkpoint_and_not_by_an_exit_code(
    code: int | None,
) -> None:
    assert judged(10, code) == ("finished", "all steps are done.")
    assert judged(8, code)[0] == "failed"


def test_with_the_last_step_saved_nothing_else_counts() -> None:
    alarm = Alarm("hang", "no step for 30 min", fatal=True)
    assert judged(10, 1, Logs(timed_out=True), alarm, told=True)[0] == "finished"


def test_what_ended_it_is_said_with_what_to_do() -> None:
    alarm = Alarm("zero_reward", "reward 0 in 5 steps", fatal=True)
    end, message = judged(6, alarm=alarm)
    assert end == "failed"
    assert message == f"ended to save the GPUs: reward 0 in 5 steps. {ADVICE['zero_reward']}"


def test_a_hang_is_an_end_of_its_own_so_that_the_next_job_resumes() -> None:
    end, message = judged(6, alarm=Alarm("hang", "no step for 30 min", fatal=True), told=True)
    assert (end, message[:40]) == ("hang", "ended as a hang: no step for 30 min. Loo")


def test_an_end_before_the_time_limit_and_by_scancel_can_be_resumed() -> None:
    assert judged(6, logs=Logs(timed_out=True))[0] == "time_limit"
    assert judged(6, told=True)[0] == "told_to_end"


def test_a_failure_names_memory_and_the_steps_of_the_job_that_still_ran() -> None:
    end, message = judged(6, 0, Logs(out_of_memory="ray-driver.log: CUDA"), outlived=("7.2",))
    assert end == "failed"
    assert message == (
        "ray.sub ended with exit code 0, while its job steps 7.2 still ran. "
        "Out of memory: ray-driver.log: CUDA."
    )


# -- what is refused, and what is already done


@pytest.fixture
def wanted(tmp_path: Path) -> dict[str, Any]:
    """A training of 10 steps on two nodes."""
    made.data(tmp_path / "tasks")
    return {
        "section": made.training(max_num_steps=10, num_prompts_per_step=4),
        "weights": made.model(tmp_path / "model"),
        "tasks": tmp_path / "tasks/tasks.json",
        "name": "grpo",
        "directory": tmp_path / "checkpoints",
        "nodes": 2,
        "smoke": False,
        "cluster": made.cluster(made.checkout(tmp_path / "rl"), nodes=2),
    }


def in_a_job(slurm: SlurmPrograms, monkeypatch: pytest.MonkeyPatch, nodes: int) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    names = " ".join(f"n{number}" for number in range(1, nodes + 1))
    job = (
        f"JobId=7 NodeList=n[1-{nodes}] NumCPUs={32 * nodes} Account=research Partition=batch "
        f"TimeLimit=UNLIMITED TRES=cpu={32 * nodes},gres/gpu={8 * nodes}"
    )
    script = f'[ "$2" = job ] && echo "{job}" || printf "%s\\n" {names}'
    slurm.does("scontrol", script)


def test_outside_of_slurm_nothing_is_started(
    wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match=r"training.backend nemo_rl needs a Slurm job; run `snakem"):
        train(**wanted)
    assert not wanted["directory"].exists()


def test_a_job_with_too_few_nodes_is_refused(
    wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_job(SlurmPrograms(tmp_path / "bin", monkeypatch), monkeypatch, nodes=1)
    with pytest.raises(UserError, match="2 nodes wanted, Slurm job 7 has 1"):
        train(**wanted)
    assert not wanted["directory"].exists()


def test_a_batch_that_nemo_rl_cannot_divide_is_refused_before_the_launch(
    wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_job(SlurmPrograms(tmp_path / "bin", monkeypatch), monkeypatch, nodes=2)
    wanted["section"] = made.training(max_num_steps=10, num_prompts_per_step=6)
    with pytest.raises(UserError, match="global batch 24 mod 16 = 8"):
        train(**wanted)
    assert not wanted["directory"].exists()


def test_a_training_whose_steps_are_done_launches_nothing(
    wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_job(SlurmPrograms(tmp_path / "bin", monkeypatch), monkeypatch, nodes=2)
    make(wanted["directory"], 10)
    outcome = train(**wanted)
    assert (outcome.step, outcome.planned_steps, outcome.stopped) == (10, 10, None)
    assert (outcome.hosts, outcome.world_size) == (("n1", "n2"), 16)
    assert not (wanted["directory"] / "launches").exists()
