"""Reads what a results folder holds for the report, and notes what is missing.

Only comparison.json must be there. Everything else may be missing or broken: a report of a run
that failed half-way still renders and says what it lacks.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from toolgain.bfcl import outcomes
from toolgain.common.errors import UserError
from toolgain.common.files import opened_text, parse_json, read_gzip, read_text
from toolgain.records.checkpoint import Best, Export
from toolgain.records.comparison import Comparison, Origin, RunComparison, read_comparison
from toolgain.records.evaluation import EvaluationManifest
from toolgain.records.model import Model
from toolgain.records.record import Record, finding
from toolgain.records.rehearsal import Rehearsal
from toolgain.records.summary import Summary
from toolgain.records.tasks import Tasks
from toolgain.records.training import Manifest, Smoke
from toolgain.records.trial import Trial
from toolgain.report import questions
from toolgain.report.questions import Question

RUNS_WITH_ITEMS = 20
"""The items of so many runs are read, the primary run's first: a page holds no more."""

Kind = TypeVar("Kind", bound=Record)
Key = tuple[str, str, int]


class ItemAnswer(NamedTuple):
    """One item's answer by one model; with repeats, the first answer and the mean score.

    A tuple, because there are 90,000 of them with twenty runs, and making one takes a third of the
    time of a frozen dataclass.
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
    calls: int
    flags: tuple[str, ...]
    prompt_tokens: float
    completion_tokens: float
    latency: float
    """Seconds."""
    finish: str
    repeats: tuple[bool, ...] = ()

    @property
    def key(self) -> Key:
        """What the two sides are paired by."""
        return self.category, self.id, self.occurrence


@dataclass(frozen=True)
class EvaluationFolder:
    """One evaluation folder, as far as it is there; None: missing or broken."""

    subject: str
    summary: Summary | None = None
    manifest: EvaluationManifest | None = None
    outcomes: dict[Key, ItemAnswer] = field(default_factory=dict)
    questions: dict[Key, Question] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFolder:
    """One training run, as far as it is there; None: missing or broken."""

    name: str
    evaluation: EvaluationFolder
    manifest: Manifest | None = None
    smoke: Smoke | None = None
    """None without a smoke training too."""
    best: Best | None = None
    export: Export | None = None
    tasks: Tasks | None = None
    rehearsal: Rehearsal | None = None
    """None without a rehearsal too."""


@dataclass(frozen=True)
class Sources:
    """All that the report is made of."""

    comparison: Comparison
    baseline: EvaluationFolder
    runs: dict[str, RunFolder]
    """The primary run first, or those of the primary recipe."""
    configs: dict[str, object]
    """The frozen sections, as they are."""
    model: Model | None
    missing: tuple[str, ...]
    benchmarks: dict[str, float] = field(default_factory=dict)
    trial: Trial | None = None
    """None without a trial evaluation too."""


def read_sources(
    comparison_file: Path, results: Path, data: questions.BfclData | None = None
) -> Sources:
    """Read comparison.json and what lies around it.

    Raises:
        UserError: comparison.json is missing, is not JSON or is not a comparison.
    """
    comparison = read_comparison(comparison_file)
    reader = _FolderReader(data)
    baseline = reader.evaluation("baseline", results, comparison.baseline, asked=True)
    primary = comparison.primary
    recipe = comparison.recipes.get(primary)
    first = recipe.names if recipe else [primary]
    ordered = sorted(comparison.runs.items(), key=lambda run: run[0] not in first)
    runs = {
        name: reader.run(name, results, run, items=number < RUNS_WITH_ITEMS)
        for number, (name, run) in enumerate(ordered)
    }
    for key, question in reader.found.items():
        baseline.questions.setdefault(key, question)
    unknown = len(baseline.outcomes.keys() - baseline.questions.keys())
    if unknown and comparison.baseline and comparison.baseline.plain:
        reader.missing.append(
            f"What {unknown} of {len(baseline.outcomes)} items ask is not known from the folders; "
            "`toolgain report --data` takes the data that they were evaluated with."
        )
    configs = {
        str(path.relative_to(results / "config").with_suffix("")): reader.json(path)
        for path in sorted((results / "config").rglob("*.json"))
    }
    return Sources(
        comparison,
        baseline,
        runs,
        configs,
        reader.record_if_there(Model, results / "model.json"),
        tuple(reader.missing),
        _benchmarks(results / "benchmarks"),
        reader.record_if_there(Trial, results / "trial.json"),
    )


class _FolderReader:
    """Reads files that may not be there, and remembers which were not."""

    def __init__(self, data: questions.BfclData | None) -> None:
        self.missing: list[str] = []
        self.data = data
        self.found: dict[Key, Question] = {}
        """What the items of plain folders ask."""

    def record(self, kind: type[Kind], path: Path) -> Kind | None:
        """The record in `path`; None, and a line in `missing`, where it cannot be read."""
        try:
            return kind.model_validate_json(read_text(path))
        except FileNotFoundError:
            self.missing.append(f"{_shown(path)} is missing.")
        except ValidationError as error:
            self.missing.append(f"{_shown(path)} cannot be read ({finding(error)}).")
        except (OSError, ValueError):
            self.missing.append(f"{_shown(path)} cannot be read.")
        return None

    def record_if_there(self, kind: type[Kind], path: Path) -> Kind | None:
        """Of a file that a whole results folder need not have."""
        return self.record(kind, path) if path.exists() else None

    def json(self, path: Path) -> object:
        """The JSON value in `path`; None, and a line in `missing`, where it cannot be read."""
        try:
            return parse_json(read_text(path))
        except (OSError, ValueError):
            self.missing.append(f"{_shown(path)} cannot be read.")
        return None

    def evaluation(
        self,
        subject: str,
        results: Path,
        side: Origin | None,
        items: bool = True,
        asked: bool = False,
    ) -> EvaluationFolder:
        """What an evaluation folder holds.

        Args:
            side: what comparison.json says of it; a path that lies elsewhere is followed.
            items: whether outcomes are read.
            asked: whether questions are read.
        """
        if side is not None and side.plain and self.data is not None:
            return EvaluationFolder(subject, outcomes=self._plain(side, self.data) if items else {})
        folder = results / "evaluations" / subject
        if not folder.is_dir() and side is not None and Path(side.path).is_dir():
            folder = Path(side.path)
        if not folder.is_dir():
            self.missing.append(
                f"The evaluation folder of {subject} is missing: its items, behaviour and validity "
                "record are not shown."
            )
            return EvaluationFolder(subject)
        return EvaluationFolder(
            subject,
            self.record(Summary, folder / "summary.json"),
            self.record(EvaluationManifest, folder / "manifest.json"),
            self._outcomes(folder) if items else {},
            self._questions(folder / "questions.jsonl.gz") if asked else {},
        )

    def run(self, name: str, results: Path, compared: RunComparison, items: bool) -> RunFolder:
        """What a run left, and its evaluation; `items`: whether outcomes are read."""
        evaluation = self.evaluation(name, results, compared.trained, items)
        folder = results / "runs" / name
        if not folder.is_dir():
            self.missing.append(
                f"No training of {name} is recorded ({_shown(folder)} is missing): curves, "
                "checkpoints and training cost are not shown."
            )
            return RunFolder(name, evaluation)
        manifest = self.record(Manifest, folder / "manifest.json")
        tasks_file = results / "tasks" / name / "tasks.json"
        return RunFolder(
            name,
            evaluation,
            manifest,
            self.record_if_there(Smoke, folder / "smoke.json"),
            self.record(Best, folder / "best.json"),
            self.record(Export, folder / "export.json"),
            manifest.tasks if manifest else self.record_if_there(Tasks, tasks_file),
            self.record_if_there(Rehearsal, folder / "rehearsal.json"),
        )

    def _plain(self, side: Origin, data: questions.BfclData) -> dict[Key, ItemAnswer]:
        """The answers of a plain harness folder; notes what its items ask."""
        if side.scored_again:
            self.missing.append(
                f"{side.subject} was scored again for the comparison: its items are not shown, "
                "since its folder holds the first scores."
            )
            return {}
        try:
            read = questions.read_plain(Path(side.path), data)
        except UserError as error:
            self.missing.append(f"Single items of {side.subject} are not shown: {error}")
            return {}
        known = questions.known_questions(read, data)
        for key, question in known.items():
            self.found.setdefault(key, question)
        rows = questions.with_expected(read.outcomes, known)
        columns = zip(outcomes.COLUMNS, zip(*rows, strict=True), strict=True)
        return _by_item({name: list(column) for name, column in columns})

    def _outcomes(self, folder: Path) -> dict[Key, ItemAnswer]:
        path = folder / outcomes.ITEMS
        if not path.exists():
            self.missing.append(f"{_shown(path)} is missing: single items are not shown.")
            return {}
        try:
            return _by_item(outcomes.read_columns(folder))
        except UserError as error:
            said = str(error).removeprefix("evaluation: ").replace(str(path), _shown(path))
            self.missing.append(f"Single items are not shown: {said}")
            return {}

    def _questions(self, path: Path) -> dict[Key, Question]:
        found: dict[Key, Question] = {}
        try:
            for line in filter(None, read_gzip(path).decode("utf-8").split("\n")):
                row = json.loads(line)
                key = (row["category"], row["id"], int(row.get("occurrence") or 0))
                found[key] = Question(
                    row.get("question") or [], row.get("tools") or [], row.get("expected")
                )
        except FileNotFoundError:
            self.missing.append(f"{_shown(path)} is missing: questions and tools are not shown.")
        except (OSError, KeyError, TypeError, ValueError, RecursionError, AttributeError):
            self.missing.append(f"{_shown(path)} cannot be read in full.")
        return found


def _by_item(table: Mapping[str, list[Any]]) -> dict[Key, ItemAnswer]:
    """The answers of items.csv, by column: row by row takes half as long again."""
    answers = list(
        map(
            ItemAnswer,
            table["category"],
            table["id"],
            table["occurrence"],
            map(float, table["valid"]),
            map(float, table["strict_valid"]),
            [
                error or ("" if right else "not given")
                for error, right in zip(table["error_type"], table["valid"], strict=True)
            ],
            table["error_message"],
            table["answer"],
            table["expected"],
            table["calls"],
            table["flags"],
            table["prompt_tokens"],
            table["completion_tokens"],
            table["latency_s"],
            table["finish_reason"],
        )
    )
    found = {answer.key: answer for answer in answers}
    return found if len(found) == len(answers) else _over_repeats(answers)


def _over_repeats(answers: Iterable[ItemAnswer]) -> dict[Key, ItemAnswer]:
    grouped: dict[Key, list[ItemAnswer]] = {}
    for answer in answers:
        grouped.setdefault(answer.key, []).append(answer)
    return {
        key: repeats[0]._replace(
            # Of the first that was wrong: an item counts as right when all its repeats were.
            error=next(filter(None, (answer.error for answer in repeats)), ""),
            message=next(filter(None, (answer.message for answer in repeats)), ""),
            valid=fmean(answer.valid for answer in repeats),
            strict=fmean(answer.strict for answer in repeats),
            prompt_tokens=fmean(answer.prompt_tokens for answer in repeats),
            completion_tokens=fmean(answer.completion_tokens for answer in repeats),
            latency=fmean(answer.latency for answer in repeats),
            repeats=tuple(answer.valid == 1 for answer in repeats) if len(repeats) > 1 else (),
        )
        for key, repeats in grouped.items()
    }


def _benchmarks(folder: Path) -> dict[str, float]:
    """Wall seconds of rules as Snakemake measured them, by `rule/name`."""
    found = {}
    for path in sorted(folder.rglob("*.tsv")):
        try:
            with opened_text(path, newline="") as file:
                seconds = sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))
        except (OSError, KeyError, ValueError):
            continue
        found[str(path.relative_to(folder).with_suffix(""))] = seconds
    return found


def _shown(path: Path) -> str:
    """A path without the machine's folders above results/."""
    parts = path.parts
    return "/".join(parts[parts.index("results") :]) if "results" in parts else path.name
