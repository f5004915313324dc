"""`toolgain compare` and `toolgain verdict` on evaluation folders."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_folders import outcome, rows, write

from toolgain.bfcl import data
from toolgain.bfcl.categories import CATEGORIES, POPULATION, group_of
from toolgain.common.errors import NotValidError, UserError
from toolgain.comparison import compare as comparing
from toolgain.comparison import record
from toolgain.config.sections import ComparisonSection, ReportSection
from toolgain.report import markdown, render, wording

BFCL_ENV = Path(__file__).parents[2] / ".venvs" / "bfcl"
SUBSET = {category: 3 if group_of(category) == "multi_turn" else 10 for category in CATEGORIES}

Json = dict[str, Any]
Compare = Callable[..., Json]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Compare folders and return what comparison.json holds, also when it is refused."""

    def run(baseline: Path, *trained: Path, **config: Any) -> Json:
        out = tmp_path / "comparison.json"
        try:
            comparing.compare_folders(
                baseline, trained, ComparisonSection(draws=1000, **config), out, BFCL_ENV
            )
        except NotValidError:
            assert json.loads(out.read_text())["verdict"] == "not_comparable"
        result: Json = json.loads(out.read_text())
        return result

    return run


def every(step: int) -> Callable[[str, int], bool]:
    """Every `step`-th item right."""
    return lambda category, index: index % step == 0


def random_rows(share: float, seed: int, repeats: int = 1, **sizes: Any) -> Any:
    generator = np.random.default_rng(seed)
    return rows(lambda category, index: bool(generator.random() < share), repeats=repeats, **sizes)


def test_a_clear_gain_is_an_improvement(tmp_path: Path, compare: Compare) -> None:
    baseline = write(tmp_path / "baseline", rows(every(3)))
    trained = write(tmp_path / "grpo", rows(lambda c, i: i % 3 == 0 or i % 10 == 1))
    result = compare(baseline, trained)
    assert result["verdict"] == "improved"
    run = result["runs"]["grpo"]
    low, high = run["overall"]["ci95"]
    assert 0 < low < run["overall"]["delta"] < high
    assert run["overall"]["trained"] - run["overall"]["baseline"] == pytest.approx(
        run["overall"]["delta"]
    )
    assert run["flips"] == {
        "gained": sum(i % 3 > 0 and i % 10 == 1 for n in POPULATION.values() for i in range(n)),
        "lost": 0,
    }
    assert run["groups"]["live"]["word"] == "improved"
    assert run["noninferiority"]["held"] == "yes"
    assert run["error_migration"]["ast_checker:wrong_value"]["correct"] == run["flips"]["gained"]
    assert result["subset"] is None
    assert result["headline"] == run["overall"]


def test_small_categories_get_no_word(tmp_path: Path, compare: Compare) -> None:
    baseline = write(tmp_path / "baseline", rows(lambda c, i: False))
    trained = write(tmp_path / "grpo", rows(lambda c, i: True))
    categories = compare(baseline, trained)["runs"]["grpo"]["categories"]
    small = {name for name, line in categories.items() if line["small"]}
    assert small == {"live_parallel", "live_parallel_multiple", "live_relevance"}
    for name, line in categories.items():
        assert line["word"] == (None if name in small else "improved")
    low, high = categories["live_parallel"]["ci95"]
    assert low < 80 < high == 100


