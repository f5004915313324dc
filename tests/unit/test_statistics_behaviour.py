"""How a model behaves, counted from its answers."""

from pathlib import Path

import pytest
from evaluation_folders import outcome, rows, write

from toolgain.bfcl.categories import CATEGORIES
from toolgain.bfcl.outcomes import ItemOutcome
from toolgain.comparison import behaviour, evaluations
from toolgain.records.comparison import Behaviour

NOWHERE = Path("no environment is needed")


def measured(folder: Path, answers: list[ItemOutcome]) -> Behaviour:
    return behaviour.measured(evaluations.read_evaluation(write(folder, answers), NOWHERE).answers)


def test_declines_are_told_from_calls_where_no_tool_fits(tmp_path: Path) -> None:
    declining = {"irrelevance", "simple", "java", "multi_turn_base"}
    found = measured(
        tmp_path / "one", [outcome(c, 0, True, calls=int(c not in declining)) for c in CATEGORIES]
    )
    everything = found.scopes["all"]
    assert everything["declines"] == pytest.approx(100 * 4 / 17)
    assert everything["declines_of_wanted_calls"] == pytest.approx(100 * 3 / 15)
    assert everything["calls_where_no_tool_fits"] == 50
    assert found.scopes["live"]["calls_where_no_tool_fits"] == 100
    assert found.scopes["multi_turn"]["calls_where_no_tool_fits"] is None
    assert found.calls == [3, 10, 0, 0, 0, 0], "single-turn answers alone"


def test_answers_with_many_calls_are_counted_together(tmp_path: Path) -> None:
    found = measured(tmp_path / "one", [outcome(c, 0, True, calls=9) for c in CATEGORIES])
    assert found.calls == [0, 0, 0, 0, 0, 13]
    assert found.scopes["all"]["calls"] == 9


def test_tokens_are_counted_per_solved_item(tmp_path: Path) -> None:
    answers = [outcome(c, 0, c == "simple", completion_tokens=10) for c in CATEGORIES]
    scopes = measured(tmp_path / "one", answers).scopes
    assert scopes["all"]["tokens_per_solved"] == 170
    assert scopes["live"]["tokens_per_solved"] is None, "nothing is solved there"


def test_what_a_foreign_folder_does_not_count_is_left_open(tmp_path: Path) -> None:
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "latency_s": 0.0}
    found = measured(tmp_path / "one", [outcome(c, 0, True, **nothing) for c in CATEGORIES])
    everything = found.scopes["all"]
    for name in ("prompt_tokens", "completion_tokens", "tokens_per_solved", "latency_95"):
        assert everything[name] is None


def test_repeats_do_not_double_the_counts(tmp_path: Path) -> None:
    once = rows(lambda category, index: index % 2 == 0, dict.fromkeys(CATEGORIES, 4))
    flagged = [row._replace(flags=("empty",)) if row.index == 1 else row for row in once]
    again = [row._replace(repeat=1, latency_s=0.3) for row in flagged]
    alone = measured(tmp_path / "once", flagged).scopes["all"]
    both = measured(tmp_path / "twice", flagged + again).scopes["all"]
    assert both["empty"] == alone["empty"] == 17
    assert both["tokens_per_solved"] == alone["tokens_per_solved"]
    assert both["latency_median"] == pytest.approx(0.2)
