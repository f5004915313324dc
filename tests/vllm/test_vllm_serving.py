"""`evaluation.serve.backend: vllm` with a real vLLM, on the CPU, from start to stop.

TOOLGAIN_VLLM names an environment with it: `make test-vllm VERSION=0.20.0` makes one and runs this,
and so does `.ci/run`, after all other tests; where it cannot be had, TOOLGAIN_NO_VLLM says why.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from toolgain.common import processes
from toolgain.common.errors import StageError
from toolgain.common.supervise import children_of
from toolgain.config.sections import Serve
from toolgain.serving import server

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "resources/demo-model"
ENVIRONMENT = os.environ.get("TOOLGAIN_VLLM")
MISSING = os.environ.get("TOOLGAIN_NO_VLLM", "TOOLGAIN_VLLM names no environment with vLLM")
READY_S = 1200

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not ENVIRONMENT, reason=MISSING),
]


def serve(**values: Any) -> dict[str, Any]:
    """`evaluation.serve` for the demo model and vLLM on the CPU."""
    return {
        "backend": "vllm",
        "program": f"{ENVIRONMENT}/bin/vllm",
        "container": "",
        "dtype": "float32",
        "max_model_len": 16384,
        "ready_timeout_s": READY_S,
        # Nothing is compiled, and the cache of keys and values takes 1 GB.
        "extra_args": ["--enforce-eager"],
        "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
        **values,
    }


def below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def engines() -> list[psutil.Process]:
    """The engine cores that descend from this process: vLLM renames them."""
    found = []
    for process in below(os.getpid()):
        try:
            if "EngineCore" in " ".join(process.cmdline()) + process.name():
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(those: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still live after a wait."""
    _, alive = psutil.wait_procs(those, timeout=60)
    return [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "subset": {"non_live": 1, "live": 1, "multi_turn": 1},
                "parallelism": 4,
                "sampling": {"max_tokens": 96},
                "retry": {"request_timeout_s": 600, "backoff_s": 1, "rounds": 1},
                "serve": serve(tool_parser="hermes"),
            }
        )
    )
    return tmp_path


def evaluating(place: Path) -> "subprocess.Popen[str]":
    command = [ROOT / ".venv/bin/toolgain", "evaluate", "--config", place / "config.yaml"]
    command += ["--weights", MODEL, "--out", place / "out"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=place
    )


def test_an_evaluation_with_vllm_survives_a_killed_engine_and_ends_valid(place: Path) -> None:
    running = evaluating(place)
    while not answered(place) and running.poll() is None:
        time.sleep(0.5)
    assert running.poll() is None, running.communicate()[0]
    started = below(running.pid)
    for engine in engines():
        engine.kill()
    said, _ = running.communicate(timeout=3000)
    # The server is started a second time, and what was answered is not retried.
    assert running.returncode == 0, said
    assert said.count("starting the model server") == 2
    ended = [line for line in said.splitlines() if "the model server ended" in line]
    # Not what its worker says while it ends for want of an engine.
    assert ended and all("EngineDeadError" in line for line in ended)
    assert gone(started) == []
    summary = json.loads((place / "out/summary.json").read_text())
    assert summary["valid"] is True
    manifest = json.loads((place / "out/manifest.json").read_text())
    version = server.python_version_of(Path(str(ENVIRONMENT)), "vllm")
    assert manifest["versions"]["vllm"] == version
    # Of the environment that served, not of TRL's.
    assert manifest["versions"]["torch"] == server.python_version_of(
        Path(str(ENVIRONMENT)), "torch"
    )


def answered(place: Path) -> bool:
    """Whether an item was answered."""
    return any(path.stat().st_size for path in (place / "out").rglob("*_result.json"))


CALLS = [{"name": "add", "arguments": {"a": 1, "b": 2}}, {"name": "stop", "arguments": {}}]
TEXT = f"Of course.<TOOLCALL>{json.dumps(CALLS)}</TOOLCALL>"