def test_pooled_items_and_the_official_overall_can_disagree(
    tmp_path: Path, compare: Compare
) -> None:
    """McNemar on pooled items finds a loss; the official Overall rose, and surely.

    Live loses 113 items, one of each document: 5 points of live, 1.67 of the Overall.
    Multi-turn gains 20 of 200 in each category: 10 points, 3.33 of the Overall.
    """

    def before(category: str, index: int) -> bool:
        return group_of(category) != "multi_turn" and index % 5 > 0

    lost = {"live_simple": 13, "live_multiple": 56, "live_irrelevance": 44}
    gained = {c: range(k * 20, k * 20 + 20) for k, c in enumerate(CATEGORIES[-4:])}

    def after(category: str, index: int) -> bool:
        if index in gained.get(category, ()):
            return True
        if index % 15 == 1 and index < 15 * lost.get(category, 0):
            return False
        return before(category, index)

    result = compare(
        write(tmp_path / "baseline", rows(before)), write(tmp_path / "grpo", rows(after))
    )
    naive = result["runs"]["grpo"]["pooled_items"]
    assert naive["mcnemar"]["gained"] == 80
    assert naive["mcnemar"]["lost"] == 113
    assert naive["delta"] == pytest.approx(-100 * 33 / 4441)
    assert naive["mcnemar"]["p"] < 0.05
    assert naive["sign_differs"]
    assert result["headline"]["delta"] == pytest.approx((10 - 100 * 113 / 2251) / 3)
    assert result["verdict"] == "improved"
    assert any("only the latter is the measure" in warning for warning in result["warnings"])


def test_order_of_rows_does_not_matter(tmp_path: Path, compare: Compare) -> None:
    items = random_rows(0.5, 1, sizes=SUBSET)
    baseline = write(tmp_path / "baseline", items)
    trained = random_rows(0.6, 2, sizes=SUBSET)
    straight = compare(baseline, write(tmp_path / "grpo", trained))
    backwards = compare(baseline, write(tmp_path / "other", trained[::-1]))
    assert straight["headline"] == backwards["headline"]


def test_the_doubled_id_is_two_items(tmp_path: Path, compare: Compare) -> None:
    sizes = {**SUBSET, "live_relevance": 17}
    twin = [outcome("live_relevance", 3, right, occurrence=1) for right in (False, True)]
    baseline = write(tmp_path / "baseline", [*rows(every(2), sizes), twin[0]])
    trained = write(tmp_path / "grpo", [*rows(every(2), sizes), twin[1]])
    result = compare(baseline, trained)
    assert result["runs"]["grpo"]["flips"] == {"gained": 1, "lost": 0}
    assert result["runs"]["grpo"]["categories"]["live_relevance"]["n"] == 18


def test_a_subset_says_so_and_uses_the_small_sample_interval(
    tmp_path: Path, compare: Compare
) -> None:
    baseline = write(tmp_path / "baseline", random_rows(0.3, 1, sizes=SUBSET))
    trained = write(tmp_path / "grpo", random_rows(0.4, 2, sizes=SUBSET))
    result = compare(baseline, trained)
    assert result["subset"]
    assert "not comparable with published scores" in result["warnings"][0]
    assert result["method"]["interval"] == "score interval with a prior per stratum"
    assert "on a subset of 142 items" in result["sentence"]


def test_the_same_weights_twice_is_said(tmp_path: Path, compare: Compare) -> None:
    baseline = write(tmp_path / "baseline", rows(every(2)), digest="same")
    again = write(tmp_path / "grpo", rows(every(2)), digest="same")
    result = compare(baseline, again)
    assert result["aa"]
    assert result["verdict"] == "no_clear_change"
    assert "A/A comparison" in result["sentence"]
    assert compare(baseline, baseline)["aa"]


@pytest.mark.parametrize(
    ("what", "baseline", "trained"),
    [
        ("chat_template", {}, {"comparable": {"chat_template": "another"}}),
        ("sampling", {"comparable": {"sampling": {"temperature": 0.6}}}, {}),
        ("canary", {}, {"summary": {"valid": False, "reasons": ["canary: calls come as text"]}}),
        ("validity", {"summary": {"valid": False, "reasons": ["40 of 4441 got no answer"]}}, {}),
    ],
)
def test_what_may_not_differ_is_refused_with_both_values(
    tmp_path: Path, compare: Compare, what: str, baseline: Json, trained: Json
) -> None:
    result = compare(
        write(tmp_path / "baseline", rows(every(3)), **baseline),
        write(tmp_path / "grpo", rows(every(2)), **trained),
    )
    assert result["verdict"] == "not_comparable"
    assert result["headline"] is None
    assert "overall" not in result["runs"]["grpo"]
    (reason,) = result["reasons"]
    assert reason["what"] == what
    assert reason["baseline"] != reason["trained"]
    assert reason["message"] and reason["advice"]


