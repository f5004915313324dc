"""Tell an answer of a model server from a failure, and bring answers into one strict form.

Servers spell the same answer in many ways: arguments as an object, a call without an id, content
in parts. What the harness makes of such a spelling is an accident, so every answer is brought into
the strict form of OpenAI's chat completion before the harness sees it, and each change is counted
by kind. A response that holds no answer, though its status is 200, is a failure of the server.
"""

import hashlib
import json
import math
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType

from toolgain.bfcl.calls import Call, read_calls
from toolgain.bfcl.changes import Changes, MissingAnswerError, beginning
from toolgain.bfcl.streams import events, joined, looks_streamed
from toolgain.common.characters import without_halves

MAX_RESPONSE_BYTES = 8 * 2**20
"""Default of `evaluation.max_response_bytes`."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

NO_ANSWER = {
    "malformed": "the response is not a chat completion; look for a proxy between, and at the "
    "server's log",
    "aborted": "the engine was stopped or paused, or cut the answer; look at the server's log",
    "error_in_answer": "the server sent an error with status 200; look at the server's log",
    "reasoning_only": "the reasoning parser took the whole answer as thought; start the server "
    "without its reasoning parser or with the one of this model, or use a chat template that does "
    "not open a thought",
    "no_answer": "the message is empty though the model ended nothing; look at the reasoning "
    "parser, the tool parser, the chat template and the server's log",
    "lost_call": "the server says that the model made a call, and sends none; look at the tool "
    "parser and the server's log",
}
"""Failures that come with status 200: kind, and what it means with its cure."""

WORTH_ANOTHER_TRY = frozenset({"connection", "timeout", "http_5xx", "http_429", *NO_ANSWER})
"""Failures of the infrastructure that may pass. A refusal (`http_4xx`), a response that is too
large and a prompt that is longer than the context would come out the same again."""

HISTORY_REFUSED = "history_refused"
"""The server refuses a conversation because of what the model wrote before in it."""

SERVER_IS_DOWN = frozenset({"connection", "timeout", "http_5xx", "malformed", "aborted"})
"""Failures of which many in a row mean that requests should pause: the circuit breaker opens."""

_OVERFLOW = re.compile(
    r"maximum context length|context length|context window|context size|max_model_len"
    r"|maximum (?:input|sequence|model) length|too many (?:input )?tokens|prompt is too long"
    r"|longer than the maximum|context_length_exceeded|exceeds? the (?:available )?context"
    r"|max_seq_len|inputs.? must have less than|inputs.? tokens \+ .?max_new_tokens"
    r"|exceeds the maximum number of tokens",
    re.IGNORECASE,
)
_NO_QUOTA = re.compile(r'"(?:code|type)"\s*:\s*"(?:insufficient_quota|billing_\w+)"')
"""The account has no credit, which no wait changes, though some servers say it with status 429."""
_RATE_LIMIT = re.compile(
    r"rate_limit_exceeded|RateLimitReached|ThrottlingException|RESOURCE_EXHAUSTED"
)
_PASSING = frozenset({408, 409, 423, 424, 425, 499})
"""Statuses below 500 that say nothing against the request: it came too early, or took too long."""
LONGEST_ASKED_S = 24 * 3600.0
"""A longer wait is an error of the server, or would be the end of the evaluation."""
_FINISH_REASONS = {
    **{name: name for name in ("stop", "length", "tool_calls", "content_filter", "function_call")},
    **dict.fromkeys(("eos", "eos_token", "end_turn", "stop_sequence", "complete"), "stop"),
    **dict.fromkeys(("end_of_turn", "finish_reason_stop", "eos_token_id", "normal"), "stop"),
    **dict.fromkeys(("max_tokens", "max_length", "model_length", "max_new_tokens"), "length"),
    # The engine ended a loop that the model would not have ended.
    "repetition": "length",
    **dict.fromkeys(("tool_use", "tool_call"), "tool_calls"),
    **dict.fromkeys(("safety", "content_filtered", "recitation"), "content_filter"),
}
"""Reasons for the end of an answer, with the names that other servers have for them."""
_TEXT_PARTS = {"text": "text", "output_text": "text", "refusal": "refusal"}
_THOUGHT_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking"})
_REASONING = ("reasoning_content", "reasoning")
_THOUGHTS = (*_REASONING, "thinking", "thought", "reasoning_details", "thinking_blocks")
"""Fields that hold what the model thought, by server; the first two are text and go back to it."""
SILENT_TOKENS = 16
"""Tokens that an answer without any text may have: its end and some of the template's own."""


