"""The revisions of BFCL v3's data, and which of them a harness folder was scored with.

nvidia-bfcl 26.3 holds the data of early 2025. Berkeley's bfcl-eval changed questions, expected
answers and ids since; the same answers then score up to 4.6 points apart. revisions.json holds,
for each revision of bfcl-eval, the items that differ from nvidia-bfcl's: their id and digests of
question and expected answer (tools/bfcl_revisions.py writes it from the packages).

Score files repeat question and expected answer of every wrong item. Each such pair is evidence:
a revision with other data is ruled out.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from toolgain.bfcl.data import Item, Items
from toolgain.common.files import digest

TABLE = Path(__file__).with_name("revisions.json")
NVIDIA = "nvidia-bfcl 26.3"
"""The base: also the data of nvidia-bfcl 25.7.1 to 26.1."""
SHORT = 12
"""Hex digits kept of a digest."""


class RevisedItem(NamedTuple):
    """An item of a revision that is not the base's."""

    id: str
    question: str
    """Digest of the question; empty where it is the base's."""
    answer: str
    """Digest of the expected answer; empty where it is the base's or there is none."""


@dataclass(frozen=True)
class ItemEvidence:
    """What a score file repeats of an item."""

    category: str
    id: str
    question: Any
    answer: Any
    """None where the file holds no expected answer."""


@dataclass(frozen=True)
class Recognised:
    """The revisions that all evidence fits."""

    names: tuple[str, ...]
    """In the order of their age; empty where the evidence fits none that is known."""
    checked: int
    """Wrong items whose question and expected answer were compared."""
    differing: int = 0
    """Items that differ from the nearest revision, where none fits."""

    @property
    def name(self) -> str:
        """One name for messages and for the check that two revisions are equal."""
        if not self.names:
            return f"an unknown revision ({self.differing} of {self.checked} checked items differ)"
        return " or ".join(self.names)

    def may_equal(self, other: "Recognised") -> bool:
        """Whether the two may be of one revision."""
        return bool(set(self.names) & set(other.names))


def short_digest(value: Any) -> str:
    """The digest of a question or an expected answer, as revisions.json holds it."""
    return digest(value)[:SHORT]


def changed_items(base: Sequence[Item], theirs: Sequence[Item]) -> dict[str, list[str]]:
    """The items of a category that differ from the base's, by position."""
    found = {}
    for place, (ours, other) in enumerate(zip(base, theirs, strict=True)):
        question = "" if ours.question == other.question else short_digest(other.question)
        answer = "" if ours.expected == other.expected else short_digest(other.expected)
        if question or answer or ours.id != other.id:
            found[str(place)] = [other.id, question, answer]
    return found


@cache
def revision_table() -> Mapping[str, Mapping[str, Mapping[int, RevisedItem]]]:
    """By revision, category and position: the items that differ from the base's."""
    raw = json.loads(TABLE.read_text(encoding="utf-8"))
    return {NVIDIA: {}} | {
        name: {
            category: {int(place): RevisedItem(*change) for place, change in changed.items()}
            for category, changed in categories.items()
        }
        for name, categories in raw.items()
    }


def items(base: Items, revision: str) -> Items:
    """The items of a revision: ids are its own; what is only known by digest is left out.

    An item whose question changed has no text here, and one whose expected answer changed none.
    """
    changed = revision_table()[revision]
    return {
        category: [
            _changed(item, change) if (change := changed.get(category, {}).get(place)) else item
            for place, item in enumerate(chosen)
        ]
        for category, chosen in base.items()
    }


def _changed(item: Item, change: RevisedItem) -> Item:
    entry = {**item.entry, "id": change.id}
    if change.question:
        entry |= {"question": [[]]}
    answer = None if change.answer else item.answer
    # Ids are distinct in every revision but the base.
    return replace(item, id=change.id, occurrence=0, entry=entry, answer=answer)


def recognised_revisions(
    base: Items, ids: Mapping[str, set[str]], seen: Iterable[ItemEvidence]
) -> Recognised:
    """The revisions that fit the ids of a folder's rows and the evidence of its score files.

    Args:
        base: all items of the base.
        ids: the ids of the rows of each category that is there.
        seen: question and expected answer of wrong items.
    """
    by_id = {category: {item.id: item for item in base[category]} for category in ids}
    # Mostly an item is the base's in every revision: whether it fits is found out once.
    evidence = [
        (one, item is not None and _fits(item, None, one))
        for one in seen
        for item in [by_id.get(one.category, {}).get(one.id)]
    ]
    differing: dict[str, int] = {}
    for name, changed in revision_table().items():
        known = {
            category: _known(base[category], changed[category])
            if category in changed
            else {item_id: (item, None) for item_id, item in by_id[category].items()}
            for category in ids
        }
        if any(ids[category] - known[category].keys() for category in ids):
            continue
        differing[name] = sum(
            not (fits if change is None else _fits(item, change, one))
            for one, fits in evidence
            if one.category in known and one.id in known[one.category]
            for item, change in [known[one.category][one.id]]
        )
    fitting = tuple(name for name, count in differing.items() if count == 0)
    return Recognised(fitting, len(evidence), min(differing.values(), default=len(evidence)))


def _known(
    items: Sequence[Item], changes: Mapping[int, RevisedItem]
) -> dict[str, tuple[Item, RevisedItem | None]]:
    """A category's items of a revision, by their id there."""
    return {
        changes[place].id if place in changes else item.id: (item, changes.get(place))
        for place, item in enumerate(items)
    }


def _fits(item: Item, change: RevisedItem | None, seen: ItemEvidence) -> bool:
    if change and change.question:
        if short_digest(seen.question) != change.question:
            return False
    # Twins of the base share an id; their questions differ.
    elif seen.question is not None and item.occurrence == 0 and seen.question != item.question:
        return False
    if seen.answer is None:
        return True
    if change and change.answer:
        return short_digest(seen.answer) == change.answer
    return bool(seen.answer == item.expected)
