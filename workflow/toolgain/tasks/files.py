"""Task files of one's own: JSON lines, each refused with file and line where it is not a task.

The form is `toolgain.records.task`, workflow/schemas/task.schema.json. Beyond the form, each
expected call must be one that its tool allows, since the reward compares exactly and a task with a
call that no schema allows could never be solved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from pydantic import ValidationError

from toolgain.common.amounts import counted
from toolgain.common.errors import UserError
from toolgain.common.files import LARGEST_TABLE, parse_json, read_bytes, reason
from toolgain.records.record import finding
from toolgain.records.task import Message, OfferedTool, TaskLine
from toolgain.tasks.generated.task import Task, TaskKind


class NoTaskError(ValueError):
    """A line that is not a task; the text says why."""


def read_tasks(file: Path) -> list[Task]:
    """Tasks of one's own.

    Raises:
        UserError: the file is missing, empty, or a line is not a task; names file and line.
    """
    tasks: list[Task] = []
    seen: dict[str, int] = {}
    for number, text in _lines(file):
        try:
            task = _task(text, number)
            if earlier := seen.get(task.id):
                raise NoTaskError(f"its id {task.id!r} is that of line {earlier} too")
        except NoTaskError as error:
            raise UserError(
                f"{file}, line {number}: not a task: {error}. The form is in docs/demo.md and "
                "workflow/schemas/task.schema.json."
            ) from None
        seen[task.id] = number
        tasks.append(task)
    if not tasks:
        raise UserError(f"{file}: no tasks in it")
    return tasks


def read_pair(train: Path, validation: Path) -> tuple[list[Task], list[Task]]:
    """The training and the validation tasks.

    Raises:
        UserError: as `read_tasks`, or the two files hold the same tasks.
    """
    sets = read_tasks(train), read_tasks(validation)
    prompts = [{_prompt(task) for task in tasks} for tasks in sets]
    if prompts[0] >= prompts[1]:
        raise UserError(
            f"{validation}: every prompt of it is in {train} too: the validation would reward what "
            "was learned by heart. Give tasks that are not trained on "
            "(training.tasks.validation_file)."
        )
    return sets


def same_prompts(one: list[Task], other: list[Task]) -> int:
    """How many different prompts stand in both."""
    return len({_prompt(task) for task in one} & {_prompt(task) for task in other})


def _prompt(task: Task) -> str:
    line = task.as_json()
    return json.dumps([line["prompt"], line["tools"]], sort_keys=True)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, by number. Only a line feed ends a line: JSON text may hold
    every other sign that Unicode counts as an end of a line."""
    if not file.is_file():
        raise UserError(f"{file}: no such file; training.tasks names it for the tasks")
    try:
        lines = read_bytes(file, LARGEST_TABLE).split(b"\n")
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {reason(error)}.") from error
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{file}, line {number}: byte {error.start + 1} (0x{line[error.start]:02x}) is not "
                "UTF-8; save the file in UTF-8."
            ) from None
        if text.strip():
            yield number, text


def _task(text: str, number: int) -> Task:
    try:
        # Numbers that are none, or that no double holds, and endless nesting are refused here.
        line = TaskLine.model_validate(parse_json(text))
    except ValidationError as error:
        raise NoTaskError(finding(error)) from None
    except ValueError as error:
        raise NoTaskError(f"it is not JSON ({error}); a task is one line") from None
    messages = tuple(_message(message) for message in line.prompt)
    if messages[-1]["role"] not in ("user", "tool"):
        raise NoTaskError(
            f"its last message is of {messages[-1]['role']}; the model answers a user or a tool"
        )
    tools = {tool.function.name: tool for tool in line.tools}
    if len(tools) < len(line.tools):
        raise NoTaskError("two of its tools have one name")
    for tool in line.tools:
        _check_schema(tool)
    for call in line.expected:
        if call.name not in tools:
            raise NoTaskError(
                f"the expected call of {call.name!r} is of no tool of this task; its tools are "
                f"{', '.join(sorted(tools)) or 'none'}"
            )
        _check_arguments(tools[call.name], call.arguments)
    return Task(
        id=str(number if line.id is None else line.id),
        kind=_kind(line),
        question=next((str(m["content"]) for m in reversed(messages) if m["role"] == "user"), ""),
        tools=tuple(tool.model_dump(exclude_none=True) for tool in line.tools),
        expected=tuple(call.model_dump() for call in line.expected),
        messages=messages,
        line=number,
    )


def _message(message: Message) -> dict[str, object]:
    """A message as chat templates take it: content as one text, arguments as objects."""
    content = message.content
    if isinstance(content, list):
        content = "".join(part.text for part in content)
    found: dict[str, object] = {"role": message.role, "content": content or ""}
    if message.tool_calls is not None:
        if message.role != "assistant":
            raise NoTaskError(f"a message of {message.role} has tool_calls")
        calls = []
        for call in message.tool_calls:
            entry = call.model_dump(exclude_none=True)
            if isinstance(call.function.arguments, str):
                entry["function"]["arguments"] = _object(call.function.arguments)
            calls.append(entry)
        found["tool_calls"] = calls
    elif not content:
        raise NoTaskError(f"a message of {message.role} is empty")
    for name in ("tool_call_id", "name"):
        if (value := getattr(message, name)) is not None:
            found[name] = value
    return found


def _object(text: str) -> dict[str, object]:
    try:
        value = parse_json(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise NoTaskError(f"the arguments {text[:60]!r} of an earlier call are not a JSON object")
    return value


def _kind(line: TaskLine) -> TaskKind:
    several: TaskKind = "multiple" if len(line.tools) > 1 else "call"
    found: TaskKind = (
        "none" if not line.expected else "parallel" if len(line.expected) > 1 else several
    )
    calls = {"none": 0, "call": 1, "multiple": 1}.get(line.kind or found)
    if line.kind is not None and (
        len(line.expected) != calls if calls is not None else len(line.expected) < 2
    ):
        raise NoTaskError(
            f"its kind is {line.kind!r}, and it expects "
            f"{counted(len(line.expected), 'call')} ({found!r})"
        )
    return line.kind or found


def _check_schema(tool: OfferedTool) -> None:
    schema = tool.function.parameters
    if schema is None:
        return
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = ".".join(map(str, error.absolute_path)) or "parameters"
        raise NoTaskError(
            f"the parameters of tool {tool.function.name!r} are not a JSON Schema: `{where}`: "
            f"{error.message[:200]}"
        ) from None


def _check_arguments(tool: OfferedTool, arguments: Mapping[str, object]) -> None:
    name, schema = tool.function.name, tool.function.parameters or {}
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    unknown = sorted(set(arguments) - set(known))
    if unknown and not schema.get("additionalProperties") and "patternProperties" not in schema:
        raise NoTaskError(
            f"the expected call of {name!r} has the argument {unknown[0]!r}, which its parameters "
            f"do not know; they are {', '.join(sorted(known)) or 'none'}"
        )
    try:
        error = best_match(Draft202012Validator(schema).iter_errors(arguments))
    # Such as a reference that leads nowhere.
    except Exception as problem:
        raise NoTaskError(f"the parameters of tool {name!r} cannot be used: {problem}") from None
    if error is not None:
        where = ".".join(map(str, error.absolute_path))
        raise NoTaskError(
            f"the expected call of {name!r} is none that its parameters allow: "
            + (f"`{where}`: " if where else "")
            + error.message[:200]
        )
