"""A model endpoint in this process, for Gym's model server to call.

It speaks OpenAI's chat completions, listens on loopback alone and wants the key that was made for
it. Standard library only: it runs in the orchestrator's environment and in the trainer's.
"""

import contextlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MARK = "toolgain_rollout"
"""Key of a row's metadata that says which rollout a request belongs to."""

Body = dict[str, Any]
"""A chat completion request."""
Answer = Callable[[Body], tuple[int, bytes]]
"""HTTP status and content of the answer to a request."""


@dataclass(frozen=True)
class Address:
    """Where an endpoint listens."""

    url: str
    """Up to /v1."""
    key: str = field(repr=False)


def take_mark(body: Body) -> str:
    """The mark of the rollout that a request belongs to; it is taken out of the request."""
    metadata = body.get("metadata") or {}
    mark = str(metadata.pop(MARK, ""))
    if not metadata:
        body.pop("metadata", None)
    return mark


def failing_answer(message: str) -> tuple[int, bytes]:
    """An answer that fails a rollout. Gym retries after 429 and above 500, not after this."""
    return 422, json.dumps({"error": {"message": message, "type": "toolgain"}}).encode()


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


@contextlib.contextmanager
def listening(answer: Answer) -> Iterator[Address]:
    """An endpoint on a free loopback port while the block lasts; `answer` runs in many threads."""
    key = secrets.token_urlsafe(24)
    expected = f"Bearer {key}".encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            given = (self.headers.get("authorization") or "").encode()
            if not hmac.compare_digest(given, expected):
                self.reply(*failing_answer("missing or wrong key"))
                return
            try:
                status, said = answer(json.loads(content))
            except Exception as problem:
                status, said = failing_answer(f"{type(problem).__name__}: {problem}")
            self.reply(status, said)

        def reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: requests are counted, not logged."""

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="model endpoint")
    thread.start()
    try:
        yield Address(f"http://127.0.0.1:{server.server_address[1]}/v1", key)
    finally:
        server.shutdown()
        server.server_close()
