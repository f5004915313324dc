"""The model endpoint that Gym's model server calls: it hands requests on, and counts.

Gym retries a connection that fails forever, and gives a model's error a reward of zero or none at
all. So every request of a rehearsal goes through here: what the model server answered is known
for each rollout, a rollout that makes too many calls is ended, and a model endpoint that is gone
fails its rollouts in place of holding them.
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from toolgain.bfcl.toolcalls import looks_like_call
from toolgain.environments.chat_endpoint import Body, failing_answer, listening, take_mark
from toolgain.serving.server import Endpoint

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
    """Calls whose arguments are not a JSON object."""
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
    """Ended after `max_turns` answers, though the agent would have gone on."""
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
    ends_rollouts: bool = False
    """Whether answer `max_turns` ends a rollout as a training run does (`Trl.ENDS_ROLLOUTS`), with
    the verifier's reward for it; else one that needs more fails."""
    rollouts: dict[str, Calls] = field(default_factory=dict)
    """By the mark of the rollout."""
    waiting: int = 0
    """Requests that the model server has not answered yet."""
    answered: int = 0
    """Requests that it has answered."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def answer(self, body: Body) -> tuple[int, bytes]:
        """HTTP status and content for a chat completion request of Gym's model server."""
        mark = take_mark(body)
        with self.lock:
            calls = self.rollouts.setdefault(mark, Calls())
            calls.turns += 1
        if self.endpoint is None:
            return 200, _nothing()
        if calls.turns > self.max_turns:
            calls.too_many_calls = True
            calls.error = f"ended after {self.max_turns} answers (training.gym.max_turns)"
            return failing_answer(calls.error)
        return self._ask(self.endpoint, body, calls)

    def _ask(self, endpoint: Endpoint, body: Body, calls: Calls) -> tuple[int, bytes]:
        try:
            with endpoint.client(600.0) as client, self._one_waiting():
                response = client.post(endpoint.chat_url, json=body | {"model": endpoint.model})
                self.answered += 1
        except httpx.HTTPError as problem:
            gone = endpoint.alive()
            calls.error = gone or f"no answer from the model server ({type(problem).__name__})"
            return failing_answer(calls.error)
        if response.status_code == 200:
            content = response.content
            with contextlib.suppress(ValueError, KeyError, TypeError, IndexError, AttributeError):
                _count(response.json(), calls)
                if self.ends_rollouts and calls.turns == self.max_turns:
                    content = _ending(response.json(), calls)
            return 200, content
        text = response.text
        if response.status_code == 400 and ("context length" in text or "max_tokens" in text):
            # Gym makes an empty answer of it, and a reward of zero.
            calls.overflow = True
            return 400, response.content
        calls.error = f"HTTP {response.status_code} from the model server: {text[:200]}"
        # Not the status itself: Gym retries without end on 429 and above 500.
        return failing_answer(calls.error)

    @contextlib.contextmanager
    def _one_waiting(self) -> Iterator[None]:
        with self.lock:
            self.waiting += 1
        try:
            yield
        finally:
            with self.lock:
                self.waiting -= 1


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


def _ending(reply: dict[str, Any], calls: Calls) -> bytes:
    """An answer with calls as one that was cut: agents execute nothing of it, and end."""
    choice = reply["choices"][0]
    if choice["message"].get("tool_calls"):
        choice["finish_reason"] = "length"
        calls.too_many_calls = True
    return json.dumps(reply).encode()


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


@contextlib.contextmanager
def relaying(max_turns: int) -> Iterator[Relay]:
    """A relay on a free loopback port while the block lasts."""
    relay = Relay("", "", max_turns)
    with listening(lambda body: relay.answer(body)) as address:
        relay.url, relay.key = address.url, address.key
        yield relay