@dataclass(frozen=True)
class Completion:
    """An answer in the strict form."""

    content: str
    calls: tuple[Call, ...]
    reasoning: tuple[tuple[str, str], ...]
    """Fields with the model's thoughts, which go back to the server with the conversation."""
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    model: str
    normalised: tuple[str, ...] = ()
    """Kinds of the changes that were made; see docs/measurement.md."""

    def body(self) -> dict[str, object]:
        """The chat completion that the harness gets."""
        message: dict[str, object] = {
            "role": "assistant",
            "content": self.content,
            **dict(self.reasoning),
        }
        if self.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.calls
            ]
        return {
            "object": "chat.completion",
            "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish_reason}],
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "total_tokens": self.prompt_tokens + self.completion_tokens,
            },
        }


@dataclass(frozen=True)
class Reply:
    """What came back for one request."""

    kind: str
    """`ok`, or the kind of the failure."""
    status: int | None
    """HTTP status; None where no response came."""
    detail: str = ""
    """For a failure: the beginning of what the server said."""
    completion: Completion | None = None
    """For `ok`: the answer."""
    retry_after_s: float | None = None
    """The wait that the server asked for, in seconds."""
    cached: bool = False
    """A gateway says that it kept the answer from before."""

    @property
    def worth_another_try(self) -> bool:
        """Whether the request is retried."""
        return self.kind in WORTH_ANOTHER_TRY


def read_reply(
    status: int,
    content: bytes,
    headers: Mapping[str, str] = NO_HEADERS,
    offered: Collection[str] = (),
) -> Reply:
    """Read an HTTP response to a chat completion request.

    Args:
        headers: found by any spelling of their names.
        offered: names of the functions in the request, with `_` for each dot.
    """
    wait = asked_wait(headers)
    if not 200 <= status < 300:
        text = content.decode("utf-8", errors="replace")
        said = _redirected(headers) if 300 <= status < 400 else ""
        return Reply(_kind(status, text), status, said or beginning(text), retry_after_s=wait)
    try:
        done = _completion(content, offered)
    except MissingAnswerError as error:
        return Reply(error.kind, status, error.detail, retry_after_s=wait)
    return Reply("ok", status, completion=done, cached=_is_cached(headers))


def kept_reply(body: Mapping[str, object]) -> Reply:
    """The reply of an answer that was kept in the strict form."""
    content = json.dumps(body).encode()
    return Reply("ok", 200, completion=_completion(content, (), judged=True))


def _redirected(headers: Mapping[str, str]) -> str:
    """Where a server sends the request instead; what follows a path may be a secret."""
    target = (headers.get("Location") or "").partition("?")[0].rpartition("@")[2]
    return f"redirected to {beginning(target)}; name the address that answers itself"


