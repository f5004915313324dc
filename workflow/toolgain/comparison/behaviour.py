"""How a model behaves: calls, declines, tokens and latency, apart from right and wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from toolgain.bfcl.categories import CATEGORIES, GROUPS, MUST_NOT_CALL, group_of
from toolgain.bfcl.outcomes import (
    CONTEXT_OVERFLOW,
    EMPTY,
    FORCED_STOP,
    TRUNCATED,
    UNPARSED_CALL,
)
from toolgain.records.comparison import Behaviour

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

ALL = "all"
"""The scope of all items, beside the groups."""
OWN_FLAGS = (UNPARSED_CALL, EMPTY, TRUNCATED, FORCED_STOP, CONTEXT_OVERFLOW)
"""The flags that are behaviour, and no fault of the measurement."""
MOST_CALLS = 5
"""Answers with this many calls or more are counted together."""


@dataclass(frozen=True)
class AnswerColumns:
    """What the answers to n items are like, apart from right and wrong.

    With repeats, `calls` and `flags` are those of the first answer; the others are means.
    """

    category: Ints
    """(n,) position in CATEGORIES."""
    flags: Sequence[Sequence[str]]
    calls: Ints
    """(n,) number of tool calls."""
    right: Floats
    """(n,) share of the repeats that were right."""
    prompt_tokens: Floats
    completion_tokens: Floats
    latency: Floats
    """(n,) seconds."""

    def of(self, items: Sequence[int]) -> "AnswerColumns":
        """Those to some of the items."""
        return AnswerColumns(
            self.category[items],
            [self.flags[item] for item in items],
            self.calls[items],
            self.right[items],
            self.prompt_tokens[items],
            self.completion_tokens[items],
            self.latency[items],
        )


_NONE = np.zeros(0)
NO_ANSWERS = AnswerColumns(
    np.zeros(0, np.intp), (), np.zeros(0, np.intp), _NONE, _NONE, _NONE, _NONE
)


def measured(answers: AnswerColumns) -> Behaviour:
    """The measures of one model.

    Returns:
        `scopes`: by `all` and group, each measure or None where there is nothing to measure;
        shares in percent, times in seconds. `calls`: how many single-turn answers hold 0, 1, ...
        calls, the last `MOST_CALLS` or more.
    """
    group = np.array([GROUPS.index(group_of(name)) for name in CATEGORIES])[answers.category]
    quiet = np.array([name in MUST_NOT_CALL for name in CATEGORIES])[answers.category]
    scopes = {ALL: np.ones(len(group), dtype=bool)}
    scopes |= {name: group == number for number, name in enumerate(GROUPS)}
    single = np.minimum(answers.calls[~scopes["multi_turn"]], MOST_CALLS)
    return Behaviour(
        scopes={
            name: _measures(answers, scope, quiet) for name, scope in scopes.items() if scope.any()
        },
        calls=np.bincount(single, minlength=MOST_CALLS + 1).tolist(),
    )


def _measures(answers: AnswerColumns, scope: Bools, quiet: Bools) -> dict[str, float | None]:
    calls, solved = answers.calls[scope], float(answers.right[scope].sum())
    declined = calls == 0
    flags = [carried for carried in compress(answers.flags, scope) if carried]
    tokens, latency = answers.completion_tokens[scope], answers.latency[scope]
    return {
        "calls": _mean(calls),
        "declines": _percent(declined),
        "declines_of_wanted_calls": _percent(declined[~quiet[scope]]),
        "calls_where_no_tool_fits": _percent(~declined[quiet[scope]]),
        **{name: sum(name in carried for carried in flags) for name in OWN_FLAGS},
        "prompt_tokens": _mean(answers.prompt_tokens[scope]),
        "completion_tokens": _mean(tokens),
        "tokens_per_solved": float(tokens.sum()) / solved if solved and tokens.any() else None,
        "latency_median": float(np.median(latency)) if latency.any() else None,
        "latency_95": _slowest(latency) if latency.any() else None,
    }


def _mean(values: Floats | Ints) -> float | None:
    # A harness folder that others made holds no counts: zeros everywhere.
    return float(values.mean()) if values.any() else None


def _percent(values: Bools) -> float | None:
    return 100 * float(values.mean()) if len(values) else None


def _slowest(values: Floats) -> float:
    """The 95th percentile: the value that 5 % of the items exceed."""
    place = min(len(values) - 1, int(0.95 * len(values)))
    return float(np.partition(values, place)[place])
