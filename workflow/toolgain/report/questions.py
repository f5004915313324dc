"""What the items of a plain harness folder ask, as far as it is known, for the report.

A folder of ours has its questions beside its answers. Any other was asked with some revision of
BFCL's data, and nothing is assumed of it. A question is known where the score file repeats it, as
for every wrong answer; where every revision that the folder may be of has the installed harness's
text; or from the user's own data (`--data`), once they are checked to be of the same revision.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolgain.bfcl import revisions
from toolgain.bfcl.data import Item, Key, flat, installed_data, load_items
from toolgain.bfcl.folders import one_model
from toolgain.bfcl.outcomes import ItemOutcome
from toolgain.bfcl.results import PlainFolder, parsed_once, read_outcomes, scored, source_of
from toolgain.common.amounts import counted
from toolgain.common.errors import UserError
from toolgain.common.files import canonical_json


@dataclass(frozen=True)
class Question:
    """What one item asks: turns of messages, the tools, the expected calls."""

    turns: list[Any]
    tools: list[Any] | None
    """None where they are not known."""
    expected: Any


@dataclass(frozen=True)
class BfclData:
    """Where BFCL's data lie."""

    bfcl_env: Path
    """Environment of the installed harness."""
    own: Path | None = None
    """The data folder that the plain folders were evaluated with, such as bfcl_eval/data."""


@dataclass(frozen=True)
class PlainItems:
    """The items of one plain harness folder."""

    source: PlainFolder
    outcomes: list[ItemOutcome]
    repeated: Mapping[Key, Question]
    """What its score files repeat."""


def read_plain(path: Path, data: BfclData) -> PlainItems:
    """Read a plain folder of BFCL v3.

    Raises:
        UserError: it cannot be read.
    """
    with parsed_once():
        source = source_of(one_model(path), installed_data(data.bfcl_env))
        found = read_outcomes(source.folder, source.items, mode=source.mode)
        return PlainItems(source, found, _repeated(source))


def _repeated(source: PlainFolder) -> dict[Key, Question]:
    found: dict[Key, Question] = {}
    for category in source.items:
        for row in scored(source.folder.score_file(category))[1:]:
            asked = row.get("prompt")
            if isinstance(asked, dict) and isinstance(asked.get("question"), list):
                tools = asked.get("function")
                found[category, str(row.get("id")), 0] = Question(
                    asked["question"],
                    tools if isinstance(tools, list) else None,
                    row.get("possible_answer"),
                )
    return found


def known_questions(read: PlainItems, data: BfclData) -> dict[Key, Question]:
    """The questions of a plain folder that are known.

    Raises:
        UserError: `data.own` is not a data folder, or is of another revision than the folder.
    """
    own = _own(read, data.own) if data.own else {}
    found: dict[Key, Question] = {}
    for item in flat(read.source.items):
        question = own.get(item.key) or read.repeated.get(item.key) or _unchanged(item, read.source)
        if question is not None:
            found[item.key] = question
    return found


def _own(read: PlainItems, folder: Path) -> dict[Key, Question]:
    try:
        items = load_items(folder, read.source.items)
    except UserError as error:
        raise UserError(f"--data: {str(error).removeprefix('BFCL data: ')}") from error
    found = {item.key: Question(item.question, item.tools, item.expected) for item in flat(items)}
    asked = [item.key for item in flat(read.source.items)]
    apart = [key for key in asked if key not in found] or [
        key
        for key, seen in read.repeated.items()
        if key in found and found[key].turns != seen.turns and (*key[:2], 1) not in found
    ]
    if apart:
        raise UserError(
            f"--data: {folder} is of another revision than {read.source.folder.results}: "
            f"{counted(len(apart), 'item')} missing there or with another question, "
            f"such as {apart[0][1]}."
        )
    return found


def _unchanged(item: Item, source: PlainFolder) -> Question | None:
    """The installed harness's question, where each revision that it may be has the same."""
    names = source.revision.names
    changes = [
        revisions.revision_table()[name].get(item.category, {}).get(item.index) for name in names
    ]
    if not names or any(change and change.question for change in changes):
        return None
    # Of the tools of other revisions nothing is known.
    tools = item.tools if names == (revisions.NVIDIA,) else None
    answer = None if any(change and change.answer for change in changes) else item.expected
    return Question(item.question, tools, answer)


def with_expected(
    outcomes: list[ItemOutcome], questions: Mapping[Key, Question]
) -> list[ItemOutcome]:
    """The outcomes with the expected answers that are known; the others' are empty."""
    return [
        one._replace(
            expected=canonical_json(known.expected) if (known := questions.get(one.key)) else ""
        )
        for one in outcomes
    ]