def too_large(status: int, limit: int) -> Reply:
    """The reply for a response that was cut because it is larger than `limit` bytes."""
    return Reply("too_large", status, f"the response is larger than {limit} bytes")


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks to wait: a number, a date, or the time of a clock.

    None where it names no wait, or an impossible one.
    """
    if (milliseconds := _number(headers.get("Retry-After-Ms"))) is not None:
        return min(LONGEST_ASKED_S, max(0.0, milliseconds / 1000))
    said = headers.get("Retry-After")
    wait = _number(said)
    if wait is None:
        try:
            wait = (parsedate_to_datetime(said or "") - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    elif wait > 1e11:
        wait = wait / 1000 - time.time()
    elif wait > 1e9:
        wait -= time.time()
    return min(LONGEST_ASKED_S, max(0.0, wait))


def _number(said: str | None) -> float | None:
    try:
        value = float(said or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_cached(headers: Mapping[str, str]) -> bool:
    """Whether a gateway says that the whole answer is one from before.

    What an engine says of its prefix or key-value cache is something else.
    """
    for name, value in headers.items():
        words = name.lower()
        if "cache" not in words or "prefix" in words or "kv" in words:
            continue
        said = value.strip().lower()
        if said.startswith("hit") or ("hit" in words and said in ("true", "1")):
            return True
    return False


def _kind(status: int, text: str) -> str:
    if status in (400, 413, 422, 500) and _OVERFLOW.search(text):
        return "context_overflow"
    if status == 429:
        return "http_4xx" if _NO_QUOTA.search(text) else "http_429"
    if status in (400, 403) and _RATE_LIMIT.search(text):
        return "http_429"
    if status == 408:
        return "timeout"
    if 400 <= status < 500 and status not in _PASSING:
        return "http_4xx"
    return "http_5xx"


def _text(content: bytes) -> str:
    """The text of a body, whatever Unicode it is written in.

    Bytes of another encoding are never guessed: a wrong letter would be a wrong argument.

    Raises:
        MissingAnswerError: it is written in none.
    """
    encoding = json.detect_encoding(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        pass
    try:
        # Halves of characters, each written as if it were a whole one.
        return content.decode(encoding, errors="surrogatepass")
    except UnicodeDecodeError:
        said = beginning(content.decode("utf-8", errors="replace"))
        raise MissingAnswerError("malformed", f"the body is not UTF-8: {said}") from None


def _body(text: str, changes: Changes) -> dict[str, object]:
    """The chat completion in `text`, be it a stream of its parts.

    Raises:
        MissingAnswerError: there is none.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        parts = events(text) if looks_streamed(text) else None
        body = joined(parts) if parts else None
        changes.note("stream")
    if isinstance(body, dict) and body.get("object") == "chat.completion.chunk":
        body = joined([body])
        changes.note("stream")
    if not isinstance(body, dict):
        raise MissingAnswerError("malformed", beginning(text))
    return body


def _completion(content: bytes, offered: Collection[str], judged: bool = False) -> Completion:
    """The answer in a response.

    Args:
        judged: it was read before as an answer, so an empty one is the model's; the strict form
            counts 0 tokens where the server counted none.

    Raises:
        MissingAnswerError: there is none.
    """
    text = _text(content)
    changes = Changes()
    body = _body(text, changes)
    _raise_error_inside(body, text)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise MissingAnswerError("malformed", beginning(text))
    _raise_error_inside(choice, text)
    _raise_error_inside(message, text)
    if isinstance(choices, list) and len(choices) > 1:
        changes.note("several_choices")
    seed = hashlib.sha256(content).hexdigest()
    if message.get("role") != "assistant":
        changes.note("role")
    calls = read_calls(message, changes, seed, text, offered)
    answer, thought = _content(message, changes, text)
    reasoning = tuple(
        (name, changes.text(value))
        for name in _REASONING
        if isinstance(value := message.get(name), str) and value
    )
    finish = _finish_reason(choice.get("finish_reason"), bool(calls), changes)
    prompt, completion = _usage(body.get("usage"), changes)
    if not calls and not answer.strip() and not judged:
        thought |= any(_says_something(message.get(name)) for name in _THOUGHTS)
        _raise_empty(finish, thought, _counted(body.get("usage")), text)
    elif not calls and finish in ("tool_calls", "function_call"):
        raise MissingAnswerError("lost_call", f"finish_reason is {finish}: {beginning(text)}")
    model = body.get("model")
    return Completion(
        content=answer,
        calls=calls,
        reasoning=reasoning,
        finish_reason=finish or ("tool_calls" if calls else "stop"),
        prompt_tokens=prompt,
        completion_tokens=completion,
        model=changes.text(model)[:200] if isinstance(model, str) else "",
        normalised=tuple(changes.kinds),
    )


