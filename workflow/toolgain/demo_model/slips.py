"""Slips: repetitions and wrong pieces in an answer, shown and not learned; what follows them is.

A small model that has once gone wrong, in a value or by saying something twice, goes on repeating
it up to the limit: in its text an answer so far was never wrong. Here some are. What is wrong has
no weight as a target, so it is not learned; the token after it is the right one, and has weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

Row = tuple[list[int], list[float]]
"""Token ids, and the weight of each as a target."""


@dataclass(frozen=True)
class Marks:
    """Tokens that part the arguments of a call."""

    opens: int
    """Before the first argument's name: `": {"`."""
    after_text: int
    """Between a text and the next name: `", "`."""
    after_other: int
    """Between a value without quotes and the next name: `, "`."""
    ends_text: frozenset[int]
    """What ends the last argument where it is a text: tokens that begin with `"}`."""
    ends_other: frozenset[int]
    """The same for other values: tokens that begin with `}`."""


def with_slips(
    rng: Random, row: Row, spans: list[tuple[int, int]], others: list[int], marks: Marks
) -> Row:
    """The row with a slip or two in its calls.

    Args:
        spans: begin and end of each call of the answers, in tokens.
        others: tokens that a wrong piece is taken from, such as those of the questions.
    """
    ids, weights = list(row[0]), list(row[1])
    for begin, end in sorted(spans, reverse=True):
        # From the last call to the first: what comes before it keeps its place.
        roll = rng.random()
        length = end - begin
        if roll < 0.12:
            # The whole call again, with the end of the line before it.
            _repeat(ids, weights, begin - 1, end, rng.choice((1, 1, 2)))
        elif roll < 0.45:
            # The last argument again, whose value may then be another one.
            _repeat_last(rng, ids, weights, begin, end, others, marks)
        elif roll < 0.65 and length > 12:
            # A piece of the arguments again, from one token to an argument or two.
            size = rng.randint(1, min(12, length - 11))
            at = rng.randint(begin + 6, end - 4 - size)
            _repeat(ids, weights, at, at + size, rng.choice((1, 1, 2, 3, 5)))
        elif roll < 0.9 and length > 16 and len(others) > 8:
            # Something else in place of a piece of a value.
            size = rng.randint(1, 3)
            at = rng.randint(begin + 10, end - 4 - size)
            start = rng.randrange(len(others) - 5)
            piece = others[start : start + rng.randint(1, 4)]
            ids[at : at + size] = piece
            weights[at : at + size] = [0.0] * len(piece)
    return ids, weights


def _repeat_last(
    rng: Random,
    ids: list[int],
    weights: list[float],
    begin: int,
    end: int,
    others: list[int],
    marks: Marks,
) -> None:
    brackets = marks.ends_text | marks.ends_other
    closing = next((i for i in range(end - 1, begin, -1) if ids[i] in brackets), None)
    while closing is not None and ids[closing - 1] in brackets:
        closing -= 1
    parted = (marks.after_text, marks.after_other, marks.opens)
    start = next((i for i in range(closing or 0, begin, -1) if ids[i - 1] in parted), None)
    if closing is None or start is None:
        return
    mark = marks.after_text if ids[closing] in marks.ends_text else marks.after_other
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        again = ids[start:closing]
        if rng.random() < 0.5 and len(again) > 3 and len(others) > 8:
            place = rng.randrange(len(others) - 3)
            again[-1:] = others[place : place + rng.randint(1, 3)]
        ids[closing:closing] = [mark, *again]
        weights[closing:closing] = [0.0] * (len(again) + 1)


def _repeat(ids: list[int], weights: list[float], begin: int, end: int, times: int) -> None:
    ids[end:end] = ids[begin:end] * times
    weights[end:end] = [0.0] * ((end - begin) * times)
