"""The environment of toolgain's own tasks: one answer each, compared with the expected calls."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from toolgain.common.errors import UserError
from toolgain.serving.answers import AnswerReader
from toolgain.tasks.reward import Answer, Score, score_answer
from toolgain.training.trl.context import Context
from toolgain.training.trl.episodes import Episode, Sample, Split

TaskLine = Mapping[str, Any]
"""A line of a task file (`toolgain.records.task`)."""


def prompt_text(tokenizer: PreTrainedTokenizerBase, task: TaskLine) -> str:
    """The prompt of a task as the chat template writes it: messages, tools, the answer's head."""
    return str(
        tokenizer.apply_chat_template(
            task["prompt"], tools=task["tools"] or None, add_generation_prompt=True, tokenize=False
        )
    )


class Judge:
    """Scores a completion, given as token ids: read as its server would read it."""

    def __init__(self, reader: AnswerReader, endings: Collection[int]) -> None:
        self.reader = reader
        self.endings = frozenset(endings)

    def __call__(self, ids: Sequence[int], prompt: str, task: TaskLine) -> Score:
        found = self.reader.read(ids, prompt, task["tools"])
        if found is None:
            answer = Answer((), "", unreadable=1)
        else:
            calls = tuple({"name": one.name, "arguments": one.arguments} for one in found.calls)
            answer = Answer(calls, found.text.strip(), int(self.reader.half_a_call(found.text)))
        return score_answer(task["expected"], answer, finished=ids[-1] in self.endings)


class GeneratedTasks:
    """Tasks that are played by one answer."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        judge: Judge,
        tasks: Mapping[Split, Sequence[TaskLine]],
        played: Collection[int],
        context: Context,
    ) -> None:
        """Render the prompts.

        Args:
            tokenizer: the model's.
            judge: scores the answers.
            tasks: the tasks of each file.
            played: numbers of the training tasks that will be played.
            context: the model's.

        Raises:
            UserError: a prompt leaves no room for an answer; names the longest.
        """
        self.judge, self.tasks = judge, tasks
        self.texts: dict[tuple[Split, int], str] = {
            ("train", number): prompt_text(tokenizer, tasks["train"][number]) for number in played
        }
        for number, task in enumerate(tasks["validation"]):
            self.texts["validation", number] = prompt_text(tokenizer, task)
        # The template has written every special token already.
        ids = tokenizer(list(self.texts.values()), add_special_tokens=False)["input_ids"]
        self.prompts: dict[tuple[Split, int], list[int]] = dict(zip(self.texts, ids, strict=True))
        split, number = max(self.prompts, key=lambda key: len(self.prompts[key]))
        if not context.holds(length := len(self.prompts[split, number])):
            raise UserError(context.refusal(str(tasks[split][number]["id"]), length))

    def play(
        self, split: Split, numbers: Sequence[int], sample: Sample, temperature: float
    ) -> list[Episode]:
        """As `TaskEnvironment.play`."""
        prompts = [self.prompts[split, number] for number in numbers]
        answers = sample(prompts, temperature)
        episodes = []
        for number, prompt, ids in zip(numbers, prompts, answers, strict=True):
            task = self.tasks[split][number]
            score = self.judge(ids, self.texts[split, number], task)
            episode = Episode(
                prompt=prompt,
                completion=ids,
                sampled=[1] * len(ids),
                reward=score.reward,
                accuracy=float(score.exact),
                called=score.called,
                expects_call=bool(task["expected"]),
            )
            episodes.append(episode)
        return episodes

    def validation_order(self) -> list[int]:
        """Alike lengths together, so that little is computed on padding."""
        numbers = range(len(self.tasks["validation"]))
        return sorted(numbers, key=lambda number: len(self.texts["validation", number]))

    def some_tokens(self) -> list[list[int]]:
        """The shortest validation prompts."""
        return [self.prompts["validation", number] for number in self.validation_order()[:4]]
