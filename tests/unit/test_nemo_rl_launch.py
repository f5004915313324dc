"""One segment of a NeMo RL training: what it needs and how it ended; tests/nemo_rl runs one."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made
import psutil
import pytest
from omegaconf import OmegaConf
from slurm_programs import SlurmPrograms
from test_checkpoints import make

from toolgain.common.errors import StageError, UserError
from toolgain.training.backend import LaunchOutcome
from toolgain.training.nemo_rl import overrides
from toolgain.training.nemo_rl.launch import how_it_ended, run_segment
from toolgain.training.nemo_rl.preparation import LaunchRequest, prepare_launch
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
    return how_it_ended(total, 10, code, logs or Logs(), alarm, told, list(outlived))


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
    """A training run of 10 steps on two nodes."""
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
        run_segment(**wanted)
    assert not wanted["directory"].exists()


def test_a_job_with_too_few_nodes_is_refused(
    wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_job(SlurmPrograms(tmp_path / "bin", monkeypatch), monkeypatch, nodes=1)
    with pytest.raises(UserError, match="2 nodes are needed, Slurm job 7 has 1"):
        run_segment(**wanted)
    assert not wanted["directory"].exists()


def test_a_batch_that_nemo_rl_cannot_divide_is_refused_before_the_launch(
    wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_job(SlurmPrograms(tmp_path / "bin", monkeypatch), monkeypatch, nodes=2)
    wanted["section"] = made.training(max_num_steps=10, num_prompts_per_step=6)
    with pytest.raises(UserError, match="global batch 24 mod 16 = 8"):
        run_segment(**wanted)
    assert not wanted["directory"].exists()


def test_a_training_whose_steps_are_done_launches_nothing(
    wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_job(SlurmPrograms(tmp_path / "bin", monkeypatch), monkeypatch, nodes=2)
    make(wanted["directory"], 10)
    outcome = run_segment(**wanted)
    assert (outcome.step, outcome.planned_steps, outcome.stopped) == (10, 10, None)
    assert (outcome.hosts, outcome.world_size) == (("n1", "n2"), 16)
    assert not (wanted["directory"] / "launches").exists()


# -- a segment from its launch to its end, with a ray.sub of our own


def save(wanted: dict[str, Any], folder: Path, step: int) -> None:
    """A checkpoint of the training, with the values that it was asked to train with."""
    tasks, given = wanted["tasks"].parent, {**wanted, "folder": wanted["directory"]}
    names = ("section", "weights", "name", "folder", "nodes", "smoke", "cluster")
    files = {"train": tasks / "train.jsonl", "validation": tasks / "validation.jsonl"}
    prepared = prepare_launch(LaunchRequest(**{name: given[name] for name in names}, **files), None)
    used = overrides.apply(overrides.load_yaml(prepared.config), prepared.overrides)
    OmegaConf.save(used, make(folder, step) / "config.yaml")


@pytest.fixture
def launched(
    wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], LaunchOutcome]:
    """Train with a ray.sub that is this shell script.

    `$SAVED` holds a save of step 10, `$CHECKPOINTS` is the training's folder, and `$LOGS` that of
    the launch's logs.
    """
    in_a_job(SlurmPrograms(tmp_path / "bin", monkeypatch), monkeypatch, nodes=2)
    save(wanted, tmp_path / "saved", 10)
    head = (
        f"SAVED={tmp_path}/saved/step_10 CHECKPOINTS={wanted['directory']} "
        "LOGS=$BASE_LOG_DIR/7-logs\n mkdir $LOGS\n"
    )

    def train_with(script: str) -> LaunchOutcome:
        root = Path(wanted["cluster"].nemo_rl.root)
        (root / "ray.sub").write_text(head + script)
        return run_segment(**wanted)

    return train_with


PREPARE = "cp -r $SAVED $CHECKPOINTS/tmp_step_10\n"
SHOW = "mv $CHECKPOINTS/tmp_step_10 $CHECKPOINTS/step_10\n"
SAVE = PREPARE + SHOW
"""Whole at once, as NeMo RL does it: the watch looks at any moment."""


def test_a_segment_that_saves_the_last_step_is_finished_whatever_ray_sub_returns(
    launched: Callable[[str], LaunchOutcome], wanted: dict[str, Any]
) -> None:
    told: list[tuple[object, ...]] = []
    wanted["report"] = lambda *where: told.append(where)
    outcome = launched(SAVE + "exit 1")
    assert (outcome.step, outcome.stopped, outcome.lost_s) == (10, None, 0.0)
    assert all(sign["passed"] for sign in outcome.health)
    assert told == [(0, 10, None, None)]
    saves = (wanted["directory"] / "saves.jsonl").read_text()
    assert json.loads(saves) == {"step": 10, "accuracy": 0.5, "seconds": 0.0}


def test_a_segment_that_stops_before_the_time_limit_leaves_the_rest_to_the_next_job(
    launched: Callable[[str], LaunchOutcome],
) -> None:
    outcome = launched(
        "echo 'Timeout has been reached, stopping training early' > $LOGS/ray-driver.log"
    )
    assert outcome.stopped is not None
    assert outcome.stopped.startswith(
        "training: step 0 of 10 is saved; stopped before the time limit; run the same command "
    )
    assert outcome.stopped.endswith("7-logs/ray-driver.log.")


def test_a_segment_that_is_told_to_end_ends_its_ray_sub(
    launched: Callable[[str], LaunchOutcome], tmp_path: Path
) -> None:
    outcome = launched(f"echo $$ > {tmp_path}/pid; kill -TERM {os.getpid()}; sleep 600")
    assert "the job was told to end; run the same command again" in str(outcome.stopped)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_segment_without_a_first_step_in_twice_the_setup_time_is_ended_as_a_hang(
    launched: Callable[[str], LaunchOutcome], wanted: dict[str, Any], tmp_path: Path
) -> None:
    at_once = {"setup_minutes": 0, "save_minutes": 0}
    site = wanted["cluster"].nemo_rl.model_copy(update=at_once)
    wanted["cluster"] = wanted["cluster"].model_copy(update={"nemo_rl": site})
    outcome = launched(f"echo $$ > {tmp_path}/pid; sleep 600")
    assert "ended as a hang: no step for" in str(outcome.stopped)
    assert [sign["name"] for sign in outcome.health if not sign["passed"]] == ["hang"]
    # It may have been ended before its first word.
    pid = tmp_path / "pid"
    assert not pid.exists() or not psutil.pid_exists(int(pid.read_text() or 2**30))


def test_a_resumed_training_whose_optimizer_is_fresh_is_ended(
    launched: Callable[[str], LaunchOutcome], wanted: dict[str, Any]
) -> None:
    save(wanted, wanted["directory"], 4)
    line = "Optimizer will be freshly initialized"
    with pytest.raises(
        StageError, match=f"step 4 of 10 is saved; ended to save the GPUs: .*{line}"
    ):
        launched(f"echo '{line}' > $LOGS/ray-driver.log; sleep 600")


@pytest.mark.slow
def test_a_training_with_other_values_than_asked_is_ended_at_its_first_checkpoint(
    launched: Callable[[str], LaunchOutcome],
) -> None:
    other = "printf 'grpo: {seed: 77}' > $CHECKPOINTS/tmp_step_10/config.yaml\n"
    with pytest.raises(StageError, match=r"trains with other values than asked: .*grpo\.seed.*77"):
        launched(PREPARE + other + SHOW + "sleep 600")


@pytest.mark.slow
def test_a_ray_sub_that_fails_is_named_with_its_exit_code_and_its_memory(
    launched: Callable[[str], LaunchOutcome],
) -> None:
    script = "echo 'CUDA out of memory' > $LOGS/ray-driver.log; exit 3"
    with pytest.raises(StageError) as failed:
        launched(script)
    assert "ray.sub ended with exit code 3. Out of memory: ray-driver.log: CUDA" in str(
        failed.value
    )


def test_each_launch_has_a_log_folder_of_its_own_with_what_was_handed_over(
    launched: Callable[[str], LaunchOutcome], wanted: dict[str, Any]
) -> None:
    for _ in range(2):
        with pytest.raises(StageError, match="ended with exit code 1"):
            launched("exit 1")
    first, second = sorted((wanted["directory"] / "launches").iterdir())
    assert (first.name, second.name) == ("001-job-7", "002-job-7")
    for folder in (first, second):
        names = {path.name for path in folder.iterdir()}
        assert names >= {"command.sh", "findings.json", "handover.json", "outcome.json"}
        assert (folder / "command.sh").stat().st_mode & 0o077 == 0
