# ruff: noqa: E501
"""Tools of everyday services, written by hand (`everyday_text`), for the text of the pre-training.

Tools put together from word lists teach a model to copy; what they cannot teach is that "on foot"
means `walking`, that "$5k" is 5000, or which of two names is the recipient. The files have:

    @name: value=what is said|or this; value        a set of values (`$name` is its kind)
    = domain                                        tools that follow belong together
    > group.action | description                    a tool
    - name kind | description                       a required parameter
    ~ name kind =default | description              an optional one
    ? Play {song}[ by {artist}]. It is a <song>.    a question

Kinds: `int:1-9`, `num:1-9`, `bool`, `city`, ... (see `_DRAWN`), `$set`, `list:KIND`, `list2:KIND` (two
of a kind), `obj(name:KIND,...)`. In a question `[...]` is left out now and then, `(a|b)` is a choice,
`<...>` is the topic, `{name}` what is said of a value, and a part that ends with `=>name=value` gives a
value without saying it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from random import Random
from typing import Any

from toolgain.common.files import read_text
from toolgain.demo_model import scraps
from toolgain.demo_model.parameters import Schema, make_parameter, write_schema
from toolgain.demo_model.values import Said, city_and_state, currency, large_amount, percent_as_part
from toolgain.tasks import contamination
from toolgain.tasks.generated import words
from toolgain.tasks.generated.concepts import CONCEPTS
from toolgain.tasks.generated.generate import join_requests, make_chat, split_of
from toolgain.tasks.generated.parameters import city, full_name, person
from toolgain.tasks.generated.task import Request

# ---------------------------------------------------------------- the files


@dataclass(frozen=True)
class Word:
    """A piece of a question: text, or with `name` the place of a value."""

    text: str
    name: bool = False


@dataclass(frozen=True)
class PhrasePart:
    """Pieces in a row; `kind`: row, optional, topic or choice (whose pieces are rows)."""

    kind: str
    pieces: tuple[PhrasePart | Word, ...]
    given: tuple[tuple[str, str], ...] = ()
    """Parameters that this part gives a value without saying it."""


@dataclass(frozen=True)
class Slot:
    """A parameter as a file has it."""

    name: str
    kind: str
    required: bool
    default: str | None
    about: str


@dataclass(frozen=True)
class Entry:
    """A tool as a file has it."""

    domain: str
    name: str
    about: str
    slots: tuple[Slot, ...]
    questions: tuple[PhrasePart, ...]

    @cached_property
    def group(self) -> str:
        """Tools of one group may answer the same questions."""
        return self.name.split(".", maxsplit=1)[0]

    @cached_property
    def needed(self) -> frozenset[str]:
        """Parameters that are required, or that a question gives in every case."""
        found = {slot.name for slot in self.slots if slot.required}
        return frozenset(found.union(*(names_of(part, chosen=True) for part in self.questions)))

    @cached_property
    def unsaid(self) -> frozenset[str]:
        """Parameters that a question gives a value without saying it."""
        return frozenset(name for part in self.questions for name in _unsaid(part))


@dataclass
class Collection:
    """All files together."""

    entries: list[Entry] = field(default_factory=list)
    sets: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = field(default_factory=dict)


def parse_question(text: str) -> PhrasePart:
    """The parts of a question. Raises ValueError where a bracket does not close."""
    part, end = _row(text, 0, "")
    if end != len(text):
        raise ValueError(f"{text!r}: unexpected {text[end]!r} at {end}")
    return part


def _row(text: str, at: int, closing: str) -> tuple[PhrasePart, int]:
    pieces: list[PhrasePart | Word] = []
    plain = ""
    while at < len(text) and text[at] not in closing:
        mark = text[at]
        if mark == "(" and not _is_choice(text, at):
            # A bracket that is meant: up to its end, with what is in it.
            plain, at = plain + mark, at + 1
            continue
        if mark not in "{[<(":
            plain, at = plain + mark, at + 1
            continue
        pieces += [Word(plain)] if plain else []
        plain = ""
        if mark == "{":
            end = text.index("}", at)
            pieces.append(Word(text[at + 1 : end], name=True))
            at = end + 1
            continue
        if mark == "(":
            rows: list[PhrasePart | Word] = []
            while text[at] != ")":
                row, at = _row(text, at + 1, "|)")
                rows.append(row)
            pieces.append(PhrasePart("choice", tuple(rows)))
        else:
            row, at = _row(text, at + 1, "]" if mark == "[" else ">")
            if at >= len(text):
                raise ValueError(f"{text!r}: {mark!r} is not closed")
            pieces.append(PhrasePart("optional" if mark == "[" else "topic", row.pieces, row.given))
        at += 1
    found = plain.split("=>")
    pieces += [Word(found[0])] if found[0] else []
    given = tuple((name, value) for name, _, value in (item.partition("=") for item in found[1:]))
    return PhrasePart("row", tuple(pieces), given), at


def _is_choice(text: str, at: int) -> bool:
    depth = 0
    for mark in text[at:]:
        depth += (mark == "(") - (mark == ")")
        if mark == "|" and depth == 1:
            return True
        if depth == 0:
            return False
    return False


@cache
def collection() -> Collection:
    """The files of `everyday_text`."""
    return read_collection(sorted(Path(__file__).with_name("everyday_text").glob("*.txt")))


def read_collection(files: Iterable[Path]) -> Collection:
    """The tools and sets of values of some files, which may use each other's sets.

    Raises ValueError where a set is there twice or a question does not close a bracket.
    """
    made = Collection()
    domain, head, slots, asked = "", ("", ""), list[Slot](), list[PhrasePart]()

    kept_apart = [set(concept.words) for concept in CONCEPTS if split_of(concept) != "train"]

    def close() -> None:
        # What the validation tasks ask for is never seen in the pre-training.
        named = set(re.split(r"[._]", head[0]))
        if head[0] and not any(words_ <= named for words_ in kept_apart):
            made.entries.append(Entry(domain, *head, tuple(slots), tuple(asked)))
        slots.clear()
        asked.clear()

    for line in (line for file in files for line in read_text(file).splitlines()):
        mark, rest = line[:1], line[1:].strip()
        if mark == "@":
            name, _, listed = rest.partition(":")
            if name in made.sets:
                raise ValueError(f"the set {name!r} is there twice")
            made.sets[name] = tuple(_set_entry(item) for item in listed.split(";"))
        elif mark == "=":
            close()
            domain, head = rest, ("", "")
        elif mark == ">":
            close()
            name, _, about = rest.partition(" | ")
            head = (name, about)
        elif mark in "-~" and mark:
            left, _, about = rest.partition(" | ")
            name, kind, *default = left.split(" ", 2)
            value = default[0].lstrip("=").strip() if default else None
            slots.append(Slot(name, kind, mark == "-", value, about))
        elif mark == "?":
            # A note between two questions may end a set of values.
            asked.append(parse_question(rest))
    close()
    return made


def _set_entry(item: str) -> tuple[str, tuple[str, ...]]:
    value, _, said = item.strip().partition("=")
    return value, tuple(said.split("|")) if said else (value,)


# ---------------------------------------------------------------- values

Draw = Callable[[Random], Said]


def _name(rng: Random) -> Said:
    value = scraps.proper_name(rng)
    return value, value


def _city(rng: Random) -> Said:
    value = city(rng).split(",")[0] if rng.random() < 0.75 else scraps.proper_name(rng)
    return value, value


def _place(rng: Random) -> Said:
    if rng.random() < 0.6:
        return city_and_state(rng)
    value = f"{_city(rng)[0]}, {rng.choice(words.COUNTRIES)}"
    return value, value


def _country(rng: Random) -> Said:
    value = rng.choice(words.COUNTRIES)
    return value, value


def _person(rng: Random) -> Said:
    value = rng.choice((person, full_name, full_name))(rng)
    if rng.random() < 0.2:
        value = scraps.proper_name(rng)
    return value, value


def _word(rng: Random) -> Said:
    value = scraps.any_word(rng)
    return value, value


def _quoted(rng: Random) -> Said:
    value = scraps.sentence_of(rng) if rng.random() < 0.6 else scraps.proper_name(rng)
    return value, rng.choice(("'{}'", '"{}"', '"{}"', "'{}'", "{}")).format(value)


def _code(rng: Random) -> Said:
    value = (
        scraps.code(rng)
        if rng.random() < 0.5
        else f"{rng.choice('ABCKPRXZ')}{rng.randint(1, 99999)}"
    )
    return value, value


def _email(rng: Random) -> Said:
    name = rng.choice((scraps.any_word(rng), f"{scraps.any_word(rng)}.{scraps.any_word(rng)}"))
    value = f"{name}@{rng.choice(('example.com', 'mail.org', f'{scraps.any_word(rng)}.com'))}"
    return value, value


def _url(rng: Random) -> Said:
    host = f"{scraps.any_word(rng)}.{rng.choice(('com', 'org', 'net', 'io'))}"
    value = rng.choice(
        (
            host,
            f"https://{host}",
            f"https://www.{host}/{scraps.any_word(rng)}",
            f"10.0.{rng.randint(0, 9)}.{rng.randint(1, 99)}",
        )
    )
    return value, value


def _phone(rng: Random) -> Said:
    value = (
        f"555-{rng.randint(0, 9999):04d}"
        if rng.random() < 0.6
        else f"+{rng.randint(1, 99)} {rng.randint(100, 99999)}"
    )
    return value, value


def _zip(rng: Random) -> Said:
    value = f"{rng.randint(10000, 99999)}"
    return value, value


def _address(rng: Random) -> Said:
    street = f"{rng.randint(1, 999)} {scraps.any_word(rng).capitalize()} {rng.choice(('Street', 'Road', 'Avenue', 'Lane'))}"
    value = f"{street}, {_city(rng)[0]}" if rng.random() < 0.3 else street
    return value, value


def _roadname(rng: Random) -> Said:
    value = (
        f"{scraps.any_word(rng).capitalize()} {rng.choice(('Street', 'Road', 'Avenue', 'Square'))}"
    )
    return value, value


def _flight(rng: Random) -> Said:
    value = f"{rng.choice(('LH', 'BA', 'UA', 'AF', 'DL', 'KL', 'EK'))}{rng.randint(10, 9999)}"
    return value, value


def _plate(rng: Random) -> Said:
    value = "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(3)) + str(
        rng.randint(10, 9999)
    )
    return value, value


def _year(rng: Random) -> Said:
    value = rng.randint(1950, 2026) if rng.random() < 0.5 else rng.randint(2005, 2025)
    return value, str(value)


def _percent(rng: Random) -> Said:
    value: int | float = rng.choice((rng.randint(1, 30), round(rng.uniform(0.5, 15), 1), 5, 10))
    return value, rng.choice((f"{value}%", f"{value} percent"))


def _whole(low: int, high: int) -> Draw:
    def draw(rng: Random) -> Said:
        value = (
            round(low * (high / low) ** rng.random())
            if low > 0 and rng.random() < 0.6
            else rng.randint(low, high)
        )
        if 1 < value <= 12 and rng.random() < 0.12:
            return value, words.NUMBER_WORDS[value]
        return value, f"{value:,}" if value >= 1000 and value % 3 == 0 and high > 5000 else str(
            value
        )

    return draw


def _decimal(low: int, high: int) -> Draw:
    def draw(rng: Random) -> Said:
        if rng.random() < 0.55 and high - low > 2:
            value: int | float = rng.randint(low, high)
        else:
            value = round(rng.uniform(low, high), rng.choice((1, 1, 2)))
        return value, str(value)

    return draw


_DATE_FORMS: tuple[tuple[str, str], ...] = (
    ("YYYY-MM-DD", "{y}-{m:02d}-{d:02d}"), ("YYYY-MM-DD", "{y}-{m:02d}-{d:02d}"), ("YYYY-MM-DD", "{y}-{m:02d}-{d:02d}"),
    ("MM/DD/YYYY", "{m:02d}/{d:02d}/{y}"), ("DD-MM-YYYY", "{d:02d}-{m:02d}-{y}"), ("Month DD, YYYY", "{name} {d}, {y}"),
)  # fmt: skip


def _date(form: str) -> Draw:
    def draw(rng: Random) -> Said:
        y, m, d = (
            rng.choice((rng.randint(1990, 2030), rng.randint(2019, 2026))),
            rng.randint(1, 12),
            rng.randint(1, 28),
        )
        name = words.MONTHS[m - 1]
        short = name[:3]
        ending = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd"}.get(d, "th")
        value = form.format(y=y, m=m, d=d, name=name)
        said = rng.choice((value, f"{name} {d}, {y}", f"{name} {d}{ending}, {y}", f"{name} {d}{ending} {y}", f"{d} {name} {y}", f"the {d}{ending} of {name} {y}",
                           f"{name} {d} {y}", f"{short} {d}, {y}", f"{d}{ending} {name} {y}"))  # fmt: skip
        return value, said

    return draw


def _time(rng: Random) -> Said:
    hour, minute = rng.randint(0, 23), rng.choice((0, 0, 0, 15, 30, 45, rng.randint(0, 59)))
    value = f"{hour:02d}:{minute:02d}"
    half = "am" if hour < 12 else "pm"
    clock = f"{(hour - 1) % 12 + 1}" + (f":{minute:02d}" if minute else "")
    return value, rng.choice(
        (value, value, f"{clock} {half}", f"{clock}{half}", f"{clock} {half.upper()}")
    )


_DRAWN: dict[str, tuple[str, Draw]] = {
    "name": ("string", _name), "city": ("string", _city), "place": ("string", _place), "country": ("string", _country), "person": ("string", _person),
    "word": ("string", _word), "quoted": ("string", _quoted), "code": ("string", _code), "email": ("string", _email), "url": ("string", _url),
    "phone": ("string", _phone), "zip": ("string", _zip), "address": ("string", _address), "roadname": ("string", _roadname), "flightno": ("string", _flight),
    "plate": ("string", _plate), "year": ("integer", _year), "money": ("number", large_amount), "pct": ("number", _percent), "part": ("number", percent_as_part),
    "currency": ("string", currency), "time": ("string", _time), "bool": ("boolean", lambda rng: (True, "true")),
}  # fmt: skip
"""Kinds of values: JSON type, and how one is drawn."""

_NOTES = {
    "place": ("in the format 'City, State' or 'City, Country'", "such as 'Springfield, IL' or 'Oslo, Norway'", "City, State"),
    "time": ("in 24-hour format HH:MM", "HH:MM, 24 hours", "format HH:MM"),
    "currency": ("as a three-letter code", "three-letter code, e.g. USD or EUR"),
    "part": ("as a decimal", "between 0 and 1"),
    "pct": ("in percent",),
}  # fmt: skip
"""What a description must say for the value to follow from the question."""

_RANGE = re.compile(r"(int|num):(-?\d+)-(\d+)$")


@dataclass(frozen=True)
class OfferField:
    """A parameter of a tool of one conversation."""

    name: str
    slot: Slot
    schema: Schema
    draw: Draw
    type: str


def _field(rng: Random, slot: Slot, camel: bool, whole: bool) -> OfferField:
    schema, draw, note = _kind(rng, slot.kind, whole)
    about = slot.about
    if note and not about.endswith(note):
        about = f"{about.rstrip('.')}{rng.choice((', ', '. ', ' '))}{note}"
    roll = rng.random()
    if roll < 0.08 and not note:
        about = ""
    elif roll < 0.2:
        about = f"{about}. {scraps.filler(rng)}"
    elif roll < 0.5:
        about = f"{about.rstrip('.')}."
    others = {key: value for key, value in schema.items() if key != "type"}
    if slot.default is not None:
        value = fixed(slot.default, schema["type"])
        shown = rng.random()
        if shown < 0.7:
            others["default"] = value
        if shown > 0.4:
            about = f"{about} {rng.choice(('Default is {}', 'Defaults to {}.', 'Optional, default: {}', 'If not given, {} is used.')).format(value)}".strip()
    kind: str = schema["type"]
    name = slot.name
    if camel:
        first, *rest = name.split("_")
        name = first + "".join(part.capitalize() for part in rest)
    return OfferField(name, slot, write_schema(rng, kind, about, **others), draw, kind)


def fixed(text: str, kind: str) -> Any:
    """A value as a file writes it, in its JSON type. Raises ValueError where it is not one."""
    if kind == "string":
        return text
    value = json.loads(text)
    allowed: dict[str, tuple[type, ...]] = {
        "integer": (int,), "number": (int, float), "boolean": (bool,),
    }  # fmt: skip
    if not isinstance(value, allowed[kind]) or (kind != "boolean" and isinstance(value, bool)):
        raise ValueError(f"{text!r} is no {kind}")
    return value


def _kind(rng: Random, kind: str, whole: bool = False) -> tuple[Schema, Draw, str]:
    """Schema, values and note of a kind; `whole`: an enumeration has all values of its set."""
    if kind.startswith("list"):
        head, _, inner = kind.partition(":")
        schema, draw, note = _kind(rng, inner)
        number = (2,) if head == "list2" else (1, 2, 2, 3, 3, 4)
        as_float = schema["type"] == "number"
        code = head == "list2" or rng.random() < 0.1

        def draw_list(rng: Random) -> Said:
            pairs: list[Said] = []
            for _ in range(rng.choice(number)):
                pair = draw(rng)
                if head == "list2" or pair[0] not in [value for value, _ in pairs]:
                    pairs.append(pair)
            values = [float(value) if as_float else value for value, _ in pairs]
            if code:
                return values, json.dumps(values)
            return values, listed_texts(rng, [text for _, text in pairs])

        return {"type": "array", "items": schema}, draw_list, note
    if kind.startswith("obj("):
        inner_kinds = dict(item.split(":", 1) for item in kind[4:-1].split(","))
        fields = {name: _kind(rng, inner) for name, inner in inner_kinds.items()}

        def draw_object(rng: Random) -> Said:
            drawn = {name: draw(rng) for name, (_, draw, _) in fields.items()}
            said = " and ".join(
                f"{name.replace('_', ' ')} {text}" for name, (_, text) in drawn.items()
            )
            return {name: value for name, (value, _) in drawn.items()}, said

        properties = {name: schema for name, (schema, _, _) in fields.items()}
        return (
            {"type": "object", "properties": properties, "required": list(properties)},
            draw_object,
            "",
        )
    if kind.startswith("$"):
        return _set_kind(rng, kind[1:], whole)
    ranged = _RANGE.match(kind)
    if ranged:
        low, high = int(ranged[2]), int(ranged[3])
        if ranged[1] == "int":
            return {"type": "integer"}, _whole(low, high), ""
        return {"type": "number"}, _decimal(low, high), ""
    if kind == "date":
        shown, form = rng.choice(_DATE_FORMS)
        return (
            {"type": "string"},
            _date(form),
            rng.choice((f"in the format {shown}", f"({shown})", f"{shown} format")),
        )
    type_, draw = _DRAWN[kind]
    return {"type": type_}, draw, rng.choice(_NOTES[kind]) if kind in _NOTES else ""


def _set_kind(rng: Random, name: str, whole: bool) -> tuple[Schema, Draw, str]:
    """A set: as an enumeration, or open to other values than those of the files."""
    entries = collection().sets[name]
    converted = any(text.lower() != value.lower() for value, said in entries for text in said)
    shown = rng.random() < (0.8 if converted else 0.3)
    chosen = entries
    if not whole and (len(chosen) > 8 or rng.random() < 0.3):
        chosen = tuple(rng.sample(entries, min(len(entries), rng.randint(2, 8))))
    if not shown:
        chosen = entries
    note = ""
    if converted and not shown:
        examples = [value for value, _ in rng.sample(entries, min(3, len(entries)))]
        note = rng.choice(
            ("such as {}", "e.g. {}", "One of {} and others", "For example {}")
        ).format(", ".join(f"'{v}'" for v in examples))

    def draw(rng: Random) -> Said:
        if not shown and not converted and rng.random() < 0.3:
            novel = scraps.proper_name(rng) if entries[0][0][:1].isupper() else scraps.any_word(rng)
            return novel, novel
        value, said = rng.choice(chosen)
        return value, rng.choice(said)

    schema: Schema = {"type": "string"}
    if shown:
        schema["enum"] = [value for value, _ in chosen]
    return schema, draw, note


def listed_texts(rng: Random, texts: Sequence[str]) -> str:
    """`a, b and c`"""
    if len(texts) == 1:
        return texts[0]
    if rng.random() < 0.1:
        return ", ".join(texts)
    return ", ".join(texts[:-1]) + rng.choice((" and ", " and ", ", and ")) + texts[-1]


# ---------------------------------------------------------------- tools


@dataclass(frozen=True)
class Offer:
    """A tool of one conversation, made from an entry of the files."""

    entry: Entry
    name: str
    fields: tuple[OfferField, ...]
    schema: Schema


def make_offer(rng: Random, entry: Entry) -> Offer:
    """A tool in one of the styles that services have; an optional parameter may be missing."""
    style = rng.choice(("dots", "dots", "snake", "snake", "snake", "camel", "numbered"))
    camel = style == "camel" and rng.random() < 0.8
    needed = entry.needed
    slots = [slot for slot in entry.slots if slot.name in needed or rng.random() < 0.8]
    if rng.random() < 0.15:
        rng.shuffle(slots)
    unsaid = entry.unsaid
    fields = tuple(_field(rng, slot, camel, slot.name in unsaid) for slot in slots)
    properties: Schema = {each.name: each.schema for each in fields}
    if rng.random() < 0.15:
        extra = make_parameter(rng, 0, set(properties), everyday=rng.random() < 0.7)
        properties[extra.name] = extra.schema
    while contamination.is_reserved(name := _offer_name(rng, entry, style)):
        style = rng.choice(("dots", "snake", "numbered", "worded"))
    about = entry.about
    roll = rng.random()
    if roll < 0.1:
        about = about.rstrip(".")
    elif roll < 0.3:
        about += " " + " ".join(scraps.filler(rng) for _ in range(rng.choice((1, 1, 2, 3))))
    function: Schema = {"name": name, "description": about}
    required = [each.name for each in fields if each.slot.required]
    function["parameters"] = {"type": "object", "properties": properties, "required": required}
    if rng.random() < 0.3:
        function["parameters"] = {"type": "object", "required": required, "properties": properties}
    return Offer(entry, name, fields, {"type": "function", "function": function})


def _offer_name(rng: Random, entry: Entry, style: str) -> str:
    group, _, action = entry.name.rpartition(".")
    parts = [part for part in entry.name.replace(".", "_").split("_") if part]
    camel = "".join(part.capitalize() for part in parts)
    if style == "dots":
        return (
            entry.name
            if rng.random() < 0.6
            else entry.name.replace(".", rng.choice((".", "_", f".{rng.choice(parts)}_")))
        )
    if style == "camel":
        return rng.choice((camel[0].lower() + camel[1:], camel))
    if style == "numbered":
        space = "".join(part.capitalize() for part in (group or action).split("_"))
        return f"{space}_{rng.randint(1, 9)}_{''.join(part.capitalize() for part in action.split('_'))}"
    if style == "worded":
        return f"{scraps.any_word(rng)}_{'_'.join(parts)}"
    roll = rng.random()
    if roll < 0.5:
        return "_".join(parts)
    turned = [*action.split("_"), *(part for part in group.split("_") if part)]
    return rng.choice(("{}", "get_{}", "{}", "find_{}", "{}_api", "{}_tool")).format(
        "_".join(turned)
    )


def make_offers(rng: Random, number: int) -> list[Offer]:
    """Different tools; about half of the further ones are of the first one's domain."""
    entries = collection().entries
    first = rng.choice(entries)
    chosen = [first]
    domain = [entry for entry in entries if entry.domain == first.domain]
    group = [entry for entry in entries if entry.group == first.group]
    while len(chosen) < number:
        roll = rng.random()
        entry = rng.choice(group if roll < 0.35 else domain if roll < 0.6 else entries)
        if entry not in chosen:
            chosen.append(entry)
        elif len(chosen) >= len(domain):
            domain = group = entries
        elif len(chosen) >= len(group):
            group = domain
    rng.shuffle(chosen)
    return [make_offer(rng, entry) for entry in chosen]


