"""What logs and curves say while a training runs."""

import math
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from toolgain.training.nemo_rl import watch

LIMITS = watch.WatchLimits(
    zero_reward_steps=3,
    hang_factor=10,
    setup_s=100,
    save_s=5,
    planned=9,
    step_s=10,
    rollouts=100,
    resumed=True,
)
START = 1_000_000.0


def write(
    folder: Path,
    launch: int,
    tag: str,
    points: dict[int, float],
    seconds: float = 1.0,
    start: float = START,
) -> None:
    """One launch's curve, a point every `seconds`."""
    path = folder / f"exp_{launch:03d}" / "tensorboard"
    path.mkdir(parents=True, exist_ok=True)
    writer = EventFileWriter(str(path), filename_suffix=f".{tag.replace('/', '_')}")
    for number, (step, value) in enumerate(points.items(), start=1):
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(wall_time=start + number * seconds, step=step, summary=summary))
    writer.close()


def alarms(folder: Path, now: float, logs: watch.Logs | None = None) -> dict[str, watch.Alarm]:
    curves = watch.Curves(folder)
    curves.read()
    found = watch.alarms(curves, logs or watch.Logs(), LIMITS, START, now)
    return {alarm.name: alarm for alarm in found}


def test_a_healthy_training_raises_none(tmp_path: Path) -> None:
    write(tmp_path, 1, watch.REWARD, {1: 0.0, 2: 0.0, 3: 0.1, 4: 0.2})
    assert alarms(tmp_path, START + 5) == {}


def test_rewards_of_exactly_zero_end_it(tmp_path: Path) -> None:
    write(tmp_path, 1, watch.REWARD, {1: 0.3, 2: 0.0, 3: 0.0, 4: 0.0})
    alarm = alarms(tmp_path, START + 5)["zero_reward"]
    assert alarm.fatal
    assert "steps 2 to 4" in alarm.evidence


def test_what_an_earlier_launch_did_is_not_held_against_this_one(tmp_path: Path) -> None:
    write(tmp_path, 1, watch.REWARD, {1: 0.0, 2: 0.0, 3: 0.0}, start=START - 1000)
    write(tmp_path, 1, watch.LOSS, {3: math.nan}, start=START - 1000)
    assert alarms(tmp_path, START + 5) == {}


def test_a_loss_that_is_no_number_ends_it(tmp_path: Path) -> None:
    write(tmp_path, 1, watch.REWARD, {1: 0.3, 2: 0.3})
    write(tmp_path, 1, watch.LOSS, {1: 0.1, 2: math.nan})
    alarm = alarms(tmp_path, START + 5)["nan"]
    assert alarm.fatal and "train/loss is nan in step 2" in alarm.evidence


def test_an_empty_batch_ends_it(tmp_path: Path) -> None:
    write(tmp_path, 1, watch.REWARD, {1: 0.3, 2: 0.3})
    write(tmp_path, 1, watch.VALID_SAMPLES, {1: 8.0, 2: 0.0})
    assert alarms(tmp_path, START + 5)["empty_batch"].fatal


def test_a_step_of_ten_medians_is_a_hang(tmp_path: Path) -> None:
    write(tmp_path, 1, watch.REWARD, {1: 0.3, 2: 0.3, 3: 0.3, 4: 0.3}, seconds=2.0)
    last = START + 8
    assert alarms(tmp_path, last + 19) == {}
    alarm = alarms(tmp_path, last + 21)["hang"]
    assert alarm.fatal
    assert (
        "nothing for 21 s after step 4; the median step took 2.0 s, allowed: 20 s" in alarm.evidence
    )


@pytest.mark.parametrize("steps", [1, 2])
def test_a_hang_before_the_third_step_is_found(tmp_path: Path, steps: int) -> None:
    write(tmp_path, 1, watch.REWARD, dict.fromkeys(range(1, steps + 1), 0.1))
    last = START + steps
    assert "hang" not in alarms(tmp_path, last + 124)
    alarm = alarms(tmp_path, last + 126)["hang"]
    assert alarm.fatal
    assert f"after step {steps}" in alarm.evidence


@pytest.mark.parametrize(
    "line",
    [
        '(NemoGym pid=1) INFO:     127.0.0.1:4 - "POST /run HTTP/1.1" 200 OK',
        "backfill_missing_routed_experts(message_logs)",
        "Mean Generation Length: 500 tokens of HTTP requests",
    ],
)
def test_lines_about_something_else_are_no_failed_rollouts(tmp_path: Path, line: str) -> None:
    log = tmp_path / "ray-driver.log"
    log.write_text(f"{line}\n" * 30)
    logs = watch.Logs()
    logs.read([log])
    assert logs.failed_rollouts == 0


@pytest.mark.parametrize(
    "line",
    [
        # The forms of NeMo RL and Gym: an access line (Gym issue 214), RL's and Gym's own words.
        '(NemoGym pid=19795) INFO:     127.0.0.1:47664 - "POST /run HTTP/1.1" 500 '
        "Internal Server Error",
        '(NemoGym pid=19795) INFO:     127.0.0.1:4 - "POST /v1/responses HTTP/1.1" 503 '
        "Service Unavailable",
        "GymTransportError: NeMo-Gym /run failed with HTTP 500: 500, message='Internal'",
        '[rollout_collection] /run failed status=500 row={"agent_name": "my_agent"}',
        "AssertionError: Hit a non-successful response when querying NeMo Gym for rollouts: {}",
        "back-filling 3 rollouts with reward 0",
    ],
)
def test_failed_rollouts_are_an_alarm_though_the_reward_is_not_zero(
    tmp_path: Path, line: str
) -> None:
    write(tmp_path, 1, watch.REWARD, {1: 0.3})
    log = tmp_path / "ray-driver.log"
    logs = watch.Logs()
    log.write_text(f"{line}\n" * 2)
    logs.read([log])
    assert "failed_rollouts" not in alarms(tmp_path, START + 2, logs)
    log.write_text(f"{line}\n" * 30)
    logs.read([log])
    alarm = alarms(tmp_path, START + 2, logs)["failed_rollouts"]
    assert not alarm.fatal
    assert "30 lines tell of failed rollouts, of some 200" in alarm.evidence


