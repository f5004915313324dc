"""Folders that have no official Overall of v3, compared group by group."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from harness_folders import all_items, answered, write, wrong
from hypothesis import given
from hypothesis import strategies as st
from test_bfcl_folders import CALL, v4_folder

from toolgain.bfcl import v4
from toolgain.bfcl.categories import in_group
from toolgain.cli import cli

SINGLE_TURN = (*in_group("non_live"), *in_group("live"))


def single_turn(root: Path, wrong_share: int, categories: tuple[str, ...] = SINGLE_TURN) -> Path:
    """Every item of some categories; every `wrong_share`-th is wrong."""
    for category in categories:
        items = all_items()[category]
        # The one id that two items share stays right.
        bad = [one for one in items[::wrong_share] if one.occurrence == 0 and "79-0" not in one.id]
        rows = [
            wrong(one, **({} if one.answer is None else {"possible_answer": one.expected}))
            for one in bad
        ]
        write(root, category, [answered(one, CALL) for one in items], rows)
    return root


def compared(out: Path, *arguments: object) -> tuple[int, str, dict[str, object]]:
    line = ["compare", *map(str, arguments), "--out", str(out)]
    done = CliRunner().invoke(cli, line)
    said = done.output if done.exception is None else str(done.exception)
    return done.exit_code, said, json.loads(out.read_text()) if out.exists() else {}


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("single_turn")
    return single_turn(root / "before", 3), single_turn(root / "after", 6)


def test_single_turn_alone_has_groups_and_no_overall(
    sides: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "c.json"
    _, _, found = compared(out, *sides)
    assert found["verdict"] is None and found["overall"] is None
    assert set(found["groups"]) == {"non_live", "live"}  # type: ignore[call-overload]
    assert "missing: multi_turn_base" in str(found["no_overall"])
    done = CliRunner().invoke(cli, ["verdict", str(out)])
    assert "judges none; compare with --primary GROUP" in str(done.exception)


def test_a_verdict_is_asked_of_a_group(sides: tuple[Path, Path], tmp_path: Path) -> None:
    _, _, found = compared(tmp_path / "c.json", *sides, "--primary", "non_live")
    assert found["verdict"] == "improved"
    said = CliRunner().invoke(cli, ["verdict", str(tmp_path / "c.json")])
    assert said.exit_code == 0
    assert said.output.startswith("Improved: non_live went from")
    _, said_of_other, _ = compared(tmp_path / "d.json", *sides, "--primary", "multi_turn")
    assert "groups that both hold in full: non_live, live" in said_of_other


def test_a_category_that_one_side_lacks_is_named(sides: tuple[Path, Path], tmp_path: Path) -> None:
    other = single_turn(tmp_path / "other", 4, in_group("non_live")[1:])
    _, _, found = compared(tmp_path / "c.json", sides[0], other)
    assert found["groups"] == {}
    assert "simple" not in found["categories"]  # type: ignore[operator]
    (warning,) = found["warnings"]  # type: ignore[misc]
    assert "simple, live_simple" in str(warning) and "only here; left out" in str(warning)


def v4_pair(tmp_path: Path, categories: tuple[str, ...]) -> tuple[Path, Path]:
    sizes = dict.fromkeys(categories, 60)
    return (
        v4_folder(tmp_path / "v4-before", {name: (20, n) for name, n in sizes.items()}),
        v4_folder(tmp_path / "v4-after", {name: (50, n) for name, n in sizes.items()}),
    )


def test_v4_has_groups_of_its_own(tmp_path: Path) -> None:
    without = tuple(name for name in v4.CATEGORIES if name not in v4.AGENTIC)
    before, after = v4_pair(tmp_path, without)
    _, _, found = compared(tmp_path / "c.json", before, after, "--primary", "multi_turn")
    assert found["verdict"] == "improved"
    assert found["no_overall"] == "The Overall of BFCL v4 needs web_search, memory."
    line = found["groups"]["hallucination"]  # type: ignore[index]
    assert line["baseline"] == pytest.approx(100 / 3)
    assert line["trained"] == pytest.approx(250 / 3)


def test_the_overall_of_v4_is_judged_where_all_of_it_is_there(tmp_path: Path) -> None:
    before, after = v4_pair(tmp_path, v4.CATEGORIES)
    _, _, found = compared(tmp_path / "c.json", before, after)
    assert (found["primary"], found["verdict"]) == ("overall", "improved")
    assert found["overall"]["delta"] == pytest.approx(50)  # type: ignore[index]


def test_v3_against_v4_is_refused_with_the_reason(sides: tuple[Path, Path], tmp_path: Path) -> None:
    before, _ = v4_pair(tmp_path, v4.CATEGORIES)
    _, said, _ = compared(tmp_path / "c.json", before, sides[0])
    assert "of v4: their data, categories and Overall are others" in said


def test_two_revisions_of_v4_are_not_comparable(tmp_path: Path) -> None:
    """What the score files repeat of an item that both got wrong tells that the data differ."""
    before, after = v4_pair(tmp_path, v4.MULTI_TURN)
    for side, question in ((before, "one"), (after, "another")):
        file = next(side.rglob("BFCL_v4_multi_turn_base_score.json"))
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        lines[-1]["prompt"] = {"question": [[{"role": "user", "content": question}]]}
        file.write_text("\n".join(map(json.dumps, lines)))
    _, said, _ = compared(tmp_path / "c.json", before, after)
    assert "1 items that both got wrong have another question" in said


@given(st.dictionaries(st.sampled_from(v4.CATEGORIES), st.integers(1, 2000), min_size=1))
def test_the_weights_of_v4_sum_to_one(sizes: dict[str, int]) -> None:
    for name, weights in v4.group_weights(sizes).items():
        if name != "live" or set(v4.LIVE) & set(sizes):
            assert sum(weights.values()) == pytest.approx(1)


def test_a_link_is_called_by_its_own_name(sides: tuple[Path, Path], tmp_path: Path) -> None:
    for name, side in zip(("base", "tuned"), sides, strict=True):
        (tmp_path / name).symlink_to(side)
    line = (tmp_path / "base", tmp_path / "tuned", "--primary", "non_live")
    _, _, found = compared(tmp_path / "c.json", *line)
    assert (found["baseline"], found["trained"]) == ("base", "tuned")
