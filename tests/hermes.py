"""Answers in Hermes markup, read and scored: the shortest way to write an answer for the reward.

The trainer reads answers with the parser that serves them (`toolgain.serving.answers`).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from toolgain.tasks.reward import Answer, Score, score_answer

_BLOCK = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


def parse(completion: str) -> Answer:
    """Read the `<tool_call>` blocks of a completion (special end tokens are dropped)."""
    completion = re.sub(r"<\|[a-z_]+\|>", "", completion)
    calls: list[dict[str, Any]] = []
    unreadable = 0
    # No block ends later; without this cut, each `<tool_call>` would look to the end for one.
    cut = completion.rfind("</tool_call>") + len("</tool_call>")
    blocks, rest = (
        (completion[:cut], completion[cut:]) if "</tool_call>" in completion else ("", completion)
    )
    for block in _BLOCK.findall(blocks):
        try:
            call = json.loads(block)
        except (ValueError, RecursionError):
            unreadable += 1
            continue
        if (
            isinstance(call, dict)
            and set(call) == {"name", "arguments"}
            and isinstance(call["name"], str)
            and isinstance(call["arguments"], dict)
        ):
            calls.append(call)
        else:
            unreadable += 1
    text = (_BLOCK.sub("", blocks) + rest).strip()
    # A block that was opened and never closed, or closed and never opened.
    unreadable += text.count("<tool_call>") or text.count("</tool_call>")
    return Answer(tuple(calls), text, unreadable)


def score(task: Mapping[str, Any], completion: str, finished: bool = True) -> Score:
    """Score one completion in Hermes markup of a task (a line of train.jsonl, or anything with
    "expected").

    `finished` is false if the completion was cut at the length limit.
    """
    return score_answer(task["expected"], parse(completion), finished)
