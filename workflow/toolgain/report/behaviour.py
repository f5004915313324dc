"""How the model behaves: calls, declines, tokens and latency, apart from right and wrong."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from toolgain.bfcl.categories import GROUPS, MUST_NOT_CALL, group_of
from toolgain.report.sources import Outcome
from toolgain.report.wording import NO_VALUE, count, group, number, percent, points

MOST_CALLS = 5
"""Answers with this many calls or more share a bar."""


@dataclass(frozen=True)
class Line:
    """One measure before and after."""

    label: str
    term: str
    """Key of the glossary, or empty."""
    before: str
    after: str
    change: str


@dataclass(frozen=True)
class Behaviour:
    """The measures by group, and how many calls the single-turn answers hold."""

    tables: tuple[tuple[str, tuple[Line, ...]], ...]
    calls: tuple[tuple[str, int, int], ...]
    """(number of calls, answers before, answers after) of the single-turn items."""


Columns = Mapping[str, Sequence[Any]]
"""The fields of outcomes, each over all of them."""
Measure = Callable[[Columns], float | None]


@dataclass(frozen=True)
class Measured:
    """The measures of one model, as numbers."""

    scopes: Mapping[str, tuple[float | None, ...]]
    """All items and each group that has items: a value for each of the measures."""
    calls: Counter[int]


def measured(outcomes: Iterable[Outcome]) -> Measured:
    """Measure the behaviour of one model, over all items and by group."""
    every = list(outcomes)
    scopes: dict[str, list[Outcome]] = {"All items": every, **{group(name): [] for name in GROUPS}}
    for outcome in every:
        scopes[group(group_of(outcome.category))].append(outcome)
    return Measured(
        {
            name: _values(dict(zip(Outcome._fields, zip(*part, strict=True), strict=True)))
            for name, part in scopes.items()
            if part
        },
        _histogram(every),
    )


def _values(outcomes: Columns) -> tuple[float | None, ...]:
    return tuple(measure(outcomes) for _, _, measure, _ in _MEASURES)


def behaviour(before: Measured, after: Measured) -> Behaviour:
    """Compare the behaviour of the two models on the same items."""
    return Behaviour(
        tuple(
            (name, tuple(_lines(old, after.scopes[name]))) for name, old in before.scopes.items()
        ),
        _calls(before.calls, after.calls),
    )


def _lines(before: Sequence[float | None], after: Sequence[float | None]) -> Iterable[Line]:
    for (label, term, _, digits), old, new in zip(_MEASURES, before, after, strict=True):
        if old is None and new is None:
            continue
        yield Line(label, term, _shown(old, digits), _shown(new, digits), _change(old, new, digits))


def _shown(value: float | None, digits: int) -> str:
    if number(value) is None:
        return NO_VALUE
    return percent(value, digits) if digits else count(value)


def _change(old: float | None, new: float | None, digits: int) -> str:
    return NO_VALUE if old is None or new is None else points(new - old, digits)


def _calls(old: Counter[int], new: Counter[int]) -> tuple[tuple[str, int, int], ...]:
    if not old and not new:
        return ()
    names = [*map(str, range(MOST_CALLS)), f"{MOST_CALLS} or more"]
    return tuple((name, old[calls], new[calls]) for calls, name in enumerate(names))


def _histogram(outcomes: Sequence[Outcome]) -> Counter[int]:
    return Counter(
        min(outcome.calls, MOST_CALLS)
        for outcome in outcomes
        if outcome.calls is not None and group_of(outcome.category) != "multi_turn"
    )


def _flag(name: str) -> Measure:
    return lambda outcomes: sum(name in flags for flags in filter(None, outcomes["flags"]))


def _share(declined: bool, of: Callable[[str], bool]) -> Measure:
    """The share of the answers in the categories `of` that hold no call, or that hold one."""

    def measure(outcomes: Columns) -> float | None:
        pairs = zip(outcomes["calls"], outcomes["category"], strict=True)
        chosen = [calls for calls, category in pairs if calls is not None and of(category)]
        none = chosen.count(0)
        return 100 * (none if declined else len(chosen) - none) / len(chosen) if chosen else None

    return measure


def _average(attribute: str, average: Callable[[list[float]], float] = fmean) -> Measure:
    def measure(outcomes: Columns) -> float | None:
        values = [value for value in outcomes[attribute] if value is not None]
        # A harness folder that others made holds no counts: zeros everywhere.
        return average(values) if any(values) else None

    return measure


def _slowest(values: list[float]) -> float:
    """The 95th percentile: the value that 5 % of the items exceed."""
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def _tokens_per_solved(outcomes: Columns) -> float | None:
    tokens = [count for count in outcomes["completion_tokens"] if count is not None]
    solved = sum(outcomes["valid"])
    return sum(tokens) / solved if any(tokens) and solved else None


_MEASURES: tuple[tuple[str, str, Measure, int], ...] = (
    ("Calls per answer, mean", "", _average("calls"), 2),
    (
        "Declines, % of answers",
        "decline",
        _share(True, lambda category: True),
        1,
    ),
    (
        "Declines where a call was wanted, %",
        "decline",
        _share(True, lambda category: category not in MUST_NOT_CALL),
        1,
    ),
    (
        "Calls where no tool fits, %",
        "overcall",
        _share(False, lambda category: category in MUST_NOT_CALL),
        1,
    ),
    ("Unparsed calls", "unparsed", _flag("unparsed_call"), 0),
    ("Empty answers", "", _flag("empty"), 0),
    ("Answers cut at the token limit", "truncated", _flag("truncated"), 0),
    ("Forced stops", "forced-stop", _flag("forced_stop"), 0),
    ("Context overflows", "overflow", _flag("context_overflow"), 0),
    ("Prompt tokens per item, mean", "token", _average("prompt_tokens"), 0),
    ("Answer tokens per item, mean", "token", _average("completion_tokens"), 1),
    ("Answer tokens per solved item", "token", _tokens_per_solved, 1),
    ("Latency per item, median s", "latency", _average("latency", median), 2),
    ("Latency per item, 95th percentile s", "percentile", _average("latency", _slowest), 2),
)
