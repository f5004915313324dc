"""Read a harness folder (result/ and score/): the outcome of each item, checked before it counts.

The harness pairs answers with questions by position, writes some failed items twice, keeps
"Error during inference" as if it were an answer, and credits it where no call is right. So
nothing is taken from its tables: outcomes come from its rows, after the ids of each category
have been compared with the data.
"""

import ast
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from toolgain.bfcl import revisions
from toolgain.bfcl.categories import (
    ANY_CALL,
    CATEGORIES,
    GROUPS,
    MUST_NOT_CALL,
    POPULATION,
    group_of,
    in_group,
)
from toolgain.bfcl.data import Item, Items, Key, expected_text, flat, load_full, load_items
from toolgain.bfcl.decoder import CALL, NOTHING, TEXT, Decode, DecodedAnswer
from toolgain.bfcl.folders import HarnessFolder, one_model
from toolgain.bfcl.outcomes import (
    CONTEXT_OVERFLOW,
    DISPUTED,
    EMPTY,
    FORCED_STOP,
    HISTORY_REFUSED,
    INFERENCE_ERROR,
    RETRIED,
    TRUNCATED,
    UNDECODABLE_CALL,
    UNPARSED_CALL,
    ItemOutcome,
    accuracies,
)
from toolgain.bfcl.overall import group_score, overall
from toolgain.bfcl.responses import WORTH_ANOTHER_TRY
from toolgain.bfcl.toolcalls import looks_like_call, says_something
from toolgain.common.errors import UserError
from toolgain.common.files import LARGEST_TABLE, read_text, reason

ERROR_PREFIX = "Error during inference: "
PREFIX = "BFCL_v3_"
MAX_STEPS = 20
"""Steps of a turn after which the harness stops the model."""

Row = dict[str, Any]

CallingMode = Literal["native", "prompt"]
NATIVE: CallingMode = "native"
PROMPT: CallingMode = "prompt"
LONGEST_TEXT, MOST_BRACKETS = 100_000, 2_000
"""Limits of a text that is read as calls: what is longer is a runaway answer."""


@dataclass(frozen=True)
class PlainFolder:
    """What a plain harness folder is."""

    folder: HarnessFolder
    items: Items
    revision: revisions.Recognised
    mode: CallingMode
    repeated: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """BFCL v4: a digest of question and expected answer of each wrong item."""

    @property
    def scorer(self) -> str:
        """The family of the scorer, by what only one of them writes."""
        names = self.revision.names
        if (self.folder.root / "results.yml").exists() or names == (revisions.NVIDIA,):
            return "nvidia-bfcl"
        return "unknown" if revisions.NVIDIA in names else "bfcl-eval"


_NO_ABSTENTION = frozenset({EMPTY, UNPARSED_CALL, UNDECODABLE_CALL, TRUNCATED})
"""Flags of answers that are no abstention, though the harness takes them for one."""


@dataclass(frozen=True)
class ServerSide:
    """What the server's side of an item's answer looked like."""

    finish_reason: str = ""
    truncated: bool = False
    """An answer was cut at the token limit."""
    retried: bool = False
    """A request of the item failed and was retried."""
    kinds: tuple[str, ...] = ()
    """The request log's `DecodedAnswer.kind` of each answer; empty where it says nothing."""


UNKNOWN_SERVER_SIDE = ServerSide()
RequestLog = Mapping[Key, ServerSide]


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
    return one_model(folder).results


def result_file(folder: Path, category: str) -> Path:
    """The result file of `category` in a model's result folder."""
    return folder / f"{PREFIX}{category}_result.json"


_PARSED: ContextVar[dict[Path, list[Row]] | None] = ContextVar("parsed rows", default=None)


@contextmanager
def parsed_once() -> Iterator[None]:
    """In the block, each file is parsed once, however often its rows are read.

    For folders that nobody writes at the time; parsing is most of the work of reading one.
    """
    token = _PARSED.set({})
    try:
        yield
    finally:
        _PARSED.reset(token)


def read_rows(path: Path) -> list[Row]:
    """The rows of a result or score file.

    Raises:
        UserError: a line is cut or is not a JSON object.
    """
    parsed = _PARSED.get()
    if parsed is None:
        return _rows(path)
    if path not in parsed:
        parsed[path] = _rows(path)
    return parsed[path]


