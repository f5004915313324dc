"""Real GRPO training runs of a tiny model: what they leave behind, and what they survive."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from training_place import ROOT, TOOLGAIN, TRL_ENV, Place, new_place

from toolgain.checkpoint.tensors import tensors
from toolgain.training.store import checkpoints, curves

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Place:
    """A training run that nobody disturbs, the measure of the others."""
    place = new_place(tmp_path_factory.mktemp("undisturbed"), tiny_model)
    done = place.train()
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def wait_for(condition: Any, process: "subprocess.Popen[str]", seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def saved(place: Place, step: int) -> bool:
    work = place.folder / "results" / "work" / "training"
    return any(work.glob(f"*/step_{step}"))


def weights(checkpoint: Path) -> dict[str, bytes]:
    found = tensors(checkpoint / "policy" / "weights")
    return {name: tensor.blocks().tobytes() for name, tensor in found.items()}


def test_a_training_leaves_its_manifest_curves_and_best_checkpoints(undisturbed: Place) -> None:
    manifest = undisturbed.read()
    assert (manifest["total_steps"], manifest["planned_steps"]) == (12, 12)
    assert [step for step, _ in manifest["curves"]["train/reward"]] == list(range(1, 13))
    assert [step for step, _ in manifest["curves"]["validation/accuracy"]] == [0, 4, 8, 12]
    assert [item["step"] for item in manifest["checkpoints"]] == [4, 8, 12]
    assert manifest["validation_items"] == 12
    (segment,) = manifest["segments"]
    assert (segment["first_step"], segment["last_step"], segment["end"]) == (1, 12, "finished")
    assert {sign["name"] for sign in manifest["health"]} == {
        "reward", "accuracy", "memory", "checkpoints",
    }  # fmt: skip
    assert all(sign["passed"] for sign in manifest["health"] if sign["name"] == "checkpoints")
    assert manifest["versions"]["trl"] and manifest["world_size"] == 1

    whole, passed_over = checkpoints.scan(undisturbed.checkpoints)
    assert not passed_over
    # The best by validation accuracy (keep_top_k 1), and the latest.
    best = max(manifest["checkpoints"], key=lambda item: (item["accuracy"], item["step"]))
    assert {item.step for item in whole} == {best["step"], 12}
    newest = whole[-1].path
    assert json.loads((newest / "training_info.json").read_text())["val:accuracy"] is not None
    config = yaml.safe_load((newest / "config.yaml").read_text())
    assert config["training"]["trl"]["max_steps"] == 12
    assert {path.name for path in (newest / "policy").iterdir()} == {
        "weights", "tokenizer", "optimizer",
    }  # fmt: skip


def test_a_finished_training_is_not_trained_again(undisturbed: Place) -> None:
    before = [path.name for path in curves.launches(undisturbed.checkpoints / "logs")]
    again = undisturbed.train(out=undisturbed.folder / "results" / "runs" / "again" / "m.json")
    assert again.returncode == 0
    assert "step 12, the last one, is done" in again.stdout
    assert [path.name for path in curves.launches(undisturbed.checkpoints / "logs")] == before


def test_select_and_export_give_a_model_that_differs_from_its_base(undisturbed: Place) -> None:
    run = undisturbed.manifest.parent
    selected = [str(TOOLGAIN), "select", str(undisturbed.manifest), "--out", str(run / "best.json")]
    subprocess.run(selected, check=True)
    best = json.loads((run / "best.json").read_text())
    assert best["initial_accuracy"] is not None
    base = undisturbed.folder / "results" / "model.json"
    subprocess.run(
        [
            *(str(TOOLGAIN), "export", "--best", str(run / "best.json"), "--base", str(base)),
            *("--trl-env", str(TRL_ENV), "--out", str(run / "export.json")),
        ],
        check=True,
    )
    exported = json.loads((run / "export.json").read_text())
    assert exported["checks"]["greedy_answers_equal"] is True
    assert exported["tensors_changed"] > 0
    assert 0 < exported["weights_changed"] <= 1
    # A learning rate of 1e-2 leaves the steps of bfloat16 far behind.
    assert 0.9 < exported["update_kept"] <= 1
    model = Path(exported["path"])
    origin = Path(json.loads(base.read_text())["path"])
    for name in ("chat_template.jinja", "tokenizer.json", "generation_config.json"):
        assert (model / name).read_bytes() == (origin / name).read_bytes()
    assert {tensor.dtype for tensor in tensors(model).values()} == {"BF16"}


def test_kill_9_in_the_middle_changes_nothing_in_the_end(place: Place, undisturbed: Place) -> None:
    process = place.start()
    wait_for(lambda: saved(place, 4), process)
    process.kill()
    process.wait()
    done = place.train()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumes after step" in done.stdout
    manifest, measure = place.read(), undisturbed.read()
    assert [segment["end"] for segment in manifest["segments"]] == ["killed", "finished"]
    for name in ("train/reward", "validation/accuracy", "train/loss", "train/lr"):
        steps, values = zip(*manifest["curves"][name], strict=True)
        wanted_steps, wanted = zip(*measure["curves"][name], strict=True)
        assert steps == wanted_steps
        np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-6)
    assert weights(place.checkpoints / "step_12") == weights(undisturbed.checkpoints / "step_12")


def test_term_saves_at_the_end_of_the_step_and_says_to_run_again(place: Place) -> None:
    place.configure(max_steps=40, val_period=20, save_period=20)
    process = place.start()
    wait_for(lambda: curve_of(place, 3), process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert "run the same command again" in output
    (checkpoint,) = checkpoints.scan(place.checkpoints)[0]
    assert 3 <= checkpoint.step < 40
    assert checkpoint.accuracy is None
    assert not place.manifest.exists()


def curve_of(place: Place, step: int) -> bool:
    work = place.folder / "results" / "work" / "training"
    found = [json.loads(path.read_text()) for path in work.glob("*/progress.json")]
    return bool(found and found[0]["step"] >= step)


def test_a_second_trainer_is_refused_and_the_first_continues(place: Place) -> None:
    place.configure(max_steps=60, val_period=60, save_period=60)
    process = place.start()
    wait_for(lambda: curve_of(place, 1), process)
    second = place.train()
    assert second.returncode == 1
    assert f"process {process.pid} on" in second.stderr
    assert "Wait for it" in second.stderr
    assert process.poll() is None
    process.kill()
    process.wait()


def test_a_checkpoint_cut_off_half_way_is_passed_over(place: Place, undisturbed: Place) -> None:
    place.configure(keep_top_k=5)
    process = place.start()
    wait_for(lambda: saved(place, 8), process)
    process.kill()
    process.wait()
    broken = place.checkpoints / "step_8" / "policy" / "optimizer" / "optimizer.pt"
    with broken.open("r+b") as file:
        file.truncate(broken.stat().st_size // 2)
    (place.checkpoints / "tmp_step_9").mkdir()
    done = place.train()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "step_8 is passed over: policy/optimizer/optimizer.pt is missing or cut off" in done.stdout
    )
    assert weights(place.checkpoints / "step_12") == weights(undisturbed.checkpoints / "step_12")
    assert not (place.checkpoints / "tmp_step_9").exists()


def test_a_failing_program_is_named_with_its_cause_and_log(place: Place) -> None:
    rows = place.folder / "results" / "tasks" / "grpo"
    for split in ("train", "validation"):
        (rows / f"{split}.jsonl").write_text('{"id": "x", "prompt": [], "expected": []}\n')
    (rows / "tasks.json").write_text('{"train": 1, "validation": 1}')
    done = place.train()
    assert done.returncode == 1
    assert "KeyError: 'tools'" in done.stderr
    assert "train.log" in done.stderr
    progress = json.loads(next(place.folder.glob("results/progress/*.json")).read_text())
    assert progress["state"] == "failed"


def test_a_prompt_that_leaves_no_room_for_an_answer_is_named(place: Place) -> None:
    rows = place.folder / "results" / "tasks" / "grpo"
    line = {"id": "long-1", "prompt": [{"role": "user", "content": "word " * 2000}]}
    for split in ("train", "validation"):
        (rows / f"{split}.jsonl").write_text(json.dumps({**line, "tools": [], "expected": []}))
    (rows / "tasks.json").write_text('{"train": 1, "validation": 1}')
    done = place.train()
    # Bad input: the same again would not help.
    assert done.returncode == 2
    assert "the prompt of task long-1 has" in done.stderr
    assert "the model's context is 2048" in done.stderr


def test_two_processes_share_one_step(place: Place) -> None:
    place.configure(
        max_steps=2,
        processes=2,
        val_period=2,
        save_period=2,
        per_device_train_batch_size=4,
        beta=0.1,
    )
    done = place.train()
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = place.read()
    assert manifest["world_size"] == 2
    assert len(manifest["hosts"]) == 1
    assert len(manifest["curves"]["train/kl"]) == 2
    # 4 prompts with 4 completions, whatever the number of processes.
    info = checkpoints.scan(place.checkpoints)[0][-1].info
    assert info["consumed_samples"] == 8


def test_the_smoke_training_runs_in_its_own_folder_and_is_remembered(place: Place) -> None:
    place.configure(smoke_steps=1)
    out = place.manifest.with_name("smoke.json")
    first = place.train("--smoke", out=out)
    assert first.returncode == 0, first.stdout + first.stderr
    record = json.loads(out.read_text())
    assert (record["passed"], record["steps"]) == (True, 1)
    assert record["folder"].endswith("-smoke")
    shutil.rmtree(out.parent)
    second = place.train("--smoke", out=out)
    assert "not repeated" in second.stdout
    assert json.loads(out.read_text())["finished"] == record["finished"]


def test_the_smoke_training_can_be_left_out(place: Place) -> None:
    place.configure(smoke_steps=0)
    out = place.manifest.with_name("smoke.json")
    assert place.train("--smoke", out=out).returncode == 0
    assert json.loads(out.read_text())["left_out"] is True
    assert not (place.folder / "results" / "work").exists()


def test_nothing_lives_on_when_the_stage_is_killed(place: Place) -> None:
    place.configure(max_steps=60, val_period=60, save_period=60)
    process = place.start()
    wait_for(lambda: curve_of(place, 1), process)
    work = place.folder / "results" / "work" / "training"
    trainer = json.loads(next(work.glob("*/progress.json")).read_text())["pid"]
    assert trainer != process.pid
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    # A zombie is dead; who reaps it is the machine's affair.
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(trainer).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, f"the trainer {trainer} lives on"
            time.sleep(0.1)


def test_sampling_and_loss_have_the_numbers_of_the_plain_way(tiny_model: Path) -> None:
    program = Path(__file__).with_name("plain_way.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1"}
    output = subprocess.run(
        [str(TRL_ENV / "bin" / "python"), str(program), str(tiny_model)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = json.loads(output.splitlines()[-1])
    assert found["greedy_equal"] is True
    assert found["sharing"] == {
        "shared heads": True,
        "normed": True,
        "window": False,
        "soft cap": False,
        "bfloat16": False,
    }
    assert found["rounded_and_back"] is True
    assert found["zero_advantages_change_no_gradient"] is True
    # The largest of many shares; with half the temperature it is above 30.
    assert found["sampling_errors"] < 5
    assert (found["rows"], found["passes"]) == (3, 2)
    assert found["log_probs"] < 1e-4
    assert found["gradient"] < 1e-3
