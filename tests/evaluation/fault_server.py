"""A small OpenAI-compatible server whose answers are fixed and whose faults are programmed.

Which answer an item gets depends on its messages alone, so an evaluation with faults can be
compared row by row with an undisturbed one.
"""

import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME = "policy"


@dataclass
class Request:
    """One chat completion request as a fault sees it."""

    number: int
    """Counts the requests, from 0; canaries count."""
    body: dict[str, Any]
    fingerprint: str
    attempt: int
    """How often the same question came before."""
    canary: bool
    """Whether it is one of the canaries: these offer at most one tool and no system message."""


Fault = Callable[[Request, "Handler"], bool]
"""Handles the request in its own way and returns True, or returns False for the usual answer."""


def fingerprint(body: dict[str, Any]) -> str:
    """What a request asks, whatever the sampling."""
    asked = [body["messages"], body.get("tools")]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def honest_answer(body: dict[str, Any]) -> dict[str, Any]:
    """A fixed answer to a request: a call with made-up arguments, or a refusal in words."""
    tools = body.get("tools") or []
    last = body["messages"][-1]
    dice = int(fingerprint(body)[:8], 16)
    if not tools or last["role"] == "tool" or (dice % 4 == 0 and len(tools) > 1):
        return {"role": "assistant", "content": "I cannot help with that."}
    function = tools[dice % len(tools)]["function"]
    parameters = function.get("parameters", {})
    names = parameters.get("required") or list(parameters.get("properties", {}))[:1]
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{dice}",
                "type": "function",
                "function": {
                    "name": function["name"],
                    "arguments": json.dumps(dict.fromkeys(names, dice % 7)),
                },
            }
        ],
    }


def completion(
    message: dict[str, Any], body: dict[str, Any], finish_reason: str | None = None
) -> dict[str, Any]:
    """A chat completion around `message`, for the request `body`."""
    # As with a real tokenizer, prompts of different lengths have different counts.
    prompt = len(json.dumps(body["messages"]))
    usual = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": NAME,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason or usual}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": 7, "total_tokens": prompt + 7},
    }


class Handler(BaseHTTPRequestHandler):
    """Answers GET /v1/models and POST /v1/chat/completions."""

    protocol_version = "HTTP/1.1"
    server: "FaultServer"

    def log_message(self, format: str, *args: Any) -> None:
        """Be silent."""

    def do_GET(self) -> None:
        if not self.server.up:
            self.reset()
        elif self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": NAME, "object": "model"}]})
        else:
            self.answer(404, {"error": "no such page"})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.up:
            self.reset()
            return
        body = json.loads(raw)
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self.answer(401, {"error": "missing or wrong key"})
            return
        request = self.server.note(body)
        if self.server.fault(request, self):
            return
        if body["model"] != NAME:
            self.answer(404, {"error": f"The model `{body['model']}` does not exist."})
            return
        self.server.answered[request.fingerprint] += 1
        time.sleep(self.server.delay_s)
        self.answer(200, completion(honest_answer(body), body))

    def answer(self, status: int, body: Any, content_type: str = "application/json") -> None:
        """Send a response; `body` is JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def reset(self) -> None:
        """Cut the connection with a TCP reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        # The handler flushes these afterwards.
        self.wfile = self.rfile = open("/dev/null", "r+b", buffering=0)  # noqa: SIM115, PTH123

    def hang(self, seconds: float) -> None:
        """Say nothing for so long, or until the server stops, and then cut."""
        self.server.stopping.wait(seconds)
        self.reset()


def no_fault(request: Request, handler: Handler) -> bool:
    """Never a fault."""
    return False


@dataclass
class FaultServer(ThreadingHTTPServer):
    """Runs while the block runs: `with FaultServer(fault) as server: ... server.url`."""

    fault: Fault = no_fault
    key: str | None = None
    delay_s: float = 0.0
    up: bool = True
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by what they ask, answered or not."""
    answered: Counter[str] = field(default_factory=Counter)
    """Honest answers by what was asked."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    daemon_threads = True
    request_queue_size = 128

    def __post_init__(self) -> None:
        ThreadingHTTPServer.__init__(self, ("127.0.0.1", 0), Handler)
        self._lock = threading.Lock()

    def __enter__(self) -> "FaultServer":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def note(self, body: dict[str, Any]) -> Request:
        """Count a request."""
        mark = fingerprint(body)
        with self._lock:
            attempt, self.asked[mark] = self.asked[mark], self.asked[mark] + 1
            self.bodies.append(body)
            number = len(self.bodies) - 1
        return Request(number, body, mark, attempt, is_canary(body))

    @property
    def asked_twice(self) -> int:
        """Questions that were answered honestly more than once."""
        return sum(n - 1 for n in self.answered.values() if n > 1)


def is_canary(body: dict[str, Any]) -> bool:
    """Whether a request is one of toolgain's canaries."""
    from toolgain.evaluation.canary import MUST_CALL, MUST_NOT_CALL

    questions = {question for question, _ in MUST_CALL} | set(MUST_NOT_CALL)
    return len(body["messages"]) == 1 and body["messages"][0]["content"] in questions
