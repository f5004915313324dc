"""BFCL's items: read from the installed harness, drawn, written for the harness, grouped."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolgain.bfcl import data
from toolgain.bfcl.categories import CATEGORIES, POPULATION, cluster_of, group_of, in_group
from toolgain.common.errors import UserError

ENVIRONMENT = Path(__file__).parents[2] / ".venvs" / "bfcl"
SIZES = {"non_live": 10, "live": 10, "multi_turn": 3, "categories": {}}


@pytest.fixture(scope="module")
def source() -> Path:
    return data.installed_data(ENVIRONMENT)


@pytest.fixture(scope="module")
def items(source: Path) -> data.Items:
    return data.load_full(source)


def test_there_are_4441_items_and_one_id_twice(items: data.Items) -> None:
    everything = data.flat(items)
    assert len(everything) == sum(POPULATION.values()) == 4441
    assert len({item.id for item in everything}) == 4440
    assert len({item.key for item in everything}) == 4441
    (twin,) = [item for item in everything if item.occurrence == 1]
    assert twin.id == "live_relevance_3-3-0"


def test_each_item_has_its_question_tools_and_expected_answer(items: data.Items) -> None:
    for item in data.flat(items):
        assert item.question
        # Some questions where no call is right offer nothing to call.
        assert item.tools or item.category == "live_irrelevance"
        assert (item.expected is None) == (item.category.endswith("relevance"))


def test_expected_answer_is_found_though_one_id_differs(items: data.Items) -> None:
    """The prompts call it live_multiple_1052-79-0, the answers live_multiple_1052-279-0."""
    item = items["live_multiple"][1052]
    assert item.id == "live_multiple_1052-79-0"
    assert item.answer is not None and item.answer["id"] == "live_multiple_1052-279-0"


def test_groups_hold_all_categories() -> None:
    assert [c for group in ("non_live", "live", "multi_turn") for c in in_group(group)] == list(
        CATEGORIES
    )


def test_clusters_join_scenarios_and_function_documents() -> None:
    assert cluster_of("multi_turn_base", "multi_turn_base_7", 7) == "mt_7"
    assert cluster_of("multi_turn_miss_func", "multi_turn_miss_func_7", 7) == "mt_7"
    # Each live category counts its documents from zero, so the functions decide, not the numbers.
    assert cluster_of("live_simple", "live_simple_19-3-15", 19, ["f", "g"]) == cluster_of(
        "live_multiple", "live_multiple_5-8-0", 5, ["g", "f"]
    )
    assert cluster_of("live_simple", "live_simple_19-3-15", 19, ["f"]) != cluster_of(
        "live_multiple", "live_multiple_5-3-0", 5, ["h"]
    )
    assert cluster_of("simple", "simple_3", 3) != cluster_of("simple", "simple_4", 4)


def test_draw_is_seeded_and_has_the_sizes_asked_for(items: data.Items) -> None:
    sizes = data.sizes_of(SIZES | {"categories": {"simple": 25, "live_parallel": 500}})
    drawn = data.draw(items, sizes, seed=1)
    assert {c: len(chosen) for c, chosen in drawn.items()} == {
        c: {"simple": 25, "live_parallel": 16}.get(c, SIZES[group_of(c)]) for c in CATEGORIES
    }
    assert data.items_digest(drawn) == data.items_digest(data.draw(items, sizes, seed=1))
    assert data.items_digest(drawn) != data.items_digest(data.draw(items, sizes, seed=2))


def test_multi_turn_categories_draw_the_same_scenarios(items: data.Items) -> None:
    drawn = data.draw(items, data.sizes_of(SIZES), seed=4)
    scenarios = {tuple(i.index for i in drawn[c]) for c in in_group("multi_turn")}
    assert len(scenarios) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers())
def test_larger_draw_holds_the_smaller(size: int, seed: int) -> None:
    few = data.load_items(data.installed_data(ENVIRONMENT), ["live_relevance"])
    small = data.draw(few, {"live_relevance": min(size, 9)}, seed)
    large = data.draw(few, {"live_relevance": min(size + 3, 18)}, seed)
    assert {i.key for i in data.flat(small)} <= {i.key for i in data.flat(large)}


def test_unknown_category_of_a_subset_is_named() -> None:
    with pytest.raises(UserError, match=r"names simpel; allowed: simple, java"):
        data.sizes_of(SIZES | {"categories": {"simpel": 3}})


def test_written_folder_reads_back_with_the_same_ids(
    items: data.Items, source: Path, tmp_path: Path
) -> None:
    drawn = data.draw(items, data.sizes_of(SIZES), seed=1)
    data.write_data_folder(drawn, source, tmp_path)
    again = data.load_items(tmp_path)
    assert [i.id for i in data.flat(again)] == [i.id for i in data.flat(drawn)]
    assert data.items_digest(again) == data.items_digest(drawn)
    # The harness parses every line of a file.
    for file in tmp_path.rglob("BFCL_v3_*.json"):
        for line in file.read_text().split("\n"):
            json.loads(line)


def test_folder_of_another_size_is_refused(items: data.Items, source: Path, tmp_path: Path) -> None:
    short = {**items, "java": items["java"][:-1]}
    data.write_data_folder(short, source, tmp_path)
    with pytest.raises(UserError, match=r"holds 99 items of java; BFCL v3 .* has 100"):
        data.load_full(tmp_path)


def test_environment_without_the_harness_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--bfcl-env: .* holds no nvidia-bfcl data"):
        data.installed_data(tmp_path)


def test_words_of_the_harness_are_its_own() -> None:
    constants = data.installed_data(ENVIRONMENT).parent / "model_handler" / "constant.py"
    assert json.dumps(data.MORE_FUNCTIONS) in constants.read_text()