def test_other_items_are_refused(tmp_path: Path, compare: Compare) -> None:
    baseline = write(tmp_path / "baseline", rows(every(2), SUBSET))
    trained = write(tmp_path / "grpo", rows(every(2), {**SUBSET, "java": 11}))
    (reason,) = compare(baseline, trained)["reasons"]
    assert (reason["what"], reason["baseline"], reason["trained"]) == ("items", 142, 143)
    assert "java_10" in reason["message"]


def test_too_many_errors_are_refused_and_few_are_a_warning(
    tmp_path: Path, compare: Compare
) -> None:
    def failing(count: int) -> Any:
        failed = [outcome("simple", i, False, flags=("inference_error",)) for i in range(count)]
        return failed + [item for item in rows(every(2)) if item.key not in {f.key for f in failed}]

    baseline = write(tmp_path / "baseline", rows(every(2)))
    few = compare(baseline, write(tmp_path / "few", failing(22)))
    assert few["verdict"] != "not_comparable"
    assert any("0.50 % of the questions got no answer" in warning for warning in few["warnings"])
    many = compare(baseline, write(tmp_path / "many", failing(23)))
    assert [reason["what"] for reason in many["reasons"]] == ["errors"]
    allowed = compare(baseline, tmp_path / "many", max_error_share=0.01)
    assert allowed["verdict"] != "not_comparable"
    # The limit itself is allowed.
    at_the_limit = compare(baseline, tmp_path / "many", max_error_share=23 / 4441)
    assert at_the_limit["verdict"] != "not_comparable"
    below = compare(baseline, tmp_path / "many", max_error_share=22.9 / 4441)
    assert [reason["what"] for reason in below["reasons"]] == ["errors"]


def test_an_evaluation_that_never_got_an_answer_is_refused_not_scored(
    tmp_path: Path, compare: Compare
) -> None:
    baseline = write(tmp_path / "baseline", rows(every(2)))
    dead = write(
        tmp_path / "grpo", [], summary={"valid": False, "reasons": ["canary: no answer (503)"]}
    )
    result = compare(baseline, dead)
    assert [reason["what"] for reason in result["reasons"]] == ["canary"]
    assert result["subset"] is None
    assert compare(tmp_path / "grpo", baseline)["verdict"] == "not_comparable"


def test_unparsed_calls_lower_the_strict_overall_only(tmp_path: Path, compare: Compare) -> None:
    baseline = write(tmp_path / "baseline", rows(every(2)))
    text = {"strict_valid": False, "flags": ("unparsed_call",)}
    credited = [outcome("irrelevance", i, True, **text) for i in range(24)]
    others = [
        item
        for item in rows(every(2))
        if (item.category, item.index) not in {("irrelevance", i) for i in range(24)}
    ]
    run = compare(baseline, write(tmp_path / "grpo", others + credited))["runs"]["grpo"]
    # 12 of 240 gained officially; strictly, 12 lost.
    assert run["overall"]["delta"] == pytest.approx(5 / 15)
    assert run["strict_overall"]["delta"] == pytest.approx(-5 / 15)


def test_strict_verdict_that_differs_is_said(tmp_path: Path, compare: Compare) -> None:
    """The training taught calls that nobody can read: officially that is an improvement."""
    baseline = write(tmp_path / "baseline", rows(every(2)))
    text = {"strict_valid": False, "flags": ("unparsed_call",)}
    others = [item for item in rows(every(2)) if item.category != "irrelevance"]
    credited = [outcome("irrelevance", i, True, **text) for i in range(240)]
    result = compare(baseline, write(tmp_path / "grpo", others + credited))
    assert result["verdict"] == "improved"
    (said,) = [one for one in result["warnings"] if "strict" in one]
    assert "-3.33 points (regressed)" in said and "+3.33 (improved)" in said
    same = compare(baseline, baseline)
    assert not any("strict" in one for one in same["warnings"])


