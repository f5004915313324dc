"""Read an evaluation, ours or a plain harness folder, as the table that statistics need."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolgain.bfcl.categories import CATEGORIES, POPULATION
from toolgain.errors import UserError
from toolgain.evaluation import record
from toolgain.evaluation.record import ItemOutcome
from toolgain.files import read_json
from toolgain.statistics.pairs import Design, design

Key = tuple[str, str, int]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """The outcomes of one subject, with what is known of how they came about."""

    folder: Path
    subject: str
    outcomes: Mapping[tuple[Key, int], ItemOutcome]
    """By (category, id, occurrence) and repeat, in data order."""
    summary: Mapping[str, Any]
    """Empty for a plain harness folder."""
    manifest: Mapping[str, Any]
    """Empty for a plain harness folder."""

    @property
    def plain(self) -> bool:
        """Whether this is a harness folder without a record of ours."""
        return not self.manifest

    @cached_property
    def keys(self) -> list[Key]:
        """The items in data order."""
        return list(dict.fromkeys(key for key, _ in self.outcomes))

    @cached_property
    def repeats(self) -> int:
        return 1 + max((repeat for _, repeat in self.outcomes), default=0)

    @property
    def items(self) -> list[ItemOutcome]:
        """The first repeat of each item."""
        return [self.outcomes[key, 0] for key in self.keys]

    @property
    def valid(self) -> bool:
        """Whether the evaluation calls itself valid; a plain harness folder does not know."""
        return bool(self.summary.get("valid", True))

    @property
    def weights(self) -> Mapping[str, Any]:
        """Path, digest and name of the model evaluated; empty when unknown."""
        return self.manifest.get("weights") or {}

    @property
    def comparable(self) -> Mapping[str, Any]:
        return self.manifest.get("comparable") or {}

    @property
    def subset(self) -> Mapping[str, Any] | None:
        """The subset's description; None for the full set."""
        drawn: Mapping[str, Any] | None = self.summary.get("subset")
        if drawn is None and self.plain and len(self.keys) < sum(POPULATION.values()):
            drawn = {"items": dict(Counter(key[0] for key in self.keys))}
        return drawn

    @cached_property
    def design(self) -> Design:
        """Categories and clusters of the items."""
        items = self.items
        return design([item.category for item in items], [item.cluster for item in items])

    @cached_property
    def right(self) -> Floats:
        """(n, repeats) 1 where the answer was right."""
        return self._matrix([outcome.valid for outcome in self._rows])

    @cached_property
    def strictly_right(self) -> Floats:
        """(n, repeats) 1 where the answer was right by the strict count."""
        return self._matrix([outcome.strict_valid for outcome in self._rows])

    @property
    def _rows(self) -> list[ItemOutcome]:
        """All repeats of the first item, then of the next."""
        return [self.outcomes[key, repeat] for key in self.keys for repeat in range(self.repeats)]

    def _matrix(self, values: list[bool]) -> Floats:
        return np.array(values, dtype=float).reshape(len(self.keys), self.repeats)

    def share(self, flag: str) -> float:
        """The share of questions that carry `flag`."""
        carrying = sum(flag in outcome.flags for outcome in self.outcomes.values())
        return carrying / max(len(self.outcomes), 1)


def read(folder: Path, bfcl_env: Path) -> Evaluation:
    """Read an evaluation folder of ours, or a harness folder (result/ and score/).

    Raises:
        UserError: the folder is neither, is cut short, or is of another BFCL version.
    """
    if not folder.is_dir():
        raise UserError(f"evaluation: {folder} is not a folder.")
    if (folder / record.ITEMS).exists():
        outcomes = record.read_items(folder)
        summary = read_json(folder / record.SUMMARY, "evaluation")
        manifest = read_json(folder / record.MANIFEST, "evaluation")
        for name, value in ((record.SUMMARY, summary), (record.MANIFEST, manifest)):
            if not isinstance(value, dict) or value.get("schema") != 1:
                raise UserError(
                    f"evaluation: {folder / name} is not a record of this version of toolgain "
                    "(schema 1)."
                )
    elif (folder / "result").is_dir():
        outcomes, summary, manifest = _harness(folder, bfcl_env), {}, {}
    else:
        raise UserError(
            f"evaluation: {folder} is neither an evaluation of toolgain (items.csv, summary.json, "
            "manifest.json) nor a harness folder (result/ and score/)."
        )
    subject = str(manifest.get("subject") or folder.resolve().name)
    evaluation = Evaluation(folder, subject, _table(folder, outcomes), summary, manifest)
    _check(evaluation)
    return evaluation


def _harness(folder: Path, bfcl_env: Path) -> list[ItemOutcome]:
    from toolgain.bfcl import results
    from toolgain.bfcl.data import installed_data

    return results.outcomes(folder, results.items_of(folder, installed_data(bfcl_env)))


def _table(folder: Path, outcomes: list[ItemOutcome]) -> dict[tuple[Key, int], ItemOutcome]:
    table: dict[tuple[Key, int], ItemOutcome] = {}
    for outcome in outcomes:
        if outcome.category not in POPULATION:
            raise UserError(
                f"evaluation: {folder} holds the category {outcome.category!r}, which is not one "
                "of BFCL v3's 17 scored ones; another version of BFCL cannot be compared."
            )
        place = (outcome.key, outcome.repeat)
        if place in table:
            raise UserError(f"evaluation: {folder} holds item {outcome.key} twice.")
        table[place] = outcome
    return table


def _check(evaluation: Evaluation) -> None:
    folder = evaluation.folder
    for category, known in evaluation.summary.get("categories", {}).items():
        population = known.get("population", POPULATION.get(category))
        if population != POPULATION.get(category):
            raise UserError(
                f"evaluation: {folder} is of a BFCL with {population} items of {category}; "
                f"v3 has {POPULATION.get(category)}. Another version cannot be compared."
            )
    if not evaluation.valid:
        # It may well be cut short; the comparison is refused with its own reasons.
        return
    counts = Counter(key[0] for key in evaluation.keys)
    missing = [category for category in CATEGORIES if not counts[category]]
    if missing:
        raise UserError(
            f"evaluation: {folder} holds no items of {', '.join(missing)}; the official Overall "
            "needs all 17 categories."
        )
    if len(evaluation.outcomes) != len(evaluation.keys) * evaluation.repeats:
        raise UserError(f"evaluation: {folder} is cut short: not every item is in every repeat.")
    stated = evaluation.summary.get("n", len(evaluation.keys))
    if stated != len(evaluation.keys):
        raise UserError(
            f"evaluation: {folder} is cut short: {len(evaluation.keys)} items in items.csv, "
            f"{stated} in summary.json."
        )