# ---------------------------------------------------------------- questions


@dataclass
class Phrasing:
    """A question that is being written: its text so far, its values, its topic."""

    text: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    topic: str = ""


def _write(
    rng: Random,
    part: PhrasePart,
    fields: dict[str, OfferField],
    said: dict[str, Said],
    asked: Phrasing,
) -> None:
    """Write a part; values already in `said` are used as they are."""
    for piece in part.pieces:
        if isinstance(piece, Word):
            if not piece.name:
                asked.text += piece.text
                continue
            if piece.text not in said:
                said[piece.text] = fields[piece.text].draw(rng)
            asked.values[piece.text], text = said[piece.text]
            asked.text += text
        elif piece.kind == "choice":
            possible = [
                row
                for row in piece.pieces
                if isinstance(row, PhrasePart) and set(names_of(row)) <= set(fields)
            ]
            _write(rng, rng.choice(possible), fields, said, asked)
        elif piece.kind == "optional":
            if set(names_of(piece)) <= set(fields) and rng.random() < 0.4:
                _write(rng, piece, fields, said, asked)
        else:
            before = len(asked.text)
            _write(rng, piece, fields, said, asked)
            asked.topic = asked.text[before:]
    for name, value in part.given:
        asked.values[name] = fixed(value, fields[name].type)


