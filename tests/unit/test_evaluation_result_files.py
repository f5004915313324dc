"""Result files between two runs of the harness: only what failed is taken out."""

from pathlib import Path

import pytest
from harness_folders import Row, answered, failed, item, write
from hypothesis import given, settings
from hypothesis import strategies as st

from toolgain.bfcl.results import read_rows, result_file
from toolgain.evaluation.result_files import fill_gaps, heal

ITEMS = [item("simple", n) for n in range(4)]
TWINS = [
    item("live_relevance", 0),
    item("live_relevance", 3, id="live_relevance_3-3-0"),
    item("live_relevance", 4, occurrence=1, id="live_relevance_3-3-0"),
]


def ids(folder: Path, category: str = "simple") -> list[str]:
    return [row["id"] for row in read_rows(result_file(folder, category))]


def test_failed_rows_are_taken_out_and_the_others_stay(tmp_path: Path) -> None:
    rows = [answered(ITEMS[0], "a"), failed(ITEMS[1]), answered(ITEMS[2], "c")]
    folder = write(tmp_path, "simple", rows)
    state = heal(folder, {"simple": ITEMS}, take_out_failed=True)
    assert ids(folder) == ["simple_0", "simple_2"]
    assert [i.id for i in state.missing] == ["simple_1", "simple_3"]
    assert [i.id for i in state.failed] == ["simple_1"]
    assert state.done == 2


def test_last_round_keeps_failed_rows(tmp_path: Path) -> None:
    folder = write(tmp_path, "simple", [answered(ITEMS[0], "a"), failed(ITEMS[1])])
    state = heal(folder, {"simple": ITEMS[:2]}, take_out_failed=False)
    assert ids(folder) == ["simple_0", "simple_1"]
    assert state.missing == []


def test_prompt_that_is_too_long_is_not_asked_again(tmp_path: Path) -> None:
    row = failed(ITEMS[0], "400 Client Error: context_overflow for url: http://h/")
    folder = write(tmp_path, "simple", [row])
    assert heal(folder, {"simple": ITEMS[:1]}, take_out_failed=True).missing == []


def test_line_that_a_kill_cut_is_dropped(tmp_path: Path) -> None:
    folder = write(tmp_path, "simple", [answered(i, "x") for i in ITEMS])
    file = result_file(folder, "simple")
    file.write_text(file.read_text()[:-15])
    state = heal(folder, {"simple": ITEMS}, take_out_failed=True)
    assert state.cut_lines == 1
    assert [i.id for i in state.missing] == ["simple_3"]
    assert file.read_text().endswith("\n")


def test_last_line_without_its_end_gets_one(tmp_path: Path) -> None:
    """The harness appends; without the line's end two rows would be glued together."""
    folder = write(tmp_path, "simple", [answered(i, "x") for i in ITEMS])
    file = result_file(folder, "simple")
    file.write_text(file.read_text().rstrip("\n"))
    assert heal(folder, {"simple": ITEMS}, take_out_failed=True).missing == []
    assert file.read_text().endswith("\n")


def test_foreign_and_doubled_rows_go(tmp_path: Path) -> None:
    rows = [answered(ITEMS[0], "a"), answered(ITEMS[0], "b"), answered(item("simple", 77), "x")]
    folder = write(tmp_path, "simple", rows)
    state = heal(folder, {"simple": ITEMS[:1]}, take_out_failed=True)
    assert [row["result"] for row in state.rows["simple"]] == ["a"]
    assert ids(folder) == ["simple_0"]


def test_twins_are_asked_together(tmp_path: Path) -> None:
    """The harness asks neither of two items with one id when it finds a row of either."""
    rows = [answered(TWINS[0], "a"), answered(TWINS[1], "b")]
    folder = write(tmp_path, "live_relevance", rows)
    state = heal(folder, {"live_relevance": TWINS}, take_out_failed=True)
    assert [i.occurrence for i in state.missing] == [0, 1]
    assert ids(folder, "live_relevance") == ["live_relevance_0"]


def test_both_twins_stay_when_both_are_there(tmp_path: Path) -> None:
    folder = write(tmp_path, "live_relevance", [answered(i, str(i.index)) for i in TWINS])
    state = heal(folder, {"live_relevance": TWINS}, take_out_failed=True)
    assert state.missing == []
    assert [row["result"] for row in state.rows["live_relevance"]] == ["0", "3", "4"]


def test_nothing_asked_yet(tmp_path: Path) -> None:
    state = heal(tmp_path, {"simple": ITEMS}, take_out_failed=True)
    assert len(state.missing) == 4
    assert list(tmp_path.iterdir()) == []


def test_gap_becomes_a_failure_that_a_later_run_retries(tmp_path: Path) -> None:
    folder = write(tmp_path, "simple", [answered(ITEMS[0], "a")])
    state = heal(folder, {"simple": ITEMS[:2]}, take_out_failed=False)
    fill_gaps(folder, state, "the harness made no progress")
    assert ids(folder) == ["simple_0", "simple_1"]
    again = heal(folder, {"simple": ITEMS[:2]}, take_out_failed=True)
    assert [i.id for i in again.failed] == ["simple_1"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["ok", "failed", "overflow", "absent"]), min_size=4, max_size=4),
    st.integers(0, 40),
)
def test_healing_loses_no_answer_and_is_done_once(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], cut: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("heal")
    rows = []
    for one, kind in zip(ITEMS, kinds, strict=True):
        made: dict[str, Row] = {
            "ok": answered(one, "x"),
            "failed": failed(one),
            "overflow": failed(one, "400 Client Error: context_overflow for url: u"),
        }
        if kind in made:
            rows.append(made[kind])
    folder = write(tmp_path, "simple", rows)
    file = result_file(folder, "simple")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - cut])
    state = heal(folder, {"simple": ITEMS}, take_out_failed=True)
    after = file.read_bytes()
    answers = [one.id for one, kind in zip(ITEMS, kinds, strict=True) if kind in ("ok", "overflow")]
    kept = [row["id"] for row in state.rows["simple"]]
    # A cut of a few bytes costs the last row at most.
    assert kept in (answers, answers[:-1])
    assert len(kept) + len(state.missing) == 4
    again = heal(folder, {"simple": ITEMS}, take_out_failed=True)
    assert file.read_bytes() == after
    assert [i.id for i in again.missing] == [i.id for i in state.missing]
