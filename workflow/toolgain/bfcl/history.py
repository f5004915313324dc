"""Conversations as servers take them: what the model wrote before goes back without its faults.

A server reads the calls of earlier turns again, and refuses the whole request where arguments are
no JSON object, or where its chat template cannot show several calls of one answer. So such parts
are written in another way that says the same. It is done for every model and server alike.
"""

import json
from collections.abc import Sequence

Message = dict[str, object]


def has_calls(messages: Sequence[Message]) -> bool:
    """Whether the conversation holds a call, or an answer that could have been one."""
    return any(message.get("role") == "assistant" for message in messages)


def kind_of_history(messages: Sequence[Message]) -> str:
    """What a conversation holds of earlier answers, as far as servers treat it in different ways:
    `call`, `call without text`, `text`, or nothing."""
    called = [message for message in messages if _calls(message)]
    if called:
        silent = any(not message.get("content") for message in called)
        return "call without text" if silent else "call"
    return "text" if has_calls(messages) else ""


def sendable(messages: Sequence[Message]) -> tuple[list[Message], bool]:
    """The conversation with unreadable calls as text.

    The harness executes none of the calls of an answer where the arguments of one are not an
    object. So neither of them has a result, and the whole answer is the text that the model wrote.

    Returns:
        The messages, and whether any was changed.
    """
    sent = [_as_text(message) if _is_unreadable(message) else message for message in messages]
    return sent, any(a is not b for a, b in zip(sent, messages, strict=True))


def one_call_each(messages: Sequence[Message]) -> list[Message] | None:
    """The conversation with each call in an answer of its own, followed by its result.

    Returns:
        None where no answer holds several calls.
    """
    sent: list[Message] = []
    results = {
        str(message.get("tool_call_id")): message
        for message in messages
        if message.get("role") == "tool"
    }
    moved: set[int] = set()
    changed = False
    for message in messages:
        calls = _calls(message)
        found = [results.get(str(call.get("id"))) for call in calls]
        if len(calls) > 1 and all(found) and len({id(one) for one in found}) == len(calls):
            changed = True
            for number, (call, result) in enumerate(zip(calls, found, strict=True)):
                assert result is not None
                content = message.get("content") if number == 0 else ""
                sent += [{**message, "content": content, "tool_calls": [call]}, result]
                moved.add(id(result))
        elif id(message) not in moved:
            sent.append(message)
    return sent if changed else None


def _calls(message: Message) -> list[dict[str, object]]:
    calls = message.get("tool_calls")
    if message.get("role") != "assistant" or not isinstance(calls, list):
        return []
    return [call for call in calls if isinstance(call, dict)]


def _is_unreadable(message: Message) -> bool:
    return any(not _is_object(_function(call).get("arguments")) for call in _calls(message))


def _function(call: dict[str, object]) -> dict[str, object]:
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def _is_object(arguments: object) -> bool:
    try:
        return isinstance(arguments, str) and isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False


def _as_text(message: Message) -> Message:
    written = [str(message.get("content") or "")]
    for call in _calls(message):
        function = _function(call)
        written.append(f"{function.get('name')} {function.get('arguments')}")
    text = "\n".join(filter(None, written))
    return {**{k: v for k, v in message.items() if k != "tool_calls"}, "content": text}