def test_repeats_give_a_noise_floor(tmp_path: Path, compare: Compare) -> None:
    baseline = write(tmp_path / "baseline", random_rows(0.5, 1, repeats=2, sizes=SUBSET))
    trained = write(tmp_path / "grpo", random_rows(0.5, 2, repeats=2, sizes=SUBSET))
    result = compare(baseline, trained)
    noise = result["noise_floor"]
    assert result["n"] == 142
    assert len(noise["overalls"]["baseline"]) == 2
    assert noise["times"] == pytest.approx(abs(result["headline"]["delta"]) / noise["moved"])
    assert "the same weights moved by" in noise["sentence"]


def test_several_runs_share_the_baseline_and_a_pooled_line(
    tmp_path: Path, compare: Compare
) -> None:
    baseline = write(tmp_path / "baseline", rows(every(4)))
    runs = [
        write(tmp_path / f"seed{n}", rows(lambda c, i, n=n: i % 4 == 0 or i % 20 == n))
        for n in (1, 2, 3)
    ]
    result = compare(baseline, *runs)
    pooled = result["recipes"]["all runs"]
    assert pooled["runs"] == 3
    assert result["headline"] == pooled["overall"]
    deltas = [result["runs"][f"seed{n}"]["overall"]["delta"] for n in (1, 2, 3)]
    assert pooled["overall"]["delta"] == pytest.approx(np.mean(deltas))
    wide, narrow = pooled["overall"]["ci95"], pooled["ci95_these_runs"]
    assert wide[0] <= narrow[0] + 1e-9 < narrow[1] <= wide[1] + 1e-9
    named = compare(baseline, *runs, primary="seed2")
    assert named["headline"] == named["runs"]["seed2"]["overall"]
    with pytest.raises(UserError, match="seed1, seed2, seed3"):
        compare(baseline, *runs, primary="seed9")


def test_runs_that_disagree_make_a_wide_pooled_interval(tmp_path: Path, compare: Compare) -> None:
    baseline = write(tmp_path / "baseline", rows(every(4)))
    good = write(tmp_path / "good", rows(lambda c, i: i % 4 == 0 or i % 5 == 1))
    none = write(tmp_path / "none", rows(every(4)))
    result = compare(baseline, good, none)
    assert result["runs"]["good"]["verdict"] == "improved"
    assert result["verdict"] == "no_clear_change"
    assert result["recipes"]["all runs"]["ci95_these_runs"][0] > 0


def test_each_recipe_has_the_mean_of_its_runs(tmp_path: Path, compare: Compare) -> None:
    baseline = write(tmp_path / "baseline", rows(every(4)))
    runs = [
        write(tmp_path / name, rows(lambda c, i, n=n: i % 4 == 0 or i % 20 == n))
        for name, n in (("slow1", 1), ("slow2", 2), ("fast1", 4), ("fast2", 8), ("other", 3))
    ]
    recipes = {"slow": ["slow1", "slow2"], "fast": ["fast1", "fast2"], "other": ["other"]}
    result = compare(baseline, *runs, recipes=recipes, primary="slow")
    assert set(result["recipes"]) == {"slow", "fast"}
    assert result["recipes"]["slow"]["names"] == ["slow1", "slow2"]
    assert result["verdict"] == result["recipes"]["slow"]["verdict"] == "improved"
    assert result["headline"] == result["recipes"]["slow"]["overall"]
    assert result["recipes"]["fast"]["verdict"] == "no_clear_change"
    alone = compare(baseline, *runs, recipes=recipes, primary="other")
    assert alone["primary"] == "other"
    assert alone["headline"] == alone["runs"]["other"]["overall"]