def _rows(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UserError(
                f"harness folder: {path}, line {number}, is cut or is not a result: "
                "expected one JSON object per line."
            )
        rows.append(row)
    return rows


def read_answers(folder: HarnessFolder, category: str) -> list[Row]:
    """The rows of a result file, each with an answer.

    Raises:
        UserError: as for `read_rows`, or a row holds no answer.
    """
    path = folder.result_file(category)
    rows = read_rows(path)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get("result"), str | list):
            raise UserError(
                f"harness folder: {path}: row {number} ({row.get('id')}) holds no answer: expected "
                "`result` with a text or a list. Run `bfcl generate` again."
            )
    return rows


def _lines(path: Path) -> list[str]:
    try:
        # Not splitlines: answers may hold other line separators.
        # Editors of Windows put a byte order mark in front.
        text = read_text(path, LARGEST_TABLE).removeprefix("\ufeff")
        return [line for line in text.split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"harness folder: {path} cannot be read: {reason(error)}.") from error


def outcomes(
    folder: Path,
    items: Items,
    decode: Decode,
    repeat: int = 0,
    requests: RequestLog | None = None,
) -> list[ItemOutcome]:
    """The outcome of every item of `items`, from a scored harness folder.

    Args:
        decode: the harness's own decoder.
        requests: what the request log says about each item, where there is one.

    Raises:
        UserError: rows are missing, doubled or foreign, or scores do not belong to the results.
    """
    return read_outcomes(one_model(folder), items, repeat, requests, NATIVE, decode)


def read_outcomes(
    folder: HarnessFolder,
    items: Items,
    repeat: int = 0,
    requests: RequestLog | None = None,
    mode: CallingMode | None = None,
    decode: Decode | None = None,
    texts: bool = True,
) -> list[ItemOutcome]:
    """The same for the files of one model.

    Args:
        mode: found out where it is not known.
        texts: whether `answer` and `expected` are wanted; else they are empty.
    """
    mode = mode or calling_mode(folder, items)
    found = []
    for category, chosen in items.items():
        if not chosen:
            continue
        rows = read_answers(folder, category)
        check = check_ids(rows, chosen)
        if not check:
            raise UserError(
                f"harness folder: {folder.result_file(category)} does not hold the items of "
                f"{category}: {check}. The harness pairs answers by position, so its scores of "
                "this category are void."
            )
        errors = _errors(chosen, folder.score_file(category))
        paired = answers(rows, chosen)
        if decode is None:
            check_scored_answers(
                folder.score_file(category),
                [(row, errors[item.key]) for item, row in paired if item.key in errors],
            )
        decoded = _decoded([row for _, row in paired], category, decode, mode)
        for (item, row), said in zip(paired, decoded, strict=True):
            seen = requests.get(item.key, UNKNOWN_SERVER_SIDE) if requests else UNKNOWN_SERVER_SIDE
            one = _outcome(item, row, said, errors.get(item.key), repeat, seen, mode, texts)
            if decode and not is_error(row) and _is_disputed(one, said, seen):
                one = one._replace(flags=(*one.flags, DISPUTED))
            found.append(one)
    return found


def _is_disputed(outcome: ItemOutcome, decoded: list[DecodedAnswer], seen: ServerSide) -> bool:
    """Whether the three views of an answered item differ: the harness's score, the record of the
    requests, and the decoder's word that the item table is made from."""
    kinds = tuple(answer.kind for answer in decoded)
    if seen.kinds and seen.kinds != kinds:
        return True
    called = outcome.calls > 0
    if outcome.category in MUST_NOT_CALL:
        return outcome.valid == called
    if outcome.category in ANY_CALL:
        return outcome.valid != called
    return outcome.valid and not called


def score_differences(folder: Path, items: Items) -> list[str]:
    """The categories whose score file does not agree with the number of right answers at its own
    head: an item that is missing from the list of wrong ones would count as right."""
    model = one_model(folder)
    found = []
    for category, chosen in items.items():
        if chosen:
            path = model.score_file(category)
            head, listed = scored(path)[0], len(chosen) - len(_errors(chosen, path))
            if head.get("correct_count") != listed:
                found.append(f"{category}: {head.get('correct_count')} and {listed} right answers")
    return found


def _errors(chosen: list[Item], path: Path) -> dict[Key, Row]:
    """The harness's error of each wrong item. An item listed twice counts once."""
    head, *wrong = scored(path)
    check_total(path, head, len(chosen))
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


