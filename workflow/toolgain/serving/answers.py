"""Read a model's answer into text and tool calls: in the server and in the reward alike.

Runs in the TRL environment. What opens and closes a call, `toolgain.models.response_templates`
says; the parser is transformers' (`tokenizer.parse_response`).
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from toolgain.common.errors import UserError
from toolgain.models.response_templates import (
    KNOWN_TO_TRANSFORMERS,
    NAMED,
    PROBE_ARGUMENTS,
    PROBE_NAME,
    PROBE_TOOL,
    ResponseTemplate,
    recognised_template,
    written_call,
)


@dataclass(frozen=True)
class ReadCall:
    """A tool call whose arguments are a JSON object."""

    name: str
    arguments: dict[str, object]


@dataclass(frozen=True)
class Reading:
    """What an answer says."""

    text: str
    thought: str | None
    calls: tuple[ReadCall, ...]


class AnswerReader:
    """Reads answers in the form that a model writes them."""

    def __init__(self, tokenizer: Any, template: ResponseTemplate, endings: Collection[int]):
        self._tokenizer, self._template = tokenizer, template
        self._endings = frozenset(endings)
        calls = template["fields"]["tool_calls"]
        opens, closes = _mark(calls, "open"), _mark(calls, "close")
        self._opens, self._closes = re.compile(opens), re.compile(closes)
        marks = [opens, closes] if "close" in calls else [opens]
        self._marks = re.compile("|".join(marks))

    def read(self, ids: Sequence[int], prompt: Any, tools: Any) -> Reading | None:
        """The answer in `ids`, or None where its calls cannot be read.

        Args:
            ids: tokens of the answer, with or without its ending.
            prompt: text or tokens before it.
            tools: the tools offered, in OpenAI's form.
        """
        kept = [token for token in ids if token not in self._endings]
        return self.read_text(str(self._tokenizer.decode(kept)), prompt, tools)

    def read_text(self, text: str, prompt: Any, tools: Any) -> Reading | None:
        """As `read`, from text."""
        try:
            found = self._tokenizer.parse_response(text, self._template, prefix=prompt, tools=tools)
            calls = tuple(_call(entry) for entry in _flat(found.get("tool_calls") or []))
            if calls and not self._all_closed(text):
                return None
        except Exception:
            # A model may write anything, and every part of the parser says no in a way of its own.
            return None
        thoughts = (found.get(name) for name in ("reasoning_content", "thinking"))
        thought = next((one for one in thoughts if one is not None), None)
        return Reading(str(found.get("content") or ""), thought, calls)

    def _all_closed(self, text: str) -> bool:
        """Whether each call was closed; transformers' parser takes the end of an answer for it."""
        said = text.rpartition("</think>")[2]
        return len(self._opens.findall(said)) <= len(self._closes.findall(said))

    def half_a_call(self, text: str) -> bool:
        """Whether `text` holds what opens or closes a call."""
        return bool(self._marks.search(text))


def reader(tokenizer: Any, model_type: str, endings: Collection[int]) -> AnswerReader:
    """The reader of a model's answers, proven on a call that its own chat template writes.

    Args:
        tokenizer: the model's; its `response_template` is set, for what else reads answers.
        model_type: of the model's config.
        endings: tokens that end an answer.

    Raises:
        UserError: nothing reads the model's calls.
    """
    source, tokens = _chat_template(tokenizer), dict(tokenizer.special_tokens_map)
    written = written_call(source, tokens)
    template = getattr(tokenizer, "response_template", None)
    if template is None and (name := recognised_template(source, tokens)):
        template = NAMED[name]
    if template is None and KNOWN_TO_TRANSFORMERS.fullmatch(model_type):
        from transformers.cli.serving.utils import _RESPONSE_TEMPLATE_FALLBACKS

        template = next(
            (one for types, one in _RESPONSE_TEMPLATE_FALLBACKS.items() if model_type in types),
            None,
        )
    if template is None:
        raise UserError(
            "nothing reads the tool calls of this model; set model.response_template to one of "
            f"{', '.join(NAMED)}, or to a JSON file with one"
        )
    found = AnswerReader(tokenizer, template, endings)
    if written is not None:
        reading = found.read_text(_without_endings(tokenizer, written, endings), "", [PROBE_TOOL])
        if reading is None or reading.calls != (ReadCall(PROBE_NAME, PROBE_ARGUMENTS),):
            raise UserError(
                "the model's response_template does not read the call that its chat template "
                f"writes, {written[:200]!r} (read: {reading}); set model.response_template"
            )
    tokenizer.response_template = template
    return found


def _without_endings(tokenizer: Any, text: str, endings: Collection[int]) -> str:
    for token in endings:
        mark = str(tokenizer.decode([token]))
        text = text.partition(mark)[0] if mark else text
    return text


def _chat_template(tokenizer: Any) -> str:
    try:
        return str(tokenizer.get_chat_template(tools=[PROBE_TOOL]))
    except ValueError as error:
        raise UserError(f"model.path: {error}") from None


def _flat(entries: Sequence[Any]) -> list[Any]:
    """One list of calls: a template that reads several blocks of several gives lists in a list."""
    parts = [entry if isinstance(entry, list) else [entry] for entry in entries]
    return [entry for part in parts for entry in part]


def _call(entry: Any) -> ReadCall:
    """A call in transformers' form.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    function = entry["function"]
    name, arguments = function["name"], function["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError("no name with an object of arguments")
    return ReadCall(name, arguments)


def _mark(calls: ResponseTemplate, which: str) -> str:
    """What opens or closes a call, as a regular expression."""
    if pattern := calls.get(f"{which}_pattern"):
        return str(pattern)
    literal = calls.get(which)
    if literal is None:
        return r"\Z"
    return "|".join(map(re.escape, [literal] if isinstance(literal, str) else literal))