def test_several_recipes_need_a_primary_one(tmp_path: Path, compare: Compare) -> None:
    baseline = write(tmp_path / "baseline", rows(every(4), SUBSET))
    runs = [write(tmp_path / name, rows(every(3), SUBSET)) for name in ("a1", "a2", "b1")]
    recipes = {"a": ["a1", "a2"], "b": ["b1"]}
    with pytest.raises(UserError, match=r"not given, .* one of .* a1, a2, b1, a, b"):
        compare(baseline, *runs, recipes=recipes)
    with pytest.raises(UserError, match=r"recipes\.a names a9"):
        compare(baseline, *runs, recipes={"a": ["a1", "a9"]}, primary="a")


def test_a_run_alone_needs_no_recipe_of_its_own(tmp_path: Path, compare: Compare) -> None:
    """The frozen section of a workflow serves folders that were compared by hand, too."""
    baseline = write(tmp_path / "baseline", rows(every(4), SUBSET))
    result = compare(baseline, write(tmp_path / "mine", rows(every(3), SUBSET)),
                     recipes={"grpo": ["grpo"]})  # fmt: skip
    assert result["primary"] == "mine"


def test_a_recipe_with_a_refused_run_has_no_mean(tmp_path: Path, compare: Compare) -> None:
    baseline = write(tmp_path / "baseline", rows(every(4), SUBSET))
    good = write(tmp_path / "good", rows(every(3), SUBSET))
    other = write(tmp_path / "other", rows(every(3), SUBSET), comparable={"chat_template": "x"})
    result = compare(baseline, good, other)
    assert result["verdict"] == result["recipes"]["all runs"]["verdict"] == "not_comparable"
    assert result["headline"] is None
    assert [reason["message"].partition(":")[0] for reason in result["reasons"]] == ["other"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "items.csv").unlink(), "neither an evaluation"),
        (lambda folder: (folder / "items.csv").write_text("id,score\n1,2\n"), "other columns"),
        (
            lambda folder: (folder / "items.csv").write_text(
                (folder / "items.csv").read_text().replace("0,0,0,simple/0", "0,0,9999999,simple/0")
            ),
            "repeats that are none: 9999999",
        ),
        (lambda folder: (folder / "summary.json").write_text("{"), "cannot be read as JSON"),
        (
            lambda folder: (folder / "manifest.json").write_text(
                (folder / "manifest.json").read_text().replace('"schema": 1', '"schema": 7')
            ),
            "schema 1",
        ),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "`subject` is missing"),
        (
            lambda folder: (folder / "items.csv").write_text(
                (folder / "items.csv").read_text().replace("simple,simple_", "simple_python,s_")
            ),
            "simple_python",
        ),
        (
            lambda folder: (folder / "items.csv").write_text(
                "".join((folder / "items.csv").open().readlines()[:-1])
            ),
            "cut short",
        ),
    ],
)
def test_foreign_or_cut_folders_are_bad_input_and_nothing_is_written(
    tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    baseline = write(tmp_path / "baseline", rows(every(2), SUBSET))
    trained = write(tmp_path / "grpo", rows(every(2), SUBSET))
    spoil(trained)
    out = tmp_path / "comparison.json"
    with pytest.raises(UserError, match=message):
        comparing.compare_folders(baseline, (trained,), None, out, BFCL_ENV)
    assert not out.exists()


def test_a_folder_of_another_bfcl_version_is_bad_input(tmp_path: Path) -> None:
    baseline = write(tmp_path / "baseline", rows(every(2), SUBSET))
    other = write(
        tmp_path / "grpo",
        rows(every(2), SUBSET),
        summary={"categories": {"java": {"population": 120}}},
    )
    with pytest.raises(UserError, match="120 items of java"):
        comparing.compare_folders(baseline, (other,), None, tmp_path / "c.json", BFCL_ENV)


def harness_folder(folder: Path, wrong: Callable[[int], bool]) -> Path:
    """What nvidia-bfcl leaves behind: an answer for every item, a score row for wrong ones."""
    for category, items in data.load_full(data.installed_data(BFCL_ENV)).items():
        multi_turn = group_of(category) == "multi_turn"
        answers = [
            {"id": item.id, "result": [["x"]] if multi_turn else "x", "latency": 0.1}
            for item in items
        ]
        failed = [
            {"id": item.id, "prompt": item.entry, "error": ["no"], "error_type": "wrong"}
            for item in items
            if wrong(item.index)
        ]
        for kind, lines in (
            ("result", answers),
            ("score", [{"total_count": len(items)}, *failed]),
        ):
            path = folder / kind / "policy" / f"BFCL_v3_{category}_{kind}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_plain_harness_folders_compare_and_say_what_could_not_be_checked(
    tmp_path: Path, compare: Compare
) -> None:
    baseline = harness_folder(tmp_path / "before", lambda index: index % 2 == 0)
    trained = harness_folder(tmp_path / "after", lambda index: index % 4 == 0)
    result = compare(baseline, trained)
    assert result["verdict"] == "improved"
    assert result["n"] == 4441
    assert result["runs"]["after"]["categories"]["live_relevance"]["n"] == 18
    assert "before: canary before the start" in result["checks_impossible"]
    assert result["equal"] == []
    assert sum("plain harness folder" in warning for warning in result["warnings"]) == 2


