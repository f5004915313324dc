"""Tell an answer of a model server from a failure, and the kinds of failure from each other."""

import json
import re
from dataclasses import dataclass
from typing import Any

WORTH_ANOTHER_TRY = frozenset({"connection", "timeout", "http_5xx", "http_429", "malformed"})
"""Failures of the infrastructure. A refusal (`http_4xx`) and a prompt that is longer than the
context would come out the same again."""

_OVERFLOW = re.compile(
    r"maximum context length|context length|context window|context size|max_model_len"
    r"|maximum (?:input|sequence|model) length|too many (?:input )?tokens|prompt is too long"
    r"|longer than the maximum|context_length_exceeded|exceeds? the (?:available )?context",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Reply:
    """What came back for one request."""

    kind: str
    """`ok`, or the kind of the failure."""
    status: int | None
    """HTTP status; None where no response came."""
    detail: str = ""
    """For a failure: the beginning of what the server said."""
    body: dict[str, Any] | None = None
    """For `ok`: the chat completion."""

    @property
    def worth_another_try(self) -> bool:
        return self.kind in WORTH_ANOTHER_TRY


def read_reply(status: int, content: bytes) -> Reply:
    """Read an HTTP response to a chat completion request.

    A 200 without a chat completion in it (HTML of a proxy, JSON that is cut) is `malformed`.
    """
    text = content.decode("utf-8", errors="replace")
    if status != 200:
        return Reply(_kind(status, text), status, _beginning(text))
    try:
        body = json.loads(text)
        message = body["choices"][0]["message"]
        if not isinstance(message, dict):
            raise TypeError("message")
    except (ValueError, KeyError, IndexError, TypeError):
        return Reply("malformed", status, _beginning(text))
    # Without a tool call the harness takes the content, and null would break the chat history.
    if message.get("content") is None:
        message["content"] = ""
    # An empty list would be read as a call without calls; absent means text.
    if not message.get("tool_calls"):
        message.pop("tool_calls", None)
    return Reply("ok", status, body=body)


def _kind(status: int, text: str) -> str:
    if status in (400, 413, 422) and _OVERFLOW.search(text):
        return "context_overflow"
    if status == 429:
        return "http_429"
    if 400 <= status < 500:
        return "http_4xx"
    return "http_5xx"


def _beginning(text: str) -> str:
    return " ".join(text.split())[:200]
