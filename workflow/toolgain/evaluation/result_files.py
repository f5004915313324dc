"""Put a harness's result files right between its runs: what it must retry, and nothing else.

The harness asks every item that has no row. So a row that stands for a failure of the
infrastructure is taken out, a line that a kill cut is dropped, and a row that is there twice is
kept once.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from toolgain.bfcl.data import Item, Items, Key
from toolgain.bfcl.responses import WORTH_ANOTHER_TRY
from toolgain.bfcl.results import (
    ERROR_PREFIX,
    Row,
    answers,
    error_kind,
    is_error,
    result_file,
)
from toolgain.common.files import LARGEST_TABLE, read_text, replacing


@dataclass
class ResultState:
    """The result files of one repeat, after healing."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    """Rows by category, as the files hold them now."""
    missing: list[Item] = field(default_factory=list)
    """Items without a row, which the harness will ask."""
    failed: list[Item] = field(default_factory=list)
    """Of the missing ones, those whose failed row was taken out."""
    cut_lines: int = 0

    @property
    def done(self) -> int:
        """Rows there are, of answers and of failures."""
        return sum(len(rows) for rows in self.rows.values())


def heal(folder: Path, items: Items, take_out_failed: bool) -> ResultState:
    """Heal the result files in a model's result `folder`.

    Args:
        take_out_failed: take out the rows of failures that may not come again.
    """
    state = ResultState()
    for category, chosen in items.items():
        if chosen:
            _heal_category(state, result_file(folder, category), category, chosen, take_out_failed)
    return state


def _heal_category(
    state: ResultState, path: Path, category: str, chosen: list[Item], take_out_failed: bool
) -> None:
    text = read_text(path, LARGEST_TABLE, "replace") if path.exists() else ""
    lines = [line for line in text.split("\n") if line.strip()]
    rows, cut = _whole(lines)
    state.cut_lines += cut
    failed = {row["id"] for row in rows if take_out_failed and _is_retriable(row)}
    kept = _once([row for row in rows if row["id"] not in failed], chosen)
    if cut or len(kept) != len(rows) or (text and not text.endswith("\n")):
        _write(path, kept)
    have = Counter(row["id"] for row in kept)
    missing = [item for item in chosen if not have[item.id]]
    state.rows[category] = kept
    state.missing += missing
    state.failed += [item for item in missing if item.id in failed]


def unanswered(state: ResultState) -> int:
    """Items to ask: those without a row, and those whose row stands for a failure that may pass."""
    rows = (row for of_category in state.rows.values() for row in of_category)
    return len(state.missing) + sum(map(_is_retriable, rows))


def _whole(lines: list[str]) -> tuple[list[Row], int]:
    rows, cut = [], 0
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict) and isinstance(row.get("id"), str) and "result" in row:
            rows.append(row)
        else:
            cut += 1
    return rows, cut


def _is_retriable(row: Row) -> bool:
    return is_error(row) and error_kind(row["result"]) in WORTH_ANOTHER_TRY | {"other"}


def _once(rows: list[Row], chosen: list[Item]) -> list[Row]:
    """Rows of items that were asked, each as often as its id occurs.

    One id of BFCL v3 stands for two items, and the harness asks neither when it finds one row. So
    where one of the two rows is missing, the other goes as well.
    """
    want = Counter(item.id for item in chosen)
    have = Counter(row["id"] for row in rows)
    kept, seen = [], Counter[str]()
    for row in rows:
        item_id = row["id"]
        if have[item_id] >= want[item_id] > seen[item_id]:
            seen[item_id] += 1
            kept.append(row)
    return kept


def _write(path: Path, rows: Iterable[Row]) -> None:
    with replacing(path) as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def fill_gaps(folder: Path, state: ResultState, reason: str) -> None:
    """Write a failed row for each item without one, so that the harness pairs the others right."""
    by_category: dict[str, list[Item]] = {}
    for item in state.missing:
        by_category.setdefault(item.category, []).append(item)
    for category, gaps in by_category.items():
        rows = [{"id": item.id, "result": f"{ERROR_PREFIX}{reason}"} for item in gaps]
        folder.mkdir(parents=True, exist_ok=True)
        _write(result_file(folder, category), [*state.rows[category], *rows])
        state.rows[category] += rows


def item_keys(items: Iterable[Item]) -> set[Key]:
    """The keys of `items`."""
    return {item.key for item in items}


__all__ = ["ResultState", "answers", "fill_gaps", "heal", "item_keys", "unanswered"]