def _says_something(value: object) -> bool:
    """Whether there is any text in a JSON value, kinds and ids of parts left out."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str) and part.strip():
            return True
        if isinstance(part, dict):
            left += (said for name, said in part.items() if name not in ("type", "id", "format"))
        elif isinstance(part, list):
            left += part
    return False


def _raise_error_inside(part: dict[str, object], text: str) -> None:
    """An error object where an answer should be, whatever the status says."""
    error = part.get("error")
    if not error and part.get("object") != "error":
        return
    said = error if isinstance(error, dict) else part
    code = said.get("code", said.get("status"))
    if _OVERFLOW.search(text[:10_000]):
        raise MissingAnswerError("context_overflow", beginning(text))
    kind = "http_429" if code in (429, "429") else "error_in_answer"
    raise MissingAnswerError(kind, beginning(text))


def _raise_empty(finish: str | None, thought: bool, counted: int | None, text: str) -> None:
    """An empty message may be the model's answer: it wrote the token that ends one, and nothing
    else. Then the server says that it ended, and counts at least this token. An engine that was
    stopped counts none; where it counts many, something between took the answer.

    Args:
        counted: tokens of the answer, where the server counts them.
    """
    if thought and finish != "length":
        raise MissingAnswerError("reasoning_only", "the whole answer is in the reasoning field")
    why = ""
    if finish not in ("stop", "length"):
        why = f"finish_reason is {finish}" if finish else "there is no finish_reason"
    elif counted == 0:
        why = "the server counts no token of an answer"
    elif counted is not None and counted > SILENT_TOKENS and finish != "length":
        why = f"the server counts {counted} tokens of an answer"
    if why:
        raise MissingAnswerError("no_answer", f"the message is empty, and {why}: {beginning(text)}")


def _finish_reason(value: object, called: bool, changes: Changes) -> str | None:
    """The reason in OpenAI's words; None where there is none.

    Raises:
        MissingAnswerError: it is none that a finished answer has, such as `abort` or `error`.
    """
    if isinstance(value, dict):
        value = value.get("type")
    if not isinstance(value, str) or not value:
        changes.note("finish_reason")
        return "tool_calls" if called else None
    known = _FINISH_REASONS.get(value.lower())
    if known is None:
        raise MissingAnswerError("aborted", f"finish_reason is {without_halves(value[:80])}")
    if known != value:
        changes.note("finish_reason")
    return known


def _counted(usage: object) -> int | None:
    """The tokens of an answer, where the server counts them."""
    counted = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return counted if type(counted) is int and counted >= 0 else None


def _usage(value: object, changes: Changes) -> tuple[int, int]:
    """Prompt and completion tokens; 0 where the server does not count."""
    counts = value if isinstance(value, dict) else {}
    found = [counts.get(name) for name in ("prompt_tokens", "completion_tokens")]
    whole = [
        int(n) if isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n < 2**53 else 0
        for n in found
    ]
    if any(type(n) is not int or n != m for n, m in zip(found, whole, strict=True)):
        changes.note("usage")
    return whole[0], whole[1]


def _content(message: dict[str, object], changes: Changes, text: str) -> tuple[str, bool]:
    """The text of a message, and whether thoughts were left out of it."""
    value = message.get("content")
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal.strip():
            changes.note("refusal")
            return changes.text(refusal), False
        return value if isinstance(value, str) else "", False
    if isinstance(value, str):
        return changes.text(value), False
    parts = value if isinstance(value, list) else [value]
    changes.note("content_parts")
    said = [_part(part, text) for part in parts]
    return "".join(changes.text(part or "") for part in said), None in said


def _part(part: object, text: str) -> str | None:
    """The text of one part of a content that comes in parts; None where it is a thought."""
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        kind = part.get("type", "text")
        if not isinstance(kind, str):
            kind = ""
        if kind in _THOUGHT_PARTS:
            return None if _says_something(part) else ""
        value = part.get(_TEXT_PARTS[kind]) if kind in _TEXT_PARTS else None
        if isinstance(value, str):
            return value
    raise MissingAnswerError("malformed", f"content that is not text: {beginning(text)}")
