# ruff: noqa: E501, SIM905
"""Function-calling tasks, made from a seed: a question, tools, and the calls that answer it.

A task is right or wrong without judgement: the question is built from the expected call, so names,
argument names, types and values are known exactly. Tasks that no tool can serve expect no call.
Concepts (what a tool is about) are split once and for all into `train` and `validation` by a
checksum of their words, so that no function of a validation task is ever trained on, whatever the
seed. The same machinery writes the text that the demo model is pre-trained on.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from toolgain.tasks import contamination
from toolgain.tasks.generated import words
from toolgain.tasks.generated.concepts import CHAT, CONCEPTS, VERBS, Concept
from toolgain.tasks.generated.parameters import (
    KINDS,
    Kind,
    Spoken,
    city,
    company,
    count,
    decimal,
    person,
    plain,
    pseudo_word,
    title,
    whole,
)
from toolgain.tasks.generated.task import (
    Argument,
    Request,
    Split,
    Task,
    TaskKind,
    Tool,
    prompt_chars,
)
from toolgain.tasks.generated.wordy import make_wordy, with_odd_name, with_odd_values

VALIDATION_SHARE = 8
"""One concept in this many belongs to validation."""

OPEN_SHARE = 0.5
"""Share of tools whose object is put together from random words instead of the catalogue."""


def split_of(concept: Concept) -> Split:
    """The side a concept is on, forever: by a checksum of its words."""
    return "validation" if zlib.crc32(concept.key.encode()) % VALIDATION_SHARE == 0 else "train"


# ---------------------------------------------------------------- tools


def make_tool(
    rng: Random, split: Split, concept: Concept | None = None, parameters: int | None = None
) -> Tool:
    """A tool of the given split; without `concept`, its object is drawn, often random words."""
    while concept is None:
        drawn = _open_concept(rng) if rng.random() < OPEN_SHARE else rng.choice(CONCEPTS)
        if split_of(drawn) == split:
            concept = drawn
    if parameters is not None:
        concept = replace(concept, parameters=concept.parameters[:parameters])
    verb = rng.choice(concept.verbs)
    arguments = _arguments(rng, concept)
    while contamination.is_reserved(name := _function_name(rng, concept, verb)):
        pass
    function: dict[str, Any] = {"name": name}
    about = _description(rng, concept, verb, arguments)
    if about:
        function["description"] = about
    function["parameters"] = {
        "type": "object",
        "properties": {argument.name: argument.schema for argument in arguments},
        "required": [argument.name for argument in arguments if argument.required],
    }
    return Tool(name, concept, verb, arguments, {"type": "function", "function": function})


def _open_concept(rng: Random) -> Concept:
    """A thing nobody has heard of: `amber anchor report`; learned only by matching its words."""
    parts = [rng.choice(words.NOUNS)]
    if rng.random() < 0.6:
        parts.insert(0, rng.choice(words.NOUNS))
    if rng.random() < 0.4:
        parts.insert(0, rng.choice(words.ADJECTIVES))
    if rng.random() < 0.15:
        parts[rng.randrange(len(parts))] = pseudo_word(rng)
    if len(parts) == 1:
        parts.append(rng.choice(words.NOUNS))
    text = " ".join(parts)
    phrases = [f"the {text}", f"a {text}", f"the {text}", text]
    if len(parts) > 1:
        phrases.append(f"the {parts[-1]} of the {' '.join(parts[:-1])}")
        phrases.append(f"the {parts[-1]}")
    chosen = rng.sample(sorted(KINDS), rng.choice((1, 1, 2, 2, 3, 4)))
    parameters: list[str] = []
    for kind in chosen:
        if rng.random() < 0.35:
            noun = rng.choice(words.NOUNS)
            if rng.random() < 0.4:
                noun = f"{rng.choice(words.ADJECTIVES)} {noun}"
            kind = f"{noun}:{rng.choice(('int', 'int', 'num', 'str', 'str', 'bool'))}"
        optional = bool(parameters) and rng.random() < 0.35
        parameters.append(f"?{kind}" if optional else kind)
    parameters.sort(key=lambda name: name.startswith("?"))
    return Concept((rng.choice(sorted(VERBS)),), tuple(parts), tuple(phrases), tuple(parameters))


def _function_name(rng: Random, concept: Concept, verb: str) -> str:
    verb_word = rng.choice(VERBS[verb][0])
    parts = [part for part in verb_word.split("_") if part] + list(concept.words)
    style = rng.random()
    if style < 0.62:
        return "_".join(parts)
    if style < 0.76:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    if style < 0.84:
        return f"{concept.words[-1]}.{'_'.join(parts)}"
    if style < 0.90:
        return f"{'_'.join(concept.words)}.{verb_word or 'get'}"
    if style < 0.95:
        return "_".join([*concept.words, verb_word or "tool"])
    return "_".join(parts) + rng.choice(
        ("_v2", "_tool", "_api", "_service", "_info", "_by_" + rng.choice(words.NOUNS))
    )


def _description(rng: Random, concept: Concept, verb: str, arguments: Sequence[Argument]) -> str:
    if rng.random() < 0.03:
        return ""
    phrase = rng.choice(concept.phrases[:2]) if rng.random() < 0.6 else " ".join(concept.words)
    text = rng.choice(VERBS[verb][1]).format(o=phrase)
    first = arguments[0].name.replace("_", " ") if arguments else "user"
    text += rng.choice(
        (
            "",
            "",
            "",
            f" for a {first}",
            f" by {first}",
            f" given the {first}",
            " for the user",
            f" using the {first}",
        )
    )
    if rng.random() < 0.2:
        text += rng.choice(
            (". The result is a list", ". Returns the details", f". Works for any {rng.choice(words.NOUNS)}",
             ". All values are required unless stated", f". Uses the {rng.choice(words.NOUNS)} of the {rng.choice(words.NOUNS)}",
             f", with {rng.choice(words.NOUNS)} and {rng.choice(words.NOUNS)}")
        )  # fmt: skip
    return text + rng.choice((".", ".", ""))


_NAMED_TYPES = {"int": "integer", "num": "number", "str": "string", "bool": "boolean"}
_NAMED_SAID = ("with {n} {v}", "with a {n} of {v}", "{n} {v}", "with {n} = {v}", "where the {n} is {v}",
               "and {n} {v}", "using {v} as the {n}", "for a {n} of {v}")  # fmt: skip


def _named_kind(name: str, type_word: str) -> Kind:
    """A kind that is known only by its name, said with the name's words."""
    draw = {
        "int": whole,
        "num": decimal,
        "str": lambda rng: rng.choice(
            (pseudo_word(rng), rng.choice(words.NOUNS), rng.choice(words.NOUNS).capitalize())
        ),
        "bool": lambda rng: (
            Spoken(True, rng.choice((f"with {name}", f"and {name}", f"with {name} on")))
            if rng.random() < 0.6
            else Spoken(
                False, rng.choice((f"without {name}", f"with no {name}", f"with {name} off"))
            )
        ),
    }[type_word]
    said = (
        ("{v}",)
        if type_word == "bool"
        else tuple(text.replace("{n}", name) for text in _NAMED_SAID)
    )
    about: tuple[str, ...] = (
        f"The {name}",
        f"{name.capitalize()}",
        f"Value of the {name}",
        f"{name.capitalize()} to use",
    )
    if type_word == "bool":
        about = (f"Whether to use {name}", f"If true, {name}", f"Switch for {name}")
    return Kind((name.replace(" ", "_"),), _NAMED_TYPES[type_word], about, said, draw)


