"""Text for pre-training: conversations with tools, made by the machinery of the training tasks.

A conversation has several turns over one list of tools, so that reading the tools once is
practised several times. Only functions of the `train` split occur: what the validation tasks ask
for is never seen here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from toolgain.demo_model import everyday, programs, questions, scraps, services
from toolgain.demo_model.wrong_calls import make_wrong_call
from toolgain.tasks.generated import words
from toolgain.tasks.generated.concepts import VERBS
from toolgain.tasks.generated.generate import (
    join_requests,
    make_chat,
    make_no_fit,
    make_request,
    make_tool,
    make_tools,
    unrelated,
    without_article,
)
from toolgain.tasks.generated.parameters import KINDS, plain, pseudo_word
from toolgain.tasks.generated.task import Request, Split, Tool
from toolgain.tasks.generated.wordy import make_wordy, with_odd_name, with_odd_values

_SAID_KINDS = sorted(KINDS)

DECLINES = (
    "No tool fits this request.",
    "No tool here can do that.",
    "None of the tools can answer this.",
    "Sorry, I have no tool for that.",
)
YES, NO = " is available", " not available"
"""What follows the topic: a tool fits, or none does. Each begins with a token of its own."""
CLOSINGS = ("Done.", "Done.", "That is done.", "Here is the result.")


@dataclass(frozen=True)
class Mixture:
    """What conversations are made of; shares are of turns."""

    max_tools: int
    max_turns: int
    decline: float
    """Share of turns that no tool can serve."""
    parallel: float
    over_call: float
    """Of the turns that no tool can serve, the share answered with a call all the same."""
    response: float = 0.25
    """Share of calls that are followed by a tool's response and a closing sentence."""
    max_chars: int = 2400
    max_parameters: int = 7
    """Most parameters of a service's tool."""
    brief: float = 0.0
    """Share of conversations with tools of one parameter at most: much choosing, little copying."""
    brief_tools: tuple[int, int] | None = None
    """Fewest and most tools of a brief conversation; None: as in the others."""
    bare: float = 0.0
    """Share of conversations that only practise matching: tools that are names, objects as
    questions."""
    reasoned: bool = False
    """Whether an answer first names what is asked for and says whether a tool fits: a word for word
    look before the decision, which a model this small cannot take in one step."""
    lists: float = 0.0
    """Share of conversations that compare two lists: is this word there, in which name is it?"""
    long: float = 0.0
    """Share of conversations over a long list of tools."""
    long_tools: tuple[int, int] = (6, 18)
    """Fewest and most tools of a long list; small numbers are drawn more often."""
    wordy: float = 0.0
    """Share of conversations whose tools are described at length, with parameters that nobody
    gives."""
    odd: float = 0.0
    """Share of texts among the arguments that are replaced by code, formulas, dates and the like,
    and half that share of function names that get a service's name and a number around them."""
    services: float = 0.0
    """Share of conversations over tools as services describe them (`demo_model.services`)."""
    everyday: float = 0.0
    """Share of conversations over tools written by hand (`demo_model.everyday`)."""
    programs: float = 0.0
    """Share of conversations over functions of programs (`demo_model.programs`)."""
    planned: bool = False
    """Whether an answer with several calls first lists what they differ in (`planned_topic`)."""
    drill: float | None = 0.0
    """Share of conversations that only practise copying: repeating a text, looking up a
    value. None: no conversation, and no random number spent on the choice."""


@dataclass(frozen=True)
class Conversation:
    """Messages in OpenAI's form, their tools, and which of the messages call where no tool fits."""

    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...]
    over_calls: frozenset[int]


