"""A model endpoint whose answers a test decides: an OpenAI-compatible server on loopback."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from toolgain.serving.server import Endpoint

Message = dict[str, Any]
Answer = Message | tuple[int, str]
"""An assistant message, or an HTTP status with the text of an error."""


def call(name: str, arguments: object) -> Message:
    """An assistant message with one tool call."""
    return several_calls([{"name": name, "arguments": arguments}])


def several_calls(calls: Sequence[dict[str, Any]]) -> Message:
    """An assistant message with tool calls: `name` and `arguments` of each."""
    made = [
        {
            "id": f"call-{number}",
            "type": "function",
            "function": {"name": one["name"], "arguments": json.dumps(one["arguments"])},
        }
        for number, one in enumerate(calls)
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


def say(text: str) -> Message:
    """An assistant message without a call."""
    return {"role": "assistant", "content": text}


@dataclass
class Model:
    """A model that answers with `answer`, which gets the messages and how often it was asked."""

    answer: Callable[[list[Message], int], Answer]
    url: str = ""
    asked: int = 0
    bodies: list[Message] = field(default_factory=list)
    """The requests."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    health_checks: int = 0
    """How many it was asked for."""
    answers_health_checks: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    close: Callable[[], None] = lambda: None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.url, "policy", None, 10.0)


@contextlib.contextmanager
def answering(answer: Callable[[list[Message], int], Answer]) -> Iterator[Model]:
    """A model endpoint while the block lasts; `close` ends it before."""
    model = Model(answer)
    model.answers_health_checks.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            model.health_checks += 1
            if not model.answers_health_checks.is_set():
                model.over.wait()
            self.reply(200, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with model.lock:
                number, model.asked = model.asked, model.asked + 1
                model.bodies.append(body)
            given = model.answer(body["messages"], number)
            if isinstance(given, tuple):
                self.reply(given[0], {"error": {"message": given[1]}})
                return
            finish = "tool_calls" if given.get("tool_calls") else "stop"
            choice = {"index": 0, "message": given, "finish_reason": finish}
            usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
            head = {"id": "1", "object": "chat.completion", "created": 0, "model": "policy"}
            self.reply(200, {**head, "choices": [choice], "usage": usage})

        def reply(self, status: int, value: object) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    model.close = server.server_close
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        model.over.set()
        server.shutdown()
        server.server_close()
