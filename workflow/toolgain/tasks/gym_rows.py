"""Tasks as rows of NeMo Gym's environment `xlam_fc`, so that NVIDIA's verifier judges them.

Its verifier gives 1 where the calls are the expected ones, in any order, and 0 otherwise; expecting
none, it gives 1 where none is made. An argument beyond the expected ones costs nothing there, and
5.0 is 5; toolgain's own reward is stricter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from toolgain.tasks.generated.task import Task

FOLDER = "gym"
"""Where the rows lie, beside train.jsonl and validation.jsonl and under the same names."""
AGENT = "xlam_fc_simple_agent"
"""The agent of Gym's xlam_fc.yaml."""

Item = dict[str, object]
"""A JSON object of OpenAI's Responses API."""


def row(number: int, task: Task) -> Item:
    """One task as a row that Gym's agent plays.

    Args:
        number: Its place in the file; Gym wants a number as its id.
        task: The task.
    """
    return {
        "id": number,
        "task_id": task.id,
        "kind": task.kind,
        "responses_create_params": {
            "input": list(_input(task)),
            "tools": [_tool(tool["function"]) for tool in task.tools],
        },
        "expected_answers": list(task.expected),
        "agent_ref": {"type": "responses_api_agents", "name": AGENT},
    }


def _tool(function: Item) -> Item:
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    known: Item = {name: function[name] for name in ("name", "description") if name in function}
    return {"type": "function", "strict": False, **known, "parameters": parameters}


def _input(task: Task) -> Iterator[Item]:
    """The conversation: an earlier call and its answer are items of their own there."""
    waiting: list[str] = []
    for place, message in enumerate(task.as_json()["prompt"]):
        if message["role"] == "tool":
            answered = message.get("tool_call_id") or (waiting.pop(0) if waiting else "call")
            output = {"call_id": answered, "output": message["content"]}
            yield {"type": "function_call_output", **output}
            continue
        calls = message.get("tool_calls") or []
        if message["content"] or not calls:
            yield {"role": message["role"], "content": message["content"]}
        for index, call in enumerate(calls):
            call_id = call.get("id") or f"call-{place}-{index}"
            waiting.append(call_id)
            arguments = json.dumps(call["function"]["arguments"])
            yield {
                "type": "function_call",
                "call_id": call_id,
                "name": call["function"]["name"],
                "arguments": arguments,
            }
