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

from collections.abc import Mapping
from typing import TypedDict

from toolgain.bfcl.folders import HarnessFolder
from toolgain.bfcl.results import is_error, published, read_rows, scored
from toolgain.common.errors import UserError

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
CATEGORIES = (*NON_LIVE, *LIVE, "live_relevance", *IRRELEVANCE, *MULTI_TURN, *WEB_SEARCH, *MEMORY)
MUST_NOT_CALL = frozenset(IRRELEVANCE)
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


def score(folder: HarnessFolder) -> Scores:
    """The scores of a BFCL v4 folder.

    Raises:
        UserError: it holds no scored category, or scores that do not belong to the results.
    """
    present = [name for name in CATEGORIES if folder.result_file(name).exists()]
    if not present:
        raise UserError(f"harness folder: {folder.results} holds no scored category of BFCL v4.")
    accuracy, sizes, errors = {}, {}, 0
    for category in present:
        rows = read_rows(folder.result_file(category))
        path = folder.score_file(category)
        head, *wrong = scored(path)
        if head.get("total_count") != len(rows):
            raise UserError(
                f"harness folder: {path} scores {head.get('total_count')} answers; {len(rows)} "
                "were given. Score the folder again."
            )
        failed = {str(row.get("id")) for row in rows if is_error(row)}
        bad = failed | {str(row.get("id")) for row in wrong}
        accuracy[category] = 100 * (1 - len(bad) / len(rows))
        sizes[category] = len(rows)
        errors += len(failed)
    needed = set(CATEGORIES) - {"live_relevance"}
    return {
        "version": "v4",
        "n": sum(sizes.values()),
        **_numbers(accuracy, sizes),
        "items": sizes,
        "errors": errors,
        "as_published": _numbers({name: published(folder, name) for name in present}, sizes),
        "missing": sorted(needed - set(present)),
    }


def _numbers(accuracy: Mapping[str, float], sizes: Mapping[str, int]) -> Numbers:
    def mean(*values: float | None) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None

    def of(*names: str) -> list[float | None]:
        return [accuracy.get(name) for name in names]

    live = None
    if all(name in accuracy for name in LIVE):
        live = sum(accuracy[n] * sizes[n] for n in LIVE) / sum(sizes[n] for n in LIVE)
    groups = {
        "non_live": mean(mean(*of(*SIMPLE)), *of("multiple", "parallel", "parallel_multiple")),
        "live": live,
        "hallucination": mean(*of(*IRRELEVANCE)),
        "multi_turn": mean(*of(*MULTI_TURN)),
        "agentic": mean(mean(*of(*WEB_SEARCH)), mean(*of(*MEMORY))),
    }
    known = {name: value for name, value in groups.items() if value is not None}
    complete = len(known) == len(groups)
    overall = sum(WEIGHTS[name] * value for name, value in known.items()) if complete else None
    return {"overall": overall, "groups": groups, "categories": dict(accuracy)}
