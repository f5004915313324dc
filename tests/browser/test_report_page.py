"""The report in Chromium: shows what comparison.json says, sends nothing, works for everyone."""

import csv
import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from opened import Opened, clean
from scenarios import SCENARIOS

from odd_signs import odd_signs
from toolgain.cli import cli
from toolgain.config.sections import ReportSection
from toolgain.report import render, sources, wording

Open = Callable[..., Opened]
Report = Callable[[str], Path]


def number(text: str) -> float | None:
    """A number as the page shows it; None for a dash."""
    text = text.replace("\N{MINUS SIGN}", "-").replace("+", "").replace(",", "").strip()
    return None if text in ("", "–") else float(text.removeprefix("< "))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_page_opens_without_network_and_without_errors(
    report: Report, open_page: Open, name: str
) -> None:
    opened = open_page(report(name)).ready()
    for section in ("answer", "where", "training", "items", "behaviour", "cost", "trust"):
        assert opened.page.locator(f"section#{section}").count() == 1
    if name != "hostile":
        for section in ("answer", "where", "training", "behaviour", "cost", "trust"):
            assert odd_signs(opened.text(f"section#{section}")) == []
    opened.page.mouse.wheel(0, 20000)
    assert opened.requests == []
    assert opened.errors == []
    assert report(name).stat().st_size < 5e6


@pytest.mark.parametrize("name", ["improved", "no_clear_change", "regressed", "subset_run"])
def test_the_answer_is_one_sentence_with_number_interval_and_p(
    report: Report, open_page: Open, name: str
) -> None:
    opened = open_page(report(name))
    comparison = opened.comparison
    line = comparison["headline"]
    sentence = opened.text("#sentence")
    assert sentence == wording.typeset(comparison["sentence"])
    shown = [number(text) for text in re.findall(r"[+\u2212]?\d+\.\d+", sentence)]
    expected = [line["baseline"], line["trained"], line["delta"], *line["ci95"], line["p"]]
    for value, wanted in zip(shown, expected, strict=True):
        assert value == pytest.approx(wanted, abs=0.051)
    word = {"improved": "Improved", "regressed": "Regressed"}.get(
        comparison["verdict"], "No clear change"
    )
    assert opened.text(".verdict-line") == word
    assert opened.page.locator("[data-chart=strip] svg").count() == 1


def test_the_table_shows_every_group_and_category(report: Report, open_page: Open) -> None:
    opened = open_page(report("improved"))
    run = opened.comparison["runs"]["grpo"]
    rows = opened.page.locator(".forest-table tbody tr")
    assert rows.count() == 1 + 3 + 17
    for name, entry in {**run["groups"], **run["categories"]}.items():
        cells = rows.locator(f"xpath=self::*[@data-name='{name}']").locator("td")
        delta, before, after, interval, p, n, gained, lost = cells.all_inner_texts()
        assert number(before) == pytest.approx(entry["baseline"], abs=0.051)
        assert number(after) == pytest.approx(entry["trained"], abs=0.051)
        assert number(delta) == pytest.approx(entry["delta"], abs=0.051)
        assert interval == wording.interval(entry["ci95"])
        unsure = entry.get("small") and entry["p_holm"] >= 0.001
        assert p == ("too small" if unsure else wording.p_value(entry["p"]))
        assert (int(n), int(gained), int(lost)) == (entry["n"], entry["gained"], entry["lost"])
    small = {
        row
        for row, entry in run["categories"].items()
        if entry["small"] and entry["p_holm"] >= 0.001
    }
    grey = opened.page.locator("tr.too-small").evaluate_all("rows => rows.map(r => r.dataset.name)")
    assert set(grey) == small <= {"live_parallel", "live_parallel_multiple", "live_relevance"}


def test_each_row_of_the_chart_stands_at_its_row_of_the_table(
    report: Report, open_page: Open
) -> None:
    opened = open_page(report("improved"))
    opened.page.wait_for_selector("[data-chart=forest] svg")
    middle = (
        "all => all.map(one => { const box = one.getBoundingClientRect(); "
        "return box.top + box.height / 2; })"
    )
    rows = opened.page.locator(".forest-table tbody tr").evaluate_all(middle)
    dots = opened.page.locator("[data-chart=forest] g[aria-label=dot] path").evaluate_all(middle)
    assert len(dots) == len(rows)
    assert sorted(dots) == pytest.approx(sorted(rows), abs=1.5)


