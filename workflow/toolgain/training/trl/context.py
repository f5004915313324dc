"""The room that a model's context leaves for a prompt."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Context:
    """A model's context and the longest answer that is sampled in it."""

    tokens: int | None
    """None: no limit is known."""
    answer: int
    """training.trl.max_completion_length"""

    def holds(self, prompt: int) -> bool:
        """Whether a prompt of so many tokens leaves room for the longest answer."""
        return self.tokens is None or prompt + self.answer <= self.tokens

    def refusal(self, task: str, prompt: int) -> str:
        """Why a task whose prompt has so many tokens cannot be trained on."""
        return (
            f"training.tasks: the prompt of task {task} has {prompt} tokens, with the longest "
            f"answer (training.trl.max_completion_length) {prompt + self.answer}; the model's "
            f"context is {self.tokens}. Shorten the task or the answer"
        )