def check_total(path: Path, head: Row, given: int) -> None:
    """Check that a score file is of as many answers as were `given`.

    Raises:
        UserError: it is of others, or does not say.
    """
    total = head.get("total_count")
    if total != given:
        says = "does not begin with total_count" if total is None else f"scores {total} answers"
        raise UserError(
            f"harness folder: {path} {says}; {given} were given. Score the folder again."
        )


def check_scored_answers(path: Path, wrong: Iterable[tuple[Row, Row]]) -> None:
    """Check that a score file is of these answers: it repeats every wrong one.

    Handlers may write an answer down in another form, as JSON text or as Python does, so letters
    and digits alone are compared.

    Args:
        path: the score file, for the message.
        wrong: rows of the result file, each with that of the score file.

    Raises:
        UserError: more than a few wrong answers are others than those scored.
    """
    pairs = [
        (str(answer.get("id")), answer.get("result"), row[key])
        for answer, row in wrong
        for key in ("model_result_raw", "model_result")
        if key in row
    ]
    apart = [item_id for item_id, given, repeated in pairs if _plain(given) != _plain(repeated)]
    if len(apart) > max(3, 0.05 * len(pairs)):
        raise UserError(
            f"harness folder: {path} scores other answers than those beside it: {len(apart)} of "
            f"{len(pairs)} wrong ones differ, such as {apart[0]}. Run `bfcl evaluate` again."
        )


_ESCAPED = re.compile(r"\\+(?:[nrtbf]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})")


def _plain(answer: object) -> str:
    """The letters and digits of ASCII: others may be written as they are or as escapes."""
    return "".join(re.findall("[a-zA-Z0-9]+", _ESCAPED.sub("", str(answer)))).lower()


def scored(path: Path) -> list[Row]:
    """The rows of a score file. Older official ones number the answers; the id is the prompt's."""
    rows = read_rows(path) or [{}]
    for row in rows[1:]:
        asked = row.get("prompt")
        if isinstance(row.get("id"), int) and isinstance(asked, dict):
            row["id"] = asked.get("id")
    return rows


def answers(rows: Iterable[Row], chosen: Iterable[Item]) -> list[tuple[Item, Row]]:
    """Each item with its row. Rows with one id stand in the order of the data."""
    by_id: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_id[row["id"]].append(row)
    return [(item, by_id[item.id].pop(0)) for item in chosen if by_id[item.id]]


def _decoded(
    rows: list[Row], category: str, decode: Decode | None, mode: CallingMode
) -> list[list[DecodedAnswer]]:
    """What the harness's decoder says of each step of each row.

    Another harness's handler is not available: its calls are recognised by their form.
    """
    multi_turn = group_of(category) == "multi_turn"
    steps = [steps_of(row["result"], multi_turn) for row in rows]
    every = [step for of_row in steps for step in of_row]
    found = iter(decode(every) if decode else [_by_form(step, mode) for step in every])
    return [[next(found) for _ in of_row] for of_row in steps]


def _by_form(step: Any, mode: CallingMode) -> DecodedAnswer:
    calls = calls_in(step, mode)
    kind = CALL if calls else TEXT if isinstance(step, str) and step else NOTHING
    return DecodedAnswer(kind, calls, calls > 0, calls > 0)


def _says_nothing(step: object, decoded: DecodedAnswer) -> bool:
    """Whether a step is no answer: empty, or a thought that never ended, or special tokens."""
    silent = decoded.kind == TEXT and isinstance(step, str) and not says_something(step)
    return silent or decoded.kind == NOTHING


def _outcome(
    item: Item,
    row: Row,
    decoded: list[DecodedAnswer],
    error: Row | None,
    repeat: int,
    seen: ServerSide,
    mode: CallingMode,
    texts: bool,
) -> ItemOutcome:
    failed = is_error(row)
    multi_turn = group_of(item.category) == "multi_turn"
    steps = steps_of(row["result"], multi_turn)
    calls = [answer.found_calls(multi_turn) for answer in decoded]
    flags = []
    if failed:
        kind = error_kind(row["result"])
        flags.append(kind if kind in (CONTEXT_OVERFLOW, HISTORY_REFUSED) else INFERENCE_ERROR)
    else:
        if any(answer.calls > n for answer, n in zip(decoded, calls, strict=True)):
            flags.append(UNDECODABLE_CALL)
        if mode == NATIVE and any(looks_like_call(step) for step in steps if isinstance(step, str)):
            flags.append(UNPARSED_CALL)
        if all(map(_says_nothing, steps, decoded)):
            flags.append(EMPTY)
    error_type, message = error_of(error)
    if not failed and multi_turn and any(map(_was_stopped, row["result"])):
        flags.append(FORCED_STOP)
    if not failed and seen.truncated:
        flags.append(TRUNCATED)
    if not failed and seen.retried:
        flags.append(RETRIED)
    correct = error is None and not failed
    # What the harness could not read as a call is credited where no call is right.
    credited = item.category in MUST_NOT_CALL and not any(calls)
    strict = correct and not (credited and _NO_ABSTENTION & set(flags))
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
        answer=json.dumps(row["result"], ensure_ascii=False) if texts else "",
        expected=expected_text(item) if texts else "",
        calls=0 if failed else sum(calls),
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
    turns = [turn if isinstance(turn, list) else [turn] for turn in result]
    return [step for turn in turns for step in turn]


