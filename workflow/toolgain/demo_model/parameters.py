# ruff: noqa: E501
"""Parameters of tools as real services describe them: every JSON type, optional ones, defaults."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from toolgain.demo_model.quantities import make_named, make_quantity
from toolgain.demo_model.scraps import any_word, code, filler, free_text, proper_name
from toolgain.demo_model.values import (
    Said,
    a_float,
    a_number,
    a_text,
    an_integer,
    city_and_state,
    currency,
    digits_as_text,
    iso_date_said,
    large_amount,
    listed,
    percent_as_part,
    short_text,
)
from toolgain.tasks.generated.parameters import KINDS, decimal, plain

Schema = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One parameter: its schema, how a value is drawn, and the phrases that mention one.

    In a phrase `{v}` is the value's words. `bare` phrases do not name the parameter: they are used
    where the value alone tells which one it is.
    """

    name: str
    schema: Schema
    required: bool
    draw: Callable[[Random], Said]
    named: tuple[str, ...]
    bare: tuple[str, ...] = ()


_ARTICLES = ("The", "The", "A", "Name of the", "Value of the", "Specifies the", "Desired", "Target")
_NAMED = ("with {n} {v}", "with a {n} of {v}", "{n} {v}", "with {n} = {v}", "where the {n} is {v}", "using {v} as the {n}", "for a {n} of {v}",
          "{n}: {v}", "and the {n} is {v}", "whose {n} is {v}", "with {v} as {n}", "the {n} should be {v}", "set {n} to {v}", "having {n} {v}",
          "({n} {v})", "by {n} {v}", "{n}={v}", "its {n} being {v}")  # fmt: skip
_BARE_TEXT = (
    "for {v}",
    "of {v}",
    "in {v}",
    "{v}",
    "from {v}",
    "to {v}",
    "called {v}",
    "named {v}",
    "by {v}",
    "about {v}",
    "at {v}",
    "on {v}",
)
_BARE_NUMBER = ("of {v}", "for {v}", "{v}", "by {v}", "to {v}", "with {v}", "at {v}")
_BARE_LIST = ("for {v}", "of {v}", "{v}", "with {v}", "including {v}", "on {v}")


def _style(rng: Random, parts: Sequence[str], style: int) -> str:
    """A parameter's name in the style of its tool: snake, camel, or now and then abbreviated."""
    if style == 1:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    if style == 2 and rng.random() < 0.5:
        return "_".join(part[: rng.randint(1, 4)] for part in parts)
    return "_".join(parts)


def _about(rng: Random, text: str, extra: str = "") -> str:
    """A parameter's description, of no words to a paragraph."""
    roll = rng.random()
    if roll < 0.06:
        base = ""
    elif roll < 0.7:
        base = f"{rng.choice(_ARTICLES)} {text}"
    elif roll < 0.85:
        base = f"{rng.choice(_ARTICLES)} {text} {rng.choice(('of', 'for', 'in', 'to', 'used by'))} the {any_word(rng)}"
    else:
        base = f"{rng.choice(_ARTICLES)} {text}. {filler(rng)}"
    if extra:
        base = f"{base}{rng.choice((', ', '. ', ' '))}{extra}" if base else extra
    return base + ("." if base and rng.random() < 0.6 else "")


def _default_said(rng: Random, value: Any) -> str:
    return rng.choice(
        (
            "Default is {}",
            "Defaults to {}",
            "default {}",
            "If not given, {} is used",
            "(optional, default: {})",
        )
    ).format(value if not isinstance(value, str) else f"'{value}'")


def _type_of(rng: Random, kind: str) -> Any:
    """The type as schemas write it: sometimes one of a union, or a float by another name."""
    if rng.random() < 0.04:
        return [kind, "null"]
    return kind


def write_schema(rng: Random, kind: str, about: str, **others: Any) -> Schema:
    """A parameter's schema, its keys in varied order."""
    schema: Schema = {"type": _type_of(rng, kind)}
    if about or rng.random() < 0.5:
        schema["description"] = about
    schema.update(others)
    if kind == "number" and rng.random() < 0.4:
        schema["format"] = "float"
        if rng.random() < 0.5 and about:
            schema["description"] = about.rstrip(".") + ". This is a float type value."
    if rng.random() < 0.3:
        keys = list(schema)
        rng.shuffle(keys)
        schema = {key: schema[key] for key in keys}
    return schema


