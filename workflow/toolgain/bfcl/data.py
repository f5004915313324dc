"""BFCL's data folder: read its items, draw a subset, write a folder that the harness reads."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from toolgain.bfcl.categories import (
    CATEGORIES,
    POPULATION,
    WITHOUT_EXPECTED,
    cluster_of,
    group_of,
    sort_index,
)
from toolgain.common.errors import UserError
from toolgain.common.files import canonical_json, digest, read_jsonl

Key = tuple[str, str, int]
"""Category, id and occurrence: BFCL v3 holds one id twice."""

MORE_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"
"""What the harness asks at a turn where functions that were held back are offered."""
FUNCTION_DOCS = "multi_turn_func_doc"
ANSWERS = "possible_answer"

# Which document describes the functions of each class of the multi-turn scenarios.
_CLASS_DOCS = {
    "GorillaFileSystem": "gorilla_file_system.json",
    "MathAPI": "math_api.json",
    "MessageAPI": "message_api.json",
    "TwitterAPI": "posting_api.json",
    "TicketAPI": "ticket_api.json",
    "TradingBot": "trading_bot.json",
    "TravelAPI": "travel_booking.json",
    "VehicleControlAPI": "vehicle_control.json",
}


@dataclass(frozen=True)
class Item:
    """One question of BFCL v3."""

    category: str
    id: str
    occurrence: int
    """0; 1 for the second item with the same id."""
    index: int
    """Position in the category's full data."""
    entry: Mapping[str, Any] = field(repr=False)
    """The line of the prompt file."""
    answer: Mapping[str, Any] | None = field(repr=False)
    """The line of the answer file; None where any call, or no call, is right."""
    documents: Mapping[str, list[Any]] = field(repr=False)
    """Function documents of the multi-turn classes, by class."""

    @property
    def key(self) -> Key:
        """What tells items apart, on both sides of a comparison."""
        return (self.category, self.id, self.occurrence)

    @cached_property
    def cluster(self) -> str:
        """The cluster that is drawn as a whole; see `cluster_of`."""
        functions = [tool["name"] for tool in self.entry.get("function", ())]
        return cluster_of(self.category, self.id, self.index, functions)

    @property
    def question(self) -> list[list[dict[str, Any]]]:
        """The messages of each turn."""
        turns: list[list[dict[str, Any]]] = self.entry["question"]
        return turns

    def messages_until(self, turn: int) -> list[dict[str, Any]]:
        """What the harness has asked up to and with a turn."""
        asked: list[dict[str, Any]] = []
        for number, messages in enumerate(self.question[: turn + 1]):
            held_back = str(number) in self.entry.get("missed_function", {})
            asked += [{"role": "user", "content": MORE_FUNCTIONS}] if held_back else messages
        return asked

    @property
    def expected(self) -> Any:
        """The expected calls, or None where there are none to compare with."""
        return None if self.answer is None else self.answer["ground_truth"]

    def functions_at(self, turn: int) -> set[str]:
        """Names of the functions offered at a turn: some are held back until later ones."""
        held_back = {
            name
            for later, names in self.entry.get("missed_function", {}).items()
            for name in names
            if int(later) > turn
        }
        return {tool["name"] for tool in self.tools} - held_back

    @property
    def tools(self) -> list[Any]:
        """The functions that the model is shown."""
        if "function" in self.entry:
            functions: list[Any] = self.entry["function"]
            return functions
        return [tool for name in self.entry["involved_classes"] for tool in self.documents[name]]


Items = dict[str, list[Item]]
"""Items by category, in data order."""


def installed_data(bfcl_env: Path) -> Path:
    """The data folder of the harness installed in the environment `bfcl_env`.

    Raises:
        UserError: the environment or its data is not there.
    """
    found = sorted(bfcl_env.glob("lib/python3*/site-packages/bfcl/data"))
    if not found:
        raise UserError(
            f"--bfcl-env: {bfcl_env} holds no nvidia-bfcl data; `make setup` makes .venvs/bfcl."
        )
    return found[0]


def prompt_file(folder: Path, category: str) -> Path:
    """The prompt file of `category`."""
    return folder / f"BFCL_v3_{category}.json"


def load_items(folder: Path, categories: Iterable[str] = CATEGORIES) -> Items:
    """Read the items of a data folder.

    Raises:
        UserError: a file is missing, unreadable, or answers and prompts do not pair.
    """
    documents = {
        name: read_jsonl(folder / FUNCTION_DOCS / file, "BFCL data")
        for name, file in _CLASS_DOCS.items()
    }
    return {category: _load_category(folder, category, documents) for category in categories}


def load_full(folder: Path) -> Items:
    """Read all 4441 items.

    Raises:
        UserError: the folder holds other numbers of items than BFCL v3.
    """
    items = load_items(folder)
    for category, population in POPULATION.items():
        if len(items[category]) != population:
            raise UserError(
                f"BFCL data: {folder} holds {len(items[category])} items of {category}; "
                f"BFCL v3 of nvidia-bfcl 26.3 has {population}."
            )
    return items