def test_an_interval_beyond_the_scale_ends_in_an_arrow(report: Report, open_page: Open) -> None:
    opened = open_page(report("several_runs"))
    name = next(iter(opened.comparison["runs"]))
    run = opened.comparison["runs"][name]
    lines = [run["overall"], *run["groups"].values(), *run["categories"].values()]
    wide = [
        line["ci95"]
        for line in lines
        if not line.get("small") or line["ci95"][0] > 0 or line["ci95"][1] < 0
    ]
    low, high = min(0, *(a for a, _ in wide)), max(0, *(b for _, b in wide))
    # The scale ends at the same distance on both sides where it cuts an interval.
    far = max(-low, high) + max(0.5, (high - low) * 0.04)
    chart = opened.page.locator(f"[data-chart=forest][data-run={name}]")
    chart.locator("svg").wait_for()
    arrows = chart.locator("g[aria-label=text] text").all_text_contents()
    assert arrows.count("◂") == sum(line["ci95"][0] < -far for line in lines)
    assert arrows.count("▸") == sum(line["ci95"][1] > far for line in lines)
    assert arrows.count("◂") + arrows.count("▸") > 0


def test_the_noise_floor_is_a_band(report: Report, open_page: Open) -> None:
    opened = open_page(report("no_clear_change"))
    moved = opened.comparison["noise_floor"]["moved"]
    assert f"±{wording.percent(moved)}" in opened.text("#where .lead")
    assert opened.page.locator("[data-chart=forest] g[aria-label=rect] rect").count() == 1
    assert opened.page.locator("[data-chart=strip] g[aria-label=rect] rect").count() == 1


def test_not_comparable_names_every_reason_and_shows_no_number(
    report: Report, open_page: Open
) -> None:
    opened = open_page(report("not_comparable"))
    box = opened.page.locator(".answer-box[role=alert]")
    text = box.inner_text()
    assert "NOT COMPARABLE" in text
    assert not re.search(r"\d", opened.text("#sentence"))
    for reason in opened.comparison["reasons"]:
        assert reason["message"] in text
        assert reason["advice"] in text
    assert "no changes are shown" in opened.text("#where").lower()
    assert "may come from the measurement" in opened.text("#items")
    assert not opened.page.locator(".matrix-box").evaluate("box => box.open")
    red = opened.texts("#trust tr.bad th")
    assert red == ["tool parser"]


def test_several_runs_have_a_row_each_and_a_mean(report: Report, open_page: Open) -> None:
    opened = open_page(report("several_runs")).ready()
    comparison = opened.comparison
    for name, row in zip(
        comparison["runs"], opened.page.locator("#runs-table tbody tr").all(), strict=True
    ):
        cells = row.locator("th, td").all_inner_texts()
        overall = comparison["runs"][name]["overall"]
        assert cells[0] == name
        assert cells[1] == wording.verdict_title(comparison["runs"][name]["verdict"])
        assert cells[4] == wording.points(overall["delta"])
        assert cells[5] == wording.interval(overall["ci95"])
    mean = opened.page.locator("#runs-table tfoot").locator("th, td").all_inner_texts()
    assert mean[4] == wording.points(comparison["recipes"]["all runs"]["overall"]["delta"])
    assert "A single run of this design detects" in opened.text("#answer .notes")
    # Choosing a run shows its parts, and its items.
    counts = opened.page.locator("[data-count=changed]")
    first = counts.inner_text()
    opened.page.select_option("#run-picker", "seed2")
    assert opened.texts("#where .run-name:visible") == ["Run seed2"]
    flips = comparison["runs"]["seed2"]["flips"]
    assert counts.inner_text() == str(flips["gained"] + flips["lost"]) != first
    assert opened.page.locator("#training .of-run:visible [data-chart=reward] svg").count() == 1


