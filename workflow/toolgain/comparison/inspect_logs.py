"""Logs of inspect_ai, read as a table: one row per sample.

    LOG.json    status, eval and samples, as `inspect eval --log-format json` writes
    LOG.eval    a zip file with header.json (status, eval) and summaries.json (the samples)

A sample's score is the mean over its epochs. The samples of inspect_evals/bfcl are also grouped by
their category and clustered by scenario or function document, as far as their ids tell it.
Sources: the types EvalLog, EvalSample and EvalSampleSummary of inspect_ai 0.3.285, and its
`value_to_float`.
"""

import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from toolgain.common.errors import UserError
from toolgain.common.files import LARGEST_TABLE, read_bytes, reason

SUFFIXES = (".json", ".eval")
VALUES = {"c": 1.0, "i": 0.0, "p": 0.5, "n": 0.0, "yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}
"""Scores that are words: correct, incorrect, partial, no answer."""
BFCL_NOTE = (
    "inspect_evals asks BFCL's items of another revision, in other categories, and scores them "
    "with code of its own: the mean is that of its samples, not the official Overall, and is "
    "compared with no folder of a BFCL harness."
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class _Score(_Part):
    value: JsonValue


class _Sample(_Part):
    id: int | str
    epoch: int = 1
    scores: dict[str, _Score] | None = None
    metadata: dict[str, JsonValue] = {}
    error: JsonValue = None


class _Task(_Part):
    task: str
    task_version: int | str = 0


class _Header(_Part):
    status: str
    eval: _Task


class _Log(_Header):
    samples: list[_Sample] | None = None


@dataclass(frozen=True)
class InspectRow:
    """One sample."""

    id: str
    score: float
    cluster: str
    """Empty where the sample stands alone."""
    group: str


@dataclass(frozen=True)
class InspectTable:
    """The samples of a log, and what they are of."""

    task: str
    """The task with its version."""
    rows: tuple[InspectRow, ...]
    note: str
    """What a reader must know of these scores; mostly empty."""


def is_log(path: Path) -> bool:
    """Whether `path` is read as a log of inspect_ai."""
    return path.suffix.lower() in SUFFIXES


def read_log(path: Path, metrics: Sequence[str] = ()) -> InspectTable:
    """The samples of a log.

    Args:
        metrics: names of scorers, as `bfcl_scorer` or, where its score has several values,
            `scorer,value`; the first that is there is read. None is needed where there is one.

    Raises:
        UserError: it is no log, is not complete, or a sample has no score.
    """
    log = _packed(path) if path.suffix.lower() == ".eval" else _plain(path)
    if log.status != "success":
        raise UserError(
            f"table: {path} is the log of an evaluation that ended as {log.status!r}; finish it "
            "with `inspect eval-retry`."
        )
    samples = log.samples or []
    if bare := [one for one in samples if one.error is not None or not one.scores]:
        raise UserError(
            f"table: {path} holds {len(bare)} of {len(samples)} samples without a score, such as "
            f"{bare[0].id}: an error is no wrong answer. Finish it with `inspect eval-retry`."
        )
    bfcl = log.eval.task.rpartition("/")[2] == "bfcl"
    by_id: defaultdict[str, list[_Sample]] = defaultdict(list)
    for sample in samples:
        by_id[str(sample.id)].append(sample)
    scorer = _scorer(path, samples, metrics)
    rows = []
    for name, epochs in by_id.items():
        if len({one.epoch for one in epochs}) < len(epochs):
            raise UserError(f"table: {path} holds the sample {name!r} twice in one epoch.")
        scores = [_value(path, one, scorer) for one in epochs]
        category = str(epochs[0].metadata.get("category_name", "")) if bfcl else ""
        cluster = _cluster(category, name)
        rows.append(InspectRow(name, sum(scores) / len(scores), cluster, category))
    if len({len(epochs) for epochs in by_id.values()}) > 1:
        raise UserError(f"table: {path} holds some samples in fewer epochs than others.")
    task = f"{log.eval.task} (version {log.eval.task_version})"
    return InspectTable(task, tuple(rows), BFCL_NOTE if bfcl else "")


Parsed = TypeVar("Parsed")


def _parsed(path: Path, kind: type[Parsed], content: bytes) -> Parsed:
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"table: {path} is not a log of inspect_ai: {where or 'it'}: {first['msg']}; expected "
            "status, eval and samples."
        ) from None


def _plain(path: Path) -> _Log:
    return _parsed(path, _Log, _bytes(path))


def _packed(path: Path) -> _Log:
    content = _bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            members = [packed.read(_small(path, packed, name)) for name in _MEMBERS]
    except NotImplementedError:
        # Newer ones are packed with zstd, which zipfile reads from Python 3.14 on.
        raise UserError(
            f"table: {path} is packed in a way that this Python cannot read; `inspect log convert "
            f"{path} --to json --output-dir DIR` writes one that is read."
        ) from None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise UserError(f"table: {path} is not a log of inspect_ai: {reason(error)}.") from None
    header = _parsed(path, _Header, members[0])
    samples = _parsed(path, list[_Sample], members[1])
    # A sample that was retried is listed again.
    last = {(str(one.id), one.epoch): one for one in samples}
    return _Log(status=header.status, eval=header.eval, samples=list(last.values()))


_MEMBERS = ("header.json", "summaries.json")


def _small(path: Path, packed: zipfile.ZipFile, name: str) -> str:
    if name not in packed.namelist():
        raise UserError(
            f"table: {path} holds no {name}: it is not a log of inspect_ai, or its evaluation has "
            "not ended."
        )
    if packed.getinfo(name).file_size > LARGEST_TABLE:
        raise UserError(f"table: {path}: {name} holds more than {LARGEST_TABLE >> 20} MiB.")
    return name


def _bytes(path: Path) -> bytes:
    try:
        return read_bytes(path, LARGEST_TABLE)
    except OSError as error:
        raise UserError(f"table: {path} cannot be read: {reason(error)}.") from error


def _scorer(path: Path, samples: Sequence[_Sample], metrics: Sequence[str]) -> tuple[str, str]:
    """The scorer to read, and which of its values; empty where it has one."""
    if not samples:
        raise UserError(f"table: {path} holds no samples.")
    names = list(samples[0].scores or ())
    asked = [(name, value) for name, _, value in (one.partition(",") for one in metrics)]
    if not metrics and len(names) == 1:
        asked = [(names[0], "")]
    found = next(((name, value) for name, value in asked if name in names), None)
    if found is None:
        raise UserError(
            f"table: {path} has no scorer {' or '.join(metrics) or '(none named)'}; name one with "
            f"--metric: {', '.join(names)}."
        )
    return found


def _value(path: Path, sample: _Sample, scorer: tuple[str, str]) -> float:
    name, part = scorer
    where = f"table: {path}, sample {sample.id}: {name}"
    score = (sample.scores or {}).get(name)
    if score is None:
        raise UserError(f"{where} is missing.")
    value = score.value
    if isinstance(value, dict):
        if part not in value:
            raise UserError(
                f"{where} has the values {', '.join(value)}; name one: --metric {name},VALUE"
            )
        value = value[part]
    found = VALUES.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(found, int | float) or not 0 <= found <= 1:
        raise UserError(
            f"{where} is {str(value)[:40]!r}; allowed: 0 to 1, C, I, P, N, true and false."
        )
    return float(found)


_LIVE = re.compile(r"_\d+-(\d+)-\d+$")
_SCENARIO = re.compile(r"_(\d+)$")


def _cluster(category: str, sample_id: str) -> str:
    """Variants of a scenario, and items of one function document, are not independent.

    Not `categories.cluster_of`: a log does not name the functions that were offered, by which
    documents are told apart over all categories. Their numbers tell it within a category.
    """
    if category.startswith("multi_turn_") and (found := _SCENARIO.search(sample_id)):
        return f"scenario {found[1]}"
    if category.startswith("live_") and (found := _LIVE.search(sample_id)):
        return f"{category}, document {found[1]}"
    return ""
