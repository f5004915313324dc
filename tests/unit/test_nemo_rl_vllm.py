"""The command line of `vllm serve`."""

import json
import re
from pathlib import Path
from typing import Any

import made
import pytest

from toolgain.common.errors import UserError
from toolgain.config.sections import EvaluationSection, Serve
from toolgain.serving import own_network, vllm
from toolgain.serving.tool_parser import PLUGIN

SOCKET = Path("/tmp/toolgain-1/model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made.model(tmp_path / "model")


def command(folder: Path, trust_remote_code: bool = False, **serve: Any) -> list[str]:
    section = Serve.model_validate({"backend": "vllm", **serve})
    return vllm.vllm_serve_command(
        folder, "policy", SOCKET, section, folder.parent, trust_remote_code
    )


def value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_it_listens_on_a_unix_socket_and_the_key_is_not_an_argument(folder: Path) -> None:
    words = command(folder)
    assert words[words.index("vllm") :][:3] == ["vllm", "serve", str(folder)]
    assert value(words, "--uds") == str(SOCKET) and "--host" not in words
    assert "--api-key" not in words
    assert vllm.vllm_environment("secret")["VLLM_API_KEY"] == "secret"
    assert vllm.vllm_environment("secret")["VLLM_NO_USAGE_STATS"] == "1"


def test_base_and_export_get_the_same_flags(folder: Path, tmp_path: Path) -> None:
    other = made.model(tmp_path / "export")
    serve = {"tool_parser": "hermes", "data_parallel_size": 8}
    first, second = command(folder, **serve), command(other, **serve)
    assert [word for word in second if word != str(other)] == [
        word for word in first if word != str(folder)
    ]
    assert value(first, "--generation-config") == "vllm"
    assert value(first, "--data-parallel-size") == "8"
    assert value(first, "--tool-call-parser") == "hermes"
    assert "--enable-auto-tool-choice" in first


@pytest.mark.parametrize(
    ("env", "alone"),
    [
        ({}, True),
        ({"NCCL_DEBUG": "INFO", "GLOO_SOCKET_IFNAME": "lo"}, True),
        ({"VLLM_HOST_IP": "10.0.0.7"}, False),
        ({"NCCL_SOCKET_IFNAME": "ib0"}, False),
    ],
)
def test_it_has_a_network_of_its_own_unless_it_is_told_an_address_or_an_interface(
    folder: Path, env: dict[str, str], alone: bool
) -> None:
    assert (own_network.__file__ in command(folder, env=env)) is alone


def test_nemotron_gets_its_plugin_and_its_flags(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "nemotron_h"}))
    (folder / "chat_template.jinja").write_text("patched")
    words = command(folder, tool_parser="nemotron_json", tool_parser_plugin="nemotron-nano-v2")
    assert value(words, "--tool-parser-plugin") == str(PLUGIN)
    assert value(words, "--mamba-ssm-cache-dtype") == "float32"
    assert value(words, "--chat-template") == str(folder / "chat_template.jinja")
    # Not by its kind: only `model.trust_remote_code` lets the model's own code run.
    assert "--trust-remote-code" not in words
    assert "--trust-remote-code" in command(folder, trust_remote_code=True)


def test_every_flag_is_one_that_the_versions_were_checked_for(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "nemotron_h"}))
    (folder / "chat_template.jinja").write_text("patched")
    words = command(
        folder,
        tool_parser="nemotron_json",
        tool_parser_plugin="nemotron-nano-v2",
        data_parallel_size=8,
        trust_remote_code=True,
    )
    flags = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
    assert flags == set(vllm.FLAGS)


def test_a_plugin_without_its_parser_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="set tool_parser: nemotron_json"):
        command(folder, tool_parser_plugin="nemotron-nano-v2")


def test_a_container_needs_a_job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match="needs a Slurm job"):
        command(folder, container="/images/vllm.sqsh")


def test_in_a_job_the_server_is_a_step_in_its_container(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    words = command(folder, container="/images/vllm.sqsh", program="uv run vllm")
    assert words[:2] == ["srun", "--overlap"]
    assert "--container-image=/images/vllm.sqsh" in words
    mounts = next(word for word in words if word.startswith("--container-mounts="))
    assert f"{folder.parent}:{folder.parent}" in mounts
    assert words[words.index("uv") :][:4] == ["uv", "run", "vllm", "serve"]


@pytest.mark.parametrize("image", ["nvcr.io/nvidia/eval-factory/bfcl:26.3", "bfcl@sha256:12"])
def test_a_harness_that_may_change_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="may be another harness tomorrow"):
        EvaluationSection.model_validate({"harness_container": image})
    pinned = "nvcr.io#nvidia/eval-factory/bfcl@sha256:" + 64 * "0"
    assert EvaluationSection.model_validate({"harness_container": pinned})