def make_conversation(rng: Random, mixture: Mixture, split: Split = "train") -> Conversation:
    """One conversation of the mixture, at most `max_chars` long unless its first turn is longer."""
    if mixture.drill is not None and rng.random() < mixture.drill:
        return make_drill(rng, wide=rng.random() < mixture.services)
    if mixture.programs > 0 and rng.random() < mixture.programs:
        return make_program_conversation(rng, mixture, split)
    if mixture.everyday > 0 and rng.random() < mixture.everyday:
        return make_everyday_conversation(rng, mixture)
    if mixture.services > 0 and rng.random() < mixture.services:
        return make_service_conversation(rng, mixture, split)
    if mixture.lists > 0 and rng.random() < mixture.lists:
        return make_comparison(rng, (YES, NO) if mixture.reasoned else (" yes", " no"))
    if mixture.bare > 0 and rng.random() < mixture.bare:
        return make_matching(rng, mixture, split)
    number = min(rng.choice((1, 1, 1, 2, 2, 3, 3, 4, 5, 6)), mixture.max_tools)
    brief = mixture.brief > 0 and rng.random() < mixture.brief
    if brief and mixture.brief_tools:
        number = rng.randint(*mixture.brief_tools)
    if mixture.long > 0 and rng.random() < mixture.long:
        fewest, most = mixture.long_tools
        number = round(fewest * (most / fewest) ** rng.random())
    tools = make_tools(rng, split, number, rng.choice((0, 1)) if brief else None)
    if mixture.odd > 0:
        tools = [
            with_odd_name(rng, tool) if rng.random() < mixture.odd / 2 else tool for tool in tools
        ]
    schemas = tuple(tool.schema for tool in tools)
    if mixture.wordy > 0 and rng.random() < mixture.wordy:
        schemas = tuple(make_wordy(rng, schema) for schema in schemas)
    messages: list[dict[str, Any]] = []
    over_calls: set[int] = set()
    length = sum(len(json.dumps(schema["function"])) for schema in schemas)
    for _ in range(rng.randint(4, 9) if brief else rng.randint(1, mixture.max_turns)):
        request = _request(rng, split, tools, mixture)
        if mixture.odd > 0:
            request = with_odd_values(rng, request, mixture.odd)
        turn: list[dict[str, Any]] = [{"role": "user", "content": request.text}]
        calls = request.calls
        wrong = not calls and rng.random() < mixture.over_call
        if wrong:
            calls = (make_wrong_call(rng, schemas, request),)
            over_calls.add(len(messages) + 1)
        turn.append(
            answer(
                rng,
                calls,
                request.topic if mixture.reasoned else None,
                mixture.planned,
                request.text,
            )
        )
        if calls and rng.random() < mixture.response:
            turn.append({"role": "tool", "content": _response(rng)})
            turn.append({"role": "assistant", "content": rng.choice(CLOSINGS)})
        length += len(json.dumps(turn))
        if messages and length > mixture.max_chars:
            over_calls.discard(len(messages) + 1)
            break
        messages += turn
    return Conversation(tuple(messages), schemas, frozenset(over_calls))


def _number_of_tools(rng: Random, mixture: Mixture) -> int:
    if mixture.long > 0 and rng.random() < mixture.long:
        fewest, most = mixture.long_tools
        return round(fewest * (most / fewest) ** rng.random())
    return min(rng.choice((1, 1, 1, 2, 2, 3, 3, 4)), mixture.max_tools)


def make_service_conversation(rng: Random, mixture: Mixture, split: Split) -> Conversation:
    """A conversation over tools as services describe them: several turns, each with its answer."""
    number = _number_of_tools(rng, mixture)
    tools = services.make_services(rng, split, number, mixture.max_parameters)
    schemas = tuple(tool.schema for tool in tools)

    def ask(calls: int) -> Request:
        return questions.question_for(rng, rng.choice(tools), calls)

    return _talk(rng, mixture, schemas, ask, lambda: questions.ask_elsewhere(rng, split, tools))


def make_everyday_conversation(rng: Random, mixture: Mixture) -> Conversation:
    """A conversation over tools written by hand."""
    offers = everyday.make_offers(rng, _number_of_tools(rng, mixture))
    schemas = tuple(offer.schema for offer in offers)

    def ask(calls: int) -> Request:
        return everyday.everyday_question(rng, rng.choice(offers), calls)

    return _talk(rng, mixture, schemas, ask, lambda: everyday.ask_beyond(rng, offers))


def _talk(
    rng: Random,
    mixture: Mixture,
    schemas: tuple[dict[str, Any], ...],
    ask: Callable[[int], Request],
    ask_elsewhere: Callable[[], Request],
) -> Conversation:
    """Several turns; `ask` makes a question that some of the tools answers with so many calls."""
    length = sum(len(json.dumps(schema["function"])) for schema in schemas)
    messages: list[dict[str, Any]] = []
    over_calls: set[int] = set()
    for _ in range(rng.randint(1, mixture.max_turns)):
        roll, wrong = rng.random(), False
        if roll < mixture.decline:
            request = ask_elsewhere()
            wrong = rng.random() < mixture.over_call
            calls = (make_wrong_call(rng, schemas, request),) if wrong else ()
            request = Request(request.text, calls, request.topic)
        elif roll >= mixture.decline + mixture.parallel:
            request = ask(1)
        elif len(schemas) > 1 and rng.random() < 0.4:
            request = join_requests(rng, ask(1), ask(1))
        else:
            request = ask(rng.choice((2, 2, 2, 3, 3, 4)))
        turn = [{"role": "user", "content": request.text}]
        turn.append(answer(rng, request.calls, request.topic, mixture.planned, request.text))
        if not wrong and request.calls and rng.random() < mixture.response:
            turn += [{"role": "tool", "content": questions.respond(rng)} for _ in request.calls]
            turn.append({"role": "assistant", "content": rng.choice(CLOSINGS)})
        length += len(json.dumps(turn))
        if messages and length > mixture.max_chars:
            break
        if wrong:
            over_calls.add(len(messages) + 1)
        messages += turn
    return Conversation(tuple(messages), schemas, frozenset(over_calls))


