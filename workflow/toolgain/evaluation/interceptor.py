"""The last hop of the harness's adapter: asks the model server, and retries failed requests.

Runs inside nemo-evaluator's adapter process, in the harness's environment, in place of its
`endpoint` interceptor. That one has no timeout, no retry and no record; the harness writes a
failed request down as if it were an answer. This one

- sends the sampling of the configuration (the harness's own settings are ignored by it);
- cuts a request that takes too long or gets too much, retries after a failure of the
  infrastructure, and asks no faster than the server allows;
- brings answers into the strict form, and earlier turns into one that servers take;
- replays answers of an interrupted attempt at the same evaluation, each once;
- notes one row per request, with what the harness's own decoder makes of the answer.
"""

import json
import threading
import time
import uuid
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import requests
import tenacity
from nemo_evaluator.adapters.decorators import register_for_adapter
from nemo_evaluator.adapters.types import (
    AdapterGlobalContext,
    AdapterRequest,
    AdapterResponse,
    RequestToResponseInterceptor,
)
from pydantic import BaseModel, Field

from toolgain.bfcl.decoder import HarnessCode
from toolgain.bfcl.history import has_calls, kind_of_history, one_call_each, sendable
from toolgain.bfcl.responses import (
    HISTORY_REFUSED,
    SERVER_IS_DOWN,
    Reply,
    kept_reply,
)
from toolgain.bfcl.toolcalls import questions, tool_names
from toolgain.common.files import digest, opened_text
from toolgain.evaluation.pace import Pace
from toolgain.evaluation.transport import open_session, post

SAMPLING = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "top_k")
PROBE_EVERY_S = 2.0
LONGEST_WAIT_S = 60.0
"""Between two attempts; the item's turn comes again in the next round."""
IDLE_S = 2.0
"""Servers close idle connections after some seconds (uvicorn: 5); using one then would fail."""