@pytest.mark.parametrize(
    ("found", "require", "code"),
    [
        ("improved", "improved", 0),
        ("no_clear_change", "improved", 4),
        ("no_clear_change", "not_regressed", 0),
        ("regressed", "improved", 5),
        ("regressed", "not_regressed", 5),
        ("not_comparable", "not_regressed", 3),
    ],
)
def test_verdict_is_a_sentence_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], found: str, require: str, code: int
) -> None:
    line = {"baseline": 50.0, "trained": 51.9, "delta": 1.9, "ci95": [0.6, 3.2], "p": 0.004}
    reasons = [{"what": "items", "baseline": 1, "trained": 2, "message": "differ.", "advice": ""}]
    refused = found == "not_comparable"
    file = tmp_path / "comparison.json"
    file.write_text(
        json.dumps(
            {
                "schema": 1,
                "verdict": found,
                "sentence": "It is so.",
                "primary": "grpo",
                "runs": {},
                "headline": None if refused else line,
                "reasons": reasons if refused else [],
                "subset": None,
                "n": 4441,
                "aa": False,
            }
        )
    )
    assert comparing.require_verdict(file, require) == code
    said = capsys.readouterr().out
    assert said == "It is so." + (" items: differ. (1 / 2)" if refused else "") + "\n"


@pytest.mark.parametrize(
    ("shares", "runs", "subject"),
    [
        ((0.3, 0.9), 1, {}),
        ((0.9, 0.3), 1, {"digest": "same"}),
        ((0.5, 0.5), 1, {}),
        ((0.3, 0.9), 2, {}),
        ((0.5, 0.5), 1, {"comparable": {"chat_template": "another"}}),
    ],
)
def test_command_line_report_and_markdown_say_the_verdict_in_the_same_sentence(
    tmp_path: Path,
    compare: Compare,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    shares: tuple[float, float],
    runs: int,
    subject: Json,
) -> None:
    before = random_rows(shares[0], 1, sizes=SUBSET)
    baseline = write(tmp_path / "evaluations" / "baseline", before, **subject)
    same = {} if "comparable" in subject else subject
    trained = [
        write(
            tmp_path / "evaluations" / f"run{number}",
            random_rows(shares[1], number, sizes=SUBSET),
            **same,
        )
        for number in range(2, 2 + runs)
    ]
    caplog.set_level("INFO")
    sentence = compare(baseline, *trained)["sentence"]
    assert sentence in caplog.text
    capsys.readouterr()
    comparing.require_verdict(tmp_path / "comparison.json", "improved")
    assert capsys.readouterr().out.startswith(sentence)
    out = tmp_path / "report.html"
    render.write_report(tmp_path / "comparison.json", tmp_path, ReportSection(), out)
    shown = wording.typeset(sentence)
    assert shown in capsys.readouterr().out
    page = html.unescape(re.sub("<[^>]*>", "", out.read_text(encoding="utf-8")))
    assert shown in page.replace("\N{NO-BREAK SPACE}", " ")
    text = out.with_suffix(".md").read_text(encoding="utf-8")
    assert text.splitlines()[2] == f"**{markdown.escaped(shown)}**"