def make_parameter(
    rng: Random, style: int, taken: set[str], depth: int = 0, everyday: bool = False
) -> Parameter:
    """A parameter of any type, under a name that is not taken.

    `everyday`: one that has to do with the world, in place of words put together by chance.
    """
    while True:
        roll = rng.random()
        if everyday:
            parameter = _known(rng) if roll < 0.4 else _told(rng, style)
        else:
            parameter = _known(rng) if roll < 0.25 else _open(rng, style, depth)
        if parameter.name not in taken and parameter.name:
            taken.add(parameter.name)
            return parameter


def _told(rng: Random, style: int) -> Parameter:
    """A quantity with its unit, or a named thing."""
    told = make_quantity(rng) if rng.random() < 0.5 else make_named(rng)
    required = rng.random() < 0.75
    others: Schema = {}
    if told.type == "array":
        others["items"] = {"type": "string"}
    about = told.about
    if not required and rng.random() < 0.5:
        default = told.draw(rng)[0]
        others["default"] = default
        about = f"{about}. {_default_said(rng, default)}"
    if rng.random() < 0.3:
        about = f"{about}."
    text = " ".join(told.words)
    return Parameter(
        _style(rng, told.words, 1 if style == 1 else 0),
        write_schema(rng, told.type, about, **others),
        required,
        told.draw,
        tuple(said.replace("{n}", text) for said in (*told.said, *_NAMED[:5])),
        told.said,
    )


def _known(rng: Random) -> Parameter:
    """A parameter of the training tasks' kinds."""
    kind = KINDS[rng.choice(_KINDS)]
    name = rng.choice(kind.names)
    about = rng.choice(kind.about)
    others: Schema = {}
    if kind.items:
        others["items"] = {"type": kind.items}
    if kind.enum:
        others["enum"] = list(kind.enum)
    required = rng.random() < 0.6

    def draw(rng: Random) -> Said:
        value = kind.draw(rng)
        return getattr(value, "value", value), plain(value)

    if kind.enum and not required and rng.random() < 0.5:
        default = rng.choice(kind.enum)
        others["default"] = default
        about = f"{about}. {_default_said(rng, default)}"
    return Parameter(
        name, write_schema(rng, kind.type, about, **others), required, draw, kind.said, kind.said
    )


_KINDS = sorted(KINDS)


