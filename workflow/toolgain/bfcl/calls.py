"""The tool calls of a response, in the strict form of OpenAI's schema.

What has one reading is brought into that form: arguments as an object, or as JSON text inside of
JSON text; the namespace or markup of a format around a function's name. What has none is left as
the model wrote it, right or wrong: truncated JSON, single quotes, trailing commas.
"""

import hashlib
import json
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from toolgain.bfcl.changes import Changes, MissingAnswerError, beginning
from toolgain.common.characters import without_half_escapes

_NAMESPACE = re.compile(r"(?:functions?|tools?|default_api)[./:]")
"""Namespaces in which Harmony, Gemini and others show the functions to the model."""
_MARKUP_AFTER = re.compile(r"<\|.*|:[0-9]+\Z", re.DOTALL)
"""A special token that a parser left, or the number that Kimi's format gives to a call."""
MAX_DEPTH = 50
"""Maximum nesting depth of arguments. The harness's writer of scores fails at some hundreds."""
MAX_WRAPS = 3
"""Maximum number of layers of JSON text inside JSON text that are unwrapped."""


@dataclass(frozen=True)
class Call:
    """One tool call of an answer."""

    id: str
    name: str
    arguments: str
    """As the model wrote them: JSON text, or what should be."""


def read_calls(
    message: dict[str, object],
    changes: Changes,
    seed: str,
    text: str,
    offered: Collection[str] = (),
) -> tuple[Call, ...]:
    """The calls of a message.

    Args:
        seed: makes the ids of calls that have none.
        text: the whole response, to quote from where a call cannot be read.
        offered: names of the functions in the request, with `_` for each dot.

    Raises:
        MissingAnswerError: there are calls that have no reading.
    """
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
        raise MissingAnswerError("malformed", f"tool_calls is not a list: {beginning(text)}")
    calls: list[Call] = []
    taken: set[str] = set()
    for number, part in enumerate(value):
        calls.append(_call(part, changes, f"{seed}{number}", taken, text, offered))
        taken.add(calls[-1].id)
    return tuple(calls)


def _call(
    part: object,
    changes: Changes,
    seed: str,
    taken: set[str],
    text: str,
    offered: Collection[str],
) -> Call:
    if not isinstance(part, dict):
        raise MissingAnswerError("malformed", f"a tool call is not an object: {beginning(text)}")
    function = part.get("function")
    if isinstance(part.get("name"), str) and not isinstance(function, dict):
        changes.note("flat_tool_call")
        function = part
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str):
        raise MissingAnswerError("malformed", f"a tool call has no name: {beginning(text)}")
    if part.get("type") != "function":
        changes.note("tool_call_type")
    call_id = part.get("id")
    if not isinstance(call_id, str) or not call_id or call_id in taken:
        changes.note("tool_call_id")
        # Nine letters or digits, since some chat templates take no other.
        call_id = hashlib.sha256(seed.encode()).hexdigest()[:9]
    arguments = _arguments(function.get("arguments", function.get("parameters")), changes)
    return Call(changes.text(call_id), _name(changes.text(name), changes, offered), arguments)


def _name(name: str, changes: Changes, offered: Collection[str]) -> str:
    """The name, without what a format put around that of an offered function."""
    if not offered or _plain(name) in offered:
        return name
    bare = _MARKUP_AFTER.sub("", name)
    space = _NAMESPACE.match(bare)
    for found in (bare, bare[space.end() :] if space else bare):
        if _plain(found) in offered:
            changes.note("function_name")
            return found
    return name


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _arguments(value: object, changes: Changes) -> str:
    """Arguments as JSON text. What the model wrote as text stays as it is, right or wrong."""
    if value is None or (isinstance(value, str) and value.strip() in ("", "null")):
        changes.note("empty_arguments")
        return "{}"
    if isinstance(value, str):
        if value.startswith("\ufeff"):
            changes.note("byte_order_mark")
            value = value.removeprefix("\ufeff")
        if (inner := _unwrapped(value)) != value:
            changes.note("double_encoded_arguments")
            value = inner
        fixed = without_half_escapes(changes.text(value))
        if fixed != value:
            changes.note("lone_surrogate")
        return _bounded(fixed, changes)
    changes.note("arguments_object" if isinstance(value, dict) else "arguments_type")
    return _arguments(json.dumps(value), changes)


def _unwrapped(text: str) -> str:
    """The JSON object in text that is itself written as JSON text, however often; else `text`."""
    inner = text
    for _ in range(MAX_WRAPS):
        if not inner.lstrip().startswith('"'):
            return text
        try:
            value = json.loads(inner)
            if not isinstance(value, str):
                return text
            if isinstance(json.loads(value), dict):
                return value
        except (ValueError, RecursionError):
            return text
        inner = value
    return text


def _bounded(text: str, changes: Changes) -> str:
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
