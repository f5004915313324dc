"""Task files of one's own before anything starts: read whole, and as the model would see them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolgain.common.amounts import counted
from toolgain.common.errors import StageError, UserError
from toolgain.config.sections import Config
from toolgain.head.prompt_checks import are_large
from toolgain.models.base import given_template
from toolgain.models.chat_template import patched
from toolgain.models.rendering import CannotRenderError, render, special_tokens, template_of
from toolgain.models.token_counts import count_tokens
from toolgain.models.weights import context_of
from toolgain.tasks.files import read_pair
from toolgain.tasks.generated.task import Task, prompt_chars
from toolgain.training.backend import trainer

LONGEST = 20
"""Tasks of a file whose tokens are counted: those with the most characters."""


def has_own_tasks(config: Config, run: str) -> bool:
    """Whether a run trains on task files of the user's own."""
    section = config.training_of(run)
    ours = not trainer(section).NEEDS_CLUSTER and not section.plays_gym
    return ours and bool(section.tasks.train_file and section.tasks.validation_file)


def said_tasks(config: Config, run: str) -> str:
    """What the files hold, in words.

    Args:
        config: The configuration.
        run: A run for which `has_own_tasks` holds.

    Raises:
        UserError: a line is no task, its template does not write it whole, or its prompt leaves no
            room for an answer; names file and line.
    """
    section = config.training_of(run)
    files = [Path(name or "") for name in (section.tasks.train_file, section.tasks.validation_file)]
    if are_large({str(path): path for path in files if path.is_file()}):
        return "not read: the files are large; the tasks stage reads them before the training"
    pair = read_pair(*files)
    longest = [
        (file, task)
        for file, tasks in zip(files, pair, strict=True)
        for task in sorted(tasks, key=prompt_chars)[-LONGEST:]
    ]
    folder = Path(config.model.path)
    template = given_template(config.model) or template_of(folder)
    if config.model.patch != "none":
        template = patched(template, config.model.patch, str(folder))
    tokens = special_tokens(folder)
    for file, tasks in zip(files, pair, strict=True):
        for task in _one_of_each_shape(tasks):
            _prompt(file, task, template, tokens)
    texts = [_prompt(file, task, template, tokens) for file, task in longest]
    found = f"{counted(len(pair[0]), 'training task')}, {len(pair[1])} of validation"
    limit, answer = context_of(folder), section.trl.max_completion_length
    if limit is None:
        return found
    python = Path(config.environments.trl) / "bin" / "python"
    try:
        counts = count_tokens(texts, folder / "tokenizer.json", python)
    except StageError as error:
        return f"{found}; the lengths of their prompts are not counted, {error}"
    for (file, task), count in zip(longest, counts, strict=True):
        if count + answer > limit:
            raise UserError(
                f"{file}, line {task.line}: the prompt has {count} tokens, with the longest answer "
                f"(training.trl.max_completion_length) {count + answer}; the context of "
                f"{folder} is {limit}. Shorten the task or the answer."
            )
    return f"{found}; the longest prompt has {max(counts)} of {limit} tokens"


def _one_of_each_shape(tasks: Sequence[Task]) -> Iterator[Task]:
    """The first task of each order of roles, with and without calls and tools."""
    seen = set()
    for task in tasks:
        turns = tuple((str(one["role"]), "tool_calls" in one) for one in task.messages)
        if (shape := (turns, bool(task.tools))) not in seen:
            seen.add(shape)
            yield task


def _prompt(file: Path, task: Task, template: str, tokens: dict[str, str]) -> str:
    """The prompt of a task.

    Raises:
        UserError: the template refuses it, or leaves out what a message says.
    """
    cure = "give a template that does with model.chat_template, or another task"
    try:
        text = render(template, tokens, task.messages, task.tools or None, True)
    except CannotRenderError as error:
        raise UserError(
            f"{file}, line {task.line}: the model's chat template does not write this task "
            f"({error}); {cure}."
        ) from None
    for message in task.messages:
        said = str(message["content"]).strip()
        # Some templates write what a tool returned as a JSON string.
        forms = (said, json.dumps(said, ensure_ascii=False)[1:-1], json.dumps(said)[1:-1])
        heard = any(form in text for form in forms)
        if message["role"] in ("system", "user", "tool") and not heard:
            raise UserError(
                f"{file}, line {task.line}: the model's chat template leaves out what the "
                f"{message['role']} says, {said[:60]!r}; {cure}."
            )
    return text
