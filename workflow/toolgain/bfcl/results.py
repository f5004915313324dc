"""Read a harness folder (result/ and score/): the outcome of each item, checked before it counts.

The harness pairs answers with questions by position, writes some failed items twice, keeps
"Error during inference" as if it were an answer, and credits it where no call is right. So
nothing is taken from its tables: outcomes come from its rows, after the ids of each category
have been compared with the data.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolgain.bfcl.categories import CATEGORIES, MUST_NOT_CALL, POPULATION, group_of
from toolgain.bfcl.data import Item, Items, Key, expected_text, flat, load, load_full
from toolgain.bfcl.outcomes import (
    CONTEXT_OVERFLOW,
    EMPTY,
    FORCED_STOP,
    INFERENCE_ERROR,
    REPAIRED,
    TRUNCATED,
    UNPARSED_CALL,
    ItemOutcome,
    accuracies,
)
from toolgain.bfcl.overall import overall
from toolgain.bfcl.responses import WORTH_ANOTHER_TRY
from toolgain.bfcl.toolcalls import looks_like_call
from toolgain.common.errors import UserError

ERROR_PREFIX = "Error during inference: "
PREFIX = "BFCL_v3_"
MAX_STEPS = 20
"""Steps of a turn after which the harness stops the model."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """What the server's side of an item's answer looked like."""

    finish_reason: str = ""
    truncated: bool = False
    """An answer was cut at the token limit."""
    repaired: bool = False
    """A request of the item failed and was asked again."""


UNSEEN = Seen()
Witness = Mapping[Key, Seen]


@dataclass(frozen=True)
class IdCheck:
    """How the rows of a category compare with its items."""

    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return not (self.missing or self.doubled or self.foreign)

    def __str__(self) -> str:
        parts = [
            f"{len(ids)} {what} (such as {ids[0]})"
            for what, ids in (
                ("missing", self.missing),
                ("doubled", self.doubled),
                ("foreign", self.foreign),
            )
            if ids
        ]
        return ", ".join(parts)


def check_ids(rows: Iterable[Row], items: Iterable[Item]) -> IdCheck:
    """Compare the multiset of row ids with the items'."""
    have = Counter(str(row.get("id")) for row in rows)
    want = Counter(item.id for item in items)
    return IdCheck(
        missing=sorted((want - have).elements()),
        doubled=sorted(item_id for item_id, n in have.items() if 0 < want[item_id] < n),
        foreign=sorted(item_id for item_id in have if item_id not in want),
    )


def is_error(row: Row) -> bool:
    """Whether the row stands for a failed request, not for an answer.

    An answered row carries token counts and a latency; a failed one has neither.
    """
    result = row.get("result")
    return isinstance(result, str) and result.startswith(ERROR_PREFIX) and "latency" not in row


def result_folder(folder: Path) -> Path:
    """The one model's folder below `folder`/result.

    Raises:
        UserError: there is none, or there are several.
    """
    models = sorted(path for path in (folder / "result").glob("*") if path.is_dir())
    if len(models) != 1:
        found = f"{len(models)} models" if models else "no result/<model> folder"
        raise UserError(
            f"harness folder: {folder} holds {found}; wanted is the output folder of one "
            "nvidia-bfcl evaluation, with result/ and score/."
        )
    return models[0]


def result_file(folder: Path, category: str) -> Path:
    """The result file of `category` in a model's result folder."""
    return folder / f"{PREFIX}{category}_result.json"


def read_rows(path: Path) -> list[Row]:
    """The rows of a result or score file.

    Raises:
        UserError: a line is cut or is not a JSON object.
    """
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"harness folder: {path}, line {number}, is cut or is not a result.")
        rows.append(row)
    return rows


def _lines(path: Path) -> list[str]:
    try:
        # Not splitlines: answers may hold other line separators.
        return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"harness folder: {path} cannot be read: {error}.") from error