def names_of(part: PhrasePart, chosen: bool = False) -> list[str]:
    """Parameters that a part speaks of, except in what may be left out; `chosen`: in choices too."""
    found = [name for name, _ in part.given]
    for piece in part.pieces:
        if isinstance(piece, Word):
            found += [piece.text] if piece.name else []
        elif piece.kind == "topic" or (chosen and piece.kind in ("choice", "row")):
            found += names_of(piece, chosen)
    return found


def _unsaid(part: PhrasePart) -> list[str]:
    inner = [
        name for piece in part.pieces if isinstance(piece, PhrasePart) for name in _unsaid(piece)
    ]
    return [name for name, _ in part.given] + inner


def _ask(rng: Random, offer: Offer, said: dict[str, Said]) -> Phrasing:
    fields = {each.slot.name: each for each in offer.fields}
    possible = [part for part in offer.entry.questions if set(names_of(part)) <= set(fields)]
    asked = Phrasing()
    _write(rng, rng.choice(possible), fields, said, asked)
    return asked


def _call(offer: Offer, values: dict[str, Any]) -> dict[str, Any]:
    arguments = {
        each.name: values[each.slot.name] for each in offer.fields if each.slot.name in values
    }
    return {"name": offer.name, "arguments": arguments}


def everyday_question(rng: Random, offer: Offer, calls: int = 1) -> Request:
    """A question that the tool answers with the given number of calls (fewer where it cannot)."""
    said: dict[str, Said] = {}
    asked = _ask(rng, offer, said)
    rows = [asked.values]
    text = asked.text
    varied = [
        each
        for each in offer.fields
        if each.slot.name in said
        and not each.slot.kind.startswith(("list", "bool", "obj", "quoted"))
    ]
    if calls > 1 and (rng.random() < 0.2 or not varied):
        # The whole question again, in other words.
        second = _ask(rng, offer, {})
        if second.values != asked.values:
            both = (
                Request(each.text, (_call(offer, each.values),), each.topic)
                for each in (asked, second)
            )
            return decorated(rng, join_requests(rng, *both))
    elif calls > 1:
        chosen = rng.choice(varied)
        pairs = _in_pairs(rng, offer, asked, said, varied, calls) if rng.random() < 0.45 else None
        if pairs is not None:
            return decorated(rng, pairs)
        texts = [said[chosen.slot.name][1]]
        for _ in range(12):
            value, other = chosen.draw(rng)
            if len(rows) < calls and all(
                json.dumps(row[chosen.slot.name]) != json.dumps(value) for row in rows
            ):
                rows.append({**asked.values, chosen.slot.name: value})
                texts.append(other)
        if len(texts) > 1:
            text = _several(rng, asked, texts)
    return decorated(rng, Request(text, tuple(_call(offer, row) for row in rows), asked.topic))


