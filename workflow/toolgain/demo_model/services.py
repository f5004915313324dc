# ruff: noqa: E501
"""Wide text for pre-training: tools as real services describe them, and questions about them.

The tools of the training tasks (`toolgain.tasks.generated`) have plain lists of parameters, and
nearly every word in them comes from two word lists. A model that has seen only those cannot copy
a word it has never met, and cannot read a schema that looks different. Here names, descriptions
and values are drawn from a large lexicon and from words that do not exist, and parameters have
every JSON type: enumerations, arrays, objects, arrays of objects, unions, defaults. A value is
said in the question, or converted (a date, a percentage, an amount in words), or left out where
it is optional. Only objects of the `train` split occur, and no function name of BFCL v3.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from toolgain.tasks import contamination
from toolgain.tasks.generated import words
from toolgain.tasks.generated.concepts import CONCEPTS, VERBS, Concept
from toolgain.tasks.generated.generate import make_chat, split_of, without_article
from toolgain.tasks.generated.parameters import (
    KINDS,
    any_date,
    city,
    company,
    decimal,
    full_name,
    identifier,
    person,
    plain,
    pseudo_word,
    title,
    whole,
)
from toolgain.tasks.generated.task import Request, Split
from toolgain.tasks.generated.wordy import make_odd

Schema = dict[str, Any]
Said = tuple[Any, str]
"""A JSON value and the words for it in a question."""


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


@dataclass(frozen=True)
class Service:
    """A tool: the words for its object, how a question begins, its parameters, its schema."""

    name: str
    words: tuple[str, ...]
    phrases: tuple[str, ...]
    starts: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    schema: Schema


# ---------------------------------------------------------------- words


@cache
def lexicon() -> tuple[str, ...]:
    """About 9,000 common English words, from the file beside this module."""
    lines = Path(__file__).with_name("lexicon.txt").read_text().splitlines()
    return tuple(word for line in lines if not line.startswith("#") for word in line.split())


def any_word(rng: Random) -> str:
    """A word: from the lists of the tasks, from the lexicon, or one that does not exist."""
    roll = rng.random()
    if roll < 0.3:
        return rng.choice(words.NOUNS)
    if roll < 0.8:
        return rng.choice(lexicon())
    if roll < 0.92:
        return chimera(rng)
    return pseudo_word(rng)


def chimera(rng: Random) -> str:
    """The beginning of one word and the end of another: parts of words in an order never met."""
    first, second = rng.choice(lexicon()), rng.choice(lexicon())
    return (
        first[: rng.randint(2, max(2, len(first) - 1))] + second[rng.randint(1, len(second) - 2) :]
    )


def proper_name(rng: Random) -> str:
    """A capitalised name of one to four words."""
    roll = rng.random()
    if roll < 0.2:
        return rng.choice((city, company, person, full_name, title))(rng)
    if roll < 0.3:
        return rng.choice(words.COUNTRIES)
    parts = [any_word(rng).capitalize() for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))]
    if len(parts) > 2 and rng.random() < 0.4:
        parts[1] = rng.choice(("of", "and", "the", "in", "for", "on"))
    return " ".join(parts)


def code(rng: Random) -> str:
    """Something with digits, capitals and punctuation in it."""
    roll = rng.random()
    if roll < 0.35:
        return identifier(rng)
    if roll < 0.6:
        return make_odd(rng)
    alphabet = rng.choice(
        (
            string.ascii_uppercase,
            string.ascii_lowercase + string.digits,
            string.ascii_letters + string.digits,
        )
    )
    text = "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 9)))
    if roll < 0.8:
        return text
    return rng.choice(
        (
            f"{any_word(rng)}_{any_word(rng)}",
            any_word(rng) + any_word(rng).capitalize(),
            f"{any_word(rng)}.{any_word(rng)}",
            f"{text}-{rng.randint(0, 99)}",
            f"{any_word(rng)}()",
            f"{rng.randint(1, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}",
            f"#{text}",
            f"@{any_word(rng)}",
        )
    )


def free_text(rng: Random) -> str:
    """A text of any kind that an argument may hold."""
    roll = rng.random()
    if roll < 0.32:
        return " ".join(any_word(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3))))
    if roll < 0.68:
        return proper_name(rng)
    if roll < 0.88:
        return code(rng)
    return sentence_of(rng)


def sentence_of(rng: Random) -> str:
    """A sentence of some words, to be copied as it is."""
    parts = [
        any_word(rng) if rng.random() < 0.6 else rng.choice(_GLUE) for _ in range(rng.randint(3, 9))
    ]
    text = " ".join(parts)
    return text[0].upper() + text[1:] + rng.choice(("", ".", "!", "?"))


_GLUE = (
    *("the", "a", "of", "to", "in", "is", "and", "for", "with", "my", "your", "we", "are", "on"),
    *("it", "at", "was", "not", "will", "be", "this", "from"),
)

# ---------------------------------------------------------------- values


def _number_said(value: float) -> str:
    """Digits, with commas now and then where the number is large (by the number itself)."""
    if isinstance(value, int) and abs(value) >= 1000 and value % 3 == 0:
        return f"{value:,}"
    return str(value)


def _integer(rng: Random) -> Said:
    value = (
        whole(rng)
        if rng.random() < 0.85
        else rng.choice((rng.randint(-50, 0), rng.randint(10**4, 10**7), 0))
    )
    roll = rng.random()
    if 0 <= value <= 12 and roll < 0.2:
        return value, words.NUMBER_WORDS[value]
    if value and value % 1000 == 0 and roll < 0.5:
        return value, f"{value // 1000} thousand"
    return value, _number_said(value)


def _number(rng: Random) -> Said:
    if rng.random() < 0.35:
        return _integer(rng)
    value = decimal(rng)
    return value, str(value)


def _float(rng: Random) -> Said:
    """A number that is written with a point, as lists of numbers are compared entry by entry."""
    value, said = _number(rng)
    return float(value), said


def _text(rng: Random) -> Said:
    value = free_text(rng)
    if rng.random() < 0.25:
        return value, rng.choice(("'{}'", '"{}"')).format(value)
    return value, value


def _listed(rng: Random, draw: Callable[[Random], Said], most: int = 5) -> Said:
    """A list of values, said in words or as it would be written in code."""
    pairs = [draw(rng) for _ in range(rng.choice((1, 2, 2, 3, 3, 4, most)))]
    values = [value for value, _ in pairs]
    roll = rng.random()
    texts = [text for _, text in pairs]
    if roll < 0.2:
        return values, json.dumps(values)
    if roll < 0.35:
        return values, str(values)
    if roll < 0.45:
        return values, ", ".join(texts)
    return values, texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + rng.choice(
        (" and ", ", and ")
    ) + texts[-1]


def _iso_date_said(rng: Random) -> Said:
    """A date in ISO form that is said as people say it."""
    year, month, day = rng.randint(1980, 2035), rng.randint(1, 12), rng.randint(1, 28)
    value = f"{year}-{month:02d}-{day:02d}"
    name = words.MONTHS[month - 1]
    ending = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd"}.get(day, "th")
    return value, rng.choice((value, f"{name} {day}, {year}", f"{name} {day}{ending}, {year}", f"{name} {day}{ending} {year}",
                              f"the {day}{ending} of {name} {year}", f"{day} {name} {year}"))  # fmt: skip


def _percent_as_part(rng: Random) -> Said:
    percent = rng.choice((rng.randint(1, 99), rng.randint(1, 20), 5, 10, 25, 50))
    return percent / 100, rng.choice((f"{percent}%", f"{percent} percent", f"{percent / 100}"))


def _large_amount(rng: Random) -> Said:
    value = rng.randint(1, 99)
    unit, times = rng.choice((("thousand", 10**3), ("million", 10**6), ("k", 10**3)))
    text = f"{value}{unit}" if unit == "k" else f"{value} {unit}"
    return value * times, rng.choice(
        (
            text,
            f"{value * times:,}",
            f"${value * times:,}",
            f"${value * times}",
            f"{value * times} dollars",
        )
    )


_CURRENCY_WORDS = (("USD", "dollars"), ("USD", "US dollars"), ("EUR", "euros"), ("GBP", "pounds"), ("GBP", "British pounds"), ("JPY", "yen"),
                   ("JPY", "Japanese yen"), ("INR", "rupees"), ("CHF", "Swiss francs"), ("CAD", "Canadian dollars"), ("AUD", "Australian dollars"))  # fmt: skip


def _currency(rng: Random) -> Said:
    value, text = rng.choice(_CURRENCY_WORDS)
    return (value, text) if rng.random() < 0.6 else (value, value)


_STATES = (("CA", "California"), ("NY", "New York"), ("TX", "Texas"), ("FL", "Florida"), ("WA", "Washington"), ("MA", "Massachusetts"),
           ("IL", "Illinois"), ("CO", "Colorado"), ("AZ", "Arizona"), ("GA", "Georgia"), ("OR", "Oregon"), ("NV", "Nevada"))  # fmt: skip


def _city_and_state(rng: Random) -> Said:
    short, long = rng.choice(_STATES)
    name = city(rng).split(",")[0] if rng.random() < 0.7 else proper_name(rng)
    value = f"{name}, {short}"
    return value, value if rng.random() < 0.5 else f"{name}, {long}"


def _digits_as_text(rng: Random) -> Said:
    value = str(_number(rng)[0])
    return value, value


# ---------------------------------------------------------------- parameters

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


def _schema(rng: Random, kind: str, about: str, **others: Any) -> Schema:
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


def make_parameter(rng: Random, style: int, taken: set[str], depth: int = 0) -> Parameter:
    """A parameter of any type, under a name that is not taken."""
    while True:
        parameter = _known(rng) if rng.random() < 0.33 else _open(rng, style, depth)
        if parameter.name not in taken and parameter.name:
            taken.add(parameter.name)
            return parameter


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
        name, _schema(rng, kind.type, about, **others), required, draw, kind.said, kind.said
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
        _schema(rng, "string", _about(rng, text, extra), **others),
        required,
        _text,
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
        "", _schema(rng, "integer", about, **others), required, _integer, named, _BARE_NUMBER
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
        value, said = _number(rng)
        return value, f"{said} {word}".strip() if rng.random() < 0.7 else said

    others: Schema = {"default": decimal(rng)} if not required and rng.random() < 0.4 else {}
    return Parameter(
        "",
        _schema(rng, "number", _about(rng, text, extra), **others),
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
        "", _schema(rng, "boolean", about, **others), required, draw, ("{v}",), ("{v}",)
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
        _schema(rng, "integer" if integers else "string", about, **others),
        required,
        draw,
        _NAMED,
        bare,
    )


def _open_array(rng: Random, text: str, required: bool, style: int, depth: int) -> Parameter:
    kind = rng.choice(("string", "string", "integer", "number"))
    item = {"string": _short_text, "integer": _integer, "number": _float}[kind]
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
        return _listed(rng, item)

    about = _about(rng, rng.choice((f"list of {text}", f"array of {text}", text)))
    return Parameter(
        "", _schema(rng, "array", about, items=items), required, draw, _NAMED, _BARE_LIST
    )


def _short_text(rng: Random) -> Said:
    value = rng.choice((any_word, any_word, proper_name, person, city, code))(rng)
    return value, value


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
        listed = _schema(
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
        _schema(rng, "object", _about(rng, text), **schema),
        required,
        draw,
        ("with {n} {v}", "{n}: {v}", "for the {n} {v}", "{v}"),
    )


def _converted(rng: Random, text: str, required: bool, style: int, depth: int) -> Parameter:
    """A value that the question says in another form than the call needs."""
    kind, about, draw, bare = rng.choice(_CONVERSIONS)
    others: Schema = {"format": "date"} if draw is _iso_date_said and rng.random() < 0.15 else {}
    schema = _schema(rng, kind, _about(rng, text, about), **others)
    return Parameter("", schema, required, draw, _NAMED, tuple(bare.split("|")))


_CONVERSIONS: tuple[tuple[str, str, Callable[[Random], Said], str], ...] = (
    ("string", "in the format YYYY-MM-DD", _iso_date_said, "on {v}|for {v}|from {v}|{v}"),
    ("string", "(YYYY-MM-DD)", _iso_date_said, "on {v}|for {v}|starting {v}|until {v}"),
    ("number", "as a decimal, e.g. 0.05 for 5%", _percent_as_part, "of {v}|at {v}|by {v}"),
    ("integer", "as a plain number", _large_amount, "of {v}|for {v}|{v}|with {v}"),
    ("string", "as a three-letter currency code", _currency, "in {v}|to {v}|from {v}"),
    (
        "string",
        "in the form of City, State (e.g. 'Austin, TX')",
        _city_and_state,
        "in {v}|for {v}|at {v}|near {v}",
    ),
    ("string", "in string representation", _digits_as_text, "of {v}|{v}|for {v}|by {v}"),
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

# ---------------------------------------------------------------- services


def filler(rng: Random) -> str:
    """A sentence of a description that says nothing about the question."""
    noun, other, third = any_word(rng), any_word(rng), any_word(rng)
    return rng.choice(_FILLERS).format(
        n=noun, m=other, k=third, c=proper_name(rng), d=rng.randint(1, 500)
    )


_FILLERS = (
    "Returns the {n} of the {m} and its {k}.", "Use this when the {n} should be {m}.", "Note that the {n} is in {m} form.", "Not for {n}.",
    "It supports {n}, {m} and {k}.", "The {n} must be {m}, otherwise the {k} fails.", "Example: {n} {d}.", "Requires {n} access to the {m}.",
    "If the {n} is missing, {m} is assumed.", "At most {d} {n} are returned.", "Part of the {c} service.", "This function {n} the {m} by {k}.",
    "See also the {n} {m}.", "The {n} can be {m} or {k}.", "Values are {n} unless the {m} says otherwise.",
)  # fmt: skip


def _object_words(rng: Random) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Words of an object, phrases for it, and a class of verbs that fits."""
    if rng.random() < 0.22:
        concept = rng.choice(CONCEPTS)
        return concept.words, concept.phrases, rng.choice(concept.verbs)
    parts = [any_word(rng) for _ in range(rng.choice((1, 1, 2, 2, 2, 3)))]
    text = " ".join(parts)
    phrases = [f"the {text}", f"the {text}", text, f"a {text}"]
    if len(parts) > 1:
        phrases.append(f"the {parts[-1]} of the {' '.join(parts[:-1])}")
        phrases.append(
            f"the {parts[-1]} {rng.choice(('for', 'in', 'of', 'from'))} {' '.join(parts[:-1])}"
        )
    return tuple(parts), tuple(phrases), rng.choice(sorted(VERBS))