GOOD = {
    "schema": 1, "verdict": "improved", "sentence": "Improved.", "primary": "grpo", "aa": False,
    "reasons": [], "n": 4441, "subset": None, "runs": {},
    "headline": {"baseline": 50.0, "trained": 52.0, "delta": 2.0, "ci95": [1.0, 3.0], "p": 0.01},
}  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "null",
        "{",
        "[" * 100_000,
        json.dumps(GOOD | {"verdict": "splendid"}),
        json.dumps(GOOD | {"headline": None}),
        json.dumps(GOOD | {"headline": GOOD["headline"] | {"delta": 1e300}}),
        json.dumps(GOOD | {"headline": GOOD["headline"] | {"ci95": [3.0, 1.0]}}),
        json.dumps(GOOD | {"headline": GOOD["headline"] | {"p": float("nan")}}),
        json.dumps(GOOD | {"n": "many"}),
        json.dumps(GOOD | {"n": -1}),
        json.dumps(GOOD | {"verdict": "not_comparable"}),
        json.dumps(GOOD | {"schema": 2}),
        json.dumps(GOOD | {"runs": [[]]}),
    ],
)
def test_verdict_of_something_else_is_bad_input(tmp_path: Path, content: str) -> None:
    file = tmp_path / "comparison.json"
    file.write_text(content)
    with pytest.raises(UserError) as refused:
        comparing.require_verdict(file, "improved")
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_written_is_read_back_the_same(tmp_path: Path, compare: Compare) -> None:
    baseline = write(tmp_path / "baseline", random_rows(0.5, 1, repeats=2, sizes=SUBSET))
    trained = write(tmp_path / "grpo", random_rows(0.5, 2, repeats=2, sizes=SUBSET))
    other = write(tmp_path / "seed2", random_rows(0.5, 3, repeats=2, sizes=SUBSET))
    compare(baseline, trained, other)
    (file,) = tmp_path.rglob("comparison.json")
    again = tmp_path / "again.json"
    record.write_comparison(again, record.read_comparison(file))
    assert again.read_text() == file.read_text()


def test_anchors_all_say_what_makes_them_not_comparable() -> None:
    for anchor in comparing.anchors():
        assert {"model", "overall", "conditions", "source"} <= set(anchor)
        assert anchor["not_comparable"]


def test_a_refused_comparison_describes_both_sides_all_the_same(
    tmp_path: Path, compare: Compare
) -> None:
    baseline = write(tmp_path / "baseline", random_rows(0.4, 1))
    trained = write(tmp_path / "grpo", random_rows(0.5, 2), comparable={"chat_template": "other"})
    result = compare(baseline, trained)
    run = result["runs"]["grpo"]
    assert run["verdict"] == result["verdict"] == "not_comparable"
    assert "overall" not in run
    assert run["n"] == 4441
    assert run["flips"]["gained"] > 0
    assert run["trained"]["behaviour"]["scopes"]["all"]["calls"] == 1


def test_an_item_counts_as_right_in_the_table_of_errors_when_all_its_repeats_are(
    tmp_path: Path, compare: Compare
) -> None:
    once = rows(every(2), SUBSET)
    again = [row._replace(repeat=1) for row in once]
    wrong = again[0]._replace(valid=False, strict_valid=False, error_type="cannot_find_match")
    baseline = write(tmp_path / "baseline", [*once, *again])
    trained = write(tmp_path / "grpo", [*once, wrong, *again[1:]])
    run = compare(baseline, trained)["runs"]["grpo"]
    assert run["flips"] == {"gained": 0, "lost": 1}
    assert run["error_migration"]["correct"]["cannot_find_match"] == 1