def _in_pairs(
    rng: Random,
    offer: Offer,
    asked: Phrasing,
    said: dict[str, Said],
    varied: list[OfferField],
    calls: int,
) -> Request | None:
    """The question for calls that differ in two values or more, or None where it says fewer."""
    told = [each for each in varied if asked.text.count(said[each.slot.name][1]) == 1]
    told.sort(key=lambda each: asked.text.index(said[each.slot.name][1]))
    if len(told) < 2:
        return None
    at = rng.randrange(len(told) - 1)
    told = told[at : at + rng.choice((2, 2, 3))]
    begin = asked.text.index(said[told[0].slot.name][1])
    last = said[told[-1].slot.name][1]
    end = asked.text.index(last) + len(last)
    segment, rows, texts = asked.text[begin:end], [asked.values], [asked.text[begin:end]]
    # Found before any is replaced: a new value may hold the text of an earlier one.
    places = [(segment.index(said[each.slot.name][1]), each) for each in told]
    for _ in range(calls - 1):
        text, values = segment, dict(asked.values)
        for at, each in reversed(places):
            value, other = each.draw(rng)
            after = at + len(said[each.slot.name][1])
            text, values[each.slot.name] = text[:at] + other + text[after:], value
        if text not in texts and values not in rows:
            rows.append(values)
            texts.append(text)
    if len(texts) < 2:
        return None
    if rng.random() < 0.6:
        whole = asked.text[:begin] + listed_texts(rng, texts) + asked.text[end:]
    else:
        link = rng.choice(
            (" And then {}", " Also {}", " Do the same for {}", " And for {}", " Then with {}")
        )
        whole = asked.text + link.format(listed_texts(rng, texts[1:])) + rng.choice((".", "", "?"))
    return Request(whole, tuple(_call(offer, row) for row in rows), asked.topic)


