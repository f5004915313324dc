"""The reward of an answer: its tool calls, compared exactly with the expected ones.

    right decision, everything exact                  1
    call expected, calls made but not exact           0 to 0.8: names, argument names, values
    decline expected, call made                      -0.6
    call expected, none made                         -1
    unreadable tool call, empty or unfinished answer -1

A refusal in the wrong place costs as much as a call that cannot be read: if it cost less, a model
whose calls often fail would learn to refuse in place of learning to call. A call in the wrong place
costs so much that calling everything earns half of what deciding well earns, over a set of tasks
with a third of declines. Each call is matched with one expected call at most
and the sum is divided by the larger number of calls, so that repeating or adding calls costs.
Accuracy is 1 for an exact answer and 0 for any other. Standard library only: this runs in the
trainer's environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NEEDLESS_CALL = -0.6
WRONG_REFUSAL = -1.0
UNREADABLE = -1.0
NAME_SHARE, KEYS_SHARE, VALUES_SHARE = 0.3, 0.2, 0.3
"""What a call that is not exact can earn: the right function, argument names, and values."""


@dataclass(frozen=True)
class Answer:
    """A parsed completion: its calls, the text around them, and how many blocks were unreadable."""

    calls: tuple[dict[str, Any], ...]
    text: str
    unreadable: int


@dataclass(frozen=True)
class Score:
    """Reward in [-1, 1]; `exact` is the task's accuracy; `called`: whether any call was made."""

    reward: float
    exact: bool
    called: bool


def same_value(given: Any, expected: Any) -> bool:
    """Whether a JSON value has the expected type and value; 5 may stand for 5.0."""
    if isinstance(expected, bool) or isinstance(given, bool):
        return given is expected
    if isinstance(expected, float):
        # Not float(given): a whole number of 400 digits is too large for one.
        return isinstance(given, int | float) and given == expected
    if type(given) is not type(expected):
        return False
    if isinstance(expected, list):
        return len(given) == len(expected) and all(map(same_value, given, expected))
    if isinstance(expected, dict):
        return given.keys() == expected.keys() and all(
            same_value(given[key], expected[key]) for key in expected
        )
    return bool(given == expected)


def same_call(given: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether function name, argument names, types and values are all as expected."""
    return given["name"] == expected["name"] and same_value(
        given["arguments"], expected["arguments"]
    )


def call_credit(given: dict[str, Any], expected: dict[str, Any]) -> float:
    """What one call earns against one expected call: 1 if exact, else at most 0.8."""
    if same_call(given, expected):
        return 1.0
    if given["name"] != expected["name"]:
        return 0.0
    keys, wanted = set(given["arguments"]), set(expected["arguments"])
    most = max(len(keys), len(wanted), 1)
    right = sum(
        same_value(given["arguments"][key], expected["arguments"][key]) for key in keys & wanted
    )
    return NAME_SHARE + KEYS_SHARE * len(keys & wanted) / most + VALUES_SHARE * right / most


def score_answer(expected: Sequence[dict[str, Any]], answer: Answer, finished: bool) -> Score:
    """Score an answer that was read, in whatever markup, against the expected calls."""
    called = bool(answer.calls)
    if answer.unreadable or not finished or (not called and not answer.text):
        return Score(UNREADABLE, False, called)
    if called != bool(expected):
        return Score(NEEDLESS_CALL if called else WRONG_REFUSAL, False, called)
    if not expected:
        return Score(1.0, True, False)
    left = list(answer.calls)
    total = 0.0
    for wanted in expected:
        if not left:
            break
        best = max(left, key=lambda call: call_credit(call, wanted))
        total += call_credit(best, wanted)
        left.remove(best)
    reward = total / max(len(expected), len(answer.calls))
    return Score(reward, reward == 1.0, True)