def make_service(rng: Random, split: Split, near: Service | None = None, most: int = 7) -> Service:
    """A tool of the split; `near`: one that shares a word or the object with this other tool."""
    while True:
        parts, phrases, verb_class = _object_words(rng)
        if near is not None:
            kept = rng.choice(near.words)
            parts = (kept, any_word(rng)) if rng.random() < 0.5 else (any_word(rng), kept)
            phrases = (f"the {' '.join(parts)}", " ".join(parts))
        if split_of(Concept((), parts, (), ())) == split:
            break
    names, abouts, starts = VERBS[verb_class]
    verb = rng.choice(names)
    if rng.random() < 0.25:
        verb = any_word(rng)
        starts = (*starts, f"{verb.capitalize()} {{o}}", f"Please {verb} {{o}}")
    while contamination.is_reserved(name := _service_name(rng, verb, parts)):
        pass
    style = rng.choice((0, 0, 0, 1, 1, 2))
    taken: set[str] = set()
    number = min(rng.choice((0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 7)), most)
    parameters = [make_parameter(rng, style, taken) for _ in range(number)]
    if rng.random() < 0.8:
        parameters.sort(key=lambda p: not p.required)
    text = " ".join(parts)
    function: Schema = {"name": name}
    about = _service_about(rng, abouts, phrases, text)
    if about or rng.random() < 0.5:
        function["description"] = about
    function["parameters"] = {
        "type": "object",
        "properties": {p.name: p.schema for p in parameters},
        "required": [p.name for p in parameters if p.required],
    }
    return Service(
        name, parts, phrases, starts, tuple(parameters), {"type": "function", "function": function}
    )


