"""The outcome of each item, and the table items.csv that holds them."""

import csv
import gzip
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from toolgain.common.errors import UserError
from toolgain.common.files import opened_text, reason, replacing

ITEMS = "items.csv"
QUESTIONS = "questions.jsonl.gz"
SUMMARY = "summary.json"
MANIFEST = "manifest.json"

INFERENCE_ERROR = "inference_error"
CONTEXT_OVERFLOW = "context_overflow"
EMPTY = "empty"
TRUNCATED = "truncated"
UNPARSED_CALL = "unparsed_call"
UNDECODABLE_CALL = "undecodable_call"
HISTORY_REFUSED = "history_refused"
FORCED_STOP = "forced_stop"
RETRIED = "retried"
DISPUTED = "disputed"
"""The harness's score, its decoder and the record of the requests say different things."""
FLAGS = (
    INFERENCE_ERROR,
    CONTEXT_OVERFLOW,
    EMPTY,
    TRUNCATED,
    UNPARSED_CALL,
    UNDECODABLE_CALL,
    HISTORY_REFUSED,
    FORCED_STOP,
    RETRIED,
    DISPUTED,
)

# Answers of hundreds of kilobytes occur in multi-turn items.
csv.field_size_limit(sys.maxsize)


class ItemOutcome(NamedTuple):
    """What happened to one item in one repeat: a row of items.csv.

    A tuple, since it is a row; making one takes a third of the time of a frozen dataclass.
    """

    category: str
    id: str
    occurrence: int
    """0; 1 for the second item with the same id."""
    index: int  # type: ignore[assignment]  # a tuple's own method, which nobody wants of a row
    """Position in the category's full data."""
    repeat: int
    cluster: str
    valid: bool
    """The harness scored the answer as correct, and there was an answer."""
    strict_valid: bool
    """The same, without credit where no call is right and the answer was empty, cut, or a call that
    the harness could not read."""
    error_type: str
    """The harness's error type; empty when valid."""
    error_message: str
    answer: str
    """JSON text: the tool calls, or the text of the answer; by turn and step for multi-turn."""
    expected: str
    """JSON text of the expected calls; `null` where there are none to compare with."""
    calls: int
    """Tool calls in the answer that the harness's decoder reads."""
    flags: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int
    latency_s: float
    requests: int
    """Requests that make up the answer: the steps of a multi-turn item."""
    finish_reason: str
    """The server's reason for the end of the answer; of the last step for multi-turn."""

    @property
    def key(self) -> tuple[str, str, int]:
        """Category, id and occurrence: what tells items apart."""
        return (self.category, self.id, self.occurrence)


COLUMNS = ItemOutcome._fields


def write_items(folder: Path, outcomes: Iterable[ItemOutcome]) -> None:
    """Write items.csv into `folder`."""
    with replacing(folder / ITEMS) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for outcome in outcomes:
            writer.writerow(
                int(value)
                if isinstance(value, bool)
                else ";".join(value)
                if isinstance(value, tuple)
                else value
                for value in outcome
            )


def read_items(folder: Path) -> list[ItemOutcome]:
    """Read items.csv of an evaluation folder.

    Raises:
        UserError: there is no such table, or it is not one of ours.
    """
    return list(map(ItemOutcome._make, zip(*read_columns(folder).values(), strict=True)))


def read_columns(folder: Path, names: Sequence[str] = COLUMNS) -> dict[str, list[Any]]:
    """Read columns of items.csv: with many evaluations, rows would take half as long again.

    Raises:
        UserError: there is no such table, or it is not one of ours.
    """
    path = folder / ITEMS
    try:
        with opened_text(path, newline="") as file:
            # Whatever else it is may have no line break at all.
            head = file.readline(1000)
            if tuple(next(csv.reader([head]), ())) != COLUMNS:
                raise UserError(f"evaluation: {path} has other columns than {', '.join(COLUMNS)}.")
            rows = [row for row in csv.reader(file) if row]
        if any(len(row) != len(COLUMNS) for row in rows):
            raise ValueError("a row is longer or shorter than the first one")
        columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=False))
        return {name: _parsed(name, columns.get(name, ())) for name in names}
    except FileNotFoundError:
        raise UserError(f"evaluation: {path} does not exist.") from None
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, TypeError) as error:
        raise UserError(f"evaluation: {path} cannot be read: {reason(error)}.") from error


def _parsed(name: str, column: Iterable[str]) -> list[Any]:
    return list(map(_PARSERS[name], column) if name in _PARSERS else column)


# The same few texts come up all the time.
@cache
def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return text == "1"


@cache
def _flags(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(";")))


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


_PARSERS: dict[str, Callable[[str], Any]] = {
    "occurrence": int,
    "index": int,
    "repeat": int,
    "valid": _flag,
    "strict_valid": _flag,
    "calls": int,
    "flags": _flags,
    "prompt_tokens": int,
    "completion_tokens": int,
    "latency_s": _finite,
    "requests": int,
}
"""How the columns that are not text are read."""


def write_questions(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write questions.jsonl.gz into `folder`; the same rows give the same bytes."""
    with (
        replacing(folder / QUESTIONS, "wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0, compresslevel=6) as file,
    ):
        for row in rows:
            line = json.dumps(row, ensure_ascii=False) + "\n"
            file.write(line.encode(errors="backslashreplace"))


def accuracies(outcomes: Sequence[ItemOutcome], strict: bool = False) -> dict[str, float]:
    """Accuracy of each category in percent: the mean over its items and repeats."""
    rows: dict[str, list[bool]] = {}
    for outcome in outcomes:
        rows.setdefault(outcome.category, []).append(
            outcome.strict_valid if strict else outcome.valid
        )
    return {category: 100 * sum(values) / len(values) for category, values in rows.items()}
