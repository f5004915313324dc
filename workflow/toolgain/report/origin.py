"""Where a change comes from, and how it stands beside the training, in sentences for the reader."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from toolgain.bfcl.categories import CATEGORIES, GROUPS, group_of
from toolgain.records.comparison import CategoryChange, RunComparison
from toolgain.report import wording
from toolgain.report.training import Training

Kind = Literal["gained", "lost"]
FEW_ITEMS = 5
"""A group with fewer items gained (or lost) is not worth a sentence."""
MOST = 0.8
"""Share of a group's items that makes one category its origin."""

MEANINGS = {
    ("irrelevance", "gained"): "the model declines more",
    ("live_irrelevance", "gained"): "the model declines more",
    ("irrelevance", "lost"): "the model calls more where no tool fits",
    ("live_irrelevance", "lost"): "the model calls more where no tool fits",
    ("live_relevance", "gained"): "the model calls more",
    ("live_relevance", "lost"): "the model declines more",
}
"""What a change in these categories says of the model."""


def origin_sentence(run: RunComparison) -> str:
    """Where the items that a run gained or lost are, when they are in few categories.

    Args:
        run: the run; its `categories` hold `gained` and `lost`.

    Returns:
        One sentence, or nothing where the change is spread over many categories.
    """
    delta = run.overall.delta if run.overall else 0.0
    kind: Kind = "gained" if delta >= 0 else "lost"
    parts = [part for group in GROUPS if (part := _group(group, kind, run.categories))]
    if not parts:
        return ""
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."


def _group(group: str, kind: Kind, categories: Mapping[str, CategoryChange]) -> str:
    counts = {
        name: categories[name].gained if kind == "gained" else categories[name].lost
        for name in CATEGORIES
        if group_of(name) == group and name in categories
    }
    whole = sum(counts.values())
    if whole < FEW_ITEMS or len(counts) < 2:
        return ""
    name = max(counts, key=lambda one: counts[one])
    if counts[name] < MOST * whole:
        return ""
    amount = f"all {whole}" if counts[name] == whole else f"{counts[name]} of {whole}"
    where = f"{amount} {kind} items of {wording.group(group)} are in {wording.category(name)}"
    meaning = MEANINGS.get((name, kind))
    return f"{where}: {meaning}" if meaning else where


def beside_the_signs(verdict: str, training: Training | None) -> str:
    """How the verdict goes together with the signs of the training, where they seem not to."""
    if training is None:
        return ""
    failed = [sign.title for sign in training.signs if sign.passed is False]
    if verdict == "improved" and failed:
        return (
            f"The benchmark improved although {_and(failed)} failed. The two do not contradict "
            "each other: the signs speak of the training and its own tasks, the verdict of "
            "BFCL's items. A longer or steadier training may gain more."
        )
    worked = bool(training.signs) and all(sign.passed for sign in training.signs)
    if worked and verdict == "no_clear_change":
        return (
            "The training worked on its own tasks, but BFCL shows no clear change: the change may "
            "be too small for this many items, or what was learned does not carry over."
        )
    if worked and verdict == "regressed":
        return (
            "The training worked on its own tasks, and the benchmark got worse: what was learned "
            "there costs what BFCL asks for."
        )
    return ""


def _and(titles: Sequence[str]) -> str:
    quoted: Iterable[str] = [
        f"\N{LEFT DOUBLE QUOTATION MARK}{title}\N{RIGHT DOUBLE QUOTATION MARK}" for title in titles
    ]
    return " and ".join(quoted)
