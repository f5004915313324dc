"""The model endpoint that Gym's model server calls: it hands requests on, and counts.

Gym retries a connection that fails for ever, and gives a model's error a reward of zero or none at
all. So every request of a rehearsal goes through here: what the model server answered is known
for each rollout, a rollout that makes too many calls is ended, and a model endpoint that is gone
fails its rollouts in place of holding them.

It listens on loopback alone and wants the key that was made for it.
"""

import contextlib
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from toolgain.bfcl.toolcalls import looks_like_call
from toolgain.serving.server import Endpoint

MARK = "toolgain_rollout"
"""Key of a row's metadata that says which rollout a request belongs to."""

NOTHING = "Done."
"""What a model says that does nothing."""


@dataclass
class Calls:
    """What the model answered in one rollout."""

    turns: int = 0
    tool_calls: int = 0
    calls_as_text: int = 0
    """Answers that hold a call in a markup that the server's parser did not read."""
    broken_arguments: int = 0
    """Calls whose arguments are no JSON object."""
    empty: int = 0
    """Answers without text and calls."""
    cut: int = 0
    """Answers that ended at the token limit."""
    longest_prompt: int = 0
    """Tokens."""
    answer_tokens: int = 0
    overflow: bool = False
    """The prompt did not fit into the model server's context."""
    too_many_calls: bool = False
    error: str | None = None
    """Why the model server gave no answer."""
    said: str = ""
    """Checksum of all answers, in their order."""


@dataclass
class Relay:
    """One relay while it runs; `endpoint` None plays a model that does nothing."""

    url: str
    key: str = field(repr=False)
    max_turns: int
    endpoint: Endpoint | None = None
    rollouts: dict[str, Calls] = field(default_factory=dict)
    """By the mark of the rollout."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        """HTTP status and content for a chat completion request of Gym's model server."""
        metadata = body.get("metadata") or {}
        mark = str(metadata.pop(MARK, ""))
        if not metadata:
            body.pop("metadata", None)
        with self.lock:
            calls = self.rollouts.setdefault(mark, Calls())
            calls.turns += 1
        if self.endpoint is None:
            return 200, _nothing()
        if calls.turns > self.max_turns:
            calls.too_many_calls = True
            calls.error = f"ended after {self.max_turns} answers (training.gym.max_turns)"
            return _error(calls.error)
        return self._ask(self.endpoint, body, calls)

    def _ask(self, endpoint: Endpoint, body: dict[str, Any], calls: Calls) -> tuple[int, bytes]:
        try:
            with endpoint.client(600.0) as client:
                response = client.post(endpoint.chat_url, json=body | {"model": endpoint.model})
        except httpx.HTTPError as error:
            gone = endpoint.alive()
            calls.error = gone or f"no answer from the model server ({type(error).__name__})"
            return _error(calls.error)
        if response.status_code == 200:
            with contextlib.suppress(ValueError, KeyError, TypeError, IndexError, AttributeError):
                _count(response.json(), calls)
            return 200, response.content
        text = response.text
        if response.status_code == 400 and ("context length" in text or "max_tokens" in text):
            # Gym makes an empty answer of it, and a reward of zero.
            calls.overflow = True
            return 400, response.content
        calls.error = f"HTTP {response.status_code} from the model server: {text[:200]}"
        # Not the status itself: Gym asks again and again where it is 429 or above 500.
        return _error(calls.error)


def _count(reply: dict[str, Any], calls: Calls) -> None:
    usage = reply.get("usage") or {}
    calls.longest_prompt = max(calls.longest_prompt, int(usage.get("prompt_tokens") or 0))
    calls.answer_tokens += int(usage.get("completion_tokens") or 0)
    choice = reply["choices"][0]
    said = json.dumps([calls.said, _without_ids(choice["message"])], sort_keys=True)
    calls.said = hashlib.sha256(said.encode()).hexdigest()
    calls.cut += choice.get("finish_reason") == "length"
    message = choice["message"]
    made = message.get("tool_calls") or []
    text = message.get("content") or ""
    calls.tool_calls += len(made)
    calls.empty += not made and not text.strip()
    calls.calls_as_text += not made and looks_like_call(text)
    calls.broken_arguments += sum(not _is_object(call["function"]["arguments"]) for call in made)


def _without_ids(message: dict[str, Any]) -> list[object]:
    made = message.get("tool_calls") or []
    return [message.get("content"), *(call["function"] for call in made)]


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, TypeError, RecursionError):
        return False


def _nothing() -> bytes:
    message = {"role": "assistant", "content": NOTHING}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    reply = {"id": "0", "object": "chat.completion", "created": 0, "model": "policy"}
    return json.dumps(reply | {"choices": [choice], "usage": usage}).encode()


def _error(message: str) -> tuple[int, bytes]:
    return 422, json.dumps({"error": {"message": message, "type": "toolgain"}}).encode()


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


@contextlib.contextmanager
def relaying(max_turns: int) -> Iterator[Relay]:
    """A relay on a free loopback port while the block lasts."""
    key = secrets.token_urlsafe(24)
    expected = f"Bearer {key}".encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            given = (self.headers.get("authorization") or "").encode()
            if not hmac.compare_digest(given, expected):
                self.reply(*_error("missing or wrong key"))
                return
            try:
                body = json.loads(content)
                status, answer = relay.answer(body)
            except Exception as error:
                status, answer = _error(f"{type(error).__name__}: {error}")
            self.reply(status, answer)

        def reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: requests are counted, not logged."""

    server = _Server(("127.0.0.1", 0), Handler)
    relay = Relay(f"http://127.0.0.1:{server.server_address[1]}/v1", key, max_turns)
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="relay")
    thread.start()
    try:
        yield relay
    finally:
        server.shutdown()
        server.server_close()