@register_for_adapter(
    name="toolgain",
    description="Asks the model server with timeout, retries and a record of every request",
)
@final
class ToolgainEndpoint(RequestToResponseInterceptor):  # type: ignore[misc]
    """Ask the model server; see the module."""

    class Params(BaseModel):
        """Settings, from the run configuration."""

        model: str = Field(description="Model name that the server knows.")
        sampling: dict[str, Any] = Field(description="Values put into every request.")
        record: str = Field(description="JSON-lines file that gets a line per request.")
        answers: str = Field(description="JSON-lines file that gets each answer, for a replay.")
        replay: str | None = Field(None, description="Answers of an interrupted attempt.")
        socket: str | None = Field(None, description="Unix socket that the server listens on.")
        secrets: str = Field(description="Named pipe that gives the key and the proxies, once.")
        timeout_s: float = Field(description="Timeout of a request, in seconds.")
        attempts: int = Field(description="Attempts of one request.")
        at_once: int = Field(description="Maximum number of requests in flight.")
        max_bytes: int = Field(description="Largest response, in bytes.")
        give_up_at: float = Field(description="Unix time after which no refusal is waited for.")
        backoff_s: float = Field(1.0, description="First wait between attempts; it doubles.")
        breaker: int = Field(16, description="Failures in a row after which nothing is retried.")

    def __init__(self, params: Params) -> None:
        self.params = params
        secrets = json.loads(Path(params.secrets).read_text(encoding="utf-8"))
        self._key: str | None = secrets["key"]
        self._proxies: dict[str, str] = secrets["proxies"]
        self._lock = threading.Lock()
        self._local = threading.local()
        self._code = HarnessCode()
        self._pace = Pace(params.at_once)
        self._failures_in_a_row = 0
        self._last_failure = Reply("connection", None)
        self._probed = 0.0
        self._closed_until = 0.0
        self._replay = _replayable(params.replay)
        self._record = Path(params.record).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115
        self._answers = Path(params.answers).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def intercept_request(
        self, ar: AdapterRequest, context: AdapterGlobalContext
    ) -> AdapterResponse:
        """Answer the harness: from a kept answer, or by the model server, with retries."""
        body = {**ar.r.get_json(), "model": self.params.model, **self.params.sampling}
        fingerprint = digest([body["messages"], body.get("tools")])
        started = time.time()
        asked = _Asked(body, digest(questions(body["messages"])))
        number, answer = self._replayed(fingerprint)
        reply = answer or self._ask_as_taken(context.url, asked)
        row: dict[str, object] = {
            "number": number or uuid.uuid4().hex,
            "at": round(started, 3),
            "questions": asked.questions,
            "tools": digest(_offered(body)),
            "request": fingerprint,
            "size": len(json.dumps([body["messages"], body.get("tools")])),
            "kind": reply.kind,
            "attempts": asked.attempts,
            "sampling": {name: body[name] for name in SAMPLING if name in body},
            "normalised": asked.normalised,
            "history": kind_of_history(asked.body["messages"]),
        }
        self._note(row, reply, asked)
        return _response(reply, ar, started)

    def _replayed(self, fingerprint: str) -> tuple[str, Reply | None]:
        with self._lock:
            waiting = self._replay.get(fingerprint)
            if not waiting:
                return "", None
            row = waiting.popleft()
        return row["number"], kept_reply(row["body"])

    def _ask_as_taken(self, url: str, asked: "_Asked") -> Reply:
        """Ask with the conversation in a form that the server takes."""
        asked.body["messages"], changed = sendable(asked.body["messages"])
        if changed:
            asked.normalised.append("history_call_as_text")
        reply = self._ask(url, asked)
        if reply.kind in ("http_4xx", "http_5xx") and reply.status in (400, 422, 500):
            if (messages := one_call_each(asked.body["messages"])) is not None:
                asked.body["messages"] = messages
                reply = self._ask(url, asked)
                if reply.kind == "ok":
                    asked.normalised.append("history_one_call_each")
            if reply.kind == "http_4xx" and has_calls(asked.body["messages"]):
                reply = replace(reply, kind=HISTORY_REFUSED)
        return reply

    def _ask(self, url: str, asked: "_Asked") -> Reply:
        """Ask with retries. After many failures in a row only one probe every few seconds goes
        out, and everything else fails at once: its item is retried when the server is back."""
        with self._lock:
            broken = self._failures_in_a_row >= self.params.breaker
            if broken and time.monotonic() - self._probed < PROBE_EVERY_S:
                return replace(self._last_failure, detail="not asked: the server seems to be down")
            self._probed = time.monotonic()
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(1 if broken else self.params.attempts),
            wait=_Wait(self.params.backoff_s),
            retry=tenacity.retry_if_result(lambda reply: reply.worth_another_try),
            retry_error_callback=_last_reply,
        )
        reply: Reply = retrying(self._ask_in_turn, url, asked)
        with self._lock:
            if reply.kind in SERVER_IS_DOWN:
                self._failures_in_a_row += 1
                self._last_failure = reply
            else:
                self._failures_in_a_row = 0
        return reply

    def _ask_in_turn(self, url: str, asked: "_Asked") -> Reply:
        """Send when there is a turn; retry after a rate limit, which is not a failure."""
        while True:
            with self._pace.turn() as started:
                if self._closed_until > max(time.time(), self.params.give_up_at):
                    said = "not asked: the server asks to wait for longer than the time limit"
                    return Reply("http_429", 429, said)
                reply = self._ask_once(url, asked)
                # Within the turn: nobody else starts before it is known.
                if reply.kind != "http_429":
                    if reply.kind == "ok":
                        self._pace.answered()
                    return reply
                again_at = time.time() + (reply.retry_after_s or 0.0)
                if again_at > self.params.give_up_at:
                    self._closed_until = max(self._closed_until, again_at)
                    return reply
                self._pace.refused(started, reply.retry_after_s)

    def _ask_once(self, url: str, asked: "_Asked") -> Reply:
        started = time.monotonic()
        reply = post(
            self._session(),
            url,
            asked.body,
            self.params.timeout_s,
            self.params.max_bytes,
            _offered(asked.body),
        )
        asked.attempts.append(
            {
                "kind": reply.kind,
                "status": reply.status,
                "latency_s": round(time.monotonic() - started, 4),
                **({"detail": reply.detail} if reply.detail else {}),
            }
        )
        return reply

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            socket = Path(self.params.socket) if self.params.socket else None
            session = self._local.session = open_session(self._key, self._proxies, socket)
        elif time.monotonic() - self._local.used > IDLE_S:
            session.close()
        self._local.used = time.monotonic()
        return session

    def _note(self, row: dict[str, object], reply: Reply, asked: "_Asked") -> None:
        """Append the request to the record, and its answer to the answers."""
        lines = []
        if reply.completion is not None:
            done = reply.completion
            answer, offered = self._code.answer(done.body()), _offered(asked.body)
            row |= {
                "answer": digest(answer),
                "model": done.model,
                "cached": reply.cached,
                "calls": len(done.calls),
                "code": self._code.runs(answer, offered),
                "foreign": sum(call.name.replace(".", "_") not in offered for call in done.calls),
                "decoded": self._code.decode(answer).kind,
                "finish_reason": done.finish_reason,
                "prompt_tokens": done.prompt_tokens,
                "completion_tokens": done.completion_tokens,
                "normalised": [*asked.normalised, *done.normalised],
            }
            if row["attempts"]:
                kept = {"number": row["number"], "request": row["request"], "body": done.body()}
                lines.append((self._answers, kept))
        # The answer first: a recorded request without its answer could not be replayed.
        for file, value in [*lines, (self._record, row)]:
            with self._lock:
                file.write(json.dumps(value) + "\n")


