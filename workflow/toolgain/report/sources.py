"""Reads what a results folder holds for the report, and notes what is missing.

Only comparison.json must be there. Everything else may be missing or broken: a report of a run
that failed half-way still renders and says what it lacks.
"""

import csv
import gzip
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from toolgain.errors import UserError
from toolgain.files import read_json

SCHEMA = 1
"""The newest comparison.json that this version knows in full."""

# Answers may be far above csv's default limit of 128 kB for a field.
LONGEST_FIELD = 1 << 30

Json = dict[str, Any]
Key = tuple[str, str, int]


class Outcome(NamedTuple):
    """One item's answer by one model; with repeats, the first answer and the mean score.

    A tuple, because there are a million of them with 200 runs, and it takes a third of the time
    that a frozen dataclass takes.
    """

    category: str
    id: str
    occurrence: int
    valid: float
    """Share of the repeats that were right: 0 or 1 without repeats."""
    strict: float
    error: str
    message: str
    answer: str
    expected: str
    calls: int | None
    flags: tuple[str, ...]
    prompt_tokens: float | None
    completion_tokens: float | None
    latency: float | None
    finish: str
    repeats: tuple[bool, ...] = ()

    @property
    def key(self) -> Key:
        """What the two sides are paired by."""
        return self.category, self.id, self.occurrence


@dataclass(frozen=True)
class Question:
    """What one item asks: turns of messages, the tools, the expected calls."""

    turns: list[Any]
    tools: list[Any]
    expected: Any


