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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType

MAX_RESPONSE_BYTES = 8 * 2**20
"""Default of `evaluation.max_response_bytes`."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

NO_ANSWER = {
    "malformed": "the response is no chat completion; look for a proxy between, and at the "
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
"""Failures that say, many in a row, that nobody should be asked for a while."""

_OVERFLOW = re.compile(
    r"maximum context length|context length|context window|context size|max_model_len"
    r"|maximum (?:input|sequence|model) length|too many (?:input )?tokens|prompt is too long"
    r"|longer than the maximum|context_length_exceeded|exceeds? the (?:available )?context",
    re.IGNORECASE,
)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# The same as an escape in JSON text. A pair of escapes is one character, and is skipped.
_ESCAPES = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_FINISH_REASONS = {
    **{name: name for name in ("stop", "length", "tool_calls", "content_filter", "function_call")},
    **dict.fromkeys(("eos", "eos_token", "end_turn", "stop_sequence", "complete"), "stop"),
    **dict.fromkeys(("max_tokens", "max_length", "model_length"), "length"),
    **dict.fromkeys(("tool_use", "tool_call"), "tool_calls"),
}
"""Reasons for the end of an answer, with the names that other servers have for them."""
_TEXT_PARTS = {"text": "text", "output_text": "text", "refusal": "refusal"}
_THOUGHT_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking"})
_REASONING = ("reasoning_content", "reasoning")
SILENT_TOKENS = 16
"""Tokens that an answer without any text may have: its end and some of the template's own."""
MAX_DEPTH = 50
"""Arguments may nest so deep. The harness's writer of scores gives up at some hundreds."""


@dataclass(frozen=True)
class Call:
    """One tool call of an answer."""

    id: str
    name: str
    arguments: str
    """As the model wrote them: JSON text, or what should be."""


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

    @property
    def worth_another_try(self) -> bool:
        return self.kind in WORTH_ANOTHER_TRY


class _NoAnswerError(Exception):
    """The response holds no answer."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


@dataclass
class _Changes:
    """Collects the kinds of changes, each once per answer."""

    kinds: list[str] = field(default_factory=list)

    def note(self, kind: str) -> None:
        if kind not in self.kinds:
            self.kinds.append(kind)

    def text(self, value: str) -> str:
        """`value` without halves of characters, which no UTF-8 can hold."""
        fixed = _LONE_SURROGATE.sub("\ufffd", value)
        if fixed != value:
            self.note("lone_surrogate")
        return fixed


def read_reply(status: int, content: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    """Read an HTTP response to a chat completion request.

    Args:
        headers: found by any spelling of their names.
    """
    wait = seconds(headers.get("Retry-After"))
    if not 200 <= status < 300:
        text = content.decode("utf-8", errors="replace")
        said = _redirected(headers) if 300 <= status < 400 else ""
        return Reply(_kind(status, text), status, said or _beginning(text), retry_after_s=wait)
    try:
        return Reply("ok", status, completion=_completion(content))
    except _NoAnswerError as error:
        return Reply(error.kind, status, error.detail, retry_after_s=wait)


def _redirected(headers: Mapping[str, str]) -> str:
    """Where a server sends the request instead; what follows a path may be a secret."""
    target = (headers.get("Location") or "").partition("?")[0].rpartition("@")[2]
    return f"redirected to {_beginning(target)}; name the address that answers itself"


def too_large(status: int, limit: int) -> Reply:
    """The reply for a response that was cut because it is larger than `limit` bytes."""
    return Reply("too_large", status, f"the response is larger than {limit} bytes")


def seconds(retry_after: str | None) -> float | None:
    """The seconds that a Retry-After header asks for: a number, or a date."""
    if not retry_after:
        return None
    try:
        wait = float(retry_after)
    except ValueError:
        try:
            wait = (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(0.0, wait) if math.isfinite(wait) else None


def _kind(status: int, text: str) -> str:
    if status in (400, 413, 422) and _OVERFLOW.search(text):
        return "context_overflow"
    if status == 429:
        return "http_429"
    if 400 <= status < 500:
        return "http_4xx"
    return "http_5xx"


def _beginning(text: str) -> str:
    return _LONE_SURROGATE.sub("\ufffd", " ".join(text[:1000].split())[:200])


def _text(content: bytes) -> str:
    """The text of a body, whatever Unicode it is written in.

    Bytes of another encoding are never guessed: a wrong letter would be a wrong argument.

    Raises:
        _NoAnswerError: it is written in none.
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
        said = _beginning(content.decode("utf-8", errors="replace"))
        raise _NoAnswerError("malformed", f"the body is no UTF-8: {said}") from None


