"""The last hop of the harness's adapter: asks the model server, again where that can help.

Runs inside nemo-evaluator's adapter process, in the harness's environment, in place of its
`endpoint` interceptor. That one has no timeout, no retry and no record; the harness writes a
failed request down as if it were an answer. This one

- sends the sampling of the configuration (the harness's own settings are ignored by it);
- cuts a request that takes too long, and asks again after a failure of the infrastructure;
- replays answers of an interrupted attempt at the same evaluation, each once;
- appends one line per request to the record, from which the evaluation's validity is computed.
"""

import json
import os
import threading
import time
import uuid
from collections import defaultdict, deque
from dataclasses import replace
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

from toolgain.bfcl.responses import Reply, read_reply
from toolgain.bfcl.toolcalls import harness_answer, opening, tool_names
from toolgain.common.files import digest

SAMPLING = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "top_k")
CONNECT_TIMEOUT_S = 10.0
PROBE_EVERY_S = 2.0
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
        secrets: str = Field(description="Named pipe that gives the key and the proxies, once.")
        timeout_s: float = Field(description="Longest wait for an answer, in seconds.")
        attempts: int = Field(description="Attempts of one request.")
        backoff_s: float = Field(1.0, description="First wait between attempts; it doubles.")
        breaker: int = Field(16, description="Failures in a row after which nothing is retried.")

    def __init__(self, params: Params) -> None:
        self.params = params
        secrets = json.loads(Path(params.secrets).read_text(encoding="utf-8"))
        self._key: str | None = secrets["key"]
        self._proxies: dict[str, str] = secrets["proxies"]
        self._lock = threading.Lock()
        self._local = threading.local()
        self._failures_in_a_row = 0
        self._last_failure = Reply("connection", None)
        self._probed = 0.0
        self._replay = _replayable(params.replay)
        self._record = Path(params.record).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115
        self._answers = Path(params.answers).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def intercept_request(
        self, ar: AdapterRequest, context: AdapterGlobalContext
    ) -> AdapterResponse:
        body = {**ar.r.get_json(), "model": self.params.model, **self.params.sampling}
        fingerprint = digest([body["messages"], body.get("tools")])
        started = time.time()
        attempts: list[dict[str, Any]] = []
        number, answer = self._replayed(fingerprint)
        reply = answer or self._ask(context.url, body, attempts)
        row = {
            "number": number or uuid.uuid4().hex,
            "at": round(started, 3),
            "opening": digest(opening(body["messages"])),
            "tools": digest(tool_names(t["function"]["name"] for t in body.get("tools") or [])),
            "request": fingerprint,
            "kind": reply.kind,
            "attempts": attempts,
            "sampling": {name: body[name] for name in SAMPLING if name in body},
        }
        self._note(row, reply)
        return _response(reply, ar, started)

    def _replayed(self, fingerprint: str) -> tuple[str, Reply | None]:
        with self._lock:
            waiting = self._replay.get(fingerprint)
            if not waiting:
                return "", None
            row = waiting.popleft()
        return row["number"], Reply("ok", 200, body=row["body"])

    def _ask(self, url: str, body: dict[str, Any], attempts: list[dict[str, Any]]) -> Reply:
        """Ask with retries. After many failures in a row only one probe every few seconds goes
        out, and everything else fails at once: its row is repaired when the server is back."""
        with self._lock:
            broken = self._failures_in_a_row >= self.params.breaker
            if broken and time.monotonic() - self._probed < PROBE_EVERY_S:
                return replace(self._last_failure, detail="not asked: the server seems to be down")
            self._probed = time.monotonic()
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(1 if broken else self.params.attempts),
            wait=tenacity.wait_random_exponential(multiplier=self.params.backoff_s, max=30),
            retry=tenacity.retry_if_result(lambda reply: reply.worth_another_try),
            retry_error_callback=_last_reply,
        )
        reply: Reply = retrying(self._ask_once, url, body, attempts)
        with self._lock:
            if reply.worth_another_try:
                self._failures_in_a_row += 1
                self._last_failure = reply
            else:
                self._failures_in_a_row = 0
        return reply

    def _ask_once(self, url: str, body: dict[str, Any], attempts: list[dict[str, Any]]) -> Reply:
        started = time.monotonic()
        try:
            response = self._session().post(
                url,
                data=json.dumps(body),
                timeout=(CONNECT_TIMEOUT_S, self.params.timeout_s),
                allow_redirects=False,
            )
            reply = read_reply(response.status_code, response.content)
        except requests.Timeout:
            reply = Reply("timeout", None, f"no answer within {self.params.timeout_s:g} s")
        except requests.RequestException as error:
            reply = Reply("connection", None, _cause(error))
        attempts.append(
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
            session = requests.Session()
            session.trust_env = False
            session.proxies = self._proxies
            session.headers["Content-Type"] = "application/json"
            if self._key:
                session.headers["Authorization"] = f"Bearer {self._key}"
            self._local.session = session
        elif time.monotonic() - self._local.used > IDLE_S:
            session.close()
        self._local.used = time.monotonic()
        return session

    def _note(self, row: dict[str, Any], reply: Reply) -> None:
        """Append the request to the record, and its answer to the answers."""
        lines = []
        if reply.body is not None:
            choice, usage = reply.body["choices"][0], reply.body.get("usage") or {}
            answer = harness_answer(choice["message"])
            row |= {
                "answer": digest(answer),
                "finish_reason": choice.get("finish_reason"),
                "prompt_tokens": usage.get("prompt_tokens", 0),
                "completion_tokens": usage.get("completion_tokens", 0),
            }
            if row["attempts"]:
                kept = {"number": row["number"], "request": row["request"], "body": reply.body}
                lines.append((self._answers, kept))
        # The answer first: a recorded request without its answer could not be replayed.
        for file, value in [*lines, (self._record, row)]:
            with self._lock:
                file.write(json.dumps(value) + "\n")


def _last_reply(state: tenacity.RetryCallState) -> Any:
    return state.outcome.result() if state.outcome else None


def _replayable(path: str | None) -> dict[str, deque[dict[str, Any]]]:
    answers: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
    if path and os.path.exists(path):  # noqa: PTH110
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                row = json.loads(line)
                answers[row["request"]].append(row)
    return answers


def _response(reply: Reply, ar: AdapterRequest, started: float) -> AdapterResponse:
    response = requests.Response()
    if reply.body is not None:
        response.status_code = 200
        response._content = json.dumps(reply.body).encode()
    else:
        # The harness keeps nothing but the status line, so the kind of the failure goes there.
        response.status_code = f"{reply.status or 502} {reply.kind}"  # type: ignore[assignment]
        response._content = (reply.detail or reply.kind).encode()
    response.headers["Content-Type"] = "application/json"
    return AdapterResponse(
        r=response, rctx=ar.rctx, latency_ms=round((time.time() - started) * 1000, 2)
    )


def _cause(error: BaseException) -> str:
    """The innermost cause, without the address that requests repeats."""
    reason: Any = error.args[0] if error.args else error
    reason = getattr(reason, "reason", reason)
    return type(reason).__name__ if isinstance(reason, BaseException) else type(error).__name__