@dataclass(frozen=True)
class Evaluation:
    """One evaluation folder, as far as it is there."""

    subject: str
    summary: Json = field(default_factory=dict)
    manifest: Json = field(default_factory=dict)
    outcomes: dict[Key, Outcome] = field(default_factory=dict)
    questions: dict[Key, Question] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One training run, as far as it is there."""

    name: str
    evaluation: Evaluation
    manifest: Json = field(default_factory=dict)
    smoke: Json = field(default_factory=dict)
    """Empty without a smoke training."""
    best: Json = field(default_factory=dict)
    export: Json = field(default_factory=dict)
    tasks: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """All that the report is made of."""

    comparison: Json
    baseline: Evaluation
    runs: dict[str, Run]
    configs: dict[str, Any]
    model: Json
    missing: tuple[str, ...]
    benchmarks: dict[str, float] = field(default_factory=dict)


def read(comparison_file: Path, results: Path) -> Sources:
    """Read comparison.json and what lies around it.

    Raises:
        UserError: comparison.json is missing, is not JSON or is no comparison.
    """
    comparison = read_json(comparison_file, "comparison")
    if not isinstance(comparison, dict) or not isinstance(comparison.get("runs"), dict):
        raise UserError(
            f"comparison: {comparison_file} has no `runs`: it is not a comparison that "
            "`toolgain compare` wrote."
        )
    reader = _Reader()
    schema = comparison.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        reader.missing.append(
            f"comparison.json is of version {schema}, newer than the version {SCHEMA} that this "
            "report knows: parts of it may not be shown. Update toolgain for the whole of it."
        )
    baseline = reader.evaluation(
        "baseline", results, _dict(comparison.get("baseline")).get("path"), questions=True
    )
    runs = {
        str(name): reader.run(str(name), results, _dict(entry))
        for name, entry in comparison["runs"].items()
    }
    configs = {
        str(path.relative_to(results / "config").with_suffix("")): reader.json(path)
        for path in sorted((results / "config").rglob("*.json"))
    }
    model_file = results / "model.json"
    model = reader.json(model_file) if model_file.exists() else {}
    return Sources(
        comparison,
        baseline,
        runs,
        configs,
        _dict(model),
        tuple(reader.missing),
        _benchmarks(results / "benchmarks"),
    )


class _Reader:
    """Reads files that may not be there, and remembers which were not."""

    def __init__(self) -> None:
        self.missing: list[str] = []

    def json(self, path: Path) -> Json:
        try:
            return _dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            self.missing.append(f"{_shown(path)} is missing.")
        except (OSError, ValueError):
            self.missing.append(f"{_shown(path)} cannot be read.")
        return {}

    def evaluation(
        self, subject: str, results: Path, recorded: object, questions: bool
    ) -> Evaluation:
        folder = results / "evaluations" / subject
        if not folder.is_dir() and isinstance(recorded, str) and Path(recorded).is_dir():
            folder = Path(recorded)
        if not folder.is_dir():
            self.missing.append(
                f"The evaluation folder of {subject} is missing: its items, behaviour and validity "
                "record are not shown."
            )
            return Evaluation(subject)
        return Evaluation(
            subject,
            self.json(folder / "summary.json"),
            self.json(folder / "manifest.json"),
            self._outcomes(folder / "items.csv"),
            self._questions(folder / "questions.jsonl.gz") if questions else {},
        )

    def run(self, name: str, results: Path, entry: Json) -> Run:
        evaluation = self.evaluation(name, results, entry.get("path"), questions=False)
        folder = results / "runs" / name
        if not folder.is_dir():
            self.missing.append(
                f"No training of {name} is recorded ({_shown(folder)} is missing): curves, "
                "checkpoints and training cost are not shown."
            )
            return Run(name, evaluation)
        manifest = self.json(folder / "manifest.json")
        tasks_file = results / "tasks" / name / "tasks.json"
        tasks = _dict(manifest.get("tasks"))
        if not tasks and tasks_file.exists():
            tasks = self.json(tasks_file)
        smoke = folder / "smoke.json"
        return Run(
            name,
            evaluation,
            manifest,
            self.json(smoke) if smoke.exists() else {},
            self.json(folder / "best.json"),
            self.json(folder / "export.json"),
            tasks,
        )

    def _outcomes(self, path: Path) -> dict[Key, Outcome]:
        csv.field_size_limit(LONGEST_FIELD)
        grouped: dict[Key, list[dict[str, str]]] = {}
        try:
            with path.open(encoding="utf-8", errors="replace", newline="") as file:
                # csv refuses NUL in older Pythons; no answer needs it.
                lines = csv.reader(line.replace("\0", "\N{SYMBOL FOR NULL}") for line in file)
                columns = next(lines, [])
                for cells in filter(None, lines):
                    row = dict(zip(columns, cells, strict=False))
                    key = (row["category"], row["id"], int(row.get("occurrence") or 0))
                    grouped.setdefault(key, []).append(row)
        except FileNotFoundError:
            self.missing.append(f"{_shown(path)} is missing: single items are not shown.")
        except (OSError, KeyError, ValueError, csv.Error) as error:
            self.missing.append(f"{_shown(path)} cannot be read ({error}).")
        return {key: _outcome(key, rows) for key, rows in grouped.items()}

    def _questions(self, path: Path) -> dict[Key, Question]:
        found: dict[Key, Question] = {}
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for line in file:
                    row = json.loads(line)
                    key = (row["category"], row["id"], int(row.get("occurrence") or 0))
                    found[key] = Question(
                        row.get("question") or [], row.get("tools") or [], row.get("expected")
                    )
        except FileNotFoundError:
            self.missing.append(f"{_shown(path)} is missing: questions and tools are not shown.")
        except (OSError, EOFError, KeyError, TypeError, ValueError):
            self.missing.append(f"{_shown(path)} cannot be read in full.")
        return found


def _outcome(key: Key, rows: list[dict[str, str]]) -> Outcome:
    first = rows[0]
    valid = [_float(row.get("valid")) == 1 for row in rows]
    strict = [_float(row.get("strict_valid", row.get("valid"))) == 1 for row in rows]
    return Outcome(
        *key,
        valid=sum(valid) / len(rows),
        strict=sum(strict) / len(rows),
        error=first.get("error_type") or ("" if valid[0] else "not given"),
        message=first.get("error_message") or "",
        answer=first.get("answer") or "",
        expected=first.get("expected") or "",
        calls=None if (calls := _float(first.get("calls"))) is None else int(calls),
        flags=tuple(filter(None, (first.get("flags") or "").split(";"))),
        prompt_tokens=_mean(rows, "prompt_tokens"),
        completion_tokens=_mean(rows, "completion_tokens"),
        latency=_mean(rows, "latency_s"),
        finish=first.get("finish_reason") or "",
        repeats=tuple(valid) if len(rows) > 1 else (),
    )


def _mean(rows: list[dict[str, str]], column: str) -> float | None:
    if len(rows) == 1:
        return _float(rows[0].get(column))
    values = [x for row in rows if (x := _float(row.get(column))) is not None]
    return sum(values) / len(values) if values else None


def _float(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return {"True": 1.0, "False": 0.0}.get(text or "")
    return value if math.isfinite(value) else None


def _benchmarks(folder: Path) -> dict[str, float]:
    """Wall seconds of rules as Snakemake measured them, by `rule/name`."""
    found = {}
    for path in sorted(folder.rglob("*.tsv")):
        try:
            with path.open(encoding="utf-8", newline="") as file:
                seconds = sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))
        except (OSError, KeyError, ValueError):
            continue
        found[str(path.relative_to(folder).with_suffix(""))] = seconds
    return found


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _shown(path: Path) -> str:
    """A path without the machine's folders above results/."""
    parts = path.parts
    return "/".join(parts[parts.index("results") :]) if "results" in parts else path.name