def _arguments(rng: Random, concept: Concept) -> tuple[Argument, ...]:
    arguments: list[Argument] = []
    taken: set[str] = set()
    for parameter in concept.parameters:
        required = not parameter.startswith("?")
        word = parameter.lstrip("?")
        kind = _named_kind(*word.split(":")) if ":" in word else KINDS[word]
        names = [name for name in kind.names if name not in taken]
        if not names:
            continue
        # The first names are the usual ones; the others make the model read the schema.
        name = names[0] if rng.random() < 0.35 else rng.choice(names)
        taken.add(name)
        schema: dict[str, Any] = {"type": kind.type}
        if kind.items:
            schema["items"] = {"type": kind.items}
        if rng.random() < 0.94:
            schema["description"] = rng.choice(kind.about) + rng.choice((".", ".", "", ""))
            if not required and rng.random() < 0.3:
                schema["description"] = schema["description"].rstrip(".") + rng.choice(
                    (" (optional)", ". Optional.", ". May be left out.")
                )
        if kind.enum:
            schema["enum"] = list(kind.enum)
        arguments.append(Argument(name, kind, required, schema))
    arguments.sort(key=lambda argument: not argument.required)
    return tuple(arguments)


# ---------------------------------------------------------------- questions

_NOUN_SET = frozenset(words.NOUNS)
_CLAUSES = ("how ", "if ", "whether ", "where ", "what ", "who ")
_CLAUSE_STARTS = ("Tell me {o}", "I want to know {o}", "Can you tell me {o}", "Find out {o}", "Please check {o}",
                  "Do you know {o}", "I'd like to know {o}")  # fmt: skip
