"""Read an evaluation, ours or a plain harness folder, as the table that statistics need."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from toolgain.bfcl import outcomes, v4
from toolgain.bfcl.categories import CATEGORIES, POPULATION
from toolgain.bfcl.data import installed_data
from toolgain.bfcl.folders import (
    READ,
    HarnessFolder,
    Version,
    is_harness_folder,
    is_packed,
    one_model,
)
from toolgain.bfcl.results import (
    PlainFolder,
    all_items,
    native_or_prompt,
    parsed_once,
    read_outcomes,
    source_of,
)
from toolgain.bfcl.revisions import Recognised
from toolgain.common.errors import UserError
from toolgain.comparison.behaviour import NO_ANSWERS, AnswerColumns
from toolgain.records.evaluation import EvaluatedWeights, EvaluationManifest
from toolgain.records.record import Record, read_record
from toolgain.records.summary import Summary
from toolgain.statistics.pairs import Design, design

Key = tuple[str, str, int]
Columns = Mapping[str, Sequence[Any]]
Floats = NDArray[np.float64]
RecordType = TypeVar("RecordType", bound=Record)


@dataclass(frozen=True)
class Evaluation:
    """The outcomes of one subject, with what is known of how they came about."""

    folder: Path
    subject: str
    keys: Sequence[Key]
    """The n items in data order: category, id and occurrence."""
    clusters: Sequence[str]
    """The name of each item's cluster."""
    right: Floats
    """(n, repeats) 1 where the answer was right."""
    strictly_right: Floats
    """(n, repeats) 1 where the answer was right by the strict count."""
    errors: Sequence[str]
    """The error type of each item's first wrong answer; empty where all were right."""
    answers: AnswerColumns
    """None of BFCL v4, whose behaviour is not described."""
    rows: int
    """n times repeats, unless the evaluation was cut short."""
    flags: Counter[str]
    """How many of the rows carry a flag."""
    summary: Summary | None
    """None for a plain harness folder."""
    manifest: EvaluationManifest | None
    """None for a plain harness folder."""
    source: PlainFolder | None = None
    """What a plain harness folder is; None for an evaluation of ours."""
    scored_again: str = ""
    """What a second scoring has to say; empty without one."""
    left_out: frozenset[Key] = frozenset()
    """Items that the second scorer knows with another question, so that nobody has them."""

    @property
    def plain(self) -> bool:
        """Whether this is a harness folder without a record of ours."""
        return self.manifest is None

    @property
    def version(self) -> Version:
        """Of BFCL."""
        return self.source.folder.version if self.source else "v3"

    def where(self, kept: Callable[[Key], bool]) -> "Evaluation":
        """The items that are `kept`, as an evaluation; its record stays as it is."""
        rows = [row for row, key in enumerate(self.keys) if kept(key)]
        if len(rows) == len(self.keys):
            return self
        return replace(
            self,
            keys=[self.keys[row] for row in rows],
            clusters=[self.clusters[row] for row in rows],
            right=self.right[rows],
            strictly_right=self.strictly_right[rows],
            errors=[self.errors[row] for row in rows],
            answers=self.answers if self.answers is NO_ANSWERS else self.answers.of(rows),
            rows=len(rows) * self.repeats,
        )

    @property
    def missing(self) -> list[str]:
        """Categories that the official Overall of v3 needs and that are not there."""
        present = {category for category, _, _ in self.keys}
        return [category for category in CATEGORIES if category not in present]

    @property
    def repeats(self) -> int:
        """Answers to each item."""
        return int(self.right.shape[1])

    @property
    def valid(self) -> bool:
        """Whether the evaluation calls itself valid; a plain harness folder does not know."""
        return self.summary is None or self.summary.valid

    @property
    def weights(self) -> EvaluatedWeights | None:
        """The model evaluated; None where it is unknown."""
        return self.manifest.weights if self.manifest else None

    @property
    def digest(self) -> str | None:
        """Digest of the weights; None where it is unknown."""
        return self.weights.digest if self.weights else None

    @property
    def comparable(self) -> Mapping[str, JsonValue]:
        """What must be equal to compare, by name."""
        return self.manifest.comparable if self.manifest else {}

    @property
    def subset(self) -> Mapping[str, JsonValue] | None:
        """The subset's description; None for the full set."""
        drawn: dict[str, JsonValue] | None = None
        if self.summary is not None and self.summary.subset is not None:
            drawn = self.summary.subset.model_dump()
        if drawn is None and self.valid and len(self.keys) < sum(POPULATION.values()):
            drawn = {"items": dict(Counter(category for category, _, _ in self.keys))}
        return drawn

    @cached_property
    def design(self) -> Design:
        """Categories and clusters of the items."""
        return design([category for category, _, _ in self.keys], self.clusters)

    def share(self, flag: str) -> float:
        """The share of answers that carry `flag`."""
        return self.flags[flag] / max(self.rows, 1)


