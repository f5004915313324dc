"""Slips: repetitions and wrong pieces in an answer, shown and not learned; what follows them is.

A small model that has once gone wrong, in a value or by saying something twice, goes on repeating
it up to the limit: in its text an answer so far was never wrong. Here some are. What is wrong has
no weight as a target, so it is not learned; the token after it is the right one, and has weight.
"""

from __future__ import annotations

from random import Random

Row = tuple[list[int], list[float]]
"""Token ids, and the weight of each as a target."""


def with_slips(rng: Random, row: Row, spans: list[tuple[int, int]], others: list[int]) -> Row:
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
        elif roll < 0.55 and length > 12:
            # A piece of the arguments again, from one token to an argument or two.
            size = rng.randint(1, min(12, length - 10))
            at = rng.randint(begin + 8, end - 2 - size)
            _repeat(ids, weights, at, at + size, rng.choice((1, 1, 2, 3, 5)))
        elif roll < 0.85 and length > 14 and len(others) > 8:
            # Something else in place of a piece of a value.
            size = rng.randint(1, 3)
            at = rng.randint(begin + 10, end - 2 - size)
            start = rng.randrange(len(others) - 5)
            piece = others[start : start + rng.randint(1, 4)]
            ids[at : at + size] = piece
            weights[at : at + size] = [0.0] * len(piece)
    return ids, weights


def _repeat(ids: list[int], weights: list[float], begin: int, end: int, times: int) -> None:
    ids[end:end] = ids[begin:end] * times
    weights[end:end] = [0.0] * ((end - begin) * times)
