"""`transformers serve` as we start it: behind a key, with the engine's answers, ended with us."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from evaluating import ROOT

from toolgain.bfcl.responses import read_reply
from toolgain.config.sections import Serve
from toolgain.serving import server
from toolgain.serving.server import Endpoint

pytestmark = pytest.mark.slow

TRL_ENV = ROOT / ".venvs" / "trl"


def in_trl_env(*arguments: str) -> str:
    """Run a Python file in the TRL environment."""
    done = subprocess.run(
        [str(TRL_ENV / "bin" / "python"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "workflow"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    in_trl_env(str(ROOT / "tests" / "training" / "tiny_model.py"), str(folder))
    return folder


def test_engine_gives_the_models_own_answers(model: Path) -> None:
    said = in_trl_env(str(ROOT / "tests" / "evaluation" / "check_engine.py"), str(model))
    assert "the engine agrees" in said


def ask(endpoint: Endpoint, content: str, **body: Any) -> httpx.Response:
    with endpoint.client(60) as client:
        message = {"role": "user", "content": content}
        return client.post(
            endpoint.chat_url,
            json={"model": endpoint.model, "messages": [message], "max_tokens": 8, **body},
        )


def test_server_asks_for_its_key_and_ends_with_us(model: Path, tmp_path: Path) -> None:
    serve = Serve(
        backend="transformers", dtype="float32", max_model_len=300, threads=1, ready_timeout_s=120
    )
    log = tmp_path / "server.log"
    with server.serving(serve, model, "policy", tmp_path / "server", TRL_ENV, log) as endpoint:
        assert server.wait_ready(endpoint) is None
        answer = ask(endpoint, "Hello", temperature=0.0)
        reply = read_reply(answer.status_code, answer.content)
        assert reply.kind == "ok", answer.text
        # Sampling goes the usual way of `transformers serve`.
        drawn = [ask(endpoint, "Hello", temperature=1.0) for _ in range(4)]
        assert {one.status_code for one in drawn} == {200}
        assert len({one.json()["choices"][0]["message"]["content"] for one in drawn}) > 1
        # A server that cuts the prompt, or answers anyway, would hide the overflow.
        refused = ask(endpoint, "word " * 400)
        assert read_reply(refused.status_code, refused.content).kind == "context_overflow"
        unknown = ask(replace(endpoint, model="other"), "Hello")
        assert read_reply(unknown.status_code, unknown.content).kind == "http_4xx"
        for key in (None, "guess"):
            assert ask(replace(endpoint, key=key), "Hello").status_code == 401
        assert server.server_facts(endpoint) == {"max_model_len": 300}
        assert endpoint.key is not None
        running = [p for p in psutil.process_iter(["cmdline"]) if _serves(p, tmp_path)]
        assert running
        assert not [p for p in running if endpoint.key in " ".join(p.info["cmdline"])]
        assert not [c for p in running for c in p.net_connections()]
        assert endpoint.socket
        assert no_other_user_reaches(endpoint.socket)
    assert not [p for p in psutil.process_iter(["cmdline"]) if _serves(p, tmp_path)]
    assert not endpoint.socket.parent.exists()
    assert endpoint.key not in log.read_text()
    assert "Traceback" not in log.read_text()


def no_other_user_reaches(path: Path) -> bool:
    """Whether a connection as another user fails; the folder alone decides where we are no root."""
    if os.geteuid():
        return path.parent.stat().st_mode & 0o777 == 0o700
    code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
    other = subprocess.run(
        ["/usr/bin/python3", "-c", code], user=54321, group=54321, capture_output=True, text=True
    )
    return "PermissionError" in other.stderr


def _serves(process: psutil.Process, folder: Path) -> bool:
    try:
        return "toolgain.serving.transformers_server" in process.info[
            "cmdline"
        ] and process.cwd().startswith(str(folder))
    except (psutil.Error, TypeError):
        return False