def make_program_conversation(rng: Random, mixture: Mixture, split: Split) -> Conversation:
    """A conversation over functions of programs, most often over one."""
    number = rng.choice((1, 1, 1, 1, 2, 3)) if mixture.max_tools > 1 else 1
    made = programs.make_programs(rng, split, number)
    schemas = tuple(program.schema for program in made)

    def ask(calls: int) -> Request:
        return programs.program_question(rng, rng.choice(made), calls)

    return _talk(rng, mixture, schemas, ask, lambda: programs.ask_other_program(rng, split, made))


def make_matching(rng: Random, mixture: Mixture, split: Split) -> Conversation:
    """Does a tool's name hold the words that are asked for, and which tool's? Nothing else."""
    tools = make_tools(rng, split, rng.randint(2, 7), parameters=0)
    schemas = []
    for tool in tools:
        function = dict(tool.schema["function"])
        if rng.random() < 0.75:
            function.pop("description", None)
        schemas.append({"type": "function", "function": function})
    messages: list[dict[str, Any]] = []
    for _ in range(rng.randint(6, 12)):
        fits = rng.random() >= mixture.decline
        tool = rng.choice(tools) if fits else make_tool(rng, split, parameters=0)
        if not fits and not unrelated(tool, tools):
            continue
        words_of = " ".join(tool.concept.words)
        plain_text = words_of if rng.random() < 0.7 else rng.choice(tool.concept.phrases)
        request = Request(plain_text, (), without_article(plain_text))
        if rng.random() >= 0.6:
            request = make_request(rng, tool)
        messages.append({"role": "user", "content": request.text})
        calls = ({"name": tool.name, "arguments": {}},) if fits else ()
        messages.append(answer(rng, calls, request.topic if mixture.reasoned else None))
    return Conversation(tuple(messages), tuple(schemas), frozenset())


