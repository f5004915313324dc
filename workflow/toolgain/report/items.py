"""The items of the page: gains and losses, how errors moved, and the embedded item data.

The data is one JSON text, compressed; the page unpacks it and renders rows as they are looked at.
"""

import gzip
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolgain.bfcl.categories import CATEGORIES
from toolgain.records.comparison import RunComparison
from toolgain.report.questions import Question
from toolgain.report.sources import ItemAnswer, Key

CORRECT = "correct"
OTHER = "other errors"
LARGEST_MATRIX = 14
"""Error types beyond this number are taken together, so that the matrix can be read."""

BEST_RATIO = 40
"""Answers do not compress better than this, except for endless repetition."""

LEAST_OF_SIDE = 36
"""Characters of JSON that an answer takes beside its text, at least."""

# What is given up, step by step, until the data fits: long answers first, tools last.
ANSWER_LIMITS = (None, 40_000, 8_000, 2_000, 600, 200)


@dataclass(frozen=True)
class Matrix:
    """Counts of items by their error before (rows) and after (columns)."""

    kinds: tuple[str, ...]
    """The harness's error types, `correct` first, the rest by how often they occur."""
    counts: tuple[tuple[int, ...], ...]

    @property
    def largest(self) -> int:
        """The largest count off the diagonal: it sets the scale of the shades."""
        off = [n for i, row in enumerate(self.counts) for j, n in enumerate(row) if i != j]
        return max(off, default=0)

    def moves(self, most: int) -> list[tuple[str, str, int]]:
        """The largest counts off the diagonal, as (before, after, items)."""
        found = [
            (self.kinds[i], self.kinds[j], n)
            for i, row in enumerate(self.counts)
            for j, n in enumerate(row)
            if n and i != j
        ]
        return sorted(found, key=lambda move: -move[2])[:most]


@dataclass(frozen=True)
class ItemFlips:
    """How many of the paired items changed."""

    gained: int
    lost: int
    items: int
    """Number of paired items."""


@dataclass(frozen=True)
class ItemData:
    """The embedded data."""

    text: str
    """Base64 of gzip of JSON in UTF-8."""
    notes: tuple[str, ...]
    """What was cut so that the page stays small."""


def flips(run: RunComparison) -> ItemFlips:
    """The gains and losses that the comparison counted for a run."""
    return ItemFlips(run.flips.gained, run.flips.lost, run.n)


def migration(table: Mapping[str, Mapping[str, int]]) -> Matrix | None:
    """The matrix of error types before and after, of the comparison's table of them."""
    moves = [
        (before, after, count) for before, row in table.items() for after, count in row.items()
    ]
    if not moves:
        return None
    seen: Counter[str] = Counter()
    for before, after, count in moves:
        seen[before] += count
        seen[after] += count
    del seen[CORRECT]
    ordered = sorted(seen, key=lambda kind: (-seen[kind], kind))
    kept = ordered[: LARGEST_MATRIX - 2] if len(ordered) > LARGEST_MATRIX - 1 else ordered
    kinds = (CORRECT, *kept, *([OTHER] if len(kept) < len(ordered) else []))
    place = {kind: position for position, kind in enumerate(kinds)}
    last = len(kinds) - 1
    cells: Counter[tuple[int, int]] = Counter()
    for before, after, count in moves:
        cells[place.get(before, last), place.get(after, last)] += count
    size = range(len(kinds))
    return Matrix(kinds, tuple(tuple(cells[i, j] for j in size) for i in size))