def _load_category(folder: Path, category: str, documents: dict[str, list[Any]]) -> list[Item]:
    entries = read_jsonl(prompt_file(folder, category), "BFCL data")
    answers: list[Any] = [None] * len(entries)
    if category not in WITHOUT_EXPECTED:
        file = folder / ANSWERS / f"BFCL_v3_{category}.json"
        answers = read_jsonl(file, "BFCL data")
        # The harness pairs by position after sorting by number, and so do we: one live_multiple
        # id differs between the two files.
        numbers = [sort_index(entry["id"]) for entry in entries]
        if [sort_index(answer["id"]) for answer in answers] != numbers:
            raise UserError(f"BFCL data: {file} does not pair with the prompts of {category}.")
    seen: Counter[str] = Counter()
    items = []
    for index, (entry, answer) in enumerate(zip(entries, answers, strict=True)):
        item_id = entry["id"]
        items.append(Item(category, item_id, seen[item_id], index, entry, answer, documents))
        seen[item_id] += 1
    return items


def draw(items: Items, sizes: Mapping[str, int], seed: int) -> Items:
    """Draw `sizes[category]` items of each category, without replacement, in data order.

    The categories are the strata. The multi-turn categories draw the same scenarios, so that a
    scenario is asked in all four; one that asks for more gets the same ones and further ones.
    """
    drawn = {}
    for category, population in items.items():
        stratum = "multi_turn" if group_of(category) == "multi_turn" else category
        order = list(range(len(population)))
        random.Random(f"{seed}/{stratum}").shuffle(order)
        drawn[category] = [population[i] for i in sorted(order[: sizes[category]])]
    return drawn


def sizes_of(subset: Mapping[str, Any]) -> dict[str, int]:
    """The size of each category's draw, from the configuration's subset section.

    Raises:
        UserError: `categories` names none of BFCL's.
    """
    unknown = set(subset["categories"]) - set(CATEGORIES)
    if unknown:
        raise UserError(
            f"config: evaluation.subset.categories names {', '.join(sorted(unknown))}; "
            f"allowed: {', '.join(CATEGORIES)}."
        )
    return {
        category: min(
            subset["categories"].get(category, subset[group_of(category)]), POPULATION[category]
        )
        for category in CATEGORIES
    }


def write_data_folder(items: Items, source: Path, folder: Path) -> None:
    """Write a data folder with `items`, for the harness's BFCL_DATA_DIR. Ids stay as they are.

    Categories without items get no file: the harness then skips them.
    """
    documents = folder / FUNCTION_DOCS
    documents.mkdir(parents=True, exist_ok=True)
    # The contents alone: a package's files are readable by everybody, ours by their owner.
    for path in (source / FUNCTION_DOCS).iterdir():
        shutil.copyfile(path, documents / path.name)
    (folder / ANSWERS).mkdir(parents=True, exist_ok=True)
    for category, chosen in items.items():
        _write_lines(prompt_file(folder, category), [item.entry for item in chosen])
        answers = [item.answer for item in chosen if item.answer is not None]
        if answers:
            _write_lines(folder / ANSWERS / f"BFCL_v3_{category}.json", answers)


def without_paths(items: Items) -> Items:
    """The items without the names of the functions that each is expected to call (`path`): the
    harness does not read them, and what a model wrote may not."""
    return {
        category: [
            replace(one, entry={name: one.entry[name] for name in one.entry if name != "path"})
            for one in chosen
        ]
        for category, chosen in items.items()
    }


def _write_lines(path: Path, rows: list[Mapping[str, Any]]) -> None:
    # The harness parses every line, so an empty last line would be an error.
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def items_digest(items: Items) -> str:
    """A digest of everything that is asked and expected."""
    return digest(
        {
            category: [
                digest([item.id, item.question, item.tools, item.expected, _scenario(item)])
                for item in chosen
            ]
            for category, chosen in items.items()
        }
    )


def _scenario(item: Item) -> Any:
    return {name: item.entry.get(name) for name in ("initial_config", "missed_function", "path")}


def flat(items: Items) -> list[Item]:
    """All items in table order."""
    return [item for category in CATEGORIES for item in items.get(category, [])]


def question_rows(items: Items) -> Iterable[dict[str, Any]]:
    """The rows of questions.jsonl.gz: what each item asks, offers and expects."""
    for item in flat(items):
        yield {
            "category": item.category,
            "id": item.id,
            "occurrence": item.occurrence,
            "question": item.question,
            "tools": item.tools,
            "expected": item.expected,
        }


def expected_text(item: Item) -> str:
    """The expected answer as JSON text, as items.csv holds it."""
    return canonical_json(item.expected)