def outcomes(
    folder: Path, items: Items, repeat: int = 0, witness: Witness | None = None
) -> list[ItemOutcome]:
    """The outcome of every item of `items`, from a scored harness folder.

    Args:
        witness: what the record of the requests says about each item, where there is one.

    Raises:
        UserError: rows are missing, doubled or foreign, or scores do not belong to the results.
    """
    results = result_folder(folder)
    scores = folder / "score" / results.name
    found = []
    for category, chosen in items.items():
        if not chosen:
            continue
        rows = read_rows(result_file(results, category))
        check = check_ids(rows, chosen)
        if not check:
            raise UserError(
                f"harness folder: {result_file(results, category)} does not hold the items of "
                f"{category}: {check}. The harness pairs answers by position, so its scores of "
                "this category are void."
            )
        errors = _errors(category, chosen, scores)
        for item, row in answers(rows, chosen):
            seen = witness.get(item.key, UNSEEN) if witness else UNSEEN
            found.append(_outcome(item, row, errors.get(item.key), repeat, seen))
    return found


def _errors(category: str, chosen: list[Item], scores: Path) -> dict[Key, Row]:
    """The harness's error of each wrong item. An item listed twice counts once."""
    path = scores / f"{PREFIX}{category}_score.json"
    head, *wrong = read_rows(path) or [{}]
    if head.get("total_count") != len(chosen):
        raise UserError(
            f"harness folder: {path} scores {head.get('total_count')} answers; "
            f"{len(chosen)} were given. Score the folder again."
        )
    by_id: dict[str, list[Item]] = defaultdict(list)
    for item in chosen:
        by_id[item.id].append(item)
    errors: dict[Key, Row] = {}
    for row in wrong:
        asked = row.get("prompt")
        if row.get("id") not in by_id or (
            isinstance(asked, dict) and asked.get("id", row["id"]) != row["id"]
        ):
            raise UserError(
                f"harness folder: {path} pairs the answer {row.get('id')} with another question; "
                "a row was missing when it was scored, so its scores are void."
            )
        twins = by_id[row["id"]]
        item = twins[0]
        if len(twins) > 1 and isinstance(asked, dict):
            item = next((twin for twin in twins if twin.question == asked.get("question")), item)
        errors.setdefault(item.key, row)
    return errors


def answers(rows: Iterable[Row], chosen: Iterable[Item]) -> list[tuple[Item, Row]]:
    """Each item with its row. Rows with one id stand in the order of the data."""
    by_id: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_id[row["id"]].append(row)
    return [(item, by_id[item.id].pop(0)) for item in chosen if by_id[item.id]]


def _outcome(item: Item, row: Row, error: Row | None, repeat: int, seen: Seen) -> ItemOutcome:
    failed = is_error(row)
    multi_turn = group_of(item.category) == "multi_turn"
    steps = steps_of(row["result"], multi_turn)
    flags = []
    if failed:
        overflow = error_kind(row["result"]) == CONTEXT_OVERFLOW
        flags.append(CONTEXT_OVERFLOW if overflow else INFERENCE_ERROR)
    elif any(looks_like_call(step) for step in steps if isinstance(step, str)):
        flags.append(UNPARSED_CALL)
    if not failed and not any(steps):
        flags.append(EMPTY)
    error_type, message = _error(error)
    if not failed and multi_turn and any(map(_was_stopped, row["result"])):
        flags.append(FORCED_STOP)
    if not failed and seen.truncated:
        flags.append(TRUNCATED)
    if not failed and seen.repaired:
        flags.append(REPAIRED)
    correct = error is None and not failed
    # Text that the harness could not read as a call is credited where no call is right.
    credited = item.category in MUST_NOT_CALL and not any(isinstance(s, list) and s for s in steps)
    strict = correct and not (credited and {EMPTY, UNPARSED_CALL, TRUNCATED} & set(flags))
    return ItemOutcome(
        category=item.category,
        id=item.id,
        occurrence=item.occurrence,
        index=item.index,
        repeat=repeat,
        cluster=item.cluster,
        valid=correct,
        strict_valid=strict,
        error_type=flags[0] if failed else error_type,
        error_message=row["result"] if failed else message,
        answer=json.dumps(row["result"], ensure_ascii=False),
        expected=expected_text(item),
        calls=sum(len(step) for step in steps if isinstance(step, list)),
        flags=tuple(flags),
        prompt_tokens=round(_total(row.get("input_token_count", 0))),
        completion_tokens=round(_total(row.get("output_token_count", 0))),
        latency_s=round(_total(row.get("latency", 0)), 4),
        requests=0 if failed else len(steps),
        finish_reason=seen.finish_reason,
    )


