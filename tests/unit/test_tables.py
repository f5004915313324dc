"""Tables of any benchmark, before and after."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from toolgain.bfcl.categories import CATEGORIES
from toolgain.cli import cli
from toolgain.common.errors import NotValidError, UserError
from toolgain.comparison import tables
from toolgain.statistics import score
from toolgain.statistics.pairs import Design
from toolgain.statistics.weighted import mean_change


def table(
    path: Path, scores: list[float], extra: str = "", values: list[str] | None = None
) -> Path:
    more = values or [""] * len(scores)
    lines = [f"q{n},{one}{also}" for n, (one, also) in enumerate(zip(scores, more, strict=True))]
    path.write_text("\n".join([f"id,score{extra}", *lines]) + "\n")
    return path


def test_two_tables_are_compared_by_one_command(tmp_path: Path) -> None:
    before = table(tmp_path / "before.csv", [1, 0] * 100)
    after = table(tmp_path / "after.csv", [1, 1, 1, 0] * 50)
    out = tmp_path / "c.json"
    done = CliRunner().invoke(cli, ["compare", str(before), str(after), "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert found["verdict"] == "improved"
    shown = found["overall"]["baseline"], found["overall"]["trained"]
    assert shown == pytest.approx((50, 75))
    assert (found["overall"]["gained"], found["overall"]["lost"]) == (50, 0)
    said = CliRunner().invoke(cli, ["verdict", str(out)])
    assert "Improved: the mean score on 200 items went from 50.00" in said.output


def test_samples_of_lm_evaluation_harness(tmp_path: Path) -> None:
    for name, right in (("before", 30), ("after", 10)):
        rows = [{"doc_id": n, "exact_match": float(n < right), "arguments": {}} for n in range(60)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = [
        tables.read_table(tmp_path / f"{name}.jsonl", ["exact_match"])
        for name in ("before", "after")
    ]
    found = tables.compare_read_tables(read[0], read[1], ("before", "after"), 0.05)
    assert found.verdict == "regressed"
    with pytest.raises(UserError, match="name one with --metric: exact_match"):
        tables.read_table(tmp_path / "before.jsonl", ["acc"])


def test_samples_that_were_filtered_in_two_ways(tmp_path: Path) -> None:
    """As lm-evaluation-harness does with gsm8k: one row for each item and filter."""
    path = tmp_path / "samples_gsm8k.jsonl"
    rows = [
        {"doc_id": n, "filter": name, "exact_match": float(n < right)}
        for name, right in (("strict-match", 2), ("flexible-extract", 3))
        for n in range(4)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    read = tables.read_table(path, ["acc", "exact_match,flexible-extract"])
    assert [row.score for row in read.values()] == [1, 1, 1, 0]
    with pytest.raises(UserError, match="name one: --metric exact_match,strict-match"):
        tables.read_table(path)
    path.write_text("\n".join(json.dumps({"doc_id": n, "acc": 1.0}) for n in range(4)))
    with pytest.raises(UserError, match=r"name the metric alone: --metric acc$"):
        tables.read_table(path, ["acc,strict-match"])


def test_groups_are_corrected_together(tmp_path: Path) -> None:
    groups = [",a"] * 100 + [",b"] * 100
    before = table(tmp_path / "before.csv", [0] * 200, ",group", groups)
    after = table(tmp_path / "after.csv", [1] * 8 + [0] * 192, ",group", groups)
    found = tables.compare_read_tables(
        tables.read_table(before), tables.read_table(after), ("b", "a"), 0.05
    )
    assert set(found.groups) == {"a", "b"}
    assert found.groups["a"].p_holm == pytest.approx(min(1, 2 * found.groups["a"].p))
    assert found.groups["b"].ci95[0] < 0 < found.groups["b"].ci95[1], "no change is no certainty"


def test_items_of_one_cluster_count_less(tmp_path: Path) -> None:
    scores = [1] * 40 + [0] * 160
    widths = []
    for name, of in (("alone", lambda n: n), ("together", lambda n: n // 20)):
        clusters = [f",c{of(n)}" for n in range(200)]
        before = table(tmp_path / f"{name}-before.csv", [0] * 200, ",cluster", clusters)
        after = table(tmp_path / f"{name}-after.csv", scores, ",cluster", clusters)
        found = tables.compare_read_tables(
            tables.read_table(before), tables.read_table(after), ("b", "a"), 0.05
        )
        widths.append(found.overall.ci95[1] - found.overall.ci95[0])
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,score\nq1,2\n", r"line 2: correct or score is '2'; allowed: 0 to 1"),
        ("id,score\nq1,nan\n", "is 'nan'; allowed"),
        ("id,score\nq1,1\nq1,0\n", "line 3, holds the id 'q1' a second time"),
        ("id,score\n,1\n", "line 2, has no id"),
        ("id,value\nq1,1\n", "has the columns id, value; expected id, one of correct and score"),
        ("id,score,weight\nq1,1,-1\n", "weight is '-1'"),
        ("id,score\n", "holds no rows"),
        ("", "has the columns"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        tables.read_table(path)


def test_other_items_are_not_comparable(tmp_path: Path) -> None:
    one = tables.read_table(table(tmp_path / "a.csv", [1, 0]))
    other = tables.read_table(table(tmp_path / "b.csv", [1, 0, 1]))
    with pytest.raises(NotValidError, match="0 items only in a, 1 only in b, such as q2"):
        tables.compare_read_tables(one, other, ("a", "b"), 0.05)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    for suffix in tables.SUFFIXES:
        path = tmp_path_factory.getbasetemp() / f"any{suffix}"
        path.write_bytes(raw)
        try:
            tables.read_table(path, ["acc"])
        except UserError as error:
            assert "\n" not in str(error)


@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, 0.0, 1.0]), st.integers(0, 5)), min_size=2, max_size=80
    )
)
def test_with_equal_weights_it_is_the_interval_of_a_category(rows: list[tuple[float, int]]) -> None:
    change = np.array([value for value, _ in rows])
    _, cluster = np.unique([number for _, number in rows], return_inverse=True)
    # The other categories need an item each.
    rest = len(CATEGORIES) - 1
    design = Design(
        np.concatenate([np.zeros(len(rows), np.intp), np.arange(1, rest + 1)]),
        np.concatenate([cluster, cluster.max() + 1 + np.arange(rest)]).astype(np.intp),
        np.zeros(cluster.max() + 1 + rest, np.intp),
    )
    _, expected = score.category_intervals(design, np.concatenate([change, np.zeros(rest)]), 0.05)
    found = mean_change(change, cluster.astype(np.intp), np.ones(len(rows)), 0.05)
    assert found.p == pytest.approx(expected.p[0], abs=1e-9)
    assert (found.low, found.high) == pytest.approx((expected.low[0], expected.high[0]), abs=1e-7)
    assert -1 <= found.low <= found.change <= found.high <= 1