def test_each_recipe_has_a_row_and_the_declared_one_is_the_answer(
    report: Report, open_page: Open
) -> None:
    opened = open_page(report("two_recipes")).ready()
    recipes = opened.comparison["recipes"]
    rows = opened.page.locator("#runs-table tfoot tr").all()
    # The answer's comes first.
    assert [row.locator("th").inner_text() for row in rows] == [
        "Mean of high rate",
        "Mean of low rate",
    ]
    for (name, recipe), row in zip(reversed(recipes.items()), rows, strict=True):
        cells = row.locator("th, td").all_inner_texts()
        assert cells[0] == f"Mean of {name}"
        assert cells[1] == wording.verdict_title(recipe["verdict"])
        assert cells[4] == wording.points(recipe["overall"]["delta"])
    assert opened.comparison["headline"] == recipes["high rate"]["overall"]
    assert "The answer above is the mean of high rate." in opened.text("#answer")
    answer = wording.typeset(opened.comparison["sentence"])
    assert answer in opened.text("#answer").replace("\N{NO-BREAK SPACE}", " ")


def test_of_many_runs_a_page_holds_the_items_of_the_first(
    report: Report, open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = report("several_runs").parent
    for module in (render, sources):
        monkeypatch.setattr(module, "RUNS_WITH_ITEMS", 2)
    render.write_report(
        results / "comparison.json", results, ReportSection(), tmp_path / "report.html"
    )
    opened = open_page(tmp_path / "report.html").ready()
    assert "Here are the items of 2 of 3 runs" in opened.text("#items")
    opened.page.select_option("#run-picker", "seed3")
    assert not opened.page.locator(".item").count()
    assert "results/evaluations/seed3/items.csv" in opened.text("#items-state")
    # What the comparison counted is there for every run.
    assert opened.page.locator("#behaviour .of-run:visible table").count()
    assert opened.page.locator(".of-run:visible .matrix").count() == 1
    opened.page.select_option("#run-picker", "seed2")
    assert opened.page.locator(".item").count()


def test_a_subset_is_stamped(report: Report, open_page: Open) -> None:
    opened = open_page(report("subset_run"))
    assert opened.text(".stamp") == "subset, not comparable with published scores"
    assert not open_page(report("improved")).page.locator(".stamp").count()


def test_training_shows_curves_resumes_choice_signs_and_checkpoints(
    report: Report, open_page: Open
) -> None:
    opened = open_page(report("improved"))
    best = json.loads((opened.folder / "runs/grpo/best.json").read_text())
    for chart in ("reward", "accuracy"):
        drawn = opened.page.locator(f"[data-chart={chart}]")
        drawn.locator("svg").wait_for()
        assert "resumed" in drawn.inner_text()
        assert "chosen" in drawn.inner_text()
    beside = opened.page.locator("#training table.beside tbody tr").all()
    overall = opened.comparison["runs"]["grpo"]["overall"]
    accuracy = [100 * best["initial_accuracy"], 100 * best["accuracy"]]
    for row, wanted in zip(
        beside[1:], (accuracy, [overall["baseline"], overall["trained"]]), strict=True
    ):
        before, after, delta = map(number, row.locator("td").all_inner_texts()[:3])
        assert (before, after) == pytest.approx(tuple(wanted), abs=0.051)
        assert delta == pytest.approx(wanted[1] - wanted[0], abs=0.051)
    assert opened.texts(".signs .state") == ["passed"] * 4
    rows = opened.page.locator("#training table", has_text="Candidate checkpoints")
    rows = rows.locator("tbody tr").all()
    for candidate, row in zip(best["candidates"], rows, strict=True):
        step, accuracy, error, choice = row.locator("th, td").all_inner_texts()
        assert int(step) == candidate["step"]
        assert number(accuracy) == pytest.approx(100 * candidate["accuracy"], abs=0.051)
        assert number(error) == pytest.approx(100 * candidate["standard_error"], abs=0.051)
        assert (choice == "chosen") == (candidate["step"] == best["step"])
    assert "within noise" in opened.text("#training .notes")


def test_behaviour_is_shown_for_all_items_and_by_group(report: Report, open_page: Open) -> None:
    page = open_page(report("improved")).page
    page.locator("#behaviour summary").click()
    shown = page.locator("#behaviour table:visible caption").all_inner_texts()
    assert shown == ["All items", "Non-live", "Live", "Multi-turn"]


def test_a_failed_sign_is_said_in_words(report: Report, open_page: Open) -> None:
    opened = open_page(report("regressed"))
    assert "failed" in opened.texts(".signs .state")


def test_missing_parts_are_named(report: Report, open_page: Open) -> None:
    assert "left no curve of reward" in open_page(report("no_curves")).text("#training")
    without = open_page(report("no_training"))
    assert "No training is recorded" in without.text("#training")
    assert "No training of grpo is recorded" in without.text(".gaps")
    same = open_page(report("zero_flips")).ready()
    assert "No item changed" in same.text("#items")
    assert same.text("#found").startswith("All ")


# -- items


def test_filters_agree_with_the_comparison(report: Report, open_page: Open) -> None:
    opened = open_page(report("improved")).ready()
    page, run = opened.page, opened.comparison["runs"]["grpo"]
    counts = {
        name: int(opened.text(f"[data-count={name}]"))
        for name in ("changed", "gained", "lost", "right", "wrong", "all")
    }
    assert (counts["gained"], counts["lost"]) == (run["flips"]["gained"], run["flips"]["lost"])
    assert counts["all"] == 4441
    page.select_option("select[name=category]", "java")
    assert int(opened.text("[data-count=gained]")) == run["categories"]["java"]["gained"]
    page.locator("label.chip.all").click()
    assert opened.text("#found") == "100 of 4441 items"
    page.fill("input[name=text]", "java_77")
    assert opened.text("#found") == "1 of 4441 items"
    page.fill("input[name=text]", "no such text anywhere")
    assert opened.text("#items-state") == "No item fits these filters."
    page.fill("input[name=text]", "")
    page.select_option("select[name=category]", "")
    page.select_option("select[name=error]", "type_error:simple")
    titles = opened.texts(".item .how")
    assert titles
    assert all("wrong type" in title for title in titles)


def test_all_items_can_be_reached_page_by_page(report: Report, open_page: Open) -> None:
    opened = open_page(report("improved"), "filter=all").ready()
    assert opened.text("#pages") == "Page 1 of 178"
    opened.page.click("#pager [data-go=last]")
    assert opened.page.locator(".item").count() == 4441 - 177 * 25
    assert "multi_turn_long_context_199" in opened.texts(".item .who")[-1]


def test_the_matrix_leads_to_its_items(report: Report, open_page: Open) -> None:
    opened = open_page(report("improved")).ready()
    cell = opened.page.locator(".matrix td.gain a").first
    expected = int(cell.inner_text())
    cell.click()
    assert opened.text("#found") == f"{expected} of 4441 items"
    assert opened.texts(".item .badge") == ["▲ gained"] * min(25, expected)
    opened.page.click("#path button")
    assert opened.text("#found") == "All 4441 items"
    total = sum(int(n) for n in opened.texts(".matrix td a"))
    assert total == 4441


def test_a_link_opens_its_item(report: Report, open_page: Open) -> None:
    path = report("improved")
    row = _rows(path)["simple", "simple_9", "0"]
    opened = open_page(path, "item=simple/simple_9/0").ready()
    item = opened.page.locator(".item.open")
    text = item.inner_text()
    assert "simple_9" in text
    assert "Calculate the area of a circle with a radius of 5 units." in text
    name = next(iter(json.loads(row["expected"])[0]))
    assert item.locator(".answers .call .name").first.inner_text() == name
    tools = item.locator("summary", has_text="Tools")
    tools.click()
    assert name in item.locator(".tool code").first.inner_text()
    # The second of two items with one id has a link of its own.
    double = open_page(path, "item=live_relevance/live_relevance_3-3-0/1").ready()
    assert "item 2 of this id" in double.text(".item.open")
    unknown = open_page(path, "item=simple/none/0").ready()
    assert "There is no item simple/none/0" in unknown.text("#found")


def test_what_differs_from_the_expected_call_is_marked(report: Report, open_page: Open) -> None:
    path = report("improved")
    wrong = {
        kind: next(
            (row for row in _rows(path).values() if row["error_type"] == kind), None
        )
        for kind in ("value_error:string", "simple_function_checker:wrong_func_name",
                     "simple_function_checker:missing_required")
    }  # fmt: skip
    for kind, row in wrong.items():
        assert row is not None
        fragment = f"item={row['category']}/{row['id']}/{row['occurrence']}"
        opened = open_page(path, fragment).ready()
        after = opened.page.locator(".item.open .answers > div").nth(2)
        assert after.locator("mark").count() >= 1, (kind, row["id"])
        assert kind in after.inner_text()
        if kind.endswith("missing_required"):
            assert "is missing" in after.locator("mark.missing").first.inner_text()


def test_a_conversation_is_shown_turn_by_turn(report: Report, open_page: Open) -> None:
    opened = open_page(report("improved"), "item=multi_turn_base/multi_turn_base_0/0").ready()
    item = opened.page.locator(".item.open")
    assert item.locator(".round").count() == 4
    assert "cd(folder='document')" in item.locator(".round").first.inner_text()


def test_in_a_conversation_the_arguments_that_differ_are_marked(
    report: Report, open_page: Open
) -> None:
    page = open_page(report("subset_run")).page
    marks = """([call, expected]) => {
      const box = document.createElement("div");
      box.append(...Calls.givenSteps([{calls: [{code: call}]}], expected));
      return [...box.querySelectorAll("mark")].map(mark => mark.textContent);
    }"""

    def marked(call: str, expected: list[str] | None) -> list[str]:
        found: list[str] = page.evaluate(marks, [call, expected])
        return [text for text in found if "expected calls" not in text]

    expected = ["cd(folder='a')", "mv(source='x, y',destination=['b', None])"]
    assert marked('mv(source="x, y", destination=["b", null])', expected) == []
    assert marked('mv(source="x, z", destination=["b", null])', expected) == ['source="x, z"']
    assert marked('mv(source="x, y")', expected) == ["destination is missing"]
    assert marked('cd(folder="a", deep=true)', expected) == ["deep=true"]
    assert marked("ls()", expected) == ["ls()"]
    # What the harness accepts carries no marks.
    assert marked("ls()", None) == []


def _rows(path: Path, subject: str = "grpo") -> dict[tuple[str, ...], dict[str, str]]:
    folder = path.parent / "evaluations" / subject
    with (folder / "items.csv").open(encoding="utf-8", newline="") as file:
        return {
            (row["category"], row["id"], row["occurrence"]): row for row in csv.DictReader(file)
        }


def test_downloads_are_whole(report: Report, open_page: Open, tmp_path: Path) -> None:
    opened = open_page(report("improved")).ready()
    for what, name in (("comparison", "comparison.json"), ("items", "items.csv"),
                       ("markdown", "report.md")):  # fmt: skip
        with opened.page.expect_download() as waiting:
            opened.page.click(f"[data-download={what}]")
        waiting.value.save_as(tmp_path / name)
    for name in ("comparison.json", "report.md"):
        assert (tmp_path / name).read_bytes() == (opened.folder / name).read_bytes()
    with (tmp_path / "items.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    recorded = _rows(report("improved"))
    assert len(rows) == 4441
    for row in rows[::400]:
        one = recorded[row["category"], row["id"], row["occurrence"]]
        assert row["grpo_valid"] == one["valid"]
        assert row["grpo_answer"].lstrip("'") == one["answer"]


# -- hostile content


def test_hostile_answers_stay_text(report: Report, open_page: Open) -> None:
    opened = open_page(report("hostile"), "filter=wrong").ready()
    page = opened.page
    heads = page.locator(".item-head")
    for index in range(heads.count()):
        heads.nth(index).click()
    seen = ""
    for place in range(heads.count()):
        heads.nth(place).click()
        seen += page.locator("#item-list").inner_text()
        heads.nth(place).click()
    assert "<script>window.pwned = 1</script>" in seen
    assert "{{ 7 * 7 }}" in seen
    assert "\\u{202E}evil" in seen
    assert "\\u{001B}[31m" in seen
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", seen)
    assert page.evaluate("window.pwned") is None
    assert page.locator("main img").count() == 0
    assert opened.errors == []
    assert opened.requests == []


def test_damaged_or_unreadable_items_are_said(report: Report, open_page: Open) -> None:
    path = report("subset_run")
    text = path.read_text(encoding="utf-8")
    damaged = path.with_name("damaged.html")
    damaged.write_text(text.replace('id="item-data">H4sI', 'id="item-data">H4sX'), encoding="utf-8")
    opened = open_page(damaged)
    opened.page.wait_for_function(
        "document.getElementById('items-state').textContent.includes('damaged')"
    )
    old = open_page(path, java_script_enabled=False)
    assert "The items need JavaScript" in old.page.locator("#items noscript").inner_text()
    comparison = json.loads((path.parent / "comparison.json").read_text(encoding="utf-8"))
    assert old.text("#sentence").replace("−", "-") == comparison["sentence"]


# -- for everyone


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280, 3840])
def test_fits_every_width_in_both_schemes(
    report: Report, open_page: Open, scheme: str, width: int
) -> None:
    opened = open_page(report("subset_run"), width=width, height=1200, color_scheme=scheme).ready()
    page = opened.page
    page.wait_for_selector("[data-chart=accuracy] svg")
    spare = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(spare) <= 0
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    light = [sum(map(float, re.findall(r"[\d.]+", colour)[:3])) for colour in (ink, paper)]
    assert (light[0] < light[1]) == (scheme == "light")
    assert float(page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")) >= 15
    # The chosen scheme takes the place of the system's.
    page.click("#theme-switch")
    page.click("#theme-switch" if scheme == "light" else "#main")
    other = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert other != paper


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("subset_run", "item=simple/{simple}/0"),
        ("not_comparable", ""),
        ("several_runs", "item=multi_turn_base/multi_turn_base_0/0"),
    ],
)
def test_no_serious_finding_of_axe(
    report: Report, open_page: Open, axe: str, name: str, fragment: str, scheme: str
) -> None:
    path = report(name)
    simple = next(key[1] for key in _rows(path, "baseline") if key[0] == "simple")
    opened = open_page(
        path, fragment.format(simple=simple), color_scheme=scheme, bypass_csp=True
    ).ready()
    opened.page.wait_for_selector("[data-chart] svg")
    # The shadow at the edge of a table that goes on is a gradient, behind which axe cannot measure.
    opened.page.add_style_tag(content=".scroll { background: none !important; }")
    for box in opened.page.locator("details").all():
        box.evaluate("box => { box.open = true; }")
    opened.page.evaluate(axe)
    found = opened.page.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => "
        "({id: v.id, impact: v.impact, nodes: v.nodes.slice(0, 3).map(n => n.html)})))"
    )
    bad = [finding for finding in found if finding["impact"] in ("serious", "critical")]
    assert bad == []


