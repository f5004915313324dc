"""Two tables of any benchmark, compared item by item: the check for forgetting.

A table is a CSV file with a header, the samples that lm-evaluation-harness writes with
`--log_samples` (JSON lines with `doc_id`, the metric and its `filter`), or a log of inspect_ai
(`inspect_logs`). One row per item:

    id                 pairs the rows of the two tables
    correct or score   in [0, 1]; the metric's name, for samples
    cluster            optional: items that are not independent share one
    group              optional: the change is given by group, too
    weight             optional: positive; default 1
"""

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from toolgain.common.amounts import counted
from toolgain.common.errors import NotValidError, UserError
from toolgain.common.files import read_text, reason, write_text
from toolgain.comparison import inspect_logs
from toolgain.records.tables import TableChange, TableComparison
from toolgain.statistics import answer
from toolgain.statistics.paired_tests import holm, mcnemar
from toolgain.statistics.verdict import word
from toolgain.statistics.weighted import Floats, MeanChange, mean_change

SUFFIXES = (".csv", ".jsonl", *inspect_logs.SUFFIXES)
SCORES = ("correct", "score")
KNOWN = ("id", *SCORES, "cluster", "group", "weight")
Sample = dict[str, object]

LONGEST_LINE = 10_000_000
"""Characters of a line of samples; they hold whole prompts."""


@dataclass(frozen=True)
class Table:
    """The rows of a table by id, and what is known of them."""

    rows: Mapping[str, "TableRow"]
    task: str = ""
    """The benchmark, where the file names it."""
    note: str = ""
    """What a reader must know of the scores."""


@dataclass(frozen=True)
class TableRow:
    """One item of one table."""

    score: float
    cluster: str
    group: str
    weight: float


def is_table(path: Path) -> bool:
    """Whether `path` is compared as a table."""
    return path.suffix.lower() in SUFFIXES


def compare_tables(
    before: Path, after: Path, metrics: Sequence[str], alpha: float
) -> TableComparison:
    """Compare two tables.

    Args:
        metrics: names of the score in samples of lm-evaluation-harness; see `read_table`.
        alpha: two-sided error level.

    Raises:
        UserError: a table cannot be read.
        NotValidError: they hold different items, clusters, groups or weights.
    """
    one, other = (_read(path, metrics) for path in (before, after))
    if one.task and other.task and one.task != other.task:
        raise NotValidError(
            f"Not comparable. {before.name} is of {one.task}, {after.name} of {other.task}."
        )
    found = compare_read_tables(one.rows, other.rows, (before.name, after.name), alpha)
    notes = list(dict.fromkeys(filter(None, [one.note, other.note])))
    return found.model_copy(update={"notes": notes}) if notes else found


def write(found: TableComparison, out: Path) -> None:
    """Write what `compare_tables` found."""
    write_text(out, found.model_dump_json(indent=1, by_alias=True) + "\n")


def compare_pairs(
    pairs: Iterable[tuple[Path, Path]], metrics: Sequence[str], alpha: float
) -> dict[str, TableComparison]:
    """Several benchmarks, by name, each as a table before and one after.

    Raises:
        UserError: a table cannot be read, or two pairs have one name.
        NotValidError: the two tables of a pair hold different items.
    """
    found: dict[str, TableComparison] = {}
    for before, after in pairs:
        if unknown := next((one for one in (before, after) if not is_table(one)), None):
            raise UserError(f"table: {unknown} ends in none of {', '.join(SUFFIXES)}.")
        name = benchmark_name(before, after)
        if name in found:
            raise UserError(f"table: two pairs would be called {name!r}; rename the files of one.")
        found[name] = compare_tables(before, after, metrics, alpha)
    return found


def benchmark_name(before: Path, after: Path) -> str:
    """What the names of two files have in common: `gsm8k` of gsm8k-before.csv and gsm8k-after.csv.

    Of files that have nothing in common, both names.
    """
    names = [_DATED.sub("", path.stem).removeprefix("samples_") for path in (before, after)]
    if names[0] == names[1]:
        return names[0]
    first, last = _common_words(*names), _common_words(*(name[::-1] for name in names))[::-1]
    return max(first, last, key=len).strip("-_. ") or " and ".join(names)


_DATED = re.compile(r"_\d{4}-\d\d-\d\dT[\d.:-]+$")
"""How lm-evaluation-harness ends the name of a file of samples."""