def _service_about(rng: Random, abouts: Sequence[str], phrases: Sequence[str], text: str) -> str:
    roll = rng.random()
    if roll < 0.04:
        return ""
    if roll < 0.1:
        return text.capitalize()
    about = rng.choice(abouts).format(o=rng.choice((text, rng.choice(phrases))))
    if roll < 0.5:
        return about + rng.choice(("", "."))
    about += (
        rng.choice(
            (
                " for a given {}",
                " based on the {}",
                " of a specific {}",
                " using the {}",
                " in a {}",
                "",
            )
        ).format(any_word(rng))
        + "."
    )
    for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
        about += " " + filler(rng)
    return about


def _service_name(rng: Random, verb: str, parts: Sequence[str]) -> str:
    words_ = [part for part in verb.split("_") if part] + list(parts)
    camel = "".join(word.capitalize() for word in words_)
    snake = "_".join(words_)
    roll = rng.random()
    if roll < 0.42:
        return snake
    if roll < 0.52:
        return camel[0].lower() + camel[1:]
    if roll < 0.58:
        return camel
    space = any_word(rng) if rng.random() < 0.6 else "_".join(parts)
    dotted = f"{space}{rng.choice(('.', '_'))}{snake}"
    if roll < 0.78:
        return dotted
    return rng.choice(
        (f"{space.capitalize()}_{rng.randint(1, 9)}_{camel}", f"{space}_{camel}", f"{snake}_{rng.randint(1, 20)}", f"{'_'.join(parts)}_{verb or 'tool'}",
         f"{space}_api_{snake}", f"{space.capitalize()}Api.{snake}", f"{snake}_by_{any_word(rng)}", f"{parts[-1]}", f"{space}.{any_word(rng)}.{verb or 'get'}")
    )  # fmt: skip