LONG_NAME = "a_benchmark_with_a_rather_long_name_of_its_own"


def test_other_benchmarks_stand_beside_the_answer(
    report: Report, open_page: Open, tmp_path: Path
) -> None:
    comparison = report("regressed").with_name("comparison.json")
    line = ["report", comparison, "--results", comparison.parent, "--out", tmp_path / "report.html"]
    for name, right in (("<i>gsm8k", (150, 120)), (LONG_NAME, (100, 101))):
        sides = [tmp_path / f"{name}-{side}.csv" for side in ("before", "after")]
        for side, number_right in zip(sides, right, strict=True):
            rows = [f"q{n},{int(n < number_right)}" for n in range(200)]
            side.write_text("\n".join(["id,correct", *rows]))
        line += ["--also-tables", *sides]
    done = CliRunner().invoke(cli, list(map(str, line)))
    assert done.exception is None, done.exception
    for width in (1280, 390, 360):
        opened = open_page(tmp_path / "report.html", width=width).ready()
        # A name may be long: the change stays in view beside it.
        right = "cell => cell.getBoundingClientRect().right"
        assert opened.page.locator("#also tbody td.delta").last.evaluate(right) <= width
        assert opened.page.locator("nav.contents a[href='#also']").count() == 1
        lead = opened.text("#also .lead")
        assert lead.startswith("Of 2 other benchmarks, <i>gsm8k fell clearly.")
        rows = opened.page.locator("#also tbody tr")
        assert [clean(text) for text in rows.locator("th").all_inner_texts()] == [
            "<i>gsm8k",
            LONG_NAME,
        ]
        delta, _, interval, before, after, *_ = rows.first.locator("td").all_inner_texts()
        low, high = (number(end) for end in re.findall(r"[+\u2212]?\d+\.\d+", interval))
        assert (number(before), number(after), number(delta)) == (75, 60, -15)
        assert low is not None and high is not None and low < -15 < high < 0
        # The interval is drawn left of the zero line, with the change on it.
        drawn = rows.first.locator("svg.whisker.down")
        x1, x2 = (float(drawn.locator(".bar").get_attribute(end)) for end in ("x1", "x2"))
        assert x1 < float(drawn.locator("circle").get_attribute("cx")) < x2 < 0
        assert rows.last.locator("svg.whisker:not(.down):not(.up)").count() == 1
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not opened.page.evaluate(wide)
        assert opened.requests == [] and opened.errors == []