def _completion(content: bytes) -> Completion:
    text = _text(content)
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise _NoAnswerError("malformed", _beginning(text))
    _raise_error_inside(body, text)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise _NoAnswerError("malformed", _beginning(text))
    _raise_error_inside(choice, text)
    _raise_error_inside(message, text)
    changes = _Changes()
    if isinstance(choices, list) and len(choices) > 1:
        changes.note("several_choices")
    seed = hashlib.sha256(content).hexdigest()
    if message.get("role") != "assistant":
        changes.note("role")
    calls = _calls(message, changes, seed, text)
    answer = _content(message, changes, text)
    reasoning = tuple(
        (name, changes.text(value))
        for name in _REASONING
        if isinstance(value := message.get(name), str) and value
    )
    finish = _finish_reason(choice.get("finish_reason"), bool(calls), changes)
    prompt, completion = _usage(body.get("usage"), changes)
    if not calls and not answer.strip():
        thought = any(value.strip() for _, value in reasoning)
        _raise_empty(finish, thought, _counted(body.get("usage")), text)
    elif not calls and finish in ("tool_calls", "function_call"):
        raise _NoAnswerError("lost_call", f"finish_reason is {finish}: {_beginning(text)}")
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


def _raise_error_inside(part: dict[str, object], text: str) -> None:
    """An error object where an answer should be, whatever the status says."""
    error = part.get("error")
    if not error and part.get("object") != "error":
        return
    said = error if isinstance(error, dict) else part
    code = said.get("code", said.get("status"))
    if _OVERFLOW.search(text[:10_000]):
        raise _NoAnswerError("context_overflow", _beginning(text))
    kind = "http_429" if code in (429, "429") else "error_in_answer"
    raise _NoAnswerError(kind, _beginning(text))


def _raise_empty(finish: str | None, thought: bool, counted: int | None, text: str) -> None:
    """An empty message may be the model's answer: it wrote the token that ends one, and nothing
    else. Then the server says that it ended, and counts at least this token. An engine that was
    stopped counts none; where it counts many, something between took the answer.

    Args:
        counted: tokens of the answer, where the server counts them.
    """
    if thought and finish != "length":
        raise _NoAnswerError("reasoning_only", "the whole answer is in the reasoning field")
    why = ""
    if finish not in ("stop", "length"):
        why = f"finish_reason is {finish}" if finish else "there is no finish_reason"
    elif counted == 0:
        why = "the server counts no token of an answer"
    elif counted is not None and counted > SILENT_TOKENS and finish != "length":
        why = f"the server counts {counted} tokens of an answer"
    if why:
        raise _NoAnswerError("no_answer", f"the message is empty, and {why}: {_beginning(text)}")


def _finish_reason(value: object, called: bool, changes: _Changes) -> str | None:
    """The reason in OpenAI's words; None where there is none.

    Raises:
        _NoAnswerError: it is none that a finished answer has, such as `abort` or `error`.
    """
    if isinstance(value, dict):
        value = value.get("type")
    if not isinstance(value, str) or not value:
        changes.note("finish_reason")
        return "tool_calls" if called else None
    known = _FINISH_REASONS.get(value.lower())
    if known is None:
        raise _NoAnswerError("aborted", f"finish_reason is {_LONE_SURROGATE.sub('?', value)[:80]}")
    if known != value:
        changes.note("finish_reason")
    return known


def _counted(usage: object) -> int | None:
    """The tokens of an answer, where the server counts them."""
    counted = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return counted if type(counted) is int and counted >= 0 else None


def _usage(value: object, changes: _Changes) -> tuple[int, int]:
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


def _content(message: dict[str, object], changes: _Changes, text: str) -> str:
    value = message.get("content")
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal.strip():
            changes.note("refusal")
            return changes.text(refusal)
        return value if isinstance(value, str) else ""
    if isinstance(value, str):
        return changes.text(value)
    parts = value if isinstance(value, list) else [value]
    changes.note("content_parts")
    return "".join(changes.text(_part(part, text)) for part in parts)