_QUESTION_WORDS = ("What", "Which", "How", "Can", "Could", "Do", "Are", "Is")
_CONTEXTS = (
    "I have a {a} {n} at home.", "My {n} is {a}.", "I am planning a {n} with {p}.", "We talked about the {n} yesterday.",
    "I'm working on a {n}.", "It is for a {n}.", "Hi, I need some help.", "I am a {n} {m}.", "{p} asked me about it.",
)  # fmt: skip


def make_request(rng: Random, tool: Tool, calls: int = 1) -> Request:
    """A question that `tool` answers with the given number of calls."""
    given = [a for a in tool.arguments if a.required or rng.random() < 0.45]
    values: dict[str, Any] = {a.name: a.kind.draw(rng) for a in given}
    rows = [values]
    varied = rng.choice(given) if given else None
    tries = 0
    while varied and len(rows) < calls and tries < 20:
        tries += 1
        value = varied.kind.draw(rng)
        if all(_value(row[varied.name]) != _value(value) for row in rows):
            rows.append({**values, varied.name: value})
    phrase = rng.choice(tool.concept.phrases)
    body = _say(rng, tool, phrase, given, rows, varied)
    calls_made = tuple(_call(tool, row) for row in rows)
    return Request(_dress(rng, body), calls_made, without_article(phrase))


def without_article(phrase: str) -> str:
    """A phrase without the article before it: `the tides` is `tides`."""
    first, _, rest = phrase.partition(" ")
    return rest if first in ("the", "a", "an") and rest else phrase


def _value(value: Any) -> Any:
    return value.value if isinstance(value, Spoken) else value


def _call(tool: Tool, values: dict[str, Any]) -> dict[str, Any]:
    return {"name": tool.name, "arguments": {name: _value(value) for name, value in values.items()}}


def _say(
    rng: Random,
    tool: Tool,
    phrase: str,
    given: list[Argument],
    rows: list[dict[str, Any]],
    varied: Argument | None,
) -> str:
    """The question's core: the object, then each value with the words people put around it."""
    starts = _CLAUSE_STARTS if phrase.startswith(_CLAUSES) else VERBS[tool.verb][2]
    start = rng.choice(starts).format(o=phrase)
    mentions = []
    order = list(given)
    if rng.random() < 0.5:
        rng.shuffle(order)
    for argument in order:
        said = rng.choice(argument.kind.said)
        if argument is varied and len(rows) > 1:
            texts = [plain(row[argument.name]) for row in rows]
            if argument.kind.type in ("array", "boolean") or rng.random() < 0.4:
                mentions.append(" and ".join(said.format(v=text) for text in texts))
            else:
                mentions.append(said.format(v=plain(texts)))
        else:
            mentions.append(said.format(v=plain(rows[0][argument.name])))
    joiner = rng.choice((" ", " ", " ", ", "))
    if len(mentions) > 1 and rng.random() < 0.2:
        mentions[-1] = (
            "and " + mentions[-1] if not mentions[-1].startswith("and ") else mentions[-1]
        )
    if mentions and len(rows) == 1 and rng.random() < 0.1:
        head = mentions.pop(0)
        start = f"{head[0].upper()}{head[1:]}, {start[0].lower()}{start[1:]}"
    text = start + (" " + joiner.join(mentions) if mentions else "")
    asks = start.startswith(_QUESTION_WORDS)
    return text + (rng.choice(("?", "?", "?", "")) if asks else rng.choice((".", ".", "", "!")))