def test_works_with_the_keyboard_alone(report: Report, open_page: Open) -> None:
    opened = open_page(report("subset_run")).ready()
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    term = page.locator("#where .term").first
    term.focus()
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert tip.inner_text() == page.locator(term.get_attribute("href")).inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    # The answer's own words, and the categories, explain themselves to the mouse as well.
    for explained in ("#sentence .term >> nth=0", "tr[data-name=irrelevance] th a"):
        page.hover(explained)
        assert tip.is_visible()
        key = page.locator(explained).get_attribute("aria-describedby")
        assert tip.inner_text() == page.locator(f"#{key}").inner_text()
        page.keyboard.press("Escape")
    head = page.locator(".item-head").first
    head.focus()
    page.keyboard.press("Enter")
    assert page.locator(".item.open").count() == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert page.evaluate("location.hash").startswith("#item=")


def test_every_term_has_its_explanation(report: Report, open_page: Open) -> None:
    page = open_page(report("improved")).page
    lost = page.evaluate(
        "[...document.querySelectorAll('.term, [aria-describedby]')].filter(t => !document"
        ".getElementById(t.getAttribute('aria-describedby'))?.textContent.trim())"
        ".map(t => t.textContent)"
    )
    assert lost == []
    for place in ("#sentence", "#where tbody th", "#trust table.equal tbody th"):
        assert page.locator(f"{place} [aria-describedby]").count() >= 4


