"""The 17 scored categories of BFCL v3: groups, sizes, and which item belongs to which cluster.

Source: the task `multi_turn,ast` of nvidia-bfcl 26.3 and its data, which equals the Berkeley
data of 2025-01-26.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Literal

Group = Literal["non_live", "live", "multi_turn"]

TASK = "multi_turn,ast"
"""The task of the harness that holds these categories."""

POPULATION: Mapping[str, int] = MappingProxyType(
    {
        "simple": 400,
        "java": 100,
        "javascript": 50,
        "multiple": 200,
        "parallel": 200,
        "parallel_multiple": 200,
        "irrelevance": 240,
        "live_simple": 258,
        "live_multiple": 1053,
        "live_parallel": 16,
        "live_parallel_multiple": 24,
        "live_irrelevance": 882,
        "live_relevance": 18,
        "multi_turn_base": 200,
        "multi_turn_miss_func": 200,
        "multi_turn_miss_param": 200,
        "multi_turn_long_context": 200,
    }
)
"""Number of items of each category, in the order of every table."""

CATEGORIES: tuple[str, ...] = tuple(POPULATION)
GROUPS: tuple[Group, ...] = ("non_live", "live", "multi_turn")

MUST_NOT_CALL = frozenset({"irrelevance", "live_irrelevance"})
"""Here the harness counts every answer that it cannot read as a call as correct."""
ANY_CALL = frozenset({"live_relevance"})
"""Here any readable call is correct; there is no expected answer."""
WITHOUT_EXPECTED = MUST_NOT_CALL | ANY_CALL


@cache
def group_of(category: str) -> Group:
    """The group that `category` counts to."""
    if category.startswith("multi_turn"):
        return "multi_turn"
    return "live" if category.startswith("live_") else "non_live"


def in_group(group: Group) -> tuple[str, ...]:
    """The categories of `group`, in table order."""
    return tuple(category for category in CATEGORIES if group_of(category) == group)


def cluster_of(category: str, item_id: str, index: int, functions: Iterable[str] = ()) -> str:
    """The cluster of an item: items of one cluster are not independent of each other.

    The four multi-turn categories ask variants of the same 200 scenarios. Live items that offer
    functions of the same names share a function document, in whichever categories they stand;
    the number in a live id cannot serve, since each category counts its documents from zero. Other
    items stand alone.

    Args:
        functions: names of the functions offered; read for live items only.
    """
    group = group_of(category)
    if group == "multi_turn":
        return f"mt_{index}"
    if group == "live":
        names = " ".join(sorted(set(functions)))
        return f"live_doc_{hashlib.sha256(names.encode()).hexdigest()[:10]}"
    return f"{category}/{item_id}"


def sort_index(item_id: str) -> int:
    """The number by which the harness sorts the items of a category.

    Raises:
        ValueError: `item_id` does not end in a number of BFCL's form.
    """
    return int(item_id.rsplit("_", 1)[1].split("-")[0])
