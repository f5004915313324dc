"""Questions asked before the benchmark: can this server's answers be measured at all?

A canary can prove something about the server, not about the model. One call that the harness's own
decoder reads proves that the server's tool parser works and fits the model's markup. A whole call
in the model's own markup that comes back as text, while none is parsed, proves the contrary. One
text answer proves that the server does not force calls. A weak model may write calls in a form of
its own, or call where it should not: that is its result, not the server's fault, so a canary
without proof is decided by the answers of the evaluation itself.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import requests
from pydantic import JsonValue

from toolgain.bfcl.decoder import Answer, DecodedAnswer, Decoder
from toolgain.bfcl.responses import (
    MAX_RESPONSE_BYTES,
    NO_ANSWER,
    Reply,
)
from toolgain.bfcl.toolcalls import TAGS, looks_like_call, markup_of_call
from toolgain.evaluation.transport import open_session, post
from toolgain.records.summary import Canary, CanaryReply
from toolgain.serving.server import Endpoint

ATTEMPTS = 3
"""Attempts of one canary request when the infrastructure fails."""
PAUSE_S = 1.0
"""Wait before the second attempt; it doubles."""


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


class _Asker:
    """Asks one question after the other, and keeps what came back."""

    def __init__(
        self,
        session: requests.Session,
        endpoint: Endpoint,
        sampling: Mapping[str, object],
        decoder: Decoder,
        sleep: Callable[[float], None],
        max_bytes: int,
        timeout_s: float,
    ) -> None:
        self._session, self._endpoint, self._sampling = session, endpoint, sampling
        self._timeout_s = timeout_s
        self._decoder, self._sleep, self._max_bytes = decoder, sleep, max_bytes
        self.seen: list[CanaryReply] = []
        self.texts: list[str] = []
        """Answers that are text."""
        self.parsed = False
        self.no_answers: list[Reply] = []

    def ask(self, question: str, tools: list[dict[str, Any]]) -> Reply | None:
        """Ask; gives the reply where it says that going on makes no sense."""
        body: dict[str, object] = {
            "model": self._endpoint.model,
            "messages": [{"role": "user", "content": question}],
            **self._sampling,
            **({"tools": tools} if tools else {}),
        }
        offered = [tool["function"]["name"] for tool in tools]
        reply = self._post(body, offered)
        for attempt in range(1, ATTEMPTS):
            if not reply.worth_another_try:
                break
            self._sleep(max(PAUSE_S * 2 ** (attempt - 1), min(reply.retry_after_s or 0, 60)))
            reply = self._post(body, offered)
        done = reply.completion
        answer, decoded = self._decoder.read(done.body()) if done else (None, None)
        self._note(answer, decoded)
        self.seen.append(
            CanaryReply(
                question=question,
                tools=offered,
                answer=cast(JsonValue, answer),
                decoded=decoded.kind if decoded else None,
                kind=reply.kind,
                status=reply.status,
                model=done.model if done else None,
                normalised=list(done.normalised) if done else [],
            )
        )
        if done:
            return None
        if reply.kind in NO_ANSWER:
            self.no_answers.append(reply)
            return None
        return reply

    def _note(self, answer: Answer, decoded: DecodedAnswer | None) -> None:
        if decoded is not None:
            self.parsed |= decoded.is_call
        if isinstance(answer, str):
            self.texts.append(answer)

    @property
    def has_text(self) -> bool:
        return any(text.strip() and not looks_like_call(text) for text in self.texts)

    def _post(self, body: dict[str, object], offered: Sequence[str]) -> Reply:
        return post(
            self._session,
            self._endpoint.chat_url,
            body,
            self._timeout_s,
            self._max_bytes,
            offered,
        )


def ask_canaries(
    endpoint: Endpoint,
    sampling: Mapping[str, object],
    timeout_s: float,
    decoder: Decoder,
    tags: Sequence[str] = TAGS,
    max_bytes: int = MAX_RESPONSE_BYTES,
    sleep: Callable[[float], None] = time.sleep,
) -> Canary:
    """Ask until a parsed call and a text answer have been seen, or no question is left.

    Args:
        decoder: the harness's own decoder.
        tags: what opens a call in the model's own format.
        max_bytes: largest response.
    """
    with open_session(endpoint.key, endpoint.proxies, endpoint.socket) as session:
        asker = _Asker(session, endpoint, sampling, decoder, sleep, max_bytes, timeout_s)
        for question, tool in MUST_CALL:
            if failed := asker.ask(question, [tool]):
                return _failed(failed, asker.seen)
            if asker.parsed:
                break
        for question in MUST_NOT_CALL:
            if asker.has_text:
                break
            if failed := asker.ask(question, []):
                return _failed(failed, asker.seen)
    if len(asker.no_answers) == len(asker.seen):
        return _failed(asker.no_answers[-1], asker.seen)
    markup = next(filter(None, (markup_of_call(text, tags) for text in asker.texts)), "")
    return Canary(
        answered=True,
        parsed_call=asker.parsed,
        call_as_text=bool(markup) and not asker.parsed,
        text=asker.has_text,
        markup="" if asker.parsed else markup,
        unanswered=len(asker.no_answers),
        seen=asker.seen,
    )


def _failed(reply: Reply, seen: list[CanaryReply]) -> Canary:
    status = f"HTTP {reply.status} " if reply.status else ""
    failure = f"{reply.kind}: {status}{reply.detail}".strip()
    if cure := NO_ANSWER.get(reply.kind):
        failure += f"; {cure}"
    return Canary(answered=False, failure=failure, failure_kind=reply.kind, seen=seen)
