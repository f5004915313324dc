"""A rollout of several answers as the tokens of one training sequence.

    prompt | answer 1 | what the environment said | answer 2 | ...
             sampled    given                       sampled

Each answer was sampled behind all that stands before it, so one sequence holds the whole rollout
and each sampled token is trained in the context that it was sampled in. Given tokens are masked.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class RewrittenError(ValueError):
    """An answer was sampled behind other tokens than those of the answers before it."""


@dataclass(frozen=True)
class Turn:
    """One answer of the model."""

    prompt: tuple[int, ...]
    """All tokens before it."""
    answer: tuple[int, ...]
    """The tokens that were sampled."""


@dataclass(frozen=True)
class Sequenced:
    """A rollout as one sequence."""

    prompt: list[int]
    completion: list[int]
    sampled: list[int]
    """For each token of the completion 1 where the model sampled it, 0 where it was given."""


def one_sequence(turns: Sequence[Turn]) -> Sequenced:
    """The one sequence that holds all turns of a rollout; there is at least one.

    Raises:
        RewrittenError: the prompt of a turn does not begin with the turns before it.
    """
    prompt = list(turns[0].prompt)
    completion: list[int] = []
    sampled: list[int] = []
    for number, turn in enumerate(turns, start=1):
        so_far = [*prompt, *completion]
        if list(turn.prompt[: len(so_far)]) != so_far:
            raise RewrittenError(f"answer {number} does not follow on those before it")
        given = turn.prompt[len(so_far) :]
        completion += [*given, *turn.answer]
        sampled += [0] * len(given) + [1] * len(turn.answer)
    return Sequenced(prompt, completion, sampled)