# ---------------------------------------------------------------- questions


def ask(rng: Random, service: Service, calls: int = 1) -> Request:
    """A question that the service answers with the given number of calls."""
    given = [p for p in service.parameters if p.required or rng.random() < 0.4]
    drawn = {p.name: p.draw(rng) for p in given}
    rows = [drawn]
    varied = rng.choice(given) if given else None
    for _ in range(10):
        if varied is None or len(rows) >= calls:
            break
        other = varied.draw(rng)
        if all(json.dumps(row[varied.name][0]) != json.dumps(other[0]) for row in rows):
            rows.append({**drawn, varied.name: other})
    phrase = rng.choice(service.phrases)
    mentions: list[str] = []
    order = list(given)
    if rng.random() < 0.6:
        rng.shuffle(order)
    for parameter in order:
        alone = sum(p.schema["type"] == parameter.schema["type"] for p in given) == 1
        known = parameter.named is parameter.bare
        phrases = (
            parameter.bare
            if parameter.bare and (alone or known) and rng.random() < 0.7
            else parameter.named
        )
        said = rng.choice(phrases)
        texts = (
            [row[parameter.name][1] for row in rows]
            if parameter is varied
            else [drawn[parameter.name][1]]
        )
        if len(texts) > 1 and rng.random() < 0.5:
            mentions.append(
                rng.choice((" and ", ", ", ", and ")).join(
                    said.replace("{v}", text) for text in texts
                )
            )
        else:
            mentions.append(said.replace("{v}", plain(texts)))
    text = _compose(rng, rng.choice(service.starts), phrase, mentions)
    made = tuple(
        {
            "name": service.name,
            "arguments": {p.name: row[p.name][0] for p in service.parameters if p.name in row},
        }
        for row in rows
    )
    return Request(text, made, without_article(phrase))