def spelled(folder: Path) -> Path:
    """The whole path as it was given: a link keeps its own name."""
    return folder.resolve() if ".." in folder.parts else folder.absolute()


def read_evaluation(folder: Path, bfcl_env: Path) -> Evaluation:
    """Read an evaluation folder of ours, or a harness folder (result/ and score/).

    A harness folder may lack categories, and may be of BFCL v4.

    Raises:
        UserError: the folder is neither, or is cut short.
    """
    if not folder.is_dir():
        hint = " Unpack it first." if is_packed(folder) and folder.exists() else ""
        raise UserError(f"evaluation: {folder} is not a folder.{hint}")
    source, summary, manifest = None, None, None
    if (folder / outcomes.ITEMS).exists():
        columns: Columns = outcomes.read_columns(folder, _READ)
        summary = _ours(Summary, folder / outcomes.SUMMARY)
        manifest = _ours(EvaluationManifest, folder / outcomes.MANIFEST)
    elif is_harness_folder(folder):
        harness = one_model(folder)
        with parsed_once():
            if harness.version == "v4":
                return _of_v4(folder, harness, bfcl_env)
            source = source_of(harness, installed_data(bfcl_env))
            columns = _columns(source)
    else:
        raise UserError(
            f"evaluation: {folder} is neither an evaluation of toolgain (items.csv, summary.json, "
            f"manifest.json) nor {READ}."
        )
    evaluation = _evaluation(folder, columns, summary, manifest, source)
    _check(evaluation)
    return evaluation


def _of_v4(folder: Path, harness: HarnessFolder, bfcl_env: Path) -> Evaluation:
    rows = v4.v4_outcomes(harness, all_items(installed_data(bfcl_env)))
    keys = [row.key for row in rows]
    right = np.array([[float(row.valid)] for row in rows])
    mode = native_or_prompt(harness, dict.fromkeys(row.category for row in rows))
    known = Recognised(("bfcl-eval v4",), 0)
    return Evaluation(
        folder=folder,
        subject=spelled(folder).name,
        keys=keys,
        clusters=[row.cluster for row in rows],
        right=right,
        strictly_right=right,
        errors=[row.error_type for row in rows],
        answers=NO_ANSWERS,
        rows=len(rows),
        flags=Counter(chain.from_iterable(row.flags for row in rows)),
        summary=None,
        manifest=None,
        source=PlainFolder(harness, {}, known, mode, v4.repeated(harness)),
    )


def _ours(kind: type[RecordType], path: Path) -> RecordType:
    found = read_record(kind, path, "evaluation")
    if found.version != 1:
        raise UserError(
            f"evaluation: {path} is not a record of this version of toolgain (schema 1)."
        )
    return found


def of_source(folder: Path, source: PlainFolder) -> Evaluation:
    """The evaluation of a plain harness folder whose items are known."""
    return _evaluation(folder, _columns(source), None, None, source)


_READ = (
    "category",
    "id",
    "occurrence",
    "repeat",
    "cluster",
    "valid",
    "strict_valid",
    "error_type",
    "calls",
    "flags",
    "prompt_tokens",
    "completion_tokens",
    "latency_s",
)


