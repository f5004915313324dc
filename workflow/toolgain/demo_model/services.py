# ruff: noqa: E501
"""Tools as real services describe them, for the text of the pre-training.

The tools of the training tasks (`toolgain.tasks.generated`) have plain lists of parameters, and
nearly every word in them comes from two word lists. A model that has seen only those cannot copy
a word it has never met, and cannot read a schema that looks different. Here names, descriptions
and values are drawn from a large lexicon and from words that do not exist, and parameters have
every JSON type: enumerations, arrays, objects, arrays of objects, unions, defaults. Other tools
are about the world: quantities with units, named things, dates. Only objects of the `train` split
occur, and no function name of BFCL v3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from toolgain.demo_model.parameters import Parameter, Schema, make_parameter
from toolgain.demo_model.quantities import QUANTITIES
from toolgain.demo_model.scraps import any_word, filler
from toolgain.tasks import contamination
from toolgain.tasks.generated.concepts import CONCEPTS, VERBS, Concept
from toolgain.tasks.generated.generate import split_of
from toolgain.tasks.generated.task import Split

EVERYDAY = 0.65
"""Share of services that are about the world."""


@dataclass(frozen=True)
class Service:
    """A tool: the words for its object, how a question begins, its parameters, its schema."""

    name: str
    words: tuple[str, ...]
    phrases: tuple[str, ...]
    starts: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    schema: Schema


def _object_words(rng: Random, everyday: bool) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Words of an object, phrases for it, and a class of verbs that fits."""
    roll = rng.random()
    if roll < (0.4 if everyday else 0.15):
        concept = rng.choice(CONCEPTS)
        return concept.words, concept.phrases, rng.choice(concept.verbs)
    if everyday and roll < 0.65:
        quantity = rng.choice(QUANTITIES).words
        parts = (
            [any_word(rng), *quantity] if len(quantity) < 2 or rng.random() < 0.5 else [*quantity]
        )
        verbs = rng.choice(("calculate", "calculate", "get", "analyze"))
    else:
        parts = [any_word(rng) for _ in range(rng.choice((1, 1, 2, 2, 2, 3)))]
        verbs = rng.choice(sorted(VERBS))
    text = " ".join(parts)
    phrases = [f"the {text}", f"the {text}", text, f"a {text}"]
    if len(parts) > 1:
        phrases.append(f"the {parts[-1]} of the {' '.join(parts[:-1])}")
        phrases.append(
            f"the {parts[-1]} {rng.choice(('for', 'in', 'of', 'from'))} {' '.join(parts[:-1])}"
        )
    return tuple(parts), tuple(phrases), verbs


def make_service(rng: Random, split: Split, near: Service | None = None, most: int = 7) -> Service:
    """A tool of the split; `near`: one that shares a word or the object with this other tool."""
    everyday = rng.random() < EVERYDAY
    while True:
        parts, phrases, verb_class = _object_words(rng, everyday)
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
    parameters = [
        make_parameter(rng, style, taken, everyday=everyday and rng.random() < 0.9)
        for _ in range(number)
    ]
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
