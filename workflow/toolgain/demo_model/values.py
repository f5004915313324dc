# ruff: noqa: E501
"""JSON values, each with the words in which a question says it."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from toolgain.demo_model.scraps import any_word, code, free_text, proper_name
from toolgain.tasks.generated import words
from toolgain.tasks.generated.parameters import city, decimal, person, whole

Said = tuple[Any, str]
"""A JSON value and the words for it in a question."""


def _number_said(value: float) -> str:
    """Digits, with commas now and then where the number is large (by the number itself)."""
    if isinstance(value, int) and abs(value) >= 1000 and value % 3 == 0:
        return f"{value:,}"
    return str(value)


def an_integer(rng: Random) -> Said:
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


def a_number(rng: Random) -> Said:
    if rng.random() < 0.35:
        return an_integer(rng)
    value = decimal(rng)
    return value, str(value)


def a_float(rng: Random) -> Said:
    """A number that is written with a point, as lists of numbers are compared entry by entry."""
    value, said = a_number(rng)
    return float(value), said


def a_text(rng: Random) -> Said:
    value = free_text(rng)
    if rng.random() < 0.25:
        return value, rng.choice(("'{}'", '"{}"')).format(value)
    return value, value


def listed(rng: Random, draw: Callable[[Random], Said], most: int = 5) -> Said:
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


def iso_date_said(rng: Random) -> Said:
    """A date in ISO form that is said as people say it."""
    year, month, day = rng.randint(1980, 2035), rng.randint(1, 12), rng.randint(1, 28)
    value = f"{year}-{month:02d}-{day:02d}"
    name = words.MONTHS[month - 1]
    ending = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd"}.get(day, "th")
    return value, rng.choice((value, f"{name} {day}, {year}", f"{name} {day}{ending}, {year}", f"{name} {day}{ending} {year}",
                              f"the {day}{ending} of {name} {year}", f"{day} {name} {year}"))  # fmt: skip


def percent_as_part(rng: Random) -> Said:
    percent = rng.choice((rng.randint(1, 99), rng.randint(1, 20), 5, 10, 25, 50))
    return percent / 100, rng.choice((f"{percent}%", f"{percent} percent", f"{percent / 100}"))


def large_amount(rng: Random) -> Said:
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


def currency(rng: Random) -> Said:
    value, text = rng.choice(_CURRENCY_WORDS)
    return (value, text) if rng.random() < 0.6 else (value, value)


_STATES = (("CA", "California"), ("NY", "New York"), ("TX", "Texas"), ("FL", "Florida"), ("WA", "Washington"), ("MA", "Massachusetts"),
           ("IL", "Illinois"), ("CO", "Colorado"), ("AZ", "Arizona"), ("GA", "Georgia"), ("OR", "Oregon"), ("NV", "Nevada"))  # fmt: skip


def city_and_state(rng: Random) -> Said:
    short, long = rng.choice(_STATES)
    name = city(rng).split(",")[0] if rng.random() < 0.7 else proper_name(rng)
    value = f"{name}, {short}"
    return value, value if rng.random() < 0.5 else f"{name}, {long}"


def digits_as_text(rng: Random) -> Said:
    value = str(a_number(rng)[0])
    return value, value


def short_text(rng: Random) -> Said:
    value = rng.choice((any_word, any_word, proper_name, person, city, code))(rng)
    return value, value
