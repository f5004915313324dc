# ruff: noqa: E501
"""Functions of programs, for the text of the pre-training: long names in camel case, identifiers as values.

What a library's documentation lists looks unlike the tools of services: a class and a method in one
name, parameters that are objects known by the name of a variable, and values that are given as texts
whatever their type. Most of what a question names is copied letter for letter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from toolgain.demo_model.parameters import Schema
from toolgain.demo_model.scraps import any_word
from toolgain.demo_model.values import Said
from toolgain.tasks import contamination
from toolgain.tasks.generated.concepts import Concept
from toolgain.tasks.generated.generate import split_of, without_article
from toolgain.tasks.generated.task import Request, Split


def camel(parts: Sequence[str]) -> str:
    """`axis labels` as `axisLabels`."""
    return parts[0].lower() + "".join(part.capitalize() for part in parts[1:])


def pascal(parts: Sequence[str]) -> str:
    """`axis labels` as `AxisLabels`."""
    return "".join(part.capitalize() for part in parts)


# ---------------------------------------------------------------- values


def _variable(rng: Random, parts: Sequence[str]) -> str:
    """The name of a variable, most often one that says what it holds."""
    own = [any_word(rng) for _ in range(rng.choice((0, 1, 1, 2)))]
    kept = list(parts) if rng.random() < 0.6 or not own else []
    ending = [rng.choice(_ENDINGS)] if rng.random() < 0.5 else []
    words = own + kept + ending
    roll = rng.random()
    if roll < 0.65:
        return camel(words)
    return pascal(words) if roll < 0.8 else "_".join(word.lower() for word in words)


_ENDINGS = (
    "Object", "Instance", "Array", "List", "Map", "Handler", "Config", "Element", "Data", "Service", "Function", "Callback", "Id",
    "Node", "Context", "Stream", "Buffer", "Manager", "Ref", "Options",
)  # fmt: skip


def _quoted(rng: Random, value: str) -> str:
    return rng.choice(("'{}'", "'{}'", "`{}`", "`{}`", '"{}"', "{}")).format(value)


def _text(rng: Random, parts: Sequence[str]) -> str:
    """A text as programs have it: a key, a path, an address, a constant, a pattern."""
    a, b = any_word(rng).lower(), any_word(rng).lower()
    roll = rng.random()
    if roll < 0.25:
        return rng.choice(
            (a, f"{a}_{b}", f"{a}-{b}", f"{a}{b.capitalize()}", f"{a}:{b}", f"{a}.{b}")
        )
    if roll < 0.4:
        return rng.choice(
            (
                f"/{a}/{b}",
                f"/{a}/{b}/{any_word(rng)}.txt",
                f"{a}.json",
                f"./{a}/{b}.js",
                f"{a}_{b}.properties",
                f"/var/{a}/{b}.log",
            )
        )
    if roll < 0.5:
        return rng.choice(
            (
                f"https://{a}.{b}.com/{any_word(rng)}",
                f"http://localhost:{rng.randint(1000, 9999)}/{a}",
                f"{a}@{b}.com",
                f"10.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 255)}",
            )
        )
    if roll < 0.62:
        return rng.choice(
            (
                a.upper(),
                f"{a}_{b}".upper(),
                f"{a.capitalize()}.{b.upper()}",
                f"{pascal([a, b])}.{any_word(rng).upper()}_{rng.choice('ABCX')}",
            )
        )
    if roll < 0.8:
        return rng.choice(
            (
                a.capitalize(),
                f"{a.capitalize()} {b}",
                f"{a.capitalize()} {b.capitalize()}",
                f"{a.capitalize()}{rng.randint(1, 99)}",
                f"{b}{rng.randint(1, 999)}",
            )
        )
    if roll < 0.9:
        return rng.choice(
            (
                "utf-8",
                "UTF-8",
                "GET",
                "POST",
                "application/json",
                "en-US",
                "yyyy-MM-dd",
                "#ff0000",
                "admin",
                "localhost",
                "SHA-256",
                "ISO-8859-1",
            )
        )
    return _variable(rng, parts)


def _number(rng: Random) -> str:
    roll = rng.random()
    if roll < 0.7:
        return str(round(10 ** rng.uniform(0, 4)) if rng.random() < 0.6 else rng.randint(0, 20))
    return (
        str(round(rng.uniform(-10, 100), rng.choice((1, 2))))
        if roll < 0.9
        else str(rng.randint(-50, 0))
    )


# ---------------------------------------------------------------- parameters


@dataclass(frozen=True)
class ProgramField:
    """A parameter: its schema, and how a question names its value (`{w}` its words, `{v}` the value)."""

    name: str
    words: str
    schema: Schema
    draw: Callable[[Random], Said]
    mentions: tuple[str, ...]
    required: bool


@dataclass(frozen=True)
class ValueKind:
    """How parameters of one kind are described and mentioned: `{w}` their words, `{v}` the value."""

    types: tuple[tuple[str, str], ...]
    """What a library calls the type, and its JSON type."""
    abouts: tuple[str, ...]
    mentions: tuple[str, ...]


_KINDS = {
    "object": ValueKind(
        (("object", "string"), ("function", "string"), ("Object", "string")),
        ("The {w} object.", "The {w} instance to use.", "The {w} that is worked on.", "An instance of {w}.", "Reference to the {w}.", "The {w}."),
        ("the {w} {v}", "{w} {v}", "a {w} {v}", "{v} as the {w}", "the {w} given by {v}", "{v}"),
    ),
    "text": ValueKind(
        (("String", "string"),),
        ("The {w}.", "Name of the {w}.", "The {w} to use.", "The {w} as a string.", "Text of the {w}", "The {w} for the operation."),
        ("the {w} {v}", "{w} {v}", "a {w} of {v}", "{v} as {w}", "named {v}", "{w} set to {v}", "called {v}", "with {w} {v}"),
    ),
    "number": ValueKind(
        (("int", "integer"), ("long", "integer"), ("float", "number"), ("double", "number"), ("number", "number")),
        ("The {w}.", "Number of {w}.", "The {w} value", "The {w} in milliseconds.", "Size of the {w}."),
        ("{w} {v}", "a {w} of {v}", "the {w} {v}", "{w} set to {v}", "{v} for the {w}", "{v} as the {w}"),
    ),
    "flag": ValueKind(
        (("boolean", "boolean"),),
        ("Whether to {w}.", "If the {w} is used.", "Flag for {w}.", "Tells whether the {w} is kept."),
        ("{v}",),
    ),
    "list": ValueKind(
        (("array", "array"), ("ArrayList", "array"), ("Array", "array")),
        ("The {w} as a list.", "List of {w}.", "All {w}.", "The {w} to go through."),
        ("the {w} {v}", "{w} {v}", "a list of {w} {v}", "{v} as {w}"),
    ),
}  # fmt: skip
_ON = ("{w} enabled", "{w} set to true", "including the {w}", "{w} turned on")
_OFF = ("{w} disabled", "{w} set to false", "without the {w}", "excluding the {w}", "{w} turned off", "no {w}")  # fmt: skip


def _value(rng: Random, kind: str, json_type: str, parts: Sequence[str], texts: bool) -> Said:
    """A value of a kind and the words for it; `texts`: it is given as a text whatever its type."""
    words = " ".join(parts)
    if kind in ("object", "text"):
        text = _variable(rng, parts) if kind == "object" else _text(rng, parts)
        return text, _quoted(rng, text)
    if kind == "flag":
        flag = rng.random() < 0.6
        return str(flag).lower() if texts else flag, rng.choice(_ON if flag else _OFF).format(
            w=words
        )
    if kind == "number":
        number = _number(rng)
        if texts:
            return number, number
        whole = int(float(number))
        return (whole, str(whole)) if json_type == "integer" else (float(number), number)
    if rng.random() < 0.4:
        text = _variable(rng, parts)
        return text if texts else [text], _quoted(rng, text)
    numbers = rng.random() < 0.5
    count = rng.choice((1, 2, 2, 3, 4))
    items = [_number(rng) if numbers else any_word(rng).lower() for _ in range(count)]
    quoted = items if numbers else [f"'{item}'" for item in items]
    written = f"[{', '.join(quoted)}]"
    if texts:
        return written, written
    said = written if rng.random() < 0.4 else rng.choice((", ", " and ")).join(quoted)
    return [float(item) if "." in item else int(item) for item in items] if numbers else items, said


def _field(rng: Random, parts: Sequence[str], texts: bool, required: bool) -> ProgramField:
    """A parameter of one of the kinds that programs have; `texts`: every value is given as a text."""
    kind = rng.choice(
        ("text", "text", "text", "object", "object", "number", "number", "flag", "list")
    )
    of = _KINDS[kind]
    type_name, json_type = rng.choice(of.types)
    note = ""
    if texts or json_type == "string":
        note = rng.choice(
            (
                " Type: {k}.",
                " ({k}, written as a string)",
                " Given as text; its type is {k}.",
                " {k} in string form.",
                "",
            )
        )
    words = " ".join(parts)
    schema: Schema = {
        "type": "string" if texts else json_type,
        "description": (rng.choice(of.abouts) + note).format(w=words, k=type_name),
    }
    if json_type == "array" and not texts:
        schema["items"] = {"type": "string"} if rng.random() < 0.7 else {}
    name = camel(parts) if rng.random() < 0.9 else "_".join(parts)
    draw = partial(_value, kind=kind, json_type=json_type, parts=parts, texts=texts)
    return ProgramField(name, words, schema, draw, of.mentions, required)


# ---------------------------------------------------------------- functions


@dataclass(frozen=True)
class Program:
    """A function: what it does in words, its parameters, its schema."""

    name: str
    verb: str
    object: str
    words: tuple[str, ...]
    fields: tuple[ProgramField, ...]
    schema: Schema


_VERBS = (
    "create", "update", "validate", "parse", "render", "fetch", "configure", "initialize", "remove", "merge", "convert", "encode", "register",
    "sort", "filter", "log", "handle", "build", "check", "compute", "serialize", "find", "set", "get", "delete", "schedule", "generate", "extract",
    "format", "load", "apply", "resolve", "insert", "compare", "copy", "append", "dispatch", "bind", "open", "close",
)  # fmt: skip


def make_program(rng: Random, split: Split) -> Program:
    """A function about an object of the split."""
    while True:
        parts = tuple(any_word(rng).lower() for _ in range(rng.choice((1, 2, 2, 2, 3))))
        if all(part.isalpha() for part in parts) and split_of(Concept((), parts, (), ())) == split:
            break
    verb = rng.choice(_VERBS) if rng.random() < 0.8 else any_word(rng).lower()
    while True:
        method = (
            camel([verb, *parts])
            if rng.random() < 0.7
            else rng.choice(
                (
                    camel([*parts, verb]),
                    pascal([*parts, rng.choice(("generator", "factory", "handler", "processor"))]),
                    verb,
                )
            )
        )
        owner = pascal([any_word(rng) for _ in range(rng.choice((1, 1, 2, 3)))])
        name = method if rng.random() < 0.5 else f"{owner}{rng.choice('._')}{method}"
        if not contamination.is_reserved(name):
            break
    texts = rng.random() < 0.75
    fields: list[ProgramField] = []
    for i in range(rng.choice((1, 1, 2, 2, 3, 3, 4, 5))):
        own = [any_word(rng).lower() for _ in range(rng.choice((1, 1, 2)))]
        field = _field(rng, own, texts, i == 0 or rng.random() < 0.75)
        if all(field.name != other.name for other in fields):
            fields.append(field)
    phrase = " ".join(parts)
    about = rng.choice((
        "{V}s the {o}.", "{V}s the {o} of a given {x}.", "This function {v}s the {o} and returns the {x}.", "{V}s {o} with the parameters given.",
        "Method that {v}s a {o}.", "Used to {v} the {o}.", "{V}s a {o} for the {x}, with error handling.",
    )).format(V=verb.capitalize(), v=verb, o=phrase, x=any_word(rng))  # fmt: skip
    if texts:
        about += rng.choice(
            (
                " Java function.",
                " It belongs to a Java library.",
                " JavaScript function.",
                " Syntax: JavaScript.",
                " (Java)",
                "",
            )
        )
    schema = {
        "type": "function",
        "function": {
            "name": name,
            "description": about,
            "parameters": {
                "type": "object",
                "properties": {field.name: field.schema for field in fields},
                "required": [field.name for field in fields if field.required],
            },
        },
    }
    return Program(name, verb, phrase, parts, tuple(fields), schema)


def make_programs(rng: Random, split: Split, number: int) -> list[Program]:
    """Different functions."""
    made: list[Program] = []
    while len(made) < number:
        program = make_program(rng, split)
        if all(program.name != other.name and program.words != other.words for other in made):
            made.append(program)
    return made


_STARTS = (
    "Help me {v} {o}", "Help me {v} {o}", "How do I {v} {o}", "How can I {v} {o}", "I need to {v} {o}", "{V} {o}", "Can you {v} {o}", "Could you help me {v} {o}",
    "What should I call to {v} {o}", "Please {v} {o}", "I want to {v} {o}", "Write the call that will {v} {o}",
)  # fmt: skip


def program_question(rng: Random, program: Program, calls: int = 1) -> Request:
    """A question that the function answers; several calls differ in all of their values."""
    given = [field for field in program.fields if field.required or rng.random() < 0.5]
    rows = [{field.name: field.draw(rng) for field in given} for _ in range(calls if given else 1)]
    rows = [
        row
        for i, row in enumerate(rows)
        if all(_values(row) != _values(other) for other in rows[:i])
    ]
    article = rng.choice(("the", "the", "a", ""))
    thing = f"{article} {program.object}".strip()
    start = rng.choice(_STARTS).format(v=program.verb, V=program.verb.capitalize(), o=thing)
    order = list(given)
    if rng.random() < 0.3:
        rng.shuffle(order)
    chosen = {field.name: rng.choice(field.mentions) for field in given}
    parts = []
    for row in rows:
        said = [chosen[field.name].format(w=field.words, v=row[field.name][1]) for field in order]
        text = said[0] if said else ""
        for i, more in enumerate(said[1:], 1):
            text += (
                rng.choice((" and ", " and ", ", ", ", with "))
                if i == len(said) - 1
                else rng.choice((", ", ", ", " and "))
            ) + more
        parts.append(text)
    link = (
        rng.choice((" with ", " with ", " using ", " for ", ", using ", " given ", ", with "))
        if parts[0]
        else ""
    )
    text = (
        start
        + link
        + rng.choice((", then with ", ", and also with ", "; and with ", " and then ")).join(parts)
    )
    text += (
        "?" if text.startswith(("How", "Can", "Could", "What")) else rng.choice(("?", ".", ".", ""))
    )
    made = tuple(
        {"name": program.name, "arguments": {field.name: row[field.name][0] for field in given}}
        for row in rows
    )
    return Request(text, made, without_article(thing))


def _values(row: dict[str, Said]) -> list[str]:
    return [repr(value) for value, _ in row.values()]


def ask_other_program(rng: Random, split: Split, programs: Sequence[Program]) -> Request:
    """A question that none of the functions answers."""
    known = {word for program in programs for word in program.words}
    while True:
        other = make_program(rng, split)
        if not set(other.words) & known:
            asked = program_question(rng, other)
            return Request(asked.text, (), asked.topic)