def test_prints_every_run(report: Report, open_page: Open, tmp_path: Path) -> None:
    opened = open_page(report("several_runs")).ready()
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator("[data-chart=forest] svg").count() == 3
    folded = opened.page.locator("#behaviour details")
    assert folded.evaluate_all("all => all.map(box => box.open)") == [True] * 3
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.texts("#where .run-name:visible") == ["Run seed1"]
    assert folded.evaluate_all("all => all.map(box => box.open)") == [False] * 3
    opened.page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000


def test_the_same_folder_gives_the_same_bytes_in_another_process(
    report: Report, tmp_path: Path
) -> None:
    first = report("subset_run")
    command = [
        sys.executable, "-c", "from toolgain.cli import main; main()", "report",
        str(first.with_name("comparison.json")), "--results", str(first.parent),
        "--out", str(tmp_path / "report.html"),
    ]  # fmt: skip
    # Sets are ordered by hashes, which differ by process.
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    for name in ("report.html", "report.md"):
        assert (tmp_path / name).read_bytes() == first.with_name(name).read_bytes()


def test_embedded_items_are_those_of_the_folders(report: Report, open_page: Open) -> None:
    path = report("improved")
    page = open_page(path).page
    data = json.loads(page.evaluate("Page.unpacked('item-data')"))
    rows = _rows(path)
    with gzip.open(path.parent / "evaluations/baseline/questions.jsonl.gz", "rt") as file:
        questions: list[dict[str, Any]] = [json.loads(line) for line in file]
    assert len(data["items"]) == len(rows) == len(questions)
    by_key = {(data["categories"][item[0]], item[1], str(item[2])): item for item in data["items"]}
    for question in questions[::97]:
        key = (question["category"], question["id"], str(question["occurrence"]))
        assert by_key[key][3] == question["question"]
        assert [data["tools"][i] for i in by_key[key][4]] == question["tools"]
        assert by_key[key][6][1][4] == rows[key]["answer"]