@dataclass
class _Asked:
    """One request while it is asked."""

    body: dict[str, Any]
    questions: str
    """Digest of what it asks, before the conversation is brought into another form."""
    attempts: list[dict[str, object]] = field(default_factory=list)
    normalised: list[str] = field(default_factory=list)
    """How the conversation was changed for the server."""


class _Wait:
    """The wait before another attempt: what the server asks for, or one that doubles."""

    def __init__(self, backoff_s: float) -> None:
        self._doubling = tenacity.wait_random_exponential(multiplier=backoff_s, max=30)

    def __call__(self, state: tenacity.RetryCallState) -> float:
        reply = _last_reply(state)
        asked_for = reply.retry_after_s if reply is not None else None
        return float(min(LONGEST_WAIT_S, max(asked_for or 0.0, self._doubling(state))))


def _offered(body: dict[str, Any]) -> list[str]:
    """The names of the functions in a request."""
    return tool_names(tool["function"]["name"] for tool in body.get("tools") or [])


def _last_reply(state: tenacity.RetryCallState) -> Reply | None:
    return state.outcome.result() if state.outcome else None


def _replayable(path: str | None) -> dict[str, deque[dict[str, Any]]]:
    answers: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
    if path and Path(path).exists():
        with opened_text(Path(path), limit=None) as file:
            for line in file:
                row = json.loads(line)
                answers[row["request"]].append(row)
    return answers


def _response(reply: Reply, ar: AdapterRequest, started: float) -> AdapterResponse:
    response = requests.Response()
    if reply.completion is not None:
        response.status_code = 200
        response._content = json.dumps(reply.completion.body()).encode()
    else:
        # The harness keeps nothing but the status line, so the kind of the failure goes there.
        status = reply.status if reply.status and reply.status >= 400 else 502
        response.status_code = f"{status} {reply.kind}"  # type: ignore[assignment]
        response._content = (reply.detail or reply.kind).encode()
    response.headers["Content-Type"] = "application/json"
    return AdapterResponse(
        r=response, rctx=ar.rctx, latency_ms=round((time.time() - started) * 1000, 2)
    )
