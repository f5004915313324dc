"""Questions asked before the benchmark: can this server's answers be measured at all?

A canary can prove something about the server, not about the model. One parsed tool call proves
that the server's tool parser works and fits the model's markup; a whole call that comes back as
text proves that it does not (a broken one is the model's failure). One text answer proves that
the server does not force calls. A weak model may fail to call, or call where it should not: that
is its result, not the server's fault, so a canary without proof is decided by the answers of the
evaluation itself.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

from toolgain.bfcl.responses import Reply, read_reply
from toolgain.bfcl.toolcalls import harness_answer, is_whole_call, looks_like_call
from toolgain.serving.server import Endpoint

ATTEMPTS = 3
"""Attempts of one canary request when the infrastructure fails."""


def _tool(name: str, description: str, **parameters: str) -> dict[str, Any]:
    properties = {
        key: {"type": kind, "description": key.replace("_", " ")}
        for key, kind in parameters.items()
    }
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": list(parameters),
            },
        },
    }


MUST_CALL: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "What is the weather in Paris today?",
        _tool("get_weather", "Get the present weather of a city.", city="string"),
    ),
    (
        "Add 17 and 25.",
        _tool("add_numbers", "Add two numbers.", a="integer", b="integer"),
    ),
    (
        "Set a timer for 10 minutes.",
        _tool("set_timer", "Set a timer for some minutes.", minutes="integer"),
    ),
    (
        "Send the message 'hello' to Anna.",
        _tool("send_message", "Send a message to a person.", recipient="string", text="string"),
    ),
)
MUST_NOT_CALL: tuple[str, ...] = (
    "Hello! How are you?",
    "Tell me a short joke.",
    "Thank you, that is all.",
)


@dataclass(frozen=True)
class Canary:
    """What the canary requests showed."""

    answered: bool
    """Every request was answered."""
    parsed_call: bool
    """A tool call came back parsed: the parser works."""
    call_as_text: bool
    """A whole tool call came back as text, and none parsed: the parser is missing or the wrong
    one."""
    text: bool
    """An answer without a call came back: the server does not force calls."""
    failure: str = ""
    """For an unanswered request: what happened."""
    failure_kind: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    """Question and answer of each request."""

    def record(self) -> dict[str, Any]:
        """For summary.json."""
        return asdict(self)


def ask_canaries(
    endpoint: Endpoint,
    sampling: Mapping[str, Any],
    timeout_s: float,
    pause_s: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Canary:
    """Ask until a parsed call and a text answer have been seen, or no question is left."""
    seen: list[dict[str, Any]] = []
    with endpoint.client(timeout_s) as client:

        def ask(question: str, tools: list[dict[str, Any]]) -> Reply:
            body: dict[str, Any] = {
                "model": endpoint.model,
                "messages": [{"role": "user", "content": question}],
                **sampling,
            }
            if tools:
                body["tools"] = tools
            reply = _post(client, endpoint.chat_url, body)
            for attempt in range(1, ATTEMPTS):
                if not reply.worth_another_try:
                    break
                sleep(pause_s * 2 ** (attempt - 1))
                reply = _post(client, endpoint.chat_url, body)
            answer = harness_answer(reply.body["choices"][0]["message"]) if reply.body else None
            seen.append(
                {
                    "question": question,
                    "tools": [tool["function"]["name"] for tool in tools],
                    "answer": answer,
                    "kind": reply.kind,
                    "status": reply.status,
                    "model": (reply.body or {}).get("model"),
                }
            )
            return reply

        for question, tool in MUST_CALL:
            reply = ask(question, [tool])
            if reply.body is None:
                return _failed(reply, seen)
            if isinstance(seen[-1]["answer"], list):
                break
        for question in MUST_NOT_CALL:
            if any(_is_text(row["answer"]) for row in seen):
                break
            reply = ask(question, [])
            if reply.body is None:
                return _failed(reply, seen)
    parsed = any(isinstance(row["answer"], list) for row in seen)
    as_text = any(isinstance(a := row["answer"], str) and is_whole_call(a) for row in seen)
    return Canary(
        answered=True,
        parsed_call=parsed,
        call_as_text=as_text and not parsed,
        text=any(_is_text(row["answer"]) for row in seen),
        seen=seen,
    )


def _failed(reply: Reply, seen: list[dict[str, Any]]) -> Canary:
    status = f"HTTP {reply.status} " if reply.status else ""
    failure = f"{reply.kind}: {status}{reply.detail}".strip()
    return Canary(False, False, False, False, failure, reply.kind, seen)


def _is_text(answer: Any) -> bool:
    return isinstance(answer, str) and not looks_like_call(answer)


def _post(client: httpx.Client, url: str, body: dict[str, Any]) -> Reply:
    try:
        response = client.post(url, json=body)
    except httpx.TimeoutException:
        return Reply("timeout", None, "no answer in time")
    except httpx.HTTPError as error:
        return Reply("connection", None, type(error).__name__)
    return read_reply(response.status_code, response.content)