def _open(rng: Random, style: int, depth: int) -> Parameter:
    """A parameter named by words of the lexicon, of any JSON type."""
    parts = [any_word(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
    text = " ".join(parts)
    required = rng.random() < 0.55
    kind = rng.choice(_OPEN if depth == 0 else _OPEN_INSIDE)
    made = kind(rng, text, required, style, depth)
    if style == 2 and rng.random() < 0.1:
        parts = [rng.choice(string.ascii_lowercase)]
    return replace(
        made,
        name=_style(rng, parts, style),
        named=tuple(said.replace("{n}", text) for said in made.named),
    )


def _open_text(rng: Random, text: str, required: bool, style: int, depth: int) -> Parameter:
    others: Schema = {}
    extra = ""
    if not required and rng.random() < 0.5:
        default = free_text(rng)
        extra = _default_said(rng, default)
        if rng.random() < 0.6:
            others["default"] = default
    elif rng.random() < 0.15:
        extra = f"e.g. '{free_text(rng)}'"
    return Parameter(
        "",
        write_schema(rng, "string", _about(rng, text, extra), **others),
        required,
        a_text,
        _NAMED,
        _BARE_TEXT,
    )


def _open_integer(rng: Random, text: str, required: bool, style: int, depth: int) -> Parameter:
    others: Schema = {}
    extra = ""
    if not required and rng.random() < 0.6:
        default = rng.choice((0, 1, 5, 10, 100, rng.randint(1, 3000)))
        extra = _default_said(rng, default)
        if rng.random() < 0.6:
            others["default"] = default
    if rng.random() < 0.06:
        others["minimum"] = 0
    about = _about(rng, rng.choice((text, f"number of {text}", text)), extra)
    named = (*_NAMED, "{v} {n}", "{v} {n}", "for {v} {n}", "with {v} {n}")
    return Parameter(
        "", write_schema(rng, "integer", about, **others), required, an_integer, named, _BARE_NUMBER
    )


def _open_number(rng: Random, text: str, required: bool, style: int, depth: int) -> Parameter:
    unit, word = rng.choice(
        (
            ("kilograms", "kg"),
            ("meters", "m"),
            ("degrees", "degrees"),
            ("seconds", "s"),
            ("percent", "%"),
            ("km/h", "km/h"),
            ("liters", "liters"),
            ("", ""),
            ("", ""),
            ("", ""),
        )
    )
    extra = f"in {unit}" if unit else ""

    def draw(rng: Random) -> Said:
        value, said = a_number(rng)
        return value, f"{said} {word}".strip() if rng.random() < 0.7 else said

    others: Schema = {"default": decimal(rng)} if not required and rng.random() < 0.4 else {}
    return Parameter(
        "",
        write_schema(rng, "number", _about(rng, text, extra), **others),
        required,
        draw,
        _NAMED,
        _BARE_NUMBER,
    )


def _open_boolean(rng: Random, text: str, required: bool, style: int, depth: int) -> Parameter:
    about = rng.choice(
        (
            f"Whether to include {text}",
            f"If true, {text}",
            f"Set to true for {text}",
            f"Whether the {text} is wanted",
            f"Include {text} or not",
            f"Flag for {text}",
        )
    )
    yes = (
        f"with {text}",
        f"including {text}",
        f"and {text}",
        f"include the {text}",
        f"also {text}",
        f"{text} enabled",
        f"turn on {text}",
        f"I want {text}",
    )
    no = (
        f"without {text}",
        f"no {text}",
        f"excluding {text}",
        f"{text} disabled",
        f"but not {text}",
        f"leave out {text}",
    )
    default = rng.random() < 0.4
    others: Schema = {}
    if not required and rng.random() < 0.7:
        others["default"] = default
        if rng.random() < 0.6:
            about += f". {_default_said(rng, rng.choice((str(default), str(default).lower())))}"

    def draw(rng: Random) -> Said:
        return (True, rng.choice(yes)) if rng.random() < 0.65 else (False, rng.choice(no))

    return Parameter(
        "", write_schema(rng, "boolean", about, **others), required, draw, ("{v}",), ("{v}",)
    )


def _open_enum(rng: Random, text: str, required: bool, style: int, depth: int) -> Parameter:
    integers = rng.random() < 0.08
    choices: list[Any] = (
        sorted(rng.sample(range(1, 100), rng.randint(2, 5)))
        if integers
        else [
            rng.choice((any_word, any_word, proper_name, code))(rng)
            for _ in range(rng.randint(2, 7))
        ]
    )
    form = rng.random()
    if not integers and form < 0.2:
        choices = [choice.upper() for choice in choices]
    elif not integers and form < 0.4:
        choices = [f"{choice}_{any_word(rng)}" for choice in choices]
    extra = ""
    others: Schema = {"enum": choices}
    if not required and rng.random() < 0.6:
        others["default"] = rng.choice(choices)
        if rng.random() < 0.7:
            extra = _default_said(rng, others["default"])
    if rng.random() < 0.2:
        extra = f"one of {', '.join(map(repr, choices))}"
        if rng.random() < 0.4:
            del others["enum"]

    def draw(rng: Random) -> Said:
        value = rng.choice(choices)
        said = str(value)
        roll = rng.random()
        if roll < 0.25:
            said = said.replace("_", " ").lower()
        elif roll < 0.4:
            said = said.replace("_", " ").capitalize()
        return value, said

    about = _about(rng, text, extra)
    if rng.random() < 0.05:
        about = ""
    bare = ("{v}", "as {v}", "in {v}", "by {v}", "for {v}", "with {v}", "the {v} one")
    return Parameter(
        "",
        write_schema(rng, "integer" if integers else "string", about, **others),
        required,
        draw,
        _NAMED,
        bare,
    )


def _open_array(rng: Random, text: str, required: bool, style: int, depth: int) -> Parameter:
    kind = rng.choice(("string", "string", "integer", "number"))
    item = {"string": short_text, "integer": an_integer, "number": a_float}[kind]
    items: Schema = {"type": kind}
    if rng.random() < 0.15:
        items["description"] = rng.choice(_ARTICLES) + " " + text
    choices: list[str] = []
    if kind == "string" and rng.random() < 0.2:
        choices = [any_word(rng) for _ in range(rng.randint(3, 7))]
        items["enum"] = choices

    def draw(rng: Random) -> Said:
        if choices:
            chosen = rng.sample(choices, rng.randint(1, min(3, len(choices))))
            return chosen, plain(chosen)
        return listed(rng, item)

    about = _about(rng, rng.choice((f"list of {text}", f"array of {text}", text)))
    return Parameter(
        "", write_schema(rng, "array", about, items=items), required, draw, _NAMED, _BARE_LIST
    )


def _open_object(rng: Random, text: str, required: bool, style: int, depth: int) -> Parameter:
    taken: set[str] = set()
    inner = [make_parameter(rng, style, taken, depth + 1) for _ in range(rng.randint(1, 3))]
    schema: Schema = {"properties": {p.name: p.schema for p in inner}}
    if rng.random() < 0.5:
        schema["required"] = [p.name for p in inner if p.required]

    def draw(rng: Random) -> Said:
        given = [p for p in inner if p.required or rng.random() < 0.5] or inner[:1]
        drawn = [(p, p.draw(rng)) for p in given]
        value = {p.name: made for p, (made, _) in drawn}
        if rng.random() < 0.1:
            return value, json.dumps(value)
        return value, rng.choice((", ", " and ", " ")).join(
            rng.choice(p.named).replace("{v}", said) for p, (_, said) in drawn
        )

    if depth == 0 and rng.random() < 0.25:
        listed = write_schema(
            rng, "array", _about(rng, f"list of {text}"), items={"type": "object", **schema}
        )

        def draw_list(rng: Random) -> Said:
            made = [draw(rng) for _ in range(rng.choice((1, 2, 2, 3)))]
            return [value for value, _ in made], "; ".join(said for _, said in made)

        return Parameter(
            "", listed, required, draw_list, ("with {n} {v}", "{n}: {v}", "for the {n} {v}")
        )
    return Parameter(
        "",
        write_schema(rng, "object", _about(rng, text), **schema),
        required,
        draw,
        ("with {n} {v}", "{n}: {v}", "for the {n} {v}", "{v}"),
    )


def _converted(rng: Random, text: str, required: bool, style: int, depth: int) -> Parameter:
    """A value that the question says in another form than the call needs."""
    kind, about, draw, bare = rng.choice(_CONVERSIONS)
    others: Schema = {"format": "date"} if draw is iso_date_said and rng.random() < 0.15 else {}
    schema = write_schema(rng, kind, _about(rng, text, about), **others)
    return Parameter("", schema, required, draw, _NAMED, tuple(bare.split("|")))


_CONVERSIONS: tuple[tuple[str, str, Callable[[Random], Said], str], ...] = (
    ("string", "in the format YYYY-MM-DD", iso_date_said, "on {v}|for {v}|from {v}|{v}"),
    ("string", "(YYYY-MM-DD)", iso_date_said, "on {v}|for {v}|starting {v}|until {v}"),
    ("number", "as a decimal, e.g. 0.05 for 5%", percent_as_part, "of {v}|at {v}|by {v}"),
    ("integer", "as a plain number", large_amount, "of {v}|for {v}|{v}|with {v}"),
    ("string", "as a three-letter currency code", currency, "in {v}|to {v}|from {v}"),
    (
        "string",
        "in the form of City, State (e.g. 'Austin, TX')",
        city_and_state,
        "in {v}|for {v}|at {v}|near {v}",
    ),
    ("string", "in string representation", digits_as_text, "of {v}|{v}|for {v}|by {v}"),
)
_OPEN = (
    *(_open_text,) * 7, *(_open_integer,) * 5, *(_open_number,) * 3, *(_open_boolean,) * 2, *(_open_enum,) * 4,
    *(_open_array,) * 3, _open_object, *(_converted,) * 4,
)  # fmt: skip
_OPEN_INSIDE = (
    _open_text,
    _open_text,
    _open_integer,
    _open_number,
    _open_boolean,
    _open_enum,
    _open_array,
)