def test_a_resume_with_a_fresh_optimizer_is_fatal(tmp_path: Path) -> None:
    # The words of upstream's get_resume_paths, whose paths are long.
    step = "/lustre/results/work/training/0123456789abcdef/step_40/policy"
    log = tmp_path / "ray-driver.log"
    log.write_text(
        f"UserWarning: Optimizer state not found at {step}/optimizer (DTensor path), and no "
        f"embedded optimizer state detected under {step}/weights (Megatron path). Optimizer will "
        "be freshly initialized.\n"
    )
    logs = watch.Logs()
    logs.read([log])
    alarm = alarms(tmp_path, START + 1, logs)["fresh_optimizer"]
    assert alarm.fatal
    assert "Optimizer will be freshly initialized" in alarm.evidence


def test_the_end_after_the_last_step_is_no_hang(tmp_path: Path) -> None:
    write(tmp_path, 1, watch.REWARD, {7: 0.3, 8: 0.3, 9: 0.3}, seconds=1.0)
    assert alarms(tmp_path, START + 60) == {}
    assert "hang" in alarms(tmp_path, START + 200)


def test_a_start_that_takes_twice_its_time_is_a_hang(tmp_path: Path) -> None:
    assert alarms(tmp_path, START + 200) == {}
    assert "no step for 206 s" in alarms(tmp_path, START + 206)["hang"].evidence


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0",
        "Memory on the node was 500GB, which exceeds the memory usage threshold of 0.95",
    ],
)
def test_out_of_memory_in_any_log_is_found_with_its_place(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ray-worker-1.log"
    path.write_text(f"fine\n{line}\n")
    logs = watch.Logs()
    logs.read([path])
    alarm = alarms(tmp_path, START + 5, logs)["out_of_memory"]
    assert not alarm.fatal
    assert alarm.evidence == f"ray-worker-1.log: {line}"


def test_the_trace_of_ray_sub_is_not_taken_for_the_training(tmp_path: Path) -> None:
    path = tmp_path / "ray.sub.log"
    path.write_text("+ COMMAND='echo CUDA out of memory'\n")
    logs = watch.Logs()
    logs.read([path])
    assert logs.out_of_memory is None


def test_logs_are_read_on_where_they_were_left(tmp_path: Path) -> None:
    path = tmp_path / "ray-driver.log"
    logs = watch.Logs()
    path.write_text("Timeout has been rea")
    logs.read([path])
    assert not logs.timed_out
    with path.open("a") as file:
        file.write(
            "ched, stopping training early\nView run at https://wandb.ai/me/p/runs/abc1 ok\n"
        )
    logs.read([path])
    assert logs.timed_out
    assert logs.wandb_url == "https://wandb.ai/me/p/runs/abc1"


def test_the_link_of_a_wandb_server_of_one_s_own_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ray-driver.log"
    path.write_text(
        "wandb: \u2b50\ufe0f View project at https://ml.example.org/me/p\n"
        "wandb: \U0001f680 View run grpo at: \x1b[34mhttps://ml.example.org/me/p/runs/x-1\x1b[0m\n"
    )
    logs = watch.Logs()
    logs.read([path])
    assert logs.wandb_url == "https://ml.example.org/me/p/runs/x-1"


def test_launches_are_merged_and_the_later_one_counts(tmp_path: Path) -> None:
    write(tmp_path, 1, watch.REWARD, {1: 0.1, 2: 0.2, 3: 0.3})
    write(tmp_path, 2, watch.REWARD, {3: 0.9, 4: 0.4})
    curves = watch.Curves(tmp_path)
    curves.read()
    assert [round(p.value, 3) for p in curves.curve(watch.REWARD)] == [0.1, 0.2, 0.9, 0.4]
    # Time between launches is no step.
    assert len(curves.step_times()) == 2


def test_a_file_that_grows_is_read_on(tmp_path: Path) -> None:
    write(tmp_path, 1, watch.REWARD, {1: 0.1})
    curves = watch.Curves(tmp_path)
    curves.read()
    path = next(tmp_path.glob("exp_001/**/events*"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[-7:])  # a record cut off by a kill
    curves.read()
    assert len(curves.curve(watch.REWARD)) == 1


def test_the_manifest_gets_every_kind_passed_or_not() -> None:
    found = watch.health([watch.Alarm("hang", "nothing for 21 s", fatal=True)])
    assert {entry["name"]: entry["passed"] for entry in found} == {
        "out_of_memory": True,
        "zero_reward": True,
        "hang": False,
        "empty_batch": True,
        "nan": True,
        "failed_rollouts": True,
        "fresh_optimizer": True,
    }
    hang = next(entry for entry in found if entry["name"] == "hang")
    assert hang["evidence"].startswith("nothing for 21 s. Look at")
