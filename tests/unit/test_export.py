"""Exporting: what a checkpoint is, and whether an exported model is a trained copy of its base."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from test_checkpoints import make

from toolgain.checkpoint import export
from toolgain.checkpoint.tensors import changed_and_kept, tensor_values, tensors
from toolgain.common.errors import StageError, UserError
from toolgain.common.files import read_json, write_json
from toolgain.slurm import accounting

FROM_SACCT = "7|1800|gres/gpu=1,node=1|FAILED|n1\n8|3600|gres/gpu=1,node=1|RUNNING|n1\n"
NAMES = ("model.embed.weight", "model.norm.weight")


def model(folder: Path, tied: bool = True, **tensors: np.ndarray) -> Path:
    """A folder with weights and what else a model folder must hold, all but empty."""
    folder.mkdir(parents=True)
    content = {name: np.full((2, 3), 0.5, dtype=np.float16) for name in NAMES} | tensors
    save_file(content, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"tie_word_embeddings": tied}))
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


def compared(tmp_path: Path, tied: bool = True, **tensors: np.ndarray) -> dict:
    base = model(tmp_path / "base", tied)
    return export.compare_tensors(base, model(tmp_path / "trained", tied, **tensors))


def failed(checks: dict) -> list[str]:
    return [name for name, passed in checks.items() if passed is False]


def test_a_trained_copy_differs_in_some_tensor_and_in_nothing_else(tmp_path: Path) -> None:
    checks = compared(tmp_path, **{NAMES[0]: np.full((2, 3), 0.25, dtype=np.float16)})
    assert not failed(checks)
    assert (checks["tensors"], checks["tensors_changed"], checks["detail"]) == (2, 1, None)


def test_the_base_itself_is_not_a_trained_model(tmp_path: Path) -> None:
    checks = compared(tmp_path)
    assert failed(checks) == ["differs_from_base"]
    assert checks["detail"] == "every tensor equals the base's"


def test_a_training_that_changed_nothing_is_told_from_one_that_was_rounded_away() -> None:
    assert "no gradient" in export.why_nothing_changed(True, None)
    assert "lost in the rounding" in export.why_nothing_changed(True, 0.0)
    assert "stale weights" in export.why_nothing_changed(False, None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_that_are_not_finite_are_found(
    tmp_path: Path, value: float, dtype: type[np.floating]
) -> None:
    tensor = np.zeros((2, 3), dtype=dtype)
    tensor[1, 2] = value
    checks = compared(tmp_path, **{NAMES[1]: tensor})
    assert "finite" in failed(checks)


@pytest.mark.parametrize(("bits", "finite"), [(0x7F80, False), (0xFFC1, False), (0x7F7F, True)])
def test_bfloat16_is_looked_at_by_its_bits(tmp_path: Path, bits: int, finite: bool) -> None:
    header = {"w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(
        len(text).to_bytes(8, "little") + text + bits.to_bytes(2, "little")
    )
    (folder / "config.json").write_text("{}")
    assert export.compare_tensors(folder, folder)["finite"] is finite


def test_a_missing_a_reshaped_and_a_retyped_tensor_are_named(tmp_path: Path) -> None:
    extra = compared(tmp_path / "a", **{"model.extra": np.ones(2, dtype=np.float16)})
    assert "same_names" in failed(extra)
    assert "model.extra" in extra["detail"]
    reshaped = compared(tmp_path / "b", **{NAMES[0]: np.ones((3, 2), dtype=np.float16)})
    assert "same_shapes" in failed(reshaped)
    retyped = compared(tmp_path / "c", **{NAMES[0]: np.ones((2, 3), dtype=np.float32)})
    assert "same_dtype" in failed(retyped)


def test_a_tied_output_layer_may_be_written_or_left_out(tmp_path: Path) -> None:
    head = {
        "lm_head.weight": np.ones((2, 3), dtype=np.float16),
        NAMES[0]: np.ones((2, 3), dtype=np.float16),
    }
    assert not failed(compared(tmp_path / "tied", **head))
    assert failed(compared(tmp_path / "untied", tied=False, **head)) == ["same_names"]


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["config.json"], "hugging_face"),
        (["iter_0000000/.metadata"], "megatron"),
        ([".metadata"], "dcp"),
        (["model/.metadata"], "dcp"),
        (["model/consolidated/config.json"], "consolidated"),
    ],
)
def test_the_kind_is_told_from_the_content(tmp_path: Path, files: list[str], kind: str) -> None:
    checkpoint = make(tmp_path, 5)
    for name in files:
        path = checkpoint / "policy" / "weights" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert export.weights_kind(checkpoint) == kind


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds none of"):
        export.weights_kind(make(tmp_path, 5))


def test_an_unreadable_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    checkpoint = make(tmp_path, 5)
    (checkpoint / "training_info.json").write_text("{")
    write_json(tmp_path / "best.json", {"path": str(checkpoint), "step": 5})
    write_json(tmp_path / "model.json", {"path": str(tmp_path), "digest": "0"})
    with pytest.raises(UserError, match=r"step_5 cannot be read: training_info.json"):
        export.export_checkpoint(
            tmp_path / "best.json", tmp_path / "model.json", tmp_path / "out.json", tmp_path
        )
    assert not (tmp_path / "out.json").exists()


def test_an_export_counts_the_jobs_of_its_failed_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, checkpoint = model(tmp_path / "base"), make(tmp_path, 5)
    (checkpoint / "policy" / "weights" / "config.json").write_text("{}")
    best, origin, out = (tmp_path / name for name in ("best.json", "model.json", "run/export.json"))
    write_json(best, {"path": str(checkpoint), "step": 5})
    write_json(origin, {"path": str(base), "digest": "0"})
    monkeypatch.setattr(accounting, "ask_slurm", lambda *command: FROM_SACCT)

    def attempt(job_id: str, value: float) -> None:
        def trained(checkpoint: Path, source: Path, temporary: Path, trl_env: Path) -> dict:
            model(temporary, **{NAMES[0]: np.full((2, 3), value, dtype=np.float16)})
            return {}

        monkeypatch.setattr(export, "_from_hugging_face", trained)
        monkeypatch.setenv("SLURM_JOB_ID", job_id)
        export.export_checkpoint(best, origin, out, tmp_path)

    with pytest.raises(StageError, match="not a trained copy"):
        attempt("7", np.nan)
    attempt("8", 0.25)
    record = read_json(out, "export")
    assert record["slurm_jobs"] == ["7", "8"]
    assert record["cost"]["gpu_hours"] == 1.5
    attempt("9", 0.25)
    assert read_json(out, "export")["slurm_jobs"] == ["9"], "a new model costs what it costs"


def stored(folder: Path, values: np.ndarray, dtype: str) -> Path:
    """A model folder of one tensor, in single precision or rounded to bfloat16."""
    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    if dtype == "BF16":
        # To the nearest, ties to even.
        data = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    else:
        data = bits.tobytes()
    header = {"w": {"dtype": dtype, "shape": [len(values)], "data_offsets": [0, len(data)]}}
    text = json.dumps(header).encode()
    folder.mkdir(parents=True)
    content = len(text).to_bytes(8, "little") + text + data
    (folder / "model.safetensors").write_bytes(content)
    return folder


@given(size=st.floats(1e-8, 10), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_what_survives_the_rounding_is_a_share_and_all_where_nothing_is_rounded(
    tmp_path_factory: pytest.TempPathFactory, size: float, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(seed)
    start = stored(folder / "base", rng.normal(size=300), "BF16")
    exact = tensor_values(tensors(start)["w"], 0, 300)
    assert exact is not None
    moved = exact + size * rng.normal(size=300)
    trained = stored(folder / "trained", moved, "F32")
    _, all_of_it = changed_and_kept(start, trained, trained)
    changed, kept = changed_and_kept(start, stored(folder / "out", moved, "BF16"), trained)
    if size > 1e-6:
        assert all_of_it == 1
    assert 0 <= changed <= 1
    assert kept is None or 0 <= kept <= 1


def test_an_update_below_the_steps_of_bfloat16_is_lost_and_a_large_one_is_not(
    tmp_path: Path,
) -> None:
    start = stored(tmp_path / "base", np.full(100, 1.0), "BF16")
    for name, step, wanted in (("lost", 1e-4, (0, 0)), ("kept", 0.25, (1, 1))):
        moved = np.full(100, 1.0 + step)
        trained = stored(tmp_path / name / "trained", moved, "F32")
        out = stored(tmp_path / name / "out", moved, "BF16")
        assert changed_and_kept(start, out, trained) == pytest.approx(wanted, abs=1e-3)
    # A checkpoint that is rounded already says nothing.
    assert changed_and_kept(start, out, out) == (1, None)
    assert changed_and_kept(start, out, None) == (1, None)
