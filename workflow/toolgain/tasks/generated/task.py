"""What a function-calling task is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from toolgain.tasks.generated.concepts import Concept
from toolgain.tasks.generated.parameters import Kind

Split = Literal["train", "validation"]
TaskKind = Literal["call", "multiple", "parallel", "none"]


@dataclass(frozen=True)
class Argument:
    """A parameter of one tool: its name in the schema, its kind, its JSON schema."""

    name: str
    kind: Kind
    required: bool
    schema: dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """A tool: what it is about, and its OpenAI function schema."""

    name: str
    concept: Concept
    verb: str
    arguments: tuple[Argument, ...]
    schema: dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A question, the calls that answer it (none: no tool fits), and the words for its topic."""

    text: str
    calls: tuple[dict[str, Any], ...]
    topic: str = ""


@dataclass(frozen=True)
class Task:
    """One training task; `as_json` is its line in train.jsonl."""

    id: str
    kind: TaskKind
    question: str
    tools: tuple[dict[str, Any], ...]
    expected: tuple[dict[str, Any], ...]
    topic: str = ""
    messages: tuple[dict[str, Any], ...] = ()
    """The conversation; empty: the question alone."""
    line: int = 0
    """Of its file, where it is one of the user's own."""

    def as_json(self) -> dict[str, Any]:
        """The task as a line of train.jsonl or validation.jsonl."""
        return {
            "id": self.id,
            "kind": self.kind,
            "prompt": list(self.messages) or [{"role": "user", "content": self.question}],
            "tools": list(self.tools),
            "expected": list(self.expected),
        }


def prompt_chars(task: Task) -> int:
    """Length of a task's prompt: its messages and its tools as JSON, without the chat's marks."""
    said = sum(len(message["content"]) for message in task.as_json()["prompt"])
    return said + sum(len(json.dumps(tool["function"])) for tool in task.tools)
