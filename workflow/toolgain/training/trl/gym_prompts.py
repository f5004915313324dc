"""The prompts of NeMo Gym's rows before anything is played: too long ones are found at once.

Gym's model server turns the items of a row (OpenAI's Responses API) into chat messages. The same is
done here for the first request of each row. An agent may add to it, so that a prompt is measured
once more when it is played.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from toolgain.common.errors import UserError
from toolgain.environments.chat_endpoint import Body
from toolgain.environments.rollouts import Row
from toolgain.training.trl.context import Context
from toolgain.training.trl.episodes import Split


def row_name(split: Split, number: int) -> str:
    """What a row is called in messages: its line in its file."""
    return f"row {number + 1} of the {split} rows"


def first_request(row: Row) -> Body:
    """The chat completion request with which a rollout of this row begins.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: Gym cannot play such a row, and says why.
    """
    asked: Any = row["responses_create_params"]
    given = asked["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages: list[dict[str, Any]] = []
    for item in items:
        _add(messages, item)
    tools = [
        {"type": "function", "function": {k: v for k, v in tool.items() if k not in NOT_OF_CHAT}}
        for tool in asked.get("tools") or []
    ]
    kwargs = (asked.get("metadata") or {}).get("chat_template_kwargs")
    body: Body = {"messages": messages, "tools": tools}
    return body | ({"chat_template_kwargs": json.loads(kwargs)} if kwargs else {})


NOT_OF_CHAT = ("type", "strict")
"""Keys of a tool that Gym's model server leaves out."""


def _add(messages: list[dict[str, Any]], item: Mapping[str, Any]) -> None:
    """One item of a row; what an assistant says and calls in a row is one message."""
    kind = item.get("type") or "message"
    if kind == "function_call_output":
        content = {"tool_call_id": item["call_id"], "content": item["output"]}
        messages.append({"role": "tool", **content})
        return
    if kind == "message" and item["role"] != "assistant":
        messages.append({"role": item["role"], "content": item["content"]})
        return
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": "", "tool_calls": []})
    if kind == "function_call":
        function = {"name": item["name"], "arguments": item["arguments"]}
        call = {"id": item["call_id"], "type": "function", "function": function}
        messages[-1]["tool_calls"].append(call)
    elif kind == "message":
        said = item["content"]
        text = said if isinstance(said, str) else "".join(part["text"] for part in said)
        messages[-1]["content"] += text
    else:
        raise ValueError(kind)


def check_prompts(
    prompt: Callable[[Body], Sequence[int]],
    rows: Mapping[Split, Sequence[Row]],
    played: Iterable[tuple[Split, int]],
    context: Context,
) -> None:
    """Refuse rows whose prompt leaves no room for an answer.

    Args:
        prompt: The tokens before the answer to a request (`GymChat.prompt`).
        rows: The rows of each file.
        played: Those that the training plays.
        context: The model's.

    Raises:
        UserError: names the first such row.
    """
    for split, number in played:
        try:
            body = first_request(rows[split][number])
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        if not context.holds(length := len(prompt(body))):
            raise UserError(context.refusal(row_name(split, number), length))
