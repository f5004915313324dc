"""Checkpoint folders: what counts as whole, what is kept, what a training run can resume from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from toolgain.training.store import checkpoints
from toolgain.training.store.checkpoints import Checkpoint


def make(folder: Path, step: int, accuracy: float | str | None = 0.5, **info: Any) -> Path:
    """A checkpoint in NeMo RL's layout with Hugging Face weights."""
    path = folder / f"step_{step}"
    weights = path / "policy" / "weights"
    weights.mkdir(parents=True)
    save_file({"layer": np.arange(6, dtype=np.float32)}, weights / "model.safetensors")
    (path / "config.yaml").write_text("{}\n")
    content: dict[str, Any] = {"total_steps": step, **info}
    if accuracy is not None:
        content["val:accuracy"] = accuracy
    (path / "training_info.json").write_text(json.dumps(content))
    return path


def test_a_folder_is_read_by_step_with_the_literal_key(tmp_path: Path) -> None:
    for step, accuracy in ((10, 0.25), (9, 0.5), (100, None)):
        make(tmp_path, step, accuracy)
    (tmp_path / "logs").mkdir()
    whole, passed_over = checkpoints.scan(tmp_path)
    assert [(item.step, item.accuracy) for item in whole] == [(9, 0.5), (10, 0.25), (100, None)]
    assert not passed_over


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "null", '"high"', "true"])
def test_an_accuracy_that_is_no_finite_number_counts_as_none(tmp_path: Path, text: str) -> None:
    path = make(tmp_path, 5)
    (path / "training_info.json").write_text(f'{{"total_steps": 5, "val:accuracy": {text}}}')
    (found,), _ = checkpoints.scan(tmp_path)
    assert found.accuracy is None


def test_everything_that_is_not_whole_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "tmp_step_3").mkdir()
    (tmp_path / "old_step_2").mkdir()
    (tmp_path / "step_4-hf").mkdir()
    (make(tmp_path, 5) / "training_info.json").unlink()
    (make(tmp_path, 6) / "config.yaml").unlink()
    (make(tmp_path, 7) / "policy" / "weights" / "model.safetensors").unlink()
    (make(tmp_path, 8) / "training_info.json").write_text('{"total_steps": 8, "val:ac')
    make(tmp_path, 9, total_steps=4)
    cut = make(tmp_path, 10) / "policy" / "weights" / "model.safetensors"
    with cut.open("r+b") as file:
        file.truncate(cut.stat().st_size - 4)
    (make(tmp_path, 11) / "policy" / "weights" / "model.safetensors").write_bytes(b"no")
    whole, passed_over = checkpoints.scan(tmp_path)
    reasons = {item.path.name: item.reason for item in passed_over}
    assert not whole
    assert "being written" in reasons["tmp_step_3"]
    assert "deleted or overwritten" in reasons["old_step_2"]
    assert "not a checkpoint's name" in reasons["step_4-hf"]
    assert reasons["step_5"] == "training_info.json is missing"
    assert reasons["step_6"] == "config.yaml is missing"
    assert reasons["step_7"] == "policy/weights is empty"
    assert "training_info.json cannot be read" in reasons["step_8"]
    assert "total_steps 4" in reasons["step_9"]
    assert "is cut off: " in reasons["step_10"]
    assert "its header is cut off" in reasons["step_11"]


def test_a_resumable_checkpoint_has_its_optimizer(tmp_path: Path) -> None:
    path = make(tmp_path, 5)
    assert checkpoints.resume_problem(path) == (
        "policy/optimizer/optimizer.pt is missing or cut off"
    )
    found, unusable = checkpoints.latest_resumable(tmp_path)
    assert found is None
    assert [item.path.name for item in unusable] == ["step_5"]


accuracies = st.lists(
    st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 0.75])), min_size=1, max_size=12
)


@given(accuracies, st.integers(1, 4))
def test_the_best_and_the_latest_are_kept(values: list[float | None], keep: int) -> None:
    items = [Checkpoint(step, Path(f"step_{step}"), v, {}) for step, v in enumerate(values)]
    gone = checkpoints.expendable(items, keep)
    kept = [item for item in items if item not in gone]
    assert items[-1] in kept
    validated = [item for item in items if item.accuracy is not None]
    best = sorted(validated, key=lambda item: (item.accuracy, item.step))[-keep:]
    assert {item.step for item in kept} == {item.step for item in best} | {items[-1].step}


def test_pruning_deletes_what_is_expendable(tmp_path: Path) -> None:
    for step, accuracy in ((1, 0.9), (2, 0.1), (3, None), (4, 0.2)):
        make(tmp_path, step, accuracy)
    assert checkpoints.prune(tmp_path, keep_top_k=1) == [2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_1", "step_4"]


def test_settling_replaces_an_older_checkpoint_of_the_same_step(tmp_path: Path) -> None:
    make(tmp_path, 5, 0.1)
    fresh = make(tmp_path / "elsewhere", 5, 0.7)
    temporary = tmp_path / "tmp_step_5"
    fresh.rename(temporary)
    checkpoints.settle(temporary, tmp_path / "step_5")
    assert checkpoints.scan(tmp_path)[0][0].accuracy == 0.7
    assert not temporary.exists()


def test_asynchronous_training_counts_in_current_step(tmp_path: Path) -> None:
    make(tmp_path, 5, total_steps=0, current_step=5)
    make(tmp_path, 10, total_steps=0, current_step=9)
    whole, passed_over = checkpoints.scan(tmp_path)
    assert [item.step for item in whole] == [5]
    assert "current_step 9" in passed_over[0].reason
