"""The official Overall of BFCL v3, as a linear function of the categories' accuracies.

    simple_ast = mean(simple, java, javascript)
    non_live   = mean(simple_ast, multiple, parallel, parallel_multiple, irrelevance)
    live       = mean of its 6 categories, weighted with their full numbers of items
    multi_turn = mean of its 4 categories
    Overall    = mean(non_live, live, multi_turn)

Source: the Berkeley scorer since 2025-04-09, when the executable categories were retired. The
harness still divides non_live by nine terms, so its own Overall ends at 85.19.

The Overall is linear in the outcomes of the items: an item of category c counts
`CATEGORY_WEIGHTS[c] / n_c`. On a subset the n_c are the numbers drawn, while live keeps the
weights of the full population.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolgain.bfcl.categories import CATEGORIES, GROUPS, POPULATION, Group, group_of, in_group

Floats = NDArray[np.float64]

_LIVE_ITEMS = sum(POPULATION[category] for category in in_group("live"))
_SIMPLE_AST = ("simple", "java", "javascript")


def _weight_in_group(category: str) -> float:
    if category in _SIMPLE_AST:
        return 1 / 5 / len(_SIMPLE_AST)
    group = group_of(category)
    if group == "non_live":
        return 1 / 5
    return POPULATION[category] / _LIVE_ITEMS if group == "live" else 1 / 4


GROUP_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {category: _weight_in_group(category) for category in CATEGORIES}
)
"""Weight of each category's accuracy in its group; they sum to 1 in each group."""

CATEGORY_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {category: weight / len(GROUPS) for category, weight in GROUP_WEIGHTS.items()}
)
"""Weight of each category's accuracy in the Overall; they sum to 1."""


def weight_matrix() -> Floats:
    """Rows: Overall, then the three groups. Columns: the 17 categories. Each row sums to 1."""
    overall = [CATEGORY_WEIGHTS[category] for category in CATEGORIES]
    groups = [
        [GROUP_WEIGHTS[category] * (group_of(category) == group) for category in CATEGORIES]
        for group in GROUPS
    ]
    return np.array([overall, *groups])


def overall(accuracies: Mapping[str, float]) -> dict[str, Any]:
    """The official scores of the accuracies of all 17 categories, in their unit.

    Returns:
        `overall`, and `groups` by name.

    Raises:
        KeyError: a category is missing. None may be left out: it would count as zero.
    """
    groups = {group: group_score(group, accuracies) for group in GROUPS}
    return {"overall": sum(groups.values()) / len(GROUPS), "groups": groups}


def group_score(group: Group, accuracies: Mapping[str, float]) -> float:
    """The official score of one group, in the unit of the accuracies of its categories."""
    return sum(GROUP_WEIGHTS[category] * accuracies[category] for category in in_group(group))
