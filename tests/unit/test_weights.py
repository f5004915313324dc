"""Model folders that cannot be loaded are refused before any job."""

import json
import struct
from pathlib import Path

import pytest

from toolgain.common.errors import UserError
from toolgain.models.base import check_files, check_trainable
from toolgain.models.remote_code import check_remote_code
from toolgain.models.weights import LFS_POINTER
from toolgain.serving.vllm import family_of

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


def test_settings_are_read_as_transformers_reads_them(folder: Path) -> None:
    """A tokenizer without a limit, and a Mamba model, whose settings are no strict JSON."""
    (folder / "tokenizer_config.json").write_text(f'{{"model_max_length": {int(1e30)}}}')
    (folder / "config.json").write_text(
        '{"model_type": "nemotron_h", "time_step_limit": [0.0, Infinity]}'
    )
    check_files(folder)
    check_trainable(folder)
    check_remote_code(folder, allowed=False, key="model.trust_remote_code")
    assert family_of(folder) == "nemotron_h"


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(safetensors({"w": TENSOR}))
    assert "merge_and_unload" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["m.Q4_1.gguf", "pytorch_model.bin", "consolidated.00.pth"])
def test_weights_in_another_form(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    assert f"only {name}; load it with transformers" in refusal(folder)


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    assert "is a file; load it with transformers" in refusal(path)


def test_a_name_of_a_hub_says_how_to_download() -> None:
    assert "hf download" in refusal(Path("HuggingFaceTB/SmolLM2-135M-Instruct"))


@pytest.mark.parametrize("method", ["fp8", "gptq", "awq", "bitsandbytes"])
def test_quantised_weights_are_not_trained(folder: Path, method: str) -> None:
    (folder / "config.json").write_text(
        json.dumps({"model_type": "qwen2", "quantization_config": {"quant_method": method}})
    )
    check_files(folder)
    with pytest.raises(UserError, match=rf"quantised \({method}, .*bfloat16"):
        check_trainable(folder)