def _compose(rng: Random, start: str, phrase: str, mentions: list[str]) -> str:
    """A question from its parts, in one of several orders."""
    head = start.replace("{o}", phrase)
    roll = rng.random()
    if mentions and roll < 0.12:
        first = mentions.pop(0)
        text = f"{first[0].upper()}{first[1:]}, {head[0].lower()}{head[1:]}" + (
            " " + " ".join(mentions) if mentions else ""
        )
    elif len(mentions) > 1 and roll < 0.3:
        cut = rng.randint(0, len(mentions) - 1)
        tail = rng.choice((". ", "; ", ", ")).join(mentions[cut:])
        text = " ".join([head, *mentions[:cut]]) + ". " + tail[0].upper() + tail[1:]
    else:
        joined = rng.choice((" ", " ", ", ", " and ")).join(mentions)
        text = f"{head} {joined}" if joined else head
    text += (
        rng.choice(("?", ".", "", "!", "."))
        if not text.startswith(_ASKING)
        else rng.choice(("?", "?", ""))
    )
    roll = rng.random()
    if roll < 0.1:
        text = f"{sentence_of(rng)} {text}"
    elif roll < 0.16:
        text = (
            rng.choice(
                (
                    "Hi, ",
                    "Hello! ",
                    "Hey, ",
                    "Please, ",
                    "I have a question. ",
                    "Help me: ",
                    "I'm planning something. ",
                )
            )
            + text
        )
    elif roll < 0.2:
        text += rng.choice((" Thanks!", " Thank you.", " Please hurry.", " What do you think?"))
    if rng.random() < 0.06:
        text = text[0].lower() + text[1:]
    return text


