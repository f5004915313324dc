# ruff: noqa: E501
"""Words, names, codes and sentences for the text of the pre-training: what an argument may hold."""

from __future__ import annotations

import string
from functools import cache
from pathlib import Path
from random import Random

from toolgain.tasks.generated import words
from toolgain.tasks.generated.parameters import (
    city,
    company,
    full_name,
    identifier,
    person,
    pseudo_word,
    title,
)
from toolgain.tasks.generated.wordy import make_odd


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
