"""Recognise a tool call that reached us as text, because the server's parser missed it."""

import json
import re
from collections.abc import Iterable
from typing import Any

# The markers of the common chat formats: Hermes and Qwen, Nemotron, Mistral, Llama, DeepSeek,
# Granite, Functionary and Pythonic calls.
_MARKERS = re.compile(
    r"</?tool_calls?>|<TOOLCALL>|\[TOOL_CALLS\]|<\|python_tag\|>|<\|tool_call\|>|<function[=_]"
    r"|<｜tool▁calls?▁begin｜>|<\|action_start\|>|functools\["
    r"|^\s*\[\s*[A-Za-z_][\w.]*\([^()]*=",
    re.MULTILINE,
)
_MARKERS_WITHOUT_JSON = re.compile(
    r"<function[=_].*</function|^\s*\[\s*[A-Za-z_][\w.]*\([^()]*=[^()]*\)", re.MULTILINE | re.DOTALL
)
_JSON_START = re.compile(r"[\[{]")
_NAMES = ("name", "function")
_ARGUMENTS = ("arguments", "parameters")


def looks_like_call(text: str) -> bool:
    """Whether `text` holds a tool call in a known markup, or as JSON with a name and arguments."""
    return bool(_MARKERS.search(text)) or _holds_json_call(text)


def is_whole_call(text: str) -> bool:
    """Whether `text` holds a call that a parser for the model's markup would have read.

    A call with broken JSON in it is the model's failure, not the parser's.
    """
    return bool(_MARKERS_WITHOUT_JSON.search(text)) or _holds_json_call(text)


def _holds_json_call(text: str) -> bool:
    decoder = json.JSONDecoder()
    position = 0
    while match := _JSON_START.search(text, position):
        try:
            value, position = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            position = match.end()
            continue
        if _is_call(value):
            return True
    return False


def _is_call(value: Any) -> bool:
    if isinstance(value, list):
        return any(_is_call(part) for part in value)
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("function"), dict):
        return _is_call(value["function"])
    return any(isinstance(value.get(name), str) for name in _NAMES) and any(
        name in value for name in _ARGUMENTS
    )


def harness_answer(message: dict[str, Any]) -> Any:
    """What the harness makes of an assistant message: calls as `[{name: arguments}]`, or text.

    The same rule as nvidia-bfcl's handler for native function calling: whatever keeps it from
    reading `tool_calls` makes it take the content.
    """
    try:
        return [
            {call["function"]["name"]: call["function"]["arguments"]}
            for call in message["tool_calls"]
        ]
    except (KeyError, TypeError):
        return message.get("content")


def opening(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages before the first answer: they tell which item a request belongs to."""
    start = []
    for message in messages:
        if message.get("role") in ("assistant", "tool"):
            break
        start.append({"role": message.get("role"), "content": message.get("content")})
    return start


def tool_names(functions: Iterable[str]) -> list[str]:
    """Names of the functions offered, in one order, as the harness writes them: without dots."""
    return sorted({name.replace(".", "_") for name in functions})