def _part(part: object, text: str) -> str:
    """The text of one part of a content that comes in parts; thoughts are left out."""
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        kind = part.get("type", "text")
        if kind in _THOUGHT_PARTS:
            return ""
        value = part.get(_TEXT_PARTS[kind]) if isinstance(kind, str) and kind in _TEXT_PARTS else 0
        if isinstance(value, str):
            return value
    raise _NoAnswerError("malformed", f"content that is no text: {_beginning(text)}")


def _calls(message: dict[str, object], changes: _Changes, seed: str, text: str) -> tuple[Call, ...]:
    value = message.get("tool_calls")
    if not value and isinstance(legacy := message.get("function_call"), dict) and legacy:
        changes.note("legacy_function_call")
        value = [{"id": "", "type": "function", "function": legacy}]
    if isinstance(value, dict) and value:
        changes.note("single_tool_call")
        value = [value]
    if not value and not isinstance(value, bool | int | float):
        if value not in (None, []):
            changes.note("tool_calls")
        return ()
    if not isinstance(value, list):
        raise _NoAnswerError("malformed", f"tool_calls is no list: {_beginning(text)}")
    calls: list[Call] = []
    taken: set[str] = set()
    for number, part in enumerate(value):
        calls.append(_call(part, changes, f"{seed}{number}", taken, text))
        taken.add(calls[-1].id)
    return tuple(calls)


def _call(part: object, changes: _Changes, seed: str, taken: set[str], text: str) -> Call:
    if not isinstance(part, dict):
        raise _NoAnswerError("malformed", f"a tool call is no object: {_beginning(text)}")
    function = part.get("function")
    if isinstance(part.get("name"), str) and not isinstance(function, dict):
        changes.note("flat_tool_call")
        function = part
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str):
        raise _NoAnswerError("malformed", f"a tool call has no name: {_beginning(text)}")
    if part.get("type") != "function":
        changes.note("tool_call_type")
    call_id = part.get("id")
    if not isinstance(call_id, str) or not call_id or call_id in taken:
        changes.note("tool_call_id")
        # Nine letters or digits, since some chat templates take no other.
        call_id = hashlib.sha256(seed.encode()).hexdigest()[:9]
    arguments = _arguments(function.get("arguments", function.get("parameters")), changes)
    return Call(changes.text(call_id), changes.text(name), arguments)


def _arguments(value: object, changes: _Changes) -> str:
    """Arguments as JSON text. What the model wrote as text stays as it is, right or wrong."""
    if value is None or (isinstance(value, str) and not value.strip()):
        changes.note("empty_arguments")
        return "{}"
    if isinstance(value, str):
        if value.startswith("\ufeff"):
            changes.note("byte_order_mark")
            value = value.removeprefix("\ufeff")
        fixed = _ESCAPES.sub(_whole_escape, changes.text(value))
        if fixed != value:
            changes.note("lone_surrogate")
        return _bounded(fixed, changes)
    changes.note("arguments_object" if isinstance(value, dict) else "arguments_type")
    return _arguments(json.dumps(value), changes)


def _whole_escape(match: re.Match[str]) -> str:
    return match[0] if match[0] == "\\\\" or len(match[0]) > 6 else "\\ufffd"


def _bounded(text: str, changes: _Changes) -> str:
    """Arguments that the harness's checker survives.

    It turns whole numbers into floats, which ends the scoring of every item where one is too large,
    and writes scores by recursion. Neither value can be right, so another that is wrong stands in.
    """
    if len(text) < 2 * MAX_DEPTH:
        return text
    huge = False

    def whole(digits: str) -> int | float:
        nonlocal huge
        if len(digits) < 300:
            return int(digits)
        huge = True
        return math.inf

    try:
        value = json.loads(text, parse_int=whole)
        shallow = _shallow(value, MAX_DEPTH)
    except (ValueError, RecursionError):
        return text
    if not huge and shallow is value:
        return text
    changes.note("unbounded_arguments")
    return json.dumps(shallow)


def _shallow(value: object, depth: int) -> object:
    """`value` itself, or a copy without what lies deeper than `depth`."""
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return None
    if isinstance(value, list):
        parts = [_shallow(part, depth - 1) for part in value]
        return value if _same(parts, value) else parts
    named = {key: _shallow(part, depth - 1) for key, part in value.items()}
    return value if _same(list(named.values()), list(value.values())) else named


def _same(ours: Sequence[object], theirs: Sequence[object]) -> bool:
    return all(a is b for a, b in zip(ours, theirs, strict=True))
