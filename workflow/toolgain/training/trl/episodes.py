"""What the trainer asks of the environment that it trains on.

An environment plays tasks: it builds prompts, has answers sampled, and says what they earn. The
trainer knows tasks by their number in their file alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Split = Literal["train", "validation"]

Sample = Callable[[Sequence[Sequence[int]], float], list[list[int]]]
"""Prompts and a temperature (0: greedy) to an answer each, as token ids with their ending."""


@dataclass(frozen=True)
class Episode:
    """A task, played once."""

    prompt: list[int]
    """Token ids."""
    completion: list[int]
    """Token ids after the prompt, one or more: answers, and what the environment said between."""
    sampled: list[int]
    """For each token of the completion 1 where the model sampled it, else 0, which is masked."""
    reward: float
    accuracy: float
    """What the validation accuracy is the mean of."""
    called: bool
    """Whether the model called a tool."""
    turns: int = 1
    """Answers of the model."""
    expects_call: bool | None = None
    """None: the environment does not say."""

    @property
    def answer_tokens(self) -> int:
        """How many tokens the model sampled."""
        return sum(self.sampled)


class TaskEnvironment(Protocol):
    """Where tasks are played."""

    def play(
        self, split: Split, numbers: Sequence[int], sample: Sample, temperature: float
    ) -> list[Episode]:
        """Play these tasks, in this order; a number may stand there several times.

        Raises:
            StageError: one could not be played to its end.
        """

    def validation_order(self) -> list[int]:
        """The numbers of the validation tasks, in the order in which they are played."""

    def some_tokens(self) -> list[list[int]]:
        """A few sequences of tokens that look like prompts, to try a model on."""
