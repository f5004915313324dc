"""Other benchmarks beside the answer, and pages of comparisons without BFCL's sections."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from toolgain.cli import cli
from toolgain.common.errors import UserError
from toolgain.comparison import tables
from toolgain.report.also import also_measured, also_sentence

ALPHA = 0.05


def pair(folder: Path, name: str, before: int, after: int, groups: int = 0) -> list[Path]:
    """Two tables of 200 items, of which some are right before and after."""
    for side, right in (("before", before), ("after", after)):
        rows = [f"q{n},{int(n < right)},{n % groups if groups else ''}" for n in range(200)]
        (folder / f"{name}-{side}.csv").write_text("\n".join(["id,correct,group", *rows]))
    return [folder / f"{name}-{side}.csv" for side in ("before", "after")]


def compared(folder: Path, name: str, before: int, after: int, groups: int = 0) -> Path:
    """The comparison of such a pair."""
    sides = pair(folder, name, before, after, groups)
    tables.write(tables.compare_tables(sides[0], sides[1], (), ALPHA), folder / f"{name}.json")
    return folder / f"{name}.json"


def test_several_benchmarks_are_corrected_together(tmp_path: Path) -> None:
    files = [compared(tmp_path, "gsm8k", 150, 130), compared(tmp_path, "ifeval", 100, 100)]
    lines = also_measured(files, {}, ALPHA)
    assert [line.name for line in lines] == ["gsm8k", "ifeval"]
    assert lines[0].p == pytest.approx(2 * lines[0].change.p)
    assert [line.clear for line in lines] == ["down", ""]
    assert also_sentence(lines) == "Of 2 other benchmarks, gsm8k fell clearly."


def test_one_barely_clear_alone_is_not_clear_among_many(tmp_path: Path) -> None:
    barely = compared(tmp_path, "barely", 100, 106)
    (alone,) = also_measured([barely], {}, ALPHA)
    others = [compared(tmp_path, f"same-{n}", 100, 100) for n in range(4)]
    assert alone.change.p < 0.05 and alone.clear == "up"
    assert also_measured([barely, *others], {}, ALPHA)[0].clear == ""


def test_a_page_of_a_table_has_no_sections_of_bfcl(tmp_path: Path) -> None:
    main = compared(tmp_path, "gsm8k", 150, 130, groups=3)
    also = compared(tmp_path, "<b>mmlu", 100, 120)
    out = tmp_path / "gsm8k.html"
    line = ["report", str(main), "--also", str(also), "--out", str(out)]
    done = CliRunner().invoke(cli, line)
    assert done.exception is None, done.exception
    html, text = out.read_text(), out.with_suffix(".md").read_text()
    assert "Regressed: the mean score on 200 items" in html
    assert "Multi-turn" not in html and 'id="training"' not in html
    assert "<b>mmlu" not in html and "&lt;b&gt;mmlu" in html
    assert html.count("<svg") == 5
    assert html.count(">95 % interval<") == 2
    assert "### Also measured" in text


def test_what_is_no_comparison_of_tables_is_named(tmp_path: Path) -> None:
    other = tmp_path / "comparison.json"
    other.write_text(json.dumps({"schema": 1, "runs": {}}))
    with pytest.raises(UserError, match="is not a comparison of two tables"):
        also_measured([other], {}, ALPHA)


def test_pairs_of_tables_are_compared_for_the_report(tmp_path: Path) -> None:
    main = compared(tmp_path, "gsm8k", 150, 130)
    mmlu, ifeval = pair(tmp_path, "mmlu", 100, 140), pair(tmp_path, "ifeval", 100, 100)
    out = tmp_path / "gsm8k.html"
    line = ["report", main, "--also-tables", *mmlu, "--also-tables", *ifeval, "--out", out]
    done = CliRunner().invoke(cli, list(map(str, line)))
    assert done.exception is None, done.exception
    assert "Of 2 other benchmarks, mmlu rose clearly." in out.read_text()


def test_the_error_level_is_that_of_the_comparison_beside(tmp_path: Path) -> None:
    barely = compared(tmp_path, "barely", 100, 106)
    with pytest.raises(UserError, match=r"error level of 0.05, the comparison .* with 0.01"):
        also_measured([barely], {}, 0.01)
    sides = pair(tmp_path, "pair", 100, 106)
    measured = tables.compare_pairs([(sides[0], sides[1])], (), 0.01)
    (line,) = also_measured([], measured, 0.01)
    assert line.alpha == 0.01 and line.clear == ""
    assert "(99 % interval" in measured["pair"].sentence


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("gsm8k-before.csv", "gsm8k-after.csv", "gsm8k"),
        ("before_mmlu.csv", "after_mmlu.csv", "mmlu"),
        ("base/ifeval.csv", "tuned/ifeval.csv", "ifeval"),
        ("base.csv", "best.csv", "base and best"),
        (
            "samples_gsm8k_2025-01-02T03-04-05.678.jsonl",
            "samples_gsm8k_2025-02-03T04-05-06.789.jsonl",
            "gsm8k",
        ),
    ],
)
def test_a_benchmark_is_called_what_its_files_have_in_common(
    before: str, after: str, name: str
) -> None:
    assert tables.benchmark_name(Path(before), Path(after)) == name
