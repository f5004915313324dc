"""Model folders that cannot be loaded are refused before any job."""

import json
import struct
from pathlib import Path

import pytest

from toolgain.common.errors import UserError
from toolgain.models.base import check_files
from toolgain.models.weights import LFS_POINTER

TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def safetensors(header: object, data: bytes = b"\0" * 8) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder that is whole."""
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    (tmp_path / "tokenizer_config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(safetensors({"w": TENSOR}))
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        check_files(folder)
    return str(error.value)


def test_whole_folder_is_taken(folder: Path) -> None:
    check_files(folder)


def test_pointer_of_git_lfs(folder: Path) -> None:
    pointer = LFS_POINTER + b"/spec/v1\noid sha256:0\nsize 5\n"
    (folder / "model.safetensors").write_bytes(pointer)
    assert "git lfs pull" in refusal(folder)


def test_missing_shard(folder: Path) -> None:
    shards = {"a": "model.safetensors", "b": "model-2.safetensors", "c": "model-3.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert "model-2.safetensors and 1 more" in refusal(folder)


@pytest.mark.parametrize("index", ["[]", "{}", "no", '{"weight_map": 5}'])
def test_index_that_is_none(folder: Path, index: str) -> None:
    (folder / "model.safetensors.index.json").write_text(index)
    assert "is not an index of weights" in refusal(folder)


@pytest.mark.parametrize(
    "header",
    [
        {"w": {**TENSOR, "data_offsets": [8, 0]}},
        {"w": {**TENSOR, "shape": [3]}},
        {"w": {**TENSOR, "shape": [-2]}},
        {"w": {**TENSOR, "data_offsets": [0]}},
        {"w": {"dtype": "F32"}},
        {"w": 5},
        {"w": None},
        {"w": {**TENSOR, "shape": [4], "data_offsets": [0, 16]}},
        [],
    ],
)
def test_header_that_cannot_be(folder: Path, header: object) -> None:
    (folder / "model.safetensors").write_bytes(safetensors(header))
    assert "model.safetensors" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 16, b"<html>Sign in</html>"])
def test_weights_that_are_none(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    assert "model.safetensors cannot be read" in refusal(folder)


@pytest.mark.parametrize("text", ["", "<html>", "[]", "{}", "5"])
def test_settings_that_are_none(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "config.json" in refusal(folder)