def _common_words(one: str, other: str) -> str:
    """The words with which both begin, none of them in part."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    common = "".join(sign for sign, _ in pairs)
    if not any(name[len(common) : len(common) + 1].isalnum() for name in (one, other)):
        return common
    return common[: len(common) - len(re.split(r"[-_. ]", common)[-1])]


def read_table(path: Path, metrics: Sequence[str] = ()) -> Mapping[str, TableRow]:
    """The rows of a table, by id.

    Args:
        metrics: names of the score in samples of lm-evaluation-harness, as `exact_match` or, where
            they were filtered in several ways, `exact_match,strict-match`; the first that is there
            is read. None is needed where the samples hold one alone.

    Raises:
        UserError: with file, line and value.
    """
    return _read(path, metrics).rows


def _read(path: Path, metrics: Sequence[str]) -> Table:
    if inspect_logs.is_log(path):
        log = inspect_logs.read_log(path, metrics)
        rows = {
            one.id: TableRow(one.score, one.cluster or f"\0{one.id}", one.group, 1.0)
            for one in log.rows
        }
        return Table(rows, log.task, log.note)
    return Table(_text_rows(path, metrics))


def _text_rows(path: Path, metrics: Sequence[str]) -> dict[str, TableRow]:
    try:
        # Spreadsheets write a byte-order mark.
        text = read_text(path).removeprefix("\ufeff")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"table: {path} cannot be read: {reason(error)}.") from error
    rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _samples(path, text, metrics)
    found: dict[str, TableRow] = {}
    for line, values in rows:
        row_id = values.get("id", "")
        if not row_id:
            raise UserError(f"table: {path}, line {line}, has no id.")
        if row_id in found:
            raise UserError(f"table: {path}, line {line}, holds the id {row_id!r} a second time.")
        given = next((values[name] for name in SCORES if values.get(name)), "")
        score = _number(given, f"{path}, line {line}: {' or '.join(SCORES)}", 0, 1)
        weight = 1.0
        if values.get("weight"):
            weight = _number(values["weight"], f"{path}, line {line}: weight", 1e-9, 1e9)
        cluster = values.get("cluster") or f"\0{row_id}"
        found[row_id] = TableRow(score, cluster, values.get("group") or "", weight)
    if not found:
        raise UserError(f"table: {path} holds no rows.")
    return found


Values = Mapping[str, str]


def _csv_rows(path: Path, text: str) -> Iterable[tuple[int, Values]]:
    reader = csv.DictReader(text.split("\n"))
    try:
        names = [name for name in reader.fieldnames or () if name]
        scores = [name for name in SCORES if name in names]
        if "id" not in names or len(scores) != 1:
            raise UserError(
                f"table: {path} has the columns {', '.join(names)[:200] or '(none)'}; expected id, "
                f"one of {' and '.join(SCORES)}, and optionally cluster, group, weight."
            )
        for row in reader:
            yield reader.line_num, {name: str(row.get(name) or "").strip() for name in KNOWN}
    except csv.Error as error:
        raise UserError(f"table: {path}, line {reader.line_num}, is not CSV: {error}.") from error


def _samples(path: Path, text: str, metrics: Sequence[str]) -> Iterable[tuple[int, Values]]:
    samples = [
        (line, _sample(path, line, content))
        for line, content in enumerate(text.split("\n"), start=1)
        if content.strip()
    ]
    if not samples:
        return
    metric, wanted = _metric(path, [sample for _, sample in samples], metrics)
    for line, sample in samples:
        if wanted and sample.get("filter") != wanted:
            continue
        if metric not in sample:
            raise UserError(f"table: {path}, line {line}, has no metric {metric}.")
        yield line, {"id": str(sample["doc_id"]), "score": str(sample[metric])}


def _sample(path: Path, line: int, content: str) -> Sample:
    try:
        sample = json.loads(content) if len(content) <= LONGEST_LINE else None
    except (ValueError, RecursionError):
        sample = None
    if not isinstance(sample, dict) or "doc_id" not in sample:
        raise UserError(
            f"table: {path}, line {line}, is not a sample of lm-evaluation-harness: expected a "
            "JSON object with doc_id."
        )
    return sample


def _metric(path: Path, samples: Sequence[Sample], metrics: Sequence[str]) -> tuple[str, str]:
    """The score to read, and the filter of its samples; no filter where all have one."""
    first = samples[0]
    numbers = [
        name for name, value in first.items() if isinstance(value, int | float) and name != "doc_id"
    ]
    filters = list(dict.fromkeys(str(one["filter"]) for one in samples if "filter" in one))
    asked = [(name, wanted) for name, _, wanted in (one.partition(",") for one in metrics)]
    if not metrics and len(numbers) == 1:
        asked = [(numbers[0], "")]
    metric, wanted = next(((name, of) for name, of in asked if name in first), ("", ""))
    if not metric:
        raise UserError(
            f"table: {path} has no metric {' or '.join(metrics) or '(none named)'}; name one "
            f"with --metric: {', '.join(numbers) or 'none is there'}."
        )
    if wanted and not filters:
        raise UserError(
            f"table: {path} holds no `filter`; name the metric alone: --metric {metric}"
        )
    if (wanted and wanted not in filters) or (not wanted and len(filters) > 1):
        raise UserError(
            f"table: {path} holds samples filtered as {', '.join(filters)}; name one: "
            f"--metric {metric},{filters[0]}"
        )
    return metric, wanted


def _number(text: str, where: str, low: float, high: float) -> float:
    known = {"true": 1.0, "false": 0.0}
    try:
        value = known[text.lower()] if text.lower() in known else float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise UserError(f"table: {where} is {text[:40]!r}; allowed: {low:g} to {high:g}.")
    return value


def compare_read_tables(
    before: Mapping[str, TableRow],
    after: Mapping[str, TableRow],
    names: tuple[str, str],
    alpha: float,
) -> TableComparison:
    """The comparison of two tables that were read.

    Raises:
        NotValidError: they hold different items, or an item has another cluster, group or weight.
    """
    apart = set(before) ^ set(after)
    if apart:
        raise NotValidError(
            f"Not comparable. {counted(len(set(before) - set(after)), 'item')} only in {names[0]}, "
            f"{len(set(after) - set(before))} only in {names[1]}, such as {min(apart)}."
        )
    ids = list(before)
    moved = [
        one
        for one in ids
        if (before[one].cluster, before[one].group, before[one].weight)
        != (after[one].cluster, after[one].group, after[one].weight)
    ]
    if moved:
        raise NotValidError(
            f"Not comparable. {len(moved)} items have another cluster, group or weight in "
            f"{names[1]} than in {names[0]}, such as {moved[0]}."
        )
    groups = sorted({row.group for row in before.values()} - {""})
    overall = _change(before, after, ids, alpha)
    parts = {
        group: _change(before, after, [one for one in ids if before[one].group == group], alpha)
        for group in groups
    }
    verdict = word(*overall.ci95)
    return TableComparison(
        schema_=1,
        verdict=verdict,
        sentence=table_sentence(verdict, overall, names, alpha),
        baseline=names[0],
        trained=names[1],
        alpha=alpha,
        clusters=len({row.cluster for row in before.values()}),
        overall=overall,
        groups=corrected(parts),
    )


def table_sentence(verdict: str, change: TableChange, names: tuple[str, str], alpha: float) -> str:
    """The verdict in one sentence."""
    return answer.verdict_sentence(
        verdict,
        f"the mean score on {change.n} items",
        (change.baseline, change.trained),
        change.delta,
        change.ci95,
        change.p,
        names,
        1 - alpha,
    )


def _change(
    before: Mapping[str, TableRow], after: Mapping[str, TableRow], ids: Sequence[str], alpha: float
) -> TableChange:
    old = np.array([before[one].score for one in ids])
    new = np.array([after[one].score for one in ids])
    weight = np.array([before[one].weight for one in ids])
    _, cluster = np.unique([before[one].cluster for one in ids], return_inverse=True)
    found = mean_change(new - old, cluster.astype(np.intp), weight, alpha)
    return change_of(old, new, weight, found)


def change_of(old: Floats, new: Floats, weight: Floats, found: MeanChange) -> TableChange:
    """The line of n items with their scores before and after, and the change that was found."""
    gained, lost = int((new > old).sum()), int((new < old).sum())
    share = weight / weight.sum()
    return TableChange(
        n=len(old),
        baseline=100 * float(share @ old),
        trained=100 * float(share @ new),
        delta=100 * found.change,
        ci95=(100 * found.low, 100 * found.high),
        p=found.p,
        p_holm=found.p,
        gained=gained,
        lost=lost,
        p_mcnemar=mcnemar(gained, lost),
    )


def corrected(family: Mapping[str, TableChange]) -> dict[str, TableChange]:
    """A family of changes with its p values corrected together, by Holm."""
    adjusted = holm([line.p for line in family.values()])
    return {
        name: line.model_copy(update={"p_holm": p})
        for (name, line), p in zip(family.items(), adjusted, strict=True)
    }