def _several(rng: Random, asked: Phrasing, texts: list[str]) -> str:
    """The question for all of the texts: a list in its place, or the others behind it."""
    if rng.random() < 0.75 and asked.text.count(texts[0]) == 1:
        before, _, after = asked.text.partition(texts[0])
        # "the area of 3 and the area of 5", now and then.
        again = before.split(" ")[-rng.randint(2, 4) :] if rng.random() < 0.3 else [""]
        said = " ".join(again)
        before = before.removesuffix(said)
        return before + listed_texts(rng, [said + text for text in texts]) + after
    rest = listed_texts(rng, texts[1:])
    return f"{asked.text} " + rng.choice(
        (
            "And for {}?",
            "And {}?",
            "What about {}?",
            "Do the same for {}.",
            "The same for {}, please.",
            "Also for {}.",
            "And then with {}.",
        )
    ).format(rest)


def decorated(rng: Random, request: Request) -> Request:
    """The request with what people say around a question."""
    text = request.text
    roll = rng.random()
    if roll < 0.1:
        text = f"{rng.choice(_BEFORE)} {text}"
    elif roll < 0.14:
        text = f"{scraps.sentence_of(rng)} {text}"
    elif roll < 0.2:
        text += " " + rng.choice(_AFTER)
    elif roll < 0.26:
        text = text.rstrip("?.!")
    if rng.random() < 0.08:
        text = text[0].lower() + text[1:]
    return Request(text, request.calls, request.topic)