_ASKING = ("What", "Which", "How", "Can", "Could", "Do", "Are", "Is", "Who", "When")


def ask_elsewhere(rng: Random, split: Split, services: Sequence[Service]) -> Request:
    """A question that none of the services can answer; some share a word with one of them."""
    if rng.random() < 0.2:
        chat = make_chat(rng)
        return Request(chat, (), chat.split()[-1].strip("?.!,"))
    known = {word for service in services for word in service.words}
    while True:
        near = rng.choice(services) if rng.random() < 0.3 else None
        other = make_service(rng, split, near)
        if not set(other.words) <= known and not any(
            set(other.words) == set(s.words) for s in services
        ):
            asked = ask(rng, other)
            return Request(asked.text, (), asked.topic)


def make_services(rng: Random, split: Split, number: int, most: int = 7) -> list[Service]:
    """Different services; some share words with an earlier one, none has the same object."""
    made: list[Service] = []
    ending = " " + filler(rng) if rng.random() < 0.3 else ""
    while len(made) < number:
        near = rng.choice(made) if made and rng.random() < 0.3 else None
        service = make_service(rng, split, near, most)
        if any(
            set(service.words) == set(other.words) or service.name == other.name for other in made
        ):
            continue
        if ending:
            function = {**service.schema["function"]}
            function["description"] = function.get("description", "") + ending
            service = replace(service, schema={**service.schema, "function": function})
        made.append(service)
    return made


def respond(rng: Random) -> str:
    """A tool's result."""
    value: Any = rng.choice(
        (
            rng.randint(0, 9999),
            free_text(rng),
            True,
            [any_word(rng), any_word(rng)],
            {any_word(rng): free_text(rng)},
        )
    )
    return json.dumps(
        rng.choice(
            (
                value,
                {any_word(rng): value},
                {"result": value},
                {any_word(rng): value, any_word(rng): any_date(rng)},
                {"status": "success"},
                {"error": sentence_of(rng)},
            )
        )
    )
