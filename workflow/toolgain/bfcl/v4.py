"""The scores of a BFCL v4 folder: its own groups, and the official v4 Overall where all is there.

    non_live      = mean(mean of the three simple categories, multiple, parallel, parallel_multiple)
    live          = mean of the four live categories with expected calls, weighted by their items
    hallucination = mean(irrelevance, live_irrelevance)
    multi_turn    = mean of its four categories
    agentic       = mean(mean of web_search's two, mean of memory's three)
    Overall       = 0.1 non_live + 0.1 live + 0.1 hallucination + 0.3 multi_turn + 0.4 agentic

Source: bfcl-eval 2025.8.25. live_relevance counts nowhere. An item without an answer is wrong here;
`as_published` has the harness's own count.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TypedDict

from toolgain.bfcl.categories import cluster_of, sort_index
from toolgain.bfcl.data import Items
from toolgain.bfcl.folders import HarnessFolder
from toolgain.bfcl.outcomes import INFERENCE_ERROR, ItemOutcome, accuracies
from toolgain.bfcl.results import (
    ERROR_PREFIX,
    check_scored_answers,
    check_total,
    error_of,
    is_error,
    published,
    read_answers,
    scored,
)
from toolgain.common.errors import UserError
from toolgain.common.files import digest

SIMPLE = ("simple_python", "simple_java", "simple_javascript")
NON_LIVE = (*SIMPLE, "multiple", "parallel", "parallel_multiple")
LIVE = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
IRRELEVANCE = ("irrelevance", "live_irrelevance")
MULTI_TURN = (
    "multi_turn_base",
    "multi_turn_miss_func",
    "multi_turn_miss_param",
    "multi_turn_long_context",
)
WEB_SEARCH = ("web_search_base", "web_search_no_snippet")
MEMORY = ("memory_kv", "memory_vector", "memory_rec_sum")
AGENTIC = (*WEB_SEARCH, *MEMORY)
CATEGORIES = (*NON_LIVE, *LIVE, "live_relevance", *IRRELEVANCE, *MULTI_TURN, *AGENTIC)
WEIGHTS = {"non_live": 0.1, "live": 0.1, "hallucination": 0.1, "multi_turn": 0.3, "agentic": 0.4}


class Numbers(TypedDict):
    """Percent; null where a category is missing."""

    overall: float | None
    groups: dict[str, float | None]
    categories: dict[str, float]


class Scores(Numbers):
    """The scores of a folder."""

    version: str
    n: int
    items: dict[str, int]
    errors: int
    """Items that got no answer."""
    as_published: Numbers
    missing: list[str]
    """Categories that the Overall needs and that are not there."""


def score_v4(folder: HarnessFolder) -> Scores:
    """The scores of a BFCL v4 folder.

    Raises:
        UserError: it holds no scored category, or scores that do not belong to the results.
    """
    found = v4_outcomes(folder, {})
    sizes = dict(Counter(outcome.category for outcome in found))
    needed = set(CATEGORIES) - {"live_relevance"}
    return {
        "version": "v4",
        "n": len(found),
        **_numbers(accuracies(found), sizes),
        "items": sizes,
        "errors": sum(bool(outcome.flags) for outcome in found),
        "as_published": _numbers({name: published(folder, name) for name in sizes}, sizes),
        "missing": sorted(needed - set(sizes)),
    }


def v4_outcomes(folder: HarnessFolder, base: Items) -> list[ItemOutcome]:
    """The outcome of each item of a BFCL v4 folder: whether it is right, and its cluster.

    Args:
        base: the items of v3, whose live functions v4 took over; empty where no cluster is read.

    Raises:
        UserError: it holds no scored category, or scores that do not belong to the results.
    """
    present = folder.present(CATEGORIES)
    if not present:
        raise UserError(f"harness folder: {folder.results} holds no scored category of BFCL v4.")
    return [outcome for name in present for outcome in _category(folder, name, base)]


def _category(folder: HarnessFolder, category: str, base: Items) -> list[ItemOutcome]:
    file, path = folder.result_file(category), folder.score_file(category)
    rows = read_answers(folder, category)
    head, *wrong = scored(path)
    check_total(path, head, len(rows))
    ids = [str(row.get("id")) for row in rows]
    errors = {str(row.get("id")): error_of(row) for row in wrong}
    twice = [one for one, count in Counter(ids).items() if count > 1]
    if twice or set(errors) - set(ids):
        what = "is there twice" if twice else "is scored and has no answer"
        raise UserError(
            f"harness folder: {file}: {min(twice or set(errors) - set(ids))} {what}; the scores "
            "of this category are void. Run `bfcl generate` and `bfcl evaluate` again."
        )
    wrong_rows = {str(row.get("id")): row for row in wrong}
    check_scored_answers(
        path,
        [
            (row, wrong_rows[one])
            for one, row in zip(ids, rows, strict=True)
            if one in wrong_rows and not is_error(row)
        ],
    )
    found = []
    for index, (item_id, row) in enumerate(zip(ids, rows, strict=True)):
        kind, message = errors.get(item_id, ("", ""))
        if is_error(row):
            kind, message = INFERENCE_ERROR, str(row["result"]).removeprefix(ERROR_PREFIX)
        right = not kind
        found.append(
            ItemOutcome(
                category=category,
                id=item_id,
                occurrence=0,
                index=index,
                repeat=0,
                cluster=_cluster(category, item_id, base),
                valid=right,
                strict_valid=right,
                error_type=kind,
                error_message=message,
                answer="",
                expected="",
                calls=0,
                flags=(INFERENCE_ERROR,) if kind == INFERENCE_ERROR else (),
                prompt_tokens=0,
                completion_tokens=0,
                latency_s=0.0,
                requests=0,
                finish_reason="",
            )
        )
    return found


def _cluster(category: str, item_id: str, base: Items) -> str:
    """Multi-turn, web search and memory ask the same questions in each of their categories."""
    try:
        number = sort_index(item_id)
    except ValueError:
        return f"{category}/{item_id}"
    if category in MULTI_TURN:
        return cluster_of(category, item_id, number)
    if category in AGENTIC:
        return f"{_part(category)}_{number}"
    items = base.get(category, [])
    if category != "live_relevance" and category.startswith("live_") and number < len(items):
        return items[number].cluster
    return f"{category}/{item_id}"


def _part(category: str) -> str:
    return "web_search" if category in WEB_SEARCH else "memory"


def stratum_of(category: str) -> str:
    """What is drawn from apart; no cluster reaches over two."""
    if category in AGENTIC:
        return _part(category)
    if category in MULTI_TURN:
        return "multi_turn"
    return "live" if category.startswith("live_") else category


def repeated(folder: HarnessFolder) -> dict[tuple[str, str], str]:
    """A digest of what the score files repeat of each wrong item, by category and id.

    Question, scenario and expected answer: two folders of one revision repeat the same.
    """
    found = {}
    for category in CATEGORIES:
        if not folder.result_file(category).exists():
            continue
        for row in scored(folder.score_file(category))[1:]:
            asked = row.get("prompt")
            if isinstance(asked, dict):
                asked = [asked.get("question"), asked.get("initial_config")]
            found[category, str(row.get("id"))] = digest([asked, row.get("possible_answer")])
    return found


def group_weights(sizes: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """The weight of each category's accuracy in each group; in each they sum to 1.

    Args:
        sizes: items of each category that is there. The live ones are weighed by theirs.
    """

    def mean(*parts: Mapping[str, float]) -> dict[str, float]:
        return {name: weight / len(parts) for part in parts for name, weight in part.items()}

    def equal(*names: str) -> dict[str, float]:
        return dict.fromkeys(names, 1 / len(names))

    live = max(sum(sizes.get(name, 0) for name in LIVE), 1)
    others = ({name: 1.0} for name in NON_LIVE if name not in SIMPLE)
    return {
        "non_live": mean(equal(*SIMPLE), *others),
        "live": {name: sizes.get(name, 0) / live for name in LIVE},
        "hallucination": equal(*IRRELEVANCE),
        "multi_turn": equal(*MULTI_TURN),
        "agentic": mean(equal(*WEB_SEARCH), equal(*MEMORY)),
    }


def overall_weights(sizes: Mapping[str, int]) -> dict[str, float]:
    """The weight of each category's accuracy in the official v4 Overall; they sum to 1."""
    return {
        name: WEIGHTS[group] * weight
        for group, weights in group_weights(sizes).items()
        for name, weight in weights.items()
    }


def _numbers(accuracy: Mapping[str, float], sizes: Mapping[str, int]) -> Numbers:
    def mean(weights: Mapping[str, float]) -> float | None:
        if not set(weights) <= set(accuracy):
            return None
        return sum(weight * accuracy[name] for name, weight in weights.items())

    return {
        "overall": mean(overall_weights(sizes)),
        "groups": {group: mean(weights) for group, weights in group_weights(sizes).items()},
        "categories": dict(accuracy),
    }