def _was_stopped(turn: list[Any]) -> bool:
    """Whether the harness cut the turn: its last allowed step was still a call."""
    return isinstance(turn, list) and len(turn) > MAX_STEPS and isinstance(turn[-1], list)


_HTTP_ERROR = re.compile(r"(\d{3}) (?:Client|Server) Error: (.*?) for url")
KINDS = WORTH_ANOTHER_TRY | {"http_4xx", "too_large", CONTEXT_OVERFLOW, HISTORY_REFUSED}


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
    if type(counts) is int and abs(counts) < 2**53:
        return counts
    if isinstance(counts, list):
        return sum(map(_total, counts))
    # Some handlers write "N/A"; then nothing is known of it.
    try:
        return float(counts) if math.isfinite(counts) else 0.0
    except (TypeError, OverflowError):
        return 0.0


def error_of(row: Row | None) -> tuple[str, str]:
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


def calls_in(step: Any, mode: CallingMode) -> int:
    """Number of calls in an answer: of a list in native mode, of `[f(x=1), g()]` in prompt mode."""
    if isinstance(step, list):
        return len(step)
    if mode == PROMPT and isinstance(step, str):
        return text_calls(step)
    return 0


def text_calls(text: str) -> int:
    """Number of calls in a text that is a Python list of calls, as prompt mode asks for; else 0."""
    text = text.strip()
    if "(" not in text or len(text) > LONGEST_TEXT or text.count("(") > MOST_BRACKETS:
        return 0
    if not text.startswith("["):
        text = f"[{text}]"
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return 0
    if not isinstance(node, ast.List) or not node.elts:
        return 0
    return len(node.elts) if all(isinstance(one, ast.Call) for one in node.elts) else 0


def calling_mode(folder: HarnessFolder, items: Items) -> CallingMode:
    """Whether the model was given tools (native) or asked for calls as text (prompt)."""
    return native_or_prompt(folder, [category for category, chosen in items.items() if chosen])


def native_or_prompt(folder: HarnessFolder, categories: Iterable[str]) -> CallingMode:
    """The same by the answers of some categories, of whichever version of BFCL."""
    texts = 0
    for category in categories:
        for row in read_answers(folder, category):
            if is_error(row):
                continue
            result = row.get("result")
            # Multi-turn and agentic answers are lists of turns of steps.
            nested = isinstance(result, list) and bool(result) and isinstance(result[0], list)
            for step in steps_of(result, nested):
                if isinstance(step, list):
                    return NATIVE
                texts += isinstance(step, str) and text_calls(step) > 0
    return PROMPT if texts else NATIVE


def source_of(folder: HarnessFolder, data: Path) -> PlainFolder:
    """What a plain harness folder is: its items, and where they and their scores come from.

    Categories without a result file were not asked. A folder of ours has its own data beside it.
    In any other, the ids of the rows and what its score files repeat of the questions tell the
    revision of the data; a category may hold its first items alone (`--limit`).

    Raises:
        UserError: the folder holds no BFCL v3 results, or rows of items that no revision has.
    """
    if folder.version != "v3":
        raise UserError(
            f"harness folder: {folder.results} is of BFCL {folder.version}, whose data, categories "
            "and Overall are others."
        )
    present = folder.present(CATEGORIES)
    if not present:
        raise UserError(
            f"harness folder: {folder.results} holds no BFCL v3 result of a scored category."
        )
    full = all_items(data)
    own = folder.root.parent / "data"
    if all((own / f"{PREFIX}{category}.json").exists() for category in present):
        places = {item.key: item for item in flat(full)}
        asked = load_items(own, present)
        chosen = {c: [places.get(item.key, item) for item in items] for c, items in asked.items()}
        known = revisions.Recognised((revisions.NVIDIA,), 0)
        return PlainFolder(folder, chosen, known, calling_mode(folder, chosen))
    ids = {c: [str(row.get("id")) for row in read_rows(folder.result_file(c))] for c in present}
    if bare := [category for category, names in ids.items() if not names]:
        raise UserError(
            f"harness folder: {folder.result_file(bare[0])} is empty. Run `bfcl generate` again, "
            "or remove the file and its scores to leave the category out."
        )
    found = revisions.recognised_revisions(
        full, {c: set(names) for c, names in ids.items()}, _evidence(folder, present)
    )
    base = full if not found.names else revisions.items(full, found.names[0])
    chosen = {c: _asked(base[c], ids[c], folder.score_file(c)) for c in present}
    return PlainFolder(folder, chosen, found, calling_mode(folder, chosen))


