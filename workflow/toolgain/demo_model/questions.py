"""Questions about services, the calls that answer them, and what services answer.

A value is said in the question, or converted (a date, a percentage, an amount in words), or left
out where it is optional.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from toolgain.demo_model.parameters import Parameter
from toolgain.demo_model.scraps import any_word, free_text, sentence_of
from toolgain.demo_model.services import Service, make_service
from toolgain.demo_model.values import Said
from toolgain.tasks.generated.generate import make_chat, without_article
from toolgain.tasks.generated.parameters import any_date, plain
from toolgain.tasks.generated.task import Request, Split


def question_for(rng: Random, service: Service, calls: int = 1) -> Request:
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
    topic = without_article(phrase)
    owner = _owner(rng, phrase, given, rows)
    if owner is not None:
        # "the schedule of Ada" becomes "Ada's schedule".
        phrase = f"{drawn[owner.name][1]}'s {topic}"
        given = [parameter for parameter in given if parameter is not owner]
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
    return Request(text, made, topic)


def _owner(
    rng: Random, phrase: str, given: list[Parameter], rows: list[dict[str, Said]]
) -> Parameter | None:
    """A parameter whose name can stand before the object, now and then."""
    named = [
        p for p in given if p.schema["type"] == "string" and any("of {v}" in s for s in p.bare)
    ]
    if len(rows) > 1 or len(named) != 1 or not phrase.startswith("the ") or rng.random() < 0.8:
        return None
    said = rows[0][named[0].name][1]
    return named[0] if said[:1].isupper() and len(said) < 25 else None


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
            asked = question_for(rng, other)
            return Request(asked.text, (), asked.topic)


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