def _dress(rng: Random, text: str) -> str:
    """Greetings, context and thanks around a question, and now and then careless writing."""
    roll = rng.random()
    if roll < 0.12:
        context = rng.choice(_CONTEXTS).format(
            a=rng.choice(words.ADJECTIVES),
            n=rng.choice(words.NOUNS),
            m=rng.choice(words.NOUNS),
            p=person(rng),
        )
        text = f"{context} {text}"
    elif roll < 0.17:
        text = rng.choice(("Hi, ", "Hello. ", "Hey, ", "OK, ", "Please help: ")) + text
    elif roll < 0.22:
        text += rng.choice((" Thanks.", " Thank you!", " It is urgent.", " Please be quick."))
    if rng.random() < 0.06:
        text = text[0].lower() + text[1:]
    return text


def make_chat(rng: Random) -> str:
    """Small talk and general questions, which no tool of ours serves."""
    text = rng.choice(CHAT)
    slots: tuple[tuple[str, Callable[[], str]], ...] = (
        ("{noun}", lambda: rng.choice(words.NOUNS)),
        ("{adjective}", lambda: rng.choice(words.ADJECTIVES)),
        ("{country}", lambda: rng.choice(words.COUNTRIES)),
        ("{city}", lambda: city(rng)),
        ("{person}", lambda: person(rng)),
        ("{company}", lambda: company(rng)),
        ("{title}", lambda: title(rng)),
        ("{number}", lambda: str(_value(count(rng)))),
    )
    for slot, draw in slots:
        while slot in text:
            text = text.replace(slot, draw(), 1)
    return text


# ---------------------------------------------------------------- tool lists


def unrelated(tool: Tool, others: Sequence[Tool]) -> bool:
    """Whether `tool` shares no word of its object, and no phrase word, with any of the others."""
    own = _topic(tool)
    return all(own.isdisjoint(_topic(other)) for other in others)


def _topic(tool: Tool) -> set[str]:
    text = " ".join((*tool.concept.words, *tool.concept.phrases)).lower()
    return {word.rstrip("s") for word in text.split()} - _EMPTY


_EMPTY = set(
    "the a an of for to in on is it how if whether where what who my i with and by at that this from "
    "there be many much do doe get go".split()
)


def make_tools(rng: Random, split: Split, number: int, parameters: int | None = None) -> list[Tool]:
    """Different tools, none of which could answer another's question.

    `parameters` is the largest number of parameters of each; None: as many as it has.
    """
    tools: list[Tool] = []
    while len(tools) < number:
        tool = make_tool(rng, split, parameters=parameters)
        if unrelated(tool, tools) and all(tool.name != other.name for other in tools):
            tools.append(tool)
    return tools


def make_no_fit(rng: Random, split: Split, tools: Sequence[Tool]) -> Request:
    """A question that none of `tools` can answer: another tool's question, or general talk."""
    if rng.random() < 0.3:
        chat = _dress(rng, make_chat(rng))
        return Request(chat, (), _chat_topic(chat))
    while True:
        other = make_tool(rng, split)
        if unrelated(other, tools):
            asked = make_request(rng, other)
            return Request(asked.text, (), asked.topic)