_BEFORE = (
    "Hi!", "Hello,", "Hey there.", "Please help me.", "I have a question.", "I'm planning a weekend with friends.", "My sister asked me this.", "This is for my homework.",
    "I need this for work.", "Quick question:", "Good morning.", "I'm a bit lost here.", "We talked about this yesterday.", "I am writing a report.", "Sorry to bother you.",
    "My boss wants to know.", "I'm curious.", "For a project at school:", "I've been thinking.", "It's raining today.",
)  # fmt: skip
_AFTER = (
    "Thanks!", "Thank you.", "Please.", "I'm in a hurry.", "That would help me a lot.", "Can you do that?", "Thanks in advance.", "I hope you can help.", "Let me know.",
    "It's for a friend.", "Is that possible?",
)  # fmt: skip


def ask_beyond(rng: Random, offers: Sequence[Offer]) -> Request:
    """A question that none of the tools can answer; half are of a domain that is there."""
    if rng.random() < 0.15:
        chat = make_chat(rng)
        return Request(chat, (), chat.split()[-1].strip("?.!,"))
    groups = {offer.entry.group for offer in offers}
    domains = {offer.entry.domain for offer in offers}
    near = rng.random() < 0.5
    shown = " ".join(f"{offer.entry.name} {offer.entry.about}" for offer in offers).lower()
    for attempt in range(40):
        entry = rng.choice(collection().entries)
        if entry.group in groups or (near and attempt < 30 and entry.domain not in domains):
            continue
        asked = everyday_question(rng, make_offer(rng, entry))
        if asked.topic.lower() not in shown:
            return Request(asked.text, (), asked.topic)
    chat = make_chat(rng)
    return Request(chat, (), chat.split()[-1].strip("?.!,"))