_POSITION = {name: number for number, name in enumerate(CATEGORIES)}


def _columns(source: PlainFolder) -> Columns:
    found = read_outcomes(source.folder, source.items, mode=source.mode, texts=False)
    return dict(zip(outcomes.COLUMNS, zip(*found, strict=True), strict=True))


def _evaluation(
    folder: Path,
    columns: Columns,
    summary: Summary | None,
    manifest: EvaluationManifest | None,
    source: PlainFolder | None,
) -> Evaluation:
    keys = list(zip(columns["category"], columns["id"], columns["occurrence"], strict=True))
    first: dict[Key, int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    place = {key: number for number, key in enumerate(first)}
    item = np.array([place[key] for key in keys], dtype=np.intp)
    repeat = np.array(columns["repeat"], dtype=np.intp)
    if not 0 <= repeat.min(initial=0) <= repeat.max(initial=0) <= len(keys):
        raise UserError(f"evaluation: {folder} has repeats that are none: {repeat.max()}.")
    shape = (len(place), int(repeat.max(initial=0)) + 1)
    answered = np.zeros(shape, dtype=bool)
    answered[item, repeat] = True
    foreign = {category for category, _, _ in place} - set(POPULATION)
    if foreign:
        raise UserError(
            f"evaluation: {folder} holds the category {min(foreign)!r}, which is not one "
            "of BFCL v3's 17 scored ones; another version of BFCL cannot be compared."
        )
    if np.count_nonzero(answered) < len(keys):
        twice = np.flatnonzero(np.bincount(item * shape[1] + repeat) > 1)[0] // shape[1]
        raise UserError(f"evaluation: {folder} holds item {list(place)[twice]} twice.")
    right, strictly_right = np.zeros(shape), np.zeros(shape)
    right[item, repeat] = columns["valid"]
    strictly_right[item, repeat] = columns["strict_valid"]
    errors = [""] * len(place)
    for number, error in zip(item.tolist(), columns["error_type"], strict=True):
        errors[number] = errors[number] or error
    asked = np.maximum(np.bincount(item, minlength=len(place)), 1)

    def mean(name: str) -> Floats:
        return np.bincount(item, weights=columns[name], minlength=len(place)) / asked

    def firsts(name: str) -> list[Any]:
        return [columns[name][row] for row in first.values()]

    return Evaluation(
        folder=folder,
        subject=(manifest and manifest.subject) or spelled(folder).name,
        keys=list(first),
        clusters=firsts("cluster"),
        right=right,
        strictly_right=strictly_right,
        errors=errors,
        answers=AnswerColumns(
            category=np.array([_POSITION[category] for category, _, _ in first], dtype=np.intp),
            flags=firsts("flags"),
            calls=np.array(firsts("calls"), dtype=np.intp),
            right=mean("valid"),
            prompt_tokens=mean("prompt_tokens"),
            completion_tokens=mean("completion_tokens"),
            latency=mean("latency_s"),
        ),
        rows=len(keys),
        flags=Counter(chain.from_iterable(columns["flags"])),
        summary=summary,
        manifest=manifest,
        source=source,
    )


def _check(evaluation: Evaluation) -> None:
    folder = evaluation.folder
    stated = evaluation.summary.categories if evaluation.summary else {}
    for category, known in stated.items():
        population = known.population
        if population not in (None, POPULATION.get(category)):
            raise UserError(
                f"evaluation: {folder} is of a BFCL with {population} items of {category}; "
                f"v3 has {POPULATION.get(category)}. Another version cannot be compared."
            )
    if not evaluation.valid:
        # It may well be cut short; the comparison is refused with its own reasons.
        return
    if evaluation.rows != len(evaluation.keys) * evaluation.repeats:
        raise UserError(f"evaluation: {folder} is cut short: not every item is in every repeat.")
    counted = evaluation.summary.n if evaluation.summary else None
    if counted not in (None, len(evaluation.keys)):
        raise UserError(
            f"evaluation: {folder} is cut short: {len(evaluation.keys)} items in items.csv, "
            f"{counted} in summary.json."
        )
