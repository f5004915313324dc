"""Prompts of Gym's rows as the model's template writes them: do they fit, and do turns stay as is?

A prompt beyond `policy.max_total_sequence_length` comes back from NeMo RL's server as an empty
answer with reward 0 and no error anywhere. A template that rewrites an earlier turn once
another one follows breaks the training on several steps (NeMo Gym issue 1416).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolgain.common.errors import StageError
from toolgain.models.rendering import CannotRenderError, render
from toolgain.models.token_counts import count_tokens
from toolgain.training.nemo_rl.lint import Finding

LONGEST = 20
"""Rows of a file that are rendered and counted: those with the most characters."""


def conversation(row: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Messages and tools of a row in the form of chat completions, as Gym's model server asks."""
    asked = row["responses_create_params"]
    given = asked["input"]
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    messages = [message for item in given if (message := _message(item))]
    if asked.get("instructions"):
        messages.insert(0, {"role": "system", "content": asked["instructions"]})
    tools = [
        {
            "type": "function",
            "function": {name: value for name, value in tool.items() if name != "type"},
        }
        for tool in asked.get("tools") or []
    ]
    return messages, tools


def _message(item: Mapping[str, Any]) -> dict[str, Any] | None:
    if item.get("type") == "function_call":
        call = {"name": item.get("name"), "arguments": _arguments(item.get("arguments"))}
        calls = [{"id": item.get("call_id"), "type": "function", "function": call}]
        return {"role": "assistant", "content": "", "tool_calls": calls}
    if item.get("type") == "function_call_output":
        output = str(item.get("output", ""))
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": output}
    if "role" not in item:
        return None
    content = item.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content)
    return {"role": item["role"], "content": content or ""}


def _arguments(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def lengths(
    files: Iterable[Sequence[Mapping[str, Any]]],
    template: str,
    tokens: Mapping[str, str],
    tokenizer: Path,
    python: Path,
    limit: int,
) -> Finding:
    """Whether the longest first prompts leave room for an answer.

    Args:
        files: The rows of each data file.
        template: The chat template that the training uses.
        tokens: The model's special tokens by name.
        tokenizer: The model's tokenizer.json.
        python: A Python that has `tokenizers`.
        limit: policy.max_total_sequence_length.
    """
    name = "prompt lengths"
    longest = [
        row
        for rows in files
        for row in sorted(rows, key=lambda row: -len(json.dumps(row["responses_create_params"])))[
            :LONGEST
        ]
    ]
    try:
        texts = [render(template, tokens, *conversation(row), True) for row in longest]
    except CannotRenderError as error:
        return Finding(name, False, f"the model's chat template refuses a row of the data: {error}")
    try:
        counts = count_tokens(texts, tokenizer, python)
    except StageError as error:
        return Finding(name, True, f"not counted, {error}")
    most, over = max(counts), sum(count >= limit for count in counts)
    if over:
        return Finding(
            name,
            False,
            f"{over} of the {len(counts)} longest rows have prompts of {limit} tokens "
            f"(policy.max_total_sequence_length) and more, the longest {most}: NeMo RL answers "
            "them with nothing and reward 0, without an error; raise "
            "training.nemo_rl.max_total_sequence_length, or take these rows out.",
        )
    return Finding(
        name,
        True,
        f"the longest first prompt has {most} of {limit} tokens; {limit - most} are left for "
        "answers and tool results",
    )


def two_turns(template: str, tokens: Mapping[str, str]) -> Finding:
    """Whether what the template wrote of a conversation stays as it was when the next turn comes.

    NeMo RL puts the tokens that the model really wrote into the place of the template's, up to the
    last answer: the text up to there must be the beginning of the text with more turns.
    """
    name = "earlier turns"
    try:
        for kind, turns in _conversations(template).items():
            for end, turn in enumerate(turns, start=1):
                if turn["role"] != "assistant" or end == len(turns):
                    continue
                before = render(template, tokens, turns[:end], _TOOLS, False)
                after = render(template, tokens, turns[: end + 1], _TOOLS, True)
                if not after.startswith(before.rstrip()):
                    at = _first_difference(before, after)
                    return Finding(
                        name,
                        False,
                        f"the chat template rewrites an earlier turn when a tool's result "
                        f"follows ({kind}): {before[at : at + 60]!r} becomes "
                        f"{after[at : at + 60]!r}. NeMo RL would end in its first rollout of "
                        "several steps, or train on other tokens than were sampled; use "
                        "model.patch or a model.chat_template that keeps them.",
                    )
    except CannotRenderError as error:
        return Finding(
            name, False, f"the chat template refuses calls and results of tools: {error}"
        )
    return Finding(name, True, "calls and results of tools stay as they were written")


_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Looks up.",
            "parameters": {"type": "object", "properties": {"what": {"type": "string"}}},
        },
    }
]


def _conversations(template: str) -> dict[str, list[dict[str, Any]]]:
    """Two calls and their results; also with thoughts where the template knows them."""
    found = {"calls": _turns("")}
    if "think>" in template:
        found["calls with thoughts"] = _turns("<think>\nFirst this.\n</think>\n\n")
    return found


def _turns(thought: str) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where is it?"},
    ]
    for number in (1, 2):
        call = {"name": "look_up", "arguments": {"what": f"it {number}"}}
        calls = [{"id": f"call_{number}", "type": "function", "function": call}]
        turns += [
            {"role": "assistant", "content": thought, "tool_calls": calls},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": f"place {number}"},
        ]
    return turns


def _first_difference(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    same = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    return max(0, same - 20)
