"""Reassemble an answer that a server streams though no stream was requested.

Some gateways ignore `stream: false` and send server-sent events. Their parts have one reading, as
long as the stream is whole: one that ends without a finish reason was cut.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

Body = dict[str, object]
_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
_FIELDS = ("data", "event", "id", "retry")


def looks_streamed(text: str) -> bool:
    """Whether `text` is written as server-sent events."""
    first = text.lstrip()[:20]
    return first.startswith(":") or first.partition(":")[0] in _FIELDS


def events(text: str) -> list[Body] | None:
    """The JSON objects that the events hold; None where an event is not a JSON object."""
    found: list[Body] = []
    for block in text.replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        lines = block.split("\n")
        data = "\n".join(line[5:].strip() for line in lines if line.startswith("data:"))
        if not data:
            # A comment, such as a sign of life; or the whole body after one.
            data = "\n".join(line for line in lines if not _is_field(line))
        if not data.strip():
            continue
        if data == "[DONE]":
            break
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        found.append(value)
    return found


def _is_field(line: str) -> bool:
    return line.startswith(":") or line.partition(":")[0] in _FIELDS


def joined(parts: Iterable[Body]) -> Body | None:
    """The chat completion that the chunks of a stream make up.

    Returns:
        None where they are no such stream, or not a whole one. A chunk that holds an error or a
        whole message stands for all.
    """
    answer = _StreamedMessage()
    whole: Body = {}
    finish: object = None
    for part in parts:
        if part.get("error"):
            return part
        whole |= {key: part[key] for key in ("model", "usage") if part.get(key)}
        choices = part.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if choice is None:
            continue
        if not isinstance(choice, dict) or finish is not None:
            return None
        if isinstance(choice.get("message"), dict):
            return part
        delta = choice.get("delta")
        if delta is not None and not answer.add(delta):
            return None
        finish = choice.get("finish_reason")
    if finish is None:
        return None
    choice = {"index": 0, "message": answer.message(), "finish_reason": finish}
    return {**whole, "choices": [choice]}


@dataclass
class _StreamedCall:
    id: object
    name: object
    arguments: list[str] = field(default_factory=list)


@dataclass
class _StreamedMessage:
    """A message that grows."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: list[_StreamedCall] = field(default_factory=list)
    by_index: dict[int, _StreamedCall] = field(default_factory=dict)
    by_id: dict[str, _StreamedCall] = field(default_factory=dict)

    def message(self) -> Body:
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(call.arguments)},
            }
            for call in self.calls
        ]
        texts = {name: "".join(parts) for name, parts in self.texts.items()}
        return {"role": "assistant", **texts, **({"tool_calls": calls} if calls else {})}

    def add(self, delta: object) -> bool:
        """Add a chunk's part; false where it has no place."""
        if not isinstance(delta, dict):
            return False
        for name in _TEXTS:
            value = delta.get(name)
            if value is None:
                continue
            if not isinstance(value, str):
                return False
            self.texts.setdefault(name, []).append(value)
        calls = delta.get("tool_calls") or []
        return isinstance(calls, list) and all(map(self._add_call, calls))

    def _add_call(self, part: object) -> bool:
        function = part.get("function") if isinstance(part, dict) else None
        if not isinstance(part, dict) or not isinstance(function, dict):
            return False
        call = self._call_of(part.get("index"), part.get("id"), function.get("name"))
        arguments = function.get("arguments")
        if call is None or not isinstance(arguments, str | None):
            return False
        if arguments:
            call.arguments.append(arguments)
        return True

    def _call_of(self, index: object, call_id: object, name: object) -> _StreamedCall | None:
        """The call that a part belongs to: by its index; else by its id, or as a nameless rest."""
        call = None
        if isinstance(index, int):
            call = self.by_index.get(index)
            if call and name and call_id and call_id != call.id:
                # Some servers give each call of an answer the same index, and another id.
                call = None
        elif isinstance(call_id, str) and call_id:
            call = self.by_id.get(call_id)
        elif not name and self.calls:
            call = self.calls[-1]
        if call is None:
            if not name:
                return None
            call = _StreamedCall(call_id, name)
            self.calls.append(call)
        if isinstance(index, int):
            self.by_index[index] = call
        if isinstance(call_id, str) and call_id:
            self.by_id[call_id] = call
        return call
