"""The official Overall, by hand and against the harness's mistake."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgain.bfcl.categories import CATEGORIES, POPULATION
from toolgain.bfcl.overall import CATEGORY_WEIGHTS, overall, weight_matrix

percent = st.floats(0, 100)
accuracies = st.fixed_dictionaries(dict.fromkeys(CATEGORIES, percent))


def test_official_formula_by_hand() -> None:
    scores = overall(
        {
            "simple": 90.0,
            "java": 60.0,
            "javascript": 30.0,
            "multiple": 80.0,
            "parallel": 70.0,
            "parallel_multiple": 50.0,
            "irrelevance": 40.0,
            "live_simple": 10.0,
            "live_multiple": 20.0,
            "live_parallel": 30.0,
            "live_parallel_multiple": 40.0,
            "live_irrelevance": 50.0,
            "live_relevance": 60.0,
            "multi_turn_base": 8.0,
            "multi_turn_miss_func": 4.0,
            "multi_turn_miss_param": 2.0,
            "multi_turn_long_context": 2.0,
        }
    )
    live = (258 * 10 + 1053 * 20 + 16 * 30 + 24 * 40 + 882 * 50 + 18 * 60) / 2251
    assert scores["groups"] == pytest.approx({"non_live": 60.0, "live": live, "multi_turn": 4.0})
    assert scores["overall"] == pytest.approx((60 + live + 4) / 3)


def test_all_right_is_100_where_the_harness_ends_at_85() -> None:
    assert overall(dict.fromkeys(CATEGORIES, 100.0))["overall"] == pytest.approx(100.0)


def test_a_missing_category_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(KeyError, match="java"):
        overall({category: 50.0 for category in CATEGORIES if category != "java"})


def test_a_javascript_item_counts_eight_times_a_python_one() -> None:
    weights = {name: weight / POPULATION[name] for name, weight in CATEGORY_WEIGHTS.items()}
    assert weights["javascript"] / weights["simple"] == pytest.approx(8)


@given(accuracies)
def test_overall_is_the_weighted_sum_of_the_items(values: dict[str, float]) -> None:
    """Five items of each category, as in a subset: live keeps the population's weights."""
    categories = [category for category in CATEGORIES for _ in range(5)]
    outcomes = np.array([values[category] for category in categories])
    weights = np.array([CATEGORY_WEIGHTS[category] / 5 for category in categories])
    assert weights @ outcomes == pytest.approx(overall(values)["overall"])


@given(accuracies)
def test_weight_matrix_gives_overall_and_groups(values: dict[str, float]) -> None:
    scores = overall(values)
    expected = [scores["overall"], *scores["groups"].values()]
    assert weight_matrix() @ [values[c] for c in CATEGORIES] == pytest.approx(expected)