def embed(
    sides: Mapping[str, Mapping[Key, ItemAnswer]],
    questions: Mapping[Key, Question],
    limit: int,
    runs: int,
) -> ItemData:
    """Embed the answers of `sides` in at most `limit` characters.

    Where they do not fit, long answers are cut, then the tools of all items are left out, then
    the later half of the runs; the notes say so. The full text stays in the evaluation folders.

    Args:
        sides: the baseline and the first runs, the primary one before the others.
        questions: of the items.
        limit: characters.
        runs: number of all runs.
    """
    names = list(sides)
    while (packed := _packed({name: sides[name] for name in names}, questions, limit)) is None:
        if len(names) <= 2:
            return ItemData(
                _encoded([], {name: {} for name in sides}, {}, None, False, limit) or "",
                ("The items do not fit into this page; they are in the evaluation folders.",),
            )
        names = names[: max(2, len(names) // 2)]
    shown = len(names) - 1
    if shown == runs:
        return packed
    note = (
        f"Here are the items of {shown} of {runs} runs; the others' are in their evaluation "
        "folders."
    )
    return ItemData(packed.text, (*packed.notes, note))


def _packed(
    sides: Mapping[str, Mapping[Key, ItemAnswer]], questions: Mapping[Key, Question], limit: int
) -> ItemData | None:
    keys = _ordered(set().union(*sides.values()))
    everything = [outcome for outcomes in sides.values() for outcome in outcomes.values()]
    answers = [len(outcome.answer) for outcome in everything]
    longest_text = max([*answers, *(len(outcome.message) for outcome in everything)], default=0)
    # A limit above the longest text cuts nothing: the one before it did not fit either.
    limits = [longest for longest in ANSWER_LIMITS if longest is None or longest < longest_text]
    least = {
        longest: sum(min(length, longest or length) + LEAST_OF_SIDE for length in answers)
        for longest in limits
    }
    for tools in (True, False):
        for longest in limits:
            if _too_long(least[longest], limit):
                continue
            text = _encoded(keys, sides, questions, longest, tools, limit)
            if text is not None and len(text) <= limit:
                return ItemData(text, tuple(_notes(longest, tools)))
    return None


def _notes(longest: int | None, tools: bool) -> Iterable[str]:
    if longest is not None:
        yield f"Answers above {longest} characters are cut here; items.csv has them in full."
    if not tools:
        yield "The tools of the items are left out here; questions.jsonl.gz has them."


def _ordered(keys: Iterable[Key]) -> list[Key]:
    place = {name: number for number, name in enumerate(CATEGORIES)}
    return sorted(keys, key=lambda key: (place.get(key[0], len(place)), _natural(key[1]), key))


def _natural(identity: str) -> list[tuple[int, str]]:
    """Sorts `simple_10` after `simple_9`."""
    parts = identity.replace("-", "_").split("_")
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _encoded(
    keys: list[Key],
    sides: Mapping[str, Mapping[Key, ItemAnswer]],
    questions: Mapping[Key, Question],
    longest: int | None,
    tools: bool,
    limit: int,
) -> str | None:
    """The data as text; None where it is so long that compressing it is not worth the time."""
    tables = _Tables()
    rows = [
        [
            tables.index("categories", key[0]),
            key[1],
            key[2],
            *_question(questions.get(key), tables, tools),
            next((o.expected for side in sides.values() if (o := side.get(key))), ""),
            [_side(outcomes.get(key), tables, longest) for outcomes in sides.values()],
        ]
        for key in keys
    ]
    value = {
        "sides": list(sides),
        **{name: list(table) for name, table in tables.names.items()},
        "tools": [json.loads(tool) for tool in tables.tools],
        "items": rows,
    }
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if _too_long(len(text), limit):
        return None
    # A lone surrogate becomes its JSON escape.
    data = gzip.compress(text.encode("utf-8", "backslashreplace"), 9, mtime=0)
    return b64encode(data).decode("ascii")


def _too_long(characters: int, limit: int) -> bool:
    return characters > BEST_RATIO * max(limit, 10_000)


class _Tables:
    """Values that many items share, stored once."""

    def __init__(self) -> None:
        self.names: dict[str, dict[str, int]] = {"categories": {}, "errors": {}, "flags": {}}
        self.tools: dict[str, int] = {}

    def index(self, table: str, value: str) -> int:
        """The number of `value` in `table`, which grows with each new one."""
        return self.names[table].setdefault(value, len(self.names[table]))

    def tool(self, tool: object) -> int:
        """The number of a tool among those that were seen."""
        text = json.dumps(_plain(tool), ensure_ascii=False, sort_keys=False)
        return self.tools.setdefault(text, len(self.tools))


def _question(question: Question | None, tables: _Tables, tools: bool) -> list[Any]:
    if question is None:
        return [None, None]
    known = question.tools if tools else None
    listed = None if known is None else [tables.tool(tool) for tool in known]
    return [_plain(question.turns), listed]


def _side(
    outcome: ItemAnswer | None, tables: _Tables, longest: int | None
) -> tuple[Any, ...] | None:
    if outcome is None:
        return None
    answer = outcome.answer
    cut = 0
    if longest is not None and len(answer) > longest:
        answer, cut = answer[:longest], len(answer)
    message = outcome.message
    if longest is not None:
        message = message[:longest]
    # Tuples throughout: lists would keep the garbage collector busy for longer than all the rest.
    return (
        round(outcome.valid, 4),
        round(outcome.strict, 4),
        tables.index("errors", "" if outcome.valid == 1 else outcome.error),
        message,
        answer,
        cut,
        outcome.calls,
        tuple([tables.index("flags", flag) for flag in outcome.flags]),
        _short(outcome.prompt_tokens),
        _short(outcome.completion_tokens),
        _short(outcome.latency),
        outcome.finish,
        tuple(map(int, outcome.repeats)),
    )


def _short(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 3)


def _plain(value: object) -> Any:
    """`value` without floats that JSON has no form for."""
    if isinstance(value, float) and value - value != 0:
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
