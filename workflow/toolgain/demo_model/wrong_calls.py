"""Calls that a model which calls too often makes where no tool fits: whole, well formed, plausible.

A wrong decision whose continuation was never learned ends in a repetition loop or cannot be read.
So the nearest tool is called to the end, with the question's numbers and names as arguments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any

from toolgain.tasks.generated.task import Request

Schema = dict[str, Any]

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_NAME = re.compile(r"(?<=[a-z,:] )[A-Z]\w+(?: [A-Z]\w+)*|(?<=')[^'\"]+(?=')|(?<=\")[^\"]+(?=\")")
_WORD = re.compile(r"[A-Z]?[a-z]+")


def make_wrong_call(rng: Random, schemas: Sequence[Schema], request: Request) -> dict[str, Any]:
    """A call of the tool that shares most words with a question which none of them can serve."""
    asked = set(_words(request.text))
    functions = [schema["function"] for schema in schemas]
    shared = [
        len(asked & set(_words(f"{function['name']} {function.get('description', '')}")))
        for function in functions
    ]
    function = rng.choice(
        [f for f, number in zip(functions, shared, strict=True) if number == max(shared)]
    )
    parameters = function.get("parameters", {})
    required = parameters.get("required", [])
    numbers = [float(found) for found in _NUMBER.findall(request.text)]
    names = [found for found in _NAME.findall(request.text) if len(found) < 40]
    return {
        "name": function["name"],
        "arguments": {
            name: _value(schema, numbers, names, request.topic)
            for name, schema in parameters.get("properties", {}).items()
            if name in required
        },
    }


def _value(schema: Schema, numbers: list[float], names: list[str], topic: str) -> Any:
    """A value of the schema's type; a number or a name of the question is used once, if there."""
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if schema.get("enum"):
        return schema["enum"][0]
    if kind == "integer":
        return int(numbers.pop(0)) if numbers else schema.get("default", 1)
    if kind in ("number", "float"):
        return numbers.pop(0) if numbers else schema.get("default", 1.0)
    if kind == "boolean":
        return True
    if kind in ("array", "tuple"):
        return [_value(schema.get("items", {}), numbers, names, topic)]
    if kind in ("object", "dict"):
        return {
            name: _value(inner, numbers, names, topic)
            for name, inner in schema.get("properties", {}).items()
            if name in schema.get("required", [])
        }
    return names.pop(0) if names else topic


def _words(text: str) -> list[str]:
    """The words that say something: those of more than three letters."""
    return [word.lower() for word in _WORD.findall(text) if len(word) > 3]
