"""The harness hands the model's calls to Python's eval: what a hostile model gets done by that."""

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluating import Evaluation
from fault_server import FaultServer, Handler, Request, completion

pytestmark = pytest.mark.slow

RAN = "hostile-ran"
ENVIRONMENT = "hostile-environment"


def hostile(outside: Path, port: int) -> Callable[[Request, Handler], bool]:
    """A server whose multi-turn answers are calls that do harm where they can."""
    shell = "__import__('os').system"
    harm = [
        (shell, {"command": f"touch {RAN}; env > {ENVIRONMENT}"}),
        (shell, {"command": f"touch {outside}"}),
        ("open", {"file": str(outside), "mode": "w"}),
        ("__import__('socket').create_connection", {"address": ["127.0.0.1", port], "timeout": 3}),
        (shell, {"command": f"kill -9 {os.getppid()}"}),
    ]
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for number, (name, arguments) in enumerate(harm)
    ]

    def answer(request: Request, handler: Handler) -> bool:
        if request.canary or len(request.body.get("tools", [])) < 5:
            return False
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        ended = {"role": "assistant", "content": "Done.", "tool_calls": None}
        last = request.body["messages"][-1]
        handler.answer(200, completion(ended if last["role"] == "tool" else message, request.body))
        return True

    return answer


def test_hostile_calls_run_and_do_no_harm(
    asked: Callable[..., tuple[FaultServer, Evaluation]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They do run, which the file in the harness's own folder shows."""
    monkeypatch.setenv("HF_TOKEN", "hf_Marked53Value")
    outside = Path(f"/tmp/toolgain-hostile-{os.getpid()}")
    reached: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            try:
                while True:
                    reached.append(listener.accept())
            except OSError:
                return

        threading.Thread(target=listen, daemon=True).start()
        _, evaluation = asked(hostile(outside, listener.getsockname()[1]))
    written = list(tmp_path.rglob(RAN))
    assert written, f"no hostile call was evaluated:\n{evaluation.stderr[-3000:]}"
    logs = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("harness.log"))
    if "not confined" in logs:
        pytest.skip("this kernel does not confine; harness.log says so")
    assert not outside.exists()
    assert reached == []
    for path in tmp_path.rglob(ENVIRONMENT):
        assert "Marked53" not in path.read_text()