def make_comparison(rng: Random, verdicts: tuple[str, str] = (" yes", " no")) -> Conversation:
    """Two lists and, for every entry of the second, whether or where it is in the first.

    Deciding whether a tool fits rests on finding a question's words among the tools. Here that is
    practised once every few tokens, in place of once in a whole conversation.
    """
    number = rng.randint(3, 10)
    if rng.random() < 0.5:
        first = rng.sample(words.NOUNS, number)
        second = rng.sample(first, rng.randint(1, number)) + rng.sample(
            words.NOUNS, number // 2 + 1
        )
        rng.shuffle(second)
        known = set(first)
        answer = ", ".join(word + verdicts[word not in known] for word in second)
        shown = rng.choice((", ", " ", "_")).join(first)
    else:
        verbs = [verb for names, _, _ in VERBS.values() for verb in names if verb]
        objects = [rng.sample(words.NOUNS, rng.randint(1, 2)) for _ in range(number)]
        names = {" ".join(parts): "_".join([rng.choice(verbs), *parts]) for parts in objects}
        second = rng.sample(sorted(names), rng.randint(1, len(names)))
        second += [" ".join(rng.sample(words.NOUNS, rng.randint(1, 2))) for _ in range(number // 3)]
        rng.shuffle(second)
        answer = ", ".join(f"{text}: {names.get(text, 'none')}" for text in second)
        shown = json.dumps(list(names.values()))
    question = f"{shown}\n{', '.join(second)}"
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Conversation(messages, (), frozenset())


def make_drill(rng: Random, wide: bool = False) -> Conversation:
    """Copying and nothing else: the skill under all others, learned fastest alone.

    `wide`: with texts of every kind in place of the tasks' words.
    """
    messages: list[dict[str, Any]] = []
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.6:
            text = " ".join(_scrap(rng, wide) for _ in range(rng.randint(2, 10)))
            question, answer = f"Repeat: {text}", text
        else:
            names = rng.sample(words.NOUNS, rng.randint(2, 6))
            keys = [
                name if rng.random() < 0.6 else f"{name}_{rng.choice(words.NOUNS)}"
                for name in names
            ]
            pairs = {key: _scrap(rng, wide) for key in keys}
            asked = rng.choice(keys)
            question, answer = f"{json.dumps(pairs)} {asked}", json.dumps({asked: pairs[asked]})
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    return Conversation(tuple(messages), (), frozenset())


def _scrap(rng: Random, wide: bool = False) -> str:
    if wide:
        return rng.choice((scraps.any_word, scraps.free_text, scraps.code))(rng)
    roll = rng.random()
    if roll < 0.35:
        return rng.choice(words.NOUNS)
    if roll < 0.5:
        return "_".join(rng.sample(words.NOUNS, 2))
    if roll < 0.65:
        return str(rng.randint(0, 99999))
    if roll < 0.8:
        return pseudo_word(rng)
    return str(plain(KINDS[rng.choice(_SAID_KINDS)].draw(rng)))


def _request(rng: Random, split: Split, tools: list[Tool], mixture: Mixture) -> Request:
    roll = rng.random()
    if roll < mixture.decline:
        return make_no_fit(rng, split, tools)
    if roll < mixture.decline + mixture.parallel:
        if len(tools) > 1 and rng.random() < 0.5:
            first, second = rng.sample(tools, 2)
            return join_requests(rng, make_request(rng, first), make_request(rng, second))
        return make_request(rng, rng.choice(tools), calls=rng.choice((2, 2, 3)))
    return make_request(rng, rng.choice(tools))


def answer(
    rng: Random,
    calls: tuple[dict[str, Any], ...],
    topic: str | None = None,
    planned: bool = False,
    question: str = "",
) -> dict[str, Any]:
    """The assistant's message: calls or a refusal, after its topic where one is given."""
    made = {"tool_calls": [{"function": call} for call in calls]} if calls else {}
    if topic is not None:
        said = planned_topic(topic, calls, question) if planned else topic
        return {"role": "assistant", "content": f"{said}{YES if calls else NO}", **made}
    return {"role": "assistant", "content": "" if calls else rng.choice(DECLINES), **made}


def planned_topic(topic: str, calls: Sequence[dict[str, Any]], question: str = "") -> str:
    """The topic and, for several calls, what they differ in, in order: `time: Lima; Rome; Oslo`.

    A model that has written the list down knows how many calls there are, and copies from nearby
    what belongs into the next one. Several values of a call stand in the question's order, where
    they are next to each other: to write the list is then to copy, too.
    """
    if len(calls) < 2:
        return topic
    if len({call["name"] for call in calls}) > 1:
        return f"{topic}: {'; '.join(call['name'] for call in calls)}"
    rows = [{key: _brief(value) for key, value in call["arguments"].items()} for call in calls]
    differing = [key for key in rows[0] if any(row.get(key) != rows[0][key] for row in rows)]
    # What the question says in other words comes last.
    places = {key: question.find(rows[0][key]) for key in differing}
    differing.sort(key=lambda key: places[key] if places[key] >= 0 else len(question))
    said = (" ".join(row[key] for key in differing if key in row) or "-" for row in rows)
    return f"{topic}: {'; '.join(said)}"


def _brief(value: Any) -> str:
    """A value as a plan has it: the beginning of a long one."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= BRIEF else text[:BRIEF].rsplit(" ", 1)[0]


BRIEF = 24
"""Most characters of a value in a plan."""


def _response(rng: Random) -> str:
    noun = rng.choice(words.NOUNS)
    return rng.choice(
        (
            json.dumps({"result": rng.randint(0, 500)}),
            json.dumps({"status": "ok"}),
            json.dumps({noun: rng.choice(words.NOUNS), "count": rng.randint(0, 20)}),
            json.dumps([rng.choice(words.NOUNS), noun]),
            json.dumps({"error": f"{noun} not found"}),
            "null",
        )
    )


def make_tokenizer_text(rng: Random) -> str:
    """Text for the tokenizer: a conversation's questions and tools, and all words now and then."""
    conversation = make_conversation(rng, Mixture(4, 3, 0.25, 0.1, 0.0, drill=None))
    parts = [json.dumps(tool["function"]) for tool in conversation.tools]
    parts += [json.dumps(m, ensure_ascii=False) for m in conversation.messages]
    sample = rng.sample(words.NOUNS, 6) + rng.sample(words.ADJECTIVES, 3)
    parts.append(
        " ".join(sample) + " " + " ".join(w.capitalize() for w in rng.sample(words.NOUNS, 2))
    )
    parts.append(make_chat(rng))
    wide = make_conversation(rng, Mixture(3, 3, 0.25, 0.1, 0.0, services=1.0))
    parts += [json.dumps(tool["function"]) for tool in wide.tools]
    parts += [json.dumps(m, ensure_ascii=False) for m in wide.messages]
    parts.append(" ".join(rng.sample(scraps.lexicon(), 40)))
    return "\n".join(parts)