def join_requests(rng: Random, first: Request, second: Request) -> Request:
    """Two requests in one message, answered in their order."""
    link = rng.choice((" Also, ", " And ", " Then ", " After that, ", " Besides, "))
    text = first.text.rstrip("?.! ") + "." + link + second.text[0].lower() + second.text[1:]
    return Request(text, first.calls + second.calls, first.topic)


def _chat_topic(text: str) -> str:
    """The last thing that small talk names, or its last word."""
    found = [word for word in re.findall(r"[A-Za-z]+", text) if word in _NOUN_SET]
    return found[-1] if found else str(re.findall(r"\w+", text)[-1])


# ---------------------------------------------------------------- tasks


def make_task(rng: Random, split: Split, kind: TaskKind, id_: str, wordy: bool = False) -> Task:
    """One task of the given kind; a wordy one has tools as real services describe them."""
    number = rng.choice(_TOOLS[kind])
    if wordy and number > 1:
        number += rng.choice(_MORE_TOOLS)
    tools = make_tools(rng, split, number)
    if wordy:
        tools = [with_odd_name(rng, tool) if rng.random() < 0.15 else tool for tool in tools]
    if kind == "none":
        request = make_no_fit(rng, split, tools)
    elif kind != "parallel":
        request = make_request(rng, rng.choice(tools))
    elif number > 1 and rng.random() < 0.5:
        chosen = rng.sample(tools, 2)
        request = join_requests(rng, make_request(rng, chosen[0]), make_request(rng, chosen[1]))
    else:
        request = make_request(rng, rng.choice(tools), calls=rng.choice((2, 2, 3)))
    schemas = tuple(tool.schema for tool in tools)
    if wordy:
        choices = {v for tool in tools for a in tool.arguments for v in a.schema.get("enum", ())}
        request = with_odd_values(rng, request, 0.3, choices)
        schemas = tuple(make_wordy(rng, schema) for schema in schemas)
    return Task(id_, kind, request.text, schemas, request.calls, request.topic)


_TOOLS: dict[TaskKind, tuple[int, ...]] = {
    "call": (1,),
    "multiple": (2, 2, 3, 3, 4),
    "parallel": (1, 1, 2, 3),
    "none": (1, 1, 1, 2, 3),
}
"""Numbers of tools of each kind of task, one of which is drawn."""

_MORE_TOOLS = (0, 0, 1, 2, 4)
"""What is added to them where tools are wordy and more than one."""


TaskMaker = Callable[[Random, TaskKind, str], Task]
"""Makes a task of a kind with an id."""


def generate(
    seed: int,
    number: int,
    split: Split,
    no_tool_share: float,
    max_prompt_chars: int,
    wordy_share: float = 0.0,
    others: tuple[float, TaskMaker] | None = None,
) -> list[Task]:
    """`number` different tasks; a share of `no_tool_share` (rounded) expects no call.

    The other kinds share the rest: half single calls, a third chosen among several tools, a sixth
    with several calls. Tasks whose prompt is longer than `max_prompt_chars` are drawn again. Of
    each kind, a share of `wordy_share` has tools described at length. `others`: a share of each
    kind, and what makes them.
    """
    rng = Random(f"{seed}/{split}")
    nones = round(number * no_tool_share)
    calls = number - nones
    multiple, parallel = calls // 3, calls // 6
    shares: tuple[tuple[TaskKind, int], ...] = (
        ("none", nones),
        ("multiple", multiple),
        ("parallel", parallel),
        ("call", calls - multiple - parallel),
    )
    kinds = [kind for kind, times in shares for _ in range(times)]
    rng.shuffle(kinds)
    tasks: list[Task] = []
    seen: set[str] = set()
    for index, kind in enumerate(kinds):
        wordy = wordy_share > 0 and rng.random() < wordy_share
        other = others if others and rng.random() < others[0] else None
        id_ = f"{split}-{seed}-{index}"
        while True:
            task = other[1](rng, kind, id_) if other else make_task(rng, split, kind, id_, wordy)
            if prompt_chars(task) <= max_prompt_chars and task.question not in seen:
                break
        seen.add(task.question)
        tasks.append(task)
    return tasks
