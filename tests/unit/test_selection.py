"""Choosing a checkpoint on validation accuracy alone."""

import json
import math
from pathlib import Path

import pytest
from test_checkpoints import make

from toolgain.checkpoint import select
from toolgain.common.errors import UserError


def chosen(folder: Path) -> dict:
    out = folder / "out" / "best.json"
    select.select_checkpoint(folder, out)
    return json.loads(out.read_text())


def test_the_highest_accuracy_wins_and_ties_go_to_the_higher_step(tmp_path: Path) -> None:
    for step, accuracy in ((5, 0.6), (10, 0.8), (15, 0.8), (20, 0.7)):
        make(tmp_path, step, accuracy)
    best = chosen(tmp_path)
    assert (best["step"], best["accuracy"]) == (15, 0.8)
    assert [item["step"] for item in best["candidates"]] == [5, 10, 15, 20]


def test_what_was_passed_over_is_listed_with_its_reason(tmp_path: Path) -> None:
    make(tmp_path, 5, 0.6)
    make(tmp_path, 10, None)
    make(tmp_path, 15, math.nan)
    (tmp_path / "tmp_step_20").mkdir()
    best = chosen(tmp_path)
    assert best["step"] == 5
    reasons = {Path(item["path"]).name: item["reason"] for item in best["passed_over"]}
    assert "was not validated" in reasons["step_10"]
    assert "is nan" in reasons["step_15"]
    assert "not finished" in reasons["tmp_step_20"]


def test_without_a_finite_accuracy_there_is_an_error_and_no_file(tmp_path: Path) -> None:
    make(tmp_path, 5, None)
    with pytest.raises(UserError, match=r"no whole checkpoint in .* has a finite val:accuracy"):
        chosen(tmp_path)
    assert not (tmp_path / "out").exists()


def test_checkpoints_without_their_weights_are_called_so(tmp_path: Path) -> None:
    """Copied by half, from an asynchronous training: they were validated, so that is no reason."""
    for step in (5, 10):
        info = {"current_step": step, "total_steps": 0, "val:accuracy": step / 40}
        folder = tmp_path / f"step_{step}"
        folder.mkdir()
        (folder / "training_info.json").write_text(json.dumps(info))
    with pytest.raises(
        UserError, match=r"is whole.*config\.yaml is missing.*Copy the step_N"
    ) as said:
        chosen(tmp_path)
    assert "val:accuracy" not in str(said.value) and "save_period" not in str(said.value)


def test_asynchronous_training_is_chosen_from(tmp_path: Path) -> None:
    for step in (5, 10):
        make(tmp_path, step, step / 40, total_steps=0, current_step=step)
    best = chosen(tmp_path)
    assert (best["step"], best["accuracy"]) == (10, 0.25)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no checkpoint"):
        chosen(tmp_path)


def test_an_unreadable_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    (make(tmp_path, 5) / "policy" / "weights" / "model.safetensors").write_bytes(b"\0" * 9)
    with pytest.raises(UserError, match=r"step_5: policy/weights/model.safetensors cannot be read"):
        chosen(tmp_path)


def test_a_manifest_says_what_was_there_before_and_how_sure_it_is(tmp_path: Path) -> None:
    for step, accuracy in ((5, 0.5), (10, 0.55)):
        make(tmp_path / "checkpoints", step, accuracy)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(
        json.dumps(
            {
                "checkpoint_dir": str(tmp_path / "checkpoints"),
                "curves": {"validation/accuracy": [[0, 0.55], [5, 0.5], [10, 0.55]]},
                "validation_items": 100,
            }
        )
    )
    out = tmp_path / "best.json"
    select.select_checkpoint(manifest, out)
    best = json.loads(out.read_text())
    assert best["standard_error"] == pytest.approx(math.sqrt(0.55 * 0.45 / 100))
    assert best["initial_accuracy"] == 0.55
    assert best["beats_initial"] is False
    assert best["within_noise"] is True


@pytest.mark.parametrize(
    ("content", "message"),
    [('{"runs": 1}', "`checkpoint_dir` is missing"), ("{", "cannot be read as JSON")],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        select.select_checkpoint(path, tmp_path / "best.json")


def test_gone_checkpoints_are_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"checkpoint_dir": str(tmp_path / "gone")}))
    with pytest.raises(UserError, match=r"gone is not a folder"):
        select.select_checkpoint(path, tmp_path / "best.json")


def manifest_of(folder: Path, accuracies: dict[int, float], initial: float) -> Path:
    """The manifest of a training run that ended with these checkpoints."""
    path = folder / "manifest.json"
    curve = [[0, initial], *([step, value] for step, value in accuracies.items())]
    kept = [{"step": s, "accuracy": value, "kept": True} for s, value in accuracies.items()]
    path.write_text(
        json.dumps(
            {
                "checkpoint_dir": str(folder / "checkpoints"),
                "curves": {"validation/accuracy": curve},
                "checkpoints": kept,
                "validation_items": 100,
            }
        )
    )
    return path


def test_where_the_best_is_gone_the_next_is_chosen_and_the_loss_is_listed(tmp_path: Path) -> None:
    path = manifest_of(tmp_path, {5: 0.6, 10: 0.8}, initial=0.5)
    make(tmp_path / "checkpoints", 5, 0.6)
    select.select_checkpoint(path, tmp_path / "best.json")
    best = json.loads((tmp_path / "best.json").read_text())
    assert (best["step"], best["beats_initial"]) == (5, True)
    assert best["passed_over"][0]["reason"] == "it was there after the training and is gone"


def test_what_is_left_is_never_chosen_in_silence_when_it_is_no_better(tmp_path: Path) -> None:
    path = manifest_of(tmp_path, {5: 0.5, 10: 0.8}, initial=0.5)
    make(tmp_path / "checkpoints", 5, 0.5)
    with pytest.raises(
        UserError, match=r"step 10, val:accuracy 0\.800\) is gone .* Put the folder"
    ):
        select.select_checkpoint(path, tmp_path / "best.json")
    assert not (tmp_path / "best.json").exists()


def test_where_all_are_gone_the_next_step_is_named(tmp_path: Path) -> None:
    path = manifest_of(tmp_path, {5: 0.6, 10: 0.8}, initial=0.5)
    (tmp_path / "checkpoints").mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"it held step_5, step_10\. Put them back, or train again"):
        select.select_checkpoint(path, tmp_path / "best.json")
