"""What the tools of real services look like: described at length, oddly named, with odd values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from random import Random
from typing import Any

from toolgain.tasks import contamination
from toolgain.tasks.generated import words
from toolgain.tasks.generated.parameters import pseudo_word
from toolgain.tasks.generated.task import Request, Tool


def make_wordy(rng: Random, schema: dict[str, Any]) -> dict[str, Any]:
    """The tool described at length, with optional parameters more, some of them nested."""
    function = dict(schema["function"])
    about = [function.get("description", ""), *(_sentence(rng) for _ in range(rng.randint(0, 3)))]
    rng.shuffle(about)
    function["description"] = " ".join(part for part in about if part)
    parameters = function["parameters"]
    properties = dict(parameters["properties"])
    for name, value in properties.items():
        if rng.random() < 0.4:
            properties[name] = {
                **value,
                "description": f"{value.get('description', '')} {_sentence(rng)}".strip(),
            }
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        properties.setdefault(_name(rng), _unasked(rng, nested=rng.random() < 0.2))
    function["parameters"] = {**parameters, "properties": properties}
    return {**schema, "function": function}


def _name(rng: Random) -> str:
    return "_".join(rng.sample(words.NOUNS, rng.randint(1, 2)))


def _unasked(rng: Random, nested: bool) -> dict[str, Any]:
    """The schema of an optional parameter that no question mentions."""
    about = f"{rng.choice(('The', 'Optional', 'Name of the'))} {_name(rng).replace('_', ' ')}."
    if rng.random() < 0.4:
        about += " " + _sentence(rng)
    if nested:
        inside = {_name(rng): _unasked(rng, nested=False) for _ in range(rng.randint(1, 3))}
        return {"type": "object", "description": about, "properties": inside}
    kind = rng.choice(("string", "string", "integer", "number", "boolean", "array"))
    schema: dict[str, Any] = {"type": kind, "description": about}
    if kind == "array":
        schema["items"] = {"type": "string"}
    if kind == "string" and rng.random() < 0.4:
        schema["enum"] = rng.sample(words.NOUNS, rng.randint(2, 4))
    if rng.random() < 0.4:
        schema["default"] = {
            "string": rng.choice(words.NOUNS),
            "integer": rng.randint(0, 100),
            "number": rng.randint(0, 100) / 10,
            "boolean": rng.random() < 0.5,
            "array": [],
        }[kind]
    return schema


_SENTENCES = (
    "This tool belongs to the {a} {n} system, which keeps the {n} of every {m}.",
    "Returns a list of {n} with their {m}, or an empty list if there is none.",
    "Use it when the {n} is {a}.",
    "The {n} must be given in the form '{n}, {m}'; if it is unknown, it should be left out.",
    "By default the {n} of the {m} is used (for example '{n}-{m}').",
    "Not to be used for a {a} {n}.",
    "It requires a {n} and, where the {m} is {a}, its {n}.",
    "Note that the {n} is case-sensitive, and that {m} are counted from 0.",
    "Allowed are {n}, {m} or both.",
)


def _sentence(rng: Random) -> str:
    noun, other = rng.sample(words.NOUNS, 2)
    return rng.choice(_SENTENCES).format(a=rng.choice(words.ADJECTIVES), n=noun, m=other)


def with_odd_name(rng: Random, tool: Tool) -> Tool:
    """The tool under a name as services make them; the words that say what it is for stay."""
    while contamination.is_reserved(name := _odd_name(rng, tool.name.replace(".", "_"))):
        pass
    function = {**tool.schema["function"], "name": name}
    return replace(tool, name=name, schema={**tool.schema, "function": function})


def _odd_name(rng: Random, name: str) -> str:
    noun = rng.choice(words.NOUNS)
    camel = "".join(part.capitalize() for part in name.split("_"))
    return rng.choice(
        (
            f"{noun.capitalize()}_{rng.randint(1, 9)}_{camel}",
            f"{noun}_api_{noun.capitalize()}Api_{name}",
            f"{name}_{rng.randint(1, 9)}",
            camel,
            f"{noun}.{name}",
        )
    )


def with_odd_values(
    rng: Random, request: Request, share: float, kept: Collection[str] = ()
) -> Request:
    """The request with a share of its texts replaced, in the question and in the calls alike.

    Args:
        kept: texts that stay, such as the values of an enumeration.
    """
    text, topic = request.text, request.topic.lower()
    changed: dict[str, str] = {}
    for call in request.calls:
        for value in call["arguments"].values():
            told = isinstance(value, str) and len(value) > 2 and text.count(value) == 1
            free = told and value not in kept and value.lower() not in topic
            if free and rng.random() < share:
                changed[value] = make_odd(rng)
                text = text.replace(value, changed[value])
    calls = tuple(
        {
            **call,
            "arguments": {
                name: changed.get(value, value) if isinstance(value, str) else value
                for name, value in call["arguments"].items()
            },
        }
        for call in request.calls
    )
    return replace(request, text=text, calls=calls)


def make_odd(rng: Random) -> str:
    """A text that is not a word: a formula, a path, a query, a sentence, a list in words."""
    noun, other = rng.sample(words.NOUNS, 2)
    number = rng.randint(0, 999)
    return rng.choice(
        (
            f"{rng.randint(2, 9)}x**{rng.randint(2, 4)} + {number}x - {rng.randint(1, 9)}",
            f"{noun[0]}^2 - {number} * {other[0]} = 0",
            f"SELECT {noun} FROM {other} WHERE {noun} > {number}",
            f"/{noun}/{other}_{number}.txt",
            f"{noun}.{other}@{pseudo_word(rng)}.com",
            f"https://{pseudo_word(rng)}.org/{noun}?{other}={number}",
            f"{pseudo_word(rng).capitalize()}, {pseudo_word(rng).upper()[:2]}",
            f"{noun} {other} of {pseudo_word(rng)} and {number} {rng.choice(words.NOUNS)}",
            " ".join(rng.sample(words.NOUNS, rng.randint(3, 7))),
            " ".join(pseudo_word(rng).capitalize() for _ in range(rng.randint(2, 3))),
            f"{noun}-{number}-{pseudo_word(rng)}",
            f"{noun}({other}, {number})",
            f"{number:03d}-{rng.randint(100, 999)}-{rng.randint(1000, 9999)}",
            f"{noun.upper()}{number}",
            f"{rng.randint(1990, 2030)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
            f"{rng.randint(1, 12)}:{rng.randint(0, 59):02d} {rng.choice(('AM', 'PM'))}",
            f"{rng.randint(1, 12)}/{rng.randint(1, 28)}/{rng.randint(1990, 2030)}",
            f"{noun.capitalize()}'s {other}: {rng.choice(words.ADJECTIVES)}!",
        )
    )
