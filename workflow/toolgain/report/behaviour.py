"""The table of how the models behave, from what the comparison measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from toolgain.records.comparison import Behaviour
from toolgain.report.wording import NO_VALUE, group, percent, points, whole_number

MEASURES = (
    ("calls", "Calls per answer, mean", "", 2),
    ("declines", "Declines, % of answers", "decline", 1),
    ("declines_of_wanted_calls", "Declines where a call was wanted, %", "decline", 1),
    ("calls_where_no_tool_fits", "Calls where no tool fits, %", "overcall", 1),
    ("unparsed_call", "Unparsed calls", "unparsed", 0),
    ("empty", "Empty answers", "", 0),
    ("truncated", "Answers cut at the token limit", "truncated", 0),
    ("forced_stop", "Forced stops", "forced-stop", 0),
    ("context_overflow", "Context overflows", "overflow", 0),
    ("prompt_tokens", "Prompt tokens per item, mean", "token", 0),
    ("completion_tokens", "Answer tokens per item, mean", "token", 1),
    ("tokens_per_solved", "Answer tokens per solved item", "token", 1),
    ("latency_median", "Latency per item, median s", "latency", 2),
    ("latency_95", "Latency per item, 95th percentile s", "percentile", 2),
)
"""Key in comparison.json, label, key of the glossary, decimals."""
Measures = Mapping[str, float | None]


@dataclass(frozen=True)
class BehaviourLine:
    """One measure before and after."""

    label: str
    term: str
    """Key of the glossary, or empty."""
    before: str
    after: str
    change: str


@dataclass(frozen=True)
class BehaviourTables:
    """The measures by group, and how many calls the single-turn answers hold."""

    tables: tuple[tuple[str, tuple[BehaviourLine, ...]], ...]
    calls: tuple[tuple[str, int, int], ...]
    """(number of calls, answers before, answers after) of the single-turn items."""


def behaviour(before: Behaviour | None, after: Behaviour | None) -> BehaviourTables | None:
    """The two models' behaviour side by side; None where one of them is not recorded."""
    if before is None or after is None:
        return None
    tables = tuple(
        (_title(scope), tuple(_lines(measures, after.scopes[scope])))
        for scope, measures in before.scopes.items()
        if scope in after.scopes
    )
    return BehaviourTables(tables, _calls(before.calls, after.calls)) if tables else None


def _title(scope: str) -> str:
    return "All items" if scope == "all" else group(scope)


def _lines(before: Measures, after: Measures) -> Iterable[BehaviourLine]:
    for key, label, term, digits in MEASURES:
        old, new = before.get(key), after.get(key)
        if old is not None or new is not None:
            yield BehaviourLine(
                label, term, _shown(old, digits), _shown(new, digits), _change(old, new, digits)
            )


def _shown(value: float | None, digits: int) -> str:
    if value is None:
        return NO_VALUE
    return percent(value, digits) if digits else whole_number(value)


def _change(old: float | None, new: float | None, digits: int) -> str:
    return NO_VALUE if old is None or new is None else points(new - old, digits)


def _calls(old: Sequence[int], new: Sequence[int]) -> tuple[tuple[str, int, int], ...]:
    if not old or len(old) != len(new):
        return ()
    most = len(old) - 1
    names = [*map(str, range(most)), f"{most} or more"]
    return tuple(zip(names, old, new, strict=True))