def steps_of(result: Any, multi_turn: bool) -> list[Any]:
    """The model's answers one by one: a list of calls, or text."""
    if isinstance(result, str) or not multi_turn:
        return [result]
    return [step for turn in result for step in turn]


def _was_stopped(turn: list[Any]) -> bool:
    """Whether the harness cut the turn: its last allowed step was still a call."""
    return len(turn) > MAX_STEPS and isinstance(turn[-1], list)


_HTTP_ERROR = re.compile(r"(\d{3}) (?:Client|Server) Error: (.*?) for url")
KINDS = WORTH_ANOTHER_TRY | {"http_4xx", CONTEXT_OVERFLOW}


def error_kind(result: str) -> str:
    """The kind of an inference error, from the text that the harness wrote down.

    Our interceptor puts the kind into the status line; other folders have plain ones.
    """
    if found := _HTTP_ERROR.search(result):
        status, reason = int(found[1]), found[2]
        if reason in KINDS:
            return reason
        return "http_429" if status == 429 else "http_5xx" if status >= 500 else "http_4xx"
    if "Timeout" in result or "timed out" in result:
        return "timeout"
    if any(word in result for word in ("Connection", "Max retries", "Remote end closed")):
        return "connection"
    if "Expecting" in result or "Unterminated" in result or "Extra data" in result:
        return "malformed"
    return "other"


def _total(counts: Any) -> float:
    if isinstance(counts, list):
        return sum(_total(count) for count in counts)
    return float(counts)


def _error(row: Row | None) -> tuple[str, str]:
    """Error type and message; multi-turn rows nest them."""
    if row is None:
        return "", ""
    error = row.get("error")
    if isinstance(error, dict):
        message = error.get("error_message", "")
        kind = str(error.get("error_type", "unknown"))
    else:
        message, kind = error, str(row.get("error_type", "unknown"))
    if isinstance(message, list):
        message = " ".join(str(part) for part in message)
    return kind, str(message or "")


def items_of(folder: Path, data: Path) -> Items:
    """The items that a plain harness folder was asked.

    Categories without a result file were not asked. A folder of ours has its own data beside it;
    any other must hold whole categories.
    """
    results = result_folder(folder)
    present = [c for c in CATEGORIES if result_file(results, c).exists()]
    if not present:
        raise UserError(f"harness folder: {results} holds no BFCL v3 result of a scored category.")
    own = folder.parent / "data"
    full = load_full(data)
    if not all((own / f"{PREFIX}{category}.json").exists() for category in present):
        return {category: full[category] for category in present}
    places = {item.key: item for item in flat(full)}
    asked = load(own, present)
    return {c: [places.get(item.key, item) for item in chosen] for c, chosen in asked.items()}


def score(folder: Path, data: Path) -> dict[str, Any]:
    """The official scores of a harness folder, in percent.

    Returns:
        `n` items, `overall` and the `groups` (null while a category of theirs is missing), the
        accuracy of each of the `categories`, and the number of items of each (`items`).
    """
    items = items_of(folder, data)
    found = outcomes(folder, items)
    return {"n": len(found), **scores(accuracies(found)), "items": _sizes(items)}


def scores(accuracy: Mapping[str, float]) -> dict[str, Any]:
    """Official Overall and groups of accuracies by category; null where a category is missing."""
    complete = {
        "overall": None,
        "groups": dict.fromkeys(("non_live", "live", "multi_turn")),
    }
    if set(accuracy) == set(POPULATION):
        complete = overall(accuracy)
    return {**complete, "categories": dict(accuracy)}


def _sizes(items: Items) -> dict[str, int]:
    return {category: len(chosen) for category, chosen in items.items()}