@lru_cache(maxsize=1)
def all_items(data: Path) -> Items:
    """All 4441 items, read once however many folders are compared. Not to be changed."""
    return load_full(data)


def _asked(items: list[Item], ids: list[str], score_file: Path) -> list[Item]:
    """The items of a category that were asked: all, or the first ones where only those have rows.

    Where a row is missing between others, most harnesses pair answers by position. bfcl-eval's
    `--partial-eval` pairs by id, and a wrong row behind the gap shows it: the question that it
    repeats is its own.
    """
    first = items[: len(ids)]
    if sorted(ids) == sorted(item.id for item in first):
        return first
    have = set(ids)
    kept = [item for item in items if item.id in have]
    if len(kept) < len(ids) or len(have) < len(ids):
        return items
    gap = next(place for place, item in enumerate(items) if item.id not in have)
    behind = {item.id: item for item in kept if item.index > gap}
    by_id = any(
        row.get("id") in behind
        and isinstance(asked := row.get("prompt"), dict)
        and asked.get("id") == row["id"]
        for row in scored(score_file)[1:]
    )
    return kept if by_id else items


def _evidence(folder: HarnessFolder, categories: Iterable[str]) -> Iterator[revisions.ItemEvidence]:
    for category in categories:
        for row in scored(folder.score_file(category))[1:]:
            asked = row.get("prompt")
            if isinstance(asked, dict) and "question" in asked:
                yield revisions.ItemEvidence(
                    category, str(row.get("id")), asked["question"], row.get("possible_answer")
                )


def score_folder(folder: HarnessFolder, data: Path) -> dict[str, Any]:
    """The official scores of a harness folder, in percent.

    Returns:
        `n` items, `overall` and the `groups` (null while a category of theirs is missing), the
        accuracy of each of the `categories`, the number of items of each (`items`), `errors`: how
        many items got no answer, and `as_published`: the same numbers by the harness's own count,
        which credits an error where no call is right.
    """
    with parsed_once():
        source = source_of(folder, data)
        found = read_outcomes(folder, source.items, mode=source.mode, texts=False)
    return {
        "n": len(found),
        **scores(accuracies(found)),
        "items": _sizes(source.items),
        "errors": sum(is_failure(outcome) for outcome in found),
        "as_published": scores({c: published(folder, c) for c in source.items}),
        "data": source.revision.name,
        "calling_mode": source.mode,
    }


def is_failure(outcome: ItemOutcome) -> bool:
    """Whether an item got no answer."""
    return bool({INFERENCE_ERROR, CONTEXT_OVERFLOW} & set(outcome.flags))


def published(folder: HarnessFolder, category: str) -> float:
    """The accuracy in the head of a score file, in percent."""
    path = folder.score_file(category)
    head = scored(path)[0]
    try:
        return 100 * float(head["correct_count"]) / float(head["total_count"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        raise UserError(
            f"harness folder: {path} does not begin with correct_count and total_count."
        ) from None


def scores(accuracy: Mapping[str, float]) -> dict[str, Any]:
    """Official Overall and groups of accuracies by category; null where a category is missing."""
    groups = {
        group: group_score(group, accuracy) if set(in_group(group)) <= set(accuracy) else None
        for group in GROUPS
    }
    complete = set(accuracy) == set(POPULATION)
    return {
        "overall": overall(accuracy)["overall"] if complete else None,
        "groups": groups,
        "categories": dict(accuracy),
    }


def _sizes(items: Items) -> dict[str, int]:
    return {category: len(chosen) for category, chosen in items.items()}