def body(stream: bool) -> dict[str, Any]:
    """A request whose answer is `TEXT`, whatever the model would say."""
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
        for name in ("add", "stop")
    ]
    return {
        "model": "policy",
        "messages": [{"role": "user", "content": "1 + 2?"}],
        "tools": tools,
        "tool_choice": "auto",
        "max_tokens": 200,
        "temperature": 0,
        "stream": stream,
        # The older and the newer name; each version passes over the other one.
        "structured_outputs": {"choice": [TEXT]},
        "guided_choice": [TEXT],
    }


def whole_answer(client: httpx.Client, url: str) -> dict[str, Any]:
    found = client.post(url, json=body(stream=False))
    assert found.status_code == 200, found.text
    message: dict[str, Any] = found.json()["choices"][0]["message"]
    return message


def streamed_answer(client: httpx.Client, url: str) -> tuple[str, dict[int, list[str]]]:
    """The text, and by number each call's name and arguments, put together from the pieces."""
    text, calls = "", {}
    for delta in deltas(client, url):
        text += delta.get("content") or ""
        for call in delta.get("tool_calls") or []:
            parts = calls.setdefault(call["index"], ["", ""])
            parts[0] += call["function"].get("name") or ""
            parts[1] += call["function"].get("arguments") or ""
    return text, calls


def deltas(client: httpx.Client, url: str) -> Iterator[dict[str, Any]]:
    with client.stream("POST", url, json=body(stream=True)) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                for choice in json.loads(line[6:])["choices"]:
                    yield choice["delta"]


def test_the_nemotron_parser_reads_calls_in_the_running_server(tmp_path: Path) -> None:
    section = Serve.model_validate(
        serve(tool_parser="nemotron_json", tool_parser_plugin="nemotron-nano-v2")
    )
    log, folder = tmp_path / "server.log", tmp_path / "server"
    before = set(children_of(os.getpid()))
    with server.serving(section, MODEL, "policy", folder, Path(), log) as endpoint:
        assert server.wait_ready(endpoint) is None, log.read_text()[-2000:]
        with endpoint.client(600) as client:
            message = whole_answer(client, endpoint.chat_url)
            assert message["content"] == "Of course."
            found = [call["function"] for call in message["tool_calls"]]
            assert [one["name"] for one in found] == ["add", "stop"]
            assert json.loads(found[0]["arguments"]) == {"a": 1, "b": 2}
            text, calls = streamed_answer(client, endpoint.chat_url)
            assert text == "Of course."
            assert [name for name, _ in calls.values()] == ["add", "stop"]
            assert json.loads(calls[0][1]) == {"a": 1, "b": 2}
        # The supervisor is killed: nobody is left to end the server but its starter.
        [supervisor] = set(children_of(os.getpid())) - before
        servers = below(supervisor)
        assert engines()
        os.kill(supervisor, signal.SIGKILL)
    assert gone(servers) == []
    assert processes.end_leftovers(folder.with_name("server.processes.json")) == 0


def test_a_server_that_fails_to_start_says_why(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in MODEL.iterdir():
        (model / path.name).symlink_to(path)
    config = json.loads((MODEL / "config.json").read_text())
    (model / "config.json").unlink()
    # The weights do not fit the configuration: the engine finds out, in a process of its own.
    (model / "config.json").write_text(json.dumps(config | {"intermediate_size": 577}))
    log = tmp_path / "server.log"
    section = Serve.model_validate(serve())
    with (
        pytest.raises(StageError) as caught,
        server.serving(section, model, "policy", tmp_path / "s", Path(), log) as endpoint,
    ):
        server.wait_ready(endpoint)
    said = str(caught.value)
    assert "the model server ended" in said
    # The worker's own error, not the line with which the others follow it.
    assert "577" in said or "shape" in said.lower() or "size" in said.lower(), said
    assert "root cause above" not in said
