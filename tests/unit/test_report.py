"""The report without a browser: words, data, missing parts, hostile text, same bytes."""

import base64
import gzip
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import evaluation_folders
import pytest
from click.testing import CliRunner
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import report_fixtures
import run_records
from odd_signs import odd_signs
from toolgain.bfcl.categories import CATEGORIES
from toolgain.bfcl.outcomes import write_items
from toolgain.cli import cli
from toolgain.common.errors import UserError
from toolgain.common.screen import visible
from toolgain.config.sections import ReportSection
from toolgain.records.checkpoint import Best, Export
from toolgain.records.comparison import Comparison, Reason
from toolgain.records.record import read_record, write_record
from toolgain.records.training import Cost, Manifest, Smoke
from toolgain.report import glossary, markdown, render, wording
from toolgain.report.cost import cost
from toolgain.report.items import ANSWER_LIMITS, LEAST_OF_SIDE, embed, migration
from toolgain.report.sources import (
    EvaluationFolder,
    ItemAnswer,
    Question,
    RunFolder,
    Sources,
    read_sources,
)
from toolgain.report.trust import shown, trust
from toolgain.statistics import answer

LINE = {
    "baseline": 56.94, "trained": 63.77, "delta": 6.83, "ci95": [5.61, 8.05], "p": 0.0002,
}  # fmt: skip


NOTHING = Comparison(
    version=1, verdict="not_comparable", sentence="", primary="grpo", headline=None, aa=False, n=0,
    subset=None, runs={},
    reasons=[Reason(what="", baseline=None, trained=None, message="", advice="")],
)  # fmt: skip


def outcome(right: bool, error: str = "", answer: str = "[]", **over: Any) -> ItemAnswer:
    values: dict[str, Any] = {
        "category": "simple", "id": "simple_0", "occurrence": 0, "valid": float(right),
        "strict": float(right), "error": "" if right else error or "value_error:string",
        "message": "", "answer": answer, "expected": "null", "calls": 0, "flags": (),
        "prompt_tokens": 10.0, "completion_tokens": 5.0, "latency": 0.1, "finish": "stop",
    }  # fmt: skip
    return ItemAnswer(**{**values, **over})


def numbered(outcomes: list[ItemAnswer]) -> dict[tuple[str, str, int], ItemAnswer]:
    return {("simple", f"simple_{place}", 0): one for place, one in enumerate(outcomes)}


# -- cost


def test_every_stage_on_slurm_shows_its_gpu_hours() -> None:
    used: dict[str, Any] = {
        "nodes": 1,
        "gpus": 8,
        "gpu_hours": 2.0,
        "jobs": ["7"],
        "source": "sacct",
    }
    run = RunFolder(
        "grpo", EvaluationFolder("grpo"),
        smoke=Smoke(
            run="grpo", fingerprint="5eed", left_out=False, slurm_jobs=["7"], cost=Cost(**used)
        ),
        export=run_records.export(),
    )  # fmt: skip
    seconds = {"smoke/grpo": 900.0, "export/grpo": 60.0}
    found = cost(
        Sources(NOTHING, EvaluationFolder("baseline"), {"grpo": run}, {}, None, (), seconds)
    )
    smoke, export = found.stages
    assert (smoke.gpu_hours, smoke.where) == (2.0, "job 7")
    assert (export.seconds, export.gpu_hours, export.where) == (60.0, None, "")
    assert found.gpu_hours == 2.0


# -- words


SENTENCE = answer.verdict_sentence(
    "improved", "the official Overall on BFCL v3", (56.94, 63.77), 6.83, (5.61, 8.05), 0.0002
)


def test_the_answer_is_a_sentence() -> None:
    assert SENTENCE == (
        "Improved: the official Overall on BFCL v3 went from 56.94 to 63.77, +6.83 points "
        "(95 % interval +5.61 to +8.05, p < 0.001)."
    )


def test_an_interval_tells_in_the_sentence_on_which_side_of_zero_it_ends() -> None:
    said = answer.moved("it", (40.0, 41.0), 1.0, (0.0004, 2.0), 0.0496)
    assert said == (
        "it went from 40.00 to 41.00, +1.00 points (95 % interval +0.0004 to +2.00, p = 0.050)"
    )


def test_no_numbers_where_nothing_can_be_compared() -> None:
    assert not re.search(r"\d", answer.REFUSAL)


@pytest.mark.parametrize(
    ("value", "said"),
    [(1.26, "+1.3"), (-0.04, "0.0"), (-1.25, "−1.2"), (None, "–"), (float("nan"), "–"), ("x", "–")],
)
def test_points_carry_their_sign(value: object, said: str) -> None:
    assert wording.points(value) == said


def test_an_interval_shows_on_which_side_of_zero_it_ends() -> None:
    assert wording.interval([0.0412, 9.398]) == "+0.04 to +9.4"
    assert wording.interval([-8.25, -0.004]) == "−8.2 to −0.004"
    assert wording.interval([0.0, 0.0]) == "0.0 to 0.0"


@pytest.mark.parametrize(
    ("p", "said"), [(0.0004, "< 0.001"), (0.034, "0.034"), (0.4, "0.40"), (None, "–")]
)
def test_p_values(p: object, said: str) -> None:
    assert wording.p_value(p) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(4.26, "4.3 s"), (59, "59 s"), (60, "1 min"), (90.4, "1 min 30 s"), (3600, "1 h"),
     (91680, "25 h 28 min"), (200_000, "2 d 7 h"), (None, "–"), (-1, "–")],
)  # fmt: skip
def test_durations(seconds: object, said: str) -> None:
    assert wording.duration(seconds) == said


def test_moments_are_to_the_minute() -> None:
    assert wording.moment("2026-11-20T08:21:30+00:00") == "2026-11-20 08:21 UTC"
    assert wording.moment("yesterday") == "yesterday"
    assert wording.moment(None) == "–"


def test_conditions_are_shown_short() -> None:
    assert shown("ab" * 32) == "abababababab"
    assert shown({"temperature": 0.0, "seed": None}) == "temperature 0.0, seed –"


def test_the_words_of_the_answer_are_explained() -> None:
    sentence = wording.typeset(SENTENCE)
    pieces = glossary.parts(wording.kept_together(sentence))
    assert "".join(piece for piece, _ in pieces) == wording.kept_together(sentence)
    explained = {key: piece.replace("\N{NO-BREAK SPACE}", " ") for piece, key in pieces if key}
    assert explained == {
        "overall": "Overall", "points": "points", "interval": "95 % interval", "p": "p",
    }  # fmt: skip


def test_every_category_is_explained_and_every_reference_leads_to_a_term() -> None:
    assert list(glossary.CATEGORIES) == list(CATEGORIES)
    assert set(glossary.FLAGS.values()) <= set(glossary.TERMS)


# -- items


def test_the_matrix_of_errors_is_the_comparisons_table() -> None:
    matrix = migration(
        {
            "correct": {"correct": 5, "new": 1},
            "type_error": {"new": 2},
            "value_error": {"correct": 3},
        }
    )
    assert matrix is not None
    assert matrix.kinds == ("correct", "new", "value_error", "type_error")
    assert matrix.counts[0] == (5, 1, 0, 0)
    assert sum(map(sum, matrix.counts)) == 11
    assert matrix.moves(2) == [("value_error", "correct", 3), ("type_error", "new", 2)]


def test_many_kinds_of_errors_are_taken_together() -> None:
    matrix = migration({f"kind {number:02d}": {f"kind {number:02d}": 1} for number in range(40)})
    assert matrix is not None
    assert len(matrix.kinds) == 14
    assert matrix.kinds[-1] == "other errors"
    assert sum(map(sum, matrix.counts)) == 40


def unpacked(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return value


def test_embedded_items_are_whole() -> None:
    tool = {"name": "f", "parameters": {"default": float("nan")}}
    key = ("simple", "simple_0", 0)
    packed = embed(
        {"baseline": {key: outcome(True, answer='[{"f": {"a": NaN}}]')}, "grpo": {}},
        {key: Question([[{"role": "user", "content": "\ud800 hello"}]], [tool], None)},
        10**6,
        runs=1,
    )
    data = unpacked(packed.text)
    assert data["sides"] == ["baseline", "grpo"]
    category, identity, occurrence, turns, tools, _, sides = data["items"][0]
    assert (data["categories"][category], identity, occurrence) == key
    assert turns == [[{"role": "user", "content": "\ud800 hello"}]]
    assert data["tools"][tools[0]]["parameters"] == {"default": "nan"}
    assert sides[0][4] == '[{"f": {"a": NaN}}]'
    assert sides[1] is None
    assert packed.notes == ()


def test_long_answers_are_cut_so_that_the_page_stays_small() -> None:
    import random

    draw = random.Random(1)
    long = "".join(chr(draw.randrange(0x4E00, 0x9FFF)) for _ in range(100_000))
    before = numbered([outcome(False, answer=long) for _ in range(5)])
    packed = embed({"baseline": before}, {}, 60_000, runs=0)
    assert len(packed.text) <= 60_000
    limit = next(n for n in ANSWER_LIMITS if n and f"above {n} characters" in packed.notes[0])
    side = unpacked(packed.text)["items"][0][6][0]
    assert (len(side[4]), side[5]) == (limit, 100_000)


def test_of_many_runs_the_first_are_embedded() -> None:
    import random

    draw = random.Random(1)

    def side() -> dict[tuple[str, str, int], ItemAnswer]:
        return numbered([outcome(False, answer=f"{draw.random()}" * 12) for _ in range(100)])

    sides = {"baseline": side(), **{f"run{number}": side() for number in range(8)}}
    packed = embed(sides, {}, 10_000, runs=30)
    assert len(packed.text) <= 10_000
    shown = unpacked(packed.text)["sides"]
    assert shown == list(sides)[: len(shown)]
    assert 2 <= len(shown) < len(sides)
    assert f"the items of {len(shown) - 1} of 30 runs" in packed.notes[-1]


def test_runaway_answers_do_not_take_for_ever() -> None:
    before = numbered([outcome(False, answer="x" * 2_000_000) for _ in range(20)])
    packed = embed({"baseline": before}, {}, 200_000, runs=0)
    assert len(packed.text) <= 200_000
    assert packed.notes


@given(text=st.text(max_size=30), calls=st.integers(0, 9))
def test_an_answer_takes_at_least_what_is_reckoned_with(text: str, calls: int) -> None:
    """Else data that fits would be given up before it is made."""
    least = outcome(
        True, answer=text, calls=calls, finish="",
        prompt_tokens=0, completion_tokens=0, latency=0,
    )  # fmt: skip
    packed = embed({"baseline": {least.key: least}}, {}, 10**6, runs=0)
    (side,) = unpacked(packed.text)["items"][0][6]
    written = json.dumps(side, ensure_ascii=False, separators=(",", ":"))
    assert len(written) >= LEAST_OF_SIDE + len(text)


def test_items_are_in_the_order_of_the_data() -> None:
    outcomes = {
        (c, i, 0): outcome(True) for c, i in
        [("java", "java_1"), ("simple", "simple_10"), ("simple", "simple_9")]
    }  # fmt: skip
    rows = unpacked(embed({"baseline": outcomes}, {}, 10**6, runs=0).text)["items"]
    assert [row[1] for row in rows] == ["simple_9", "simple_10", "java_1"]


def read_items_of_baseline(folder: Path, table: Callable[[Path], None]) -> Sources:
    evaluation = folder / "results/evaluations/baseline"
    evaluation.mkdir(parents=True)
    table(evaluation)
    file = folder / "results/comparison.json"
    file.write_text(json.dumps(comparison(runs={})), encoding="utf-8")
    return read_sources(file, file.parent)


def test_the_repeats_of_an_item_are_shown_as_one(tmp_path: Path) -> None:
    right = evaluation_folders.outcome("simple", 0, True, prompt_tokens=10, latency_s=1.0)
    wrong = evaluation_folders.outcome(
        "simple", 0, False, repeat=1, error_type="value_error", prompt_tokens=20, latency_s=2.0
    )
    found = read_items_of_baseline(tmp_path, lambda folder: write_items(folder, [right, wrong]))
    [item] = found.baseline.outcomes.values()
    assert (item.valid, item.repeats, item.error) == (0.5, (True, False), "value_error")
    assert (item.prompt_tokens, item.latency) == (15, 1.5)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (lambda folder: None, "items.csv is missing: single items are not shown."),
        (lambda folder: (folder / "items.csv").write_text("id\n1\n"), "has other columns than"),
        (
            lambda folder: write_items(
                folder, [evaluation_folders.outcome("simple", 0, True, latency_s=float("nan"))]
            ),
            "not shown: results/evaluations/baseline/items.csv cannot be read: 'nan' is not a "
            "finite number.",
        ),
    ],
)
def test_a_table_of_items_that_cannot_be_read_is_said(
    tmp_path: Path, table: Callable[[Path], None], said: str
) -> None:
    found = read_items_of_baseline(tmp_path, table)
    assert found.baseline.outcomes == {}
    assert any(said in note for note in found.missing)


# -- the page


class Page(HTMLParser):
    """What a browser would make of the page: its elements and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


REASON = {"what": "items", "baseline": 1, "trained": 2, "message": "Differ.", "advice": "Again."}


def comparison(**over: Any) -> dict[str, Any]:
    family = {
        **LINE, "p_holm": 0.01, "p_mcnemar": 0.02, "n": 10, "gained": 2, "lost": 1,
        "word": "improved",
    }  # fmt: skip
    origin = {
        "subject": "grpo", "path": "gone", "digest": None, "name": None, "plain": False,
        "behaviour": {"scopes": {}, "calls": []},
    }  # fmt: skip
    run = {
        "verdict": "improved",
        "sentence": SENTENCE,
        "overall": LINE,
        "groups": {"live": {**family, "standard_error": 0.5}},
        "categories": {"java": {**family, "word": None, "population": 100, "small": True}},
        "flips": {"gained": 2, "lost": 1},
        "aa": False, "reasons": [], "equal": [], "trained": origin, "n": 4441,
        "error_migration": {},
    }  # fmt: skip
    return {
        "schema": 1, "verdict": "improved", "sentence": SENTENCE, "headline": LINE,
        "primary": "grpo", "reasons": [], "warnings": [], "subset": None, "n": 4441, "aa": False,
        "runs": {"grpo": run}, **over,
    }  # fmt: skip


def rendered(folder: Path, value: dict[str, Any]) -> Page:
    results = folder / "results"
    results.mkdir(exist_ok=True)
    (results / "comparison.json").write_text(json.dumps(value), encoding="utf-8")
    out = results / "report.html"
    render.write_report(results / "comparison.json", results, ReportSection(), out)
    return Page(out.read_text(encoding="utf-8"))


def test_plurals_and_signs_are_alike_on_a_page_with_one_of_everything(tmp_path: Path) -> None:
    value = comparison()
    value["warnings"] = ["grpo: 1 of 1 item (5.0 %) got no answer; changed by -0.5"]
    page = rendered(tmp_path, value)
    assert odd_signs(page.text) == []
    assert odd_signs("1 items, 5%, -3 and `x`") != []
    written = (tmp_path / "results/report.md").read_text(encoding="utf-8")
    assert [odd for odd in odd_signs(written) if "`" not in odd] == []


def test_a_comparison_alone_gives_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    page = rendered(tmp_path, comparison())
    assert "went from 56.94 to 63.77" in page.text
    assert "evaluation folder of baseline is missing" in page.text
    assert "No training of grpo is recorded" in page.text
    assert "There are no single items to show" in page.text
    text = (tmp_path / "results/report.md").read_text(encoding="utf-8")
    assert text.startswith("## Did the training help?")
    assert "+6.83 points" in text


def training_folder(folder: Path) -> None:
    run = folder / "results/runs/grpo"
    run.mkdir(parents=True)
    curve = [[step, value] for step, value in enumerate([0.1, 0.3, 0.5, 0.5, 0.6, 0.8], start=1)]
    candidate = {"step": 6, "path": "step_6", "accuracy": 0.5}
    write_record(run / "manifest.json", run_records.manifest(curves={"train/reward": curve}))
    write_record(run / "best.json", run_records.best(initial_accuracy=0.2, candidates=[candidate]))


def test_the_reward_stands_beside_the_benchmark(tmp_path: Path) -> None:
    training_folder(tmp_path)
    text = rendered(tmp_path, comparison()).text
    assert "Reward 0.200 0.700 +0.500 training tasks" in text
    assert "Validation accuracy, % 20.0 50.0 +30.0 training tasks held out" in text
    assert "BFCL Overall, % 56.9 63.8 +6.8 the benchmark" in text
    refused = comparison(verdict="not_comparable", headline=None, reasons=[REASON])
    refused["runs"]["grpo"]["verdict"] = "not_comparable"
    text = rendered(tmp_path, refused).text
    assert "BFCL Overall, % – – not comparable" in text


def test_the_detectable_change_is_that_of_the_design(tmp_path: Path) -> None:
    value = comparison(
        detectable_change={
            "points": 1.7, "standard_error": 0.6, "power": 0.8, "alpha": 0.05,
            "basis": "assumed", "discordance": {}, "correlation": 0.3,
        }
    )  # fmt: skip
    assert "of this design detects a true change of 1.7 points" in rendered(tmp_path, value).text


def test_intervals_carry_their_level(tmp_path: Path) -> None:
    method = {
        "interval": "bca", "draws": 10, "seed": 1, "alpha": 0.1, "clusters": 9, "declared": "x",
    }  # fmt: skip
    value = comparison(method=method, sentence=SENTENCE.replace("95 %", "90 %"))
    value["runs"]["grpo"] |= {
        "sentence": value["sentence"],
        "strict_overall": {**LINE, "baseline": 40.0},
    }
    page = rendered(tmp_path, value).text.replace("\N{NO-BREAK SPACE}", " ")
    written = (tmp_path / "results/report.md").read_text(encoding="utf-8")
    assert "90 % interval, not adjusted" in page
    assert "90 % interval, not adjusted" in written
    assert "95 %" not in page
    assert "95 %" not in written


def test_the_strict_score_is_told_from_the_official_one(tmp_path: Path) -> None:
    value = comparison()
    value["runs"]["grpo"]["strict_overall"] = dict(LINE)
    assert "The same as the Overall" in rendered(tmp_path, value).text
    value["runs"]["grpo"]["strict_overall"]["baseline"] = 40.0
    assert "The strict Overall went from 40.00 to 63.77" in rendered(tmp_path, value).text


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    pages = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rendered(tmp_path / name, comparison())
        pages.append((tmp_path / name / "results/report.html").read_bytes())
    assert pages[0] == pages[1]


def test_a_newer_comparison_is_refused_by_its_version(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has schema 2; this version of toolgain reads 1"):
        rendered(tmp_path, comparison(schema=2, surprise={"a": 1}))


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"runs": None}, "`runs` is None"),
        ({"runs": {"grpo": {}}}, "`runs.grpo.verdict` is missing"),
        ({"headline": {"baseline": None, "ci95": [None, 1]}}, "`headline.baseline` is None"),
        ({"reasons": "none"}, "`reasons` is 'none'"),
        ({"noise_floor": {"moved": None}}, "`noise_floor.moved` is None"),
        ({"anchors": {}}, "`anchors` is {}"),
        ({"verdict": "not_comparable", "headline": None}, "not_comparable without a reason"),
        ({"verdict": "something_new"}, "`verdict` is 'something_new'"),
        ({"surprise": 1}, "`surprise` is 1"),
    ],
)
def test_what_is_no_comparison_of_ours_is_refused_in_one_line(
    tmp_path: Path, over: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        rendered(tmp_path, comparison(**over))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results/report.html").exists()


def test_a_comparison_without_runs_has_its_page(tmp_path: Path) -> None:
    page = rendered(tmp_path, comparison(runs={}))
    assert ("section", "provenance") in [(tag, a.get("id")) for tag, a in page.elements]


def test_a_run_that_failed_half_way_still_has_its_page(tmp_path: Path) -> None:
    folder = tmp_path / "results/runs/grpo"
    folder.mkdir(parents=True)
    launch = {"started": "2026-11-18T10:00:00+00:00", "end": "killed"}
    manifest = run_records.manifest(
        planned_steps=40,
        total_steps=12,
        segments=[launch | {"first_step": 1, "last_step": 12}, launch],
        curves={"train/reward": [[1, 0.1]]},
    )
    write_record(folder / "manifest.json", manifest)
    (folder / "best.json").write_text("{cut", encoding="utf-8")
    page = rendered(tmp_path, comparison())
    assert "1 to 12" in page.text
    assert "12 of 40 planned" in page.text
    assert "No checkpoint was chosen" in page.text
    assert "results/runs/grpo/best.json cannot be read" in page.text
    assert "left no curve of validation accuracy" in page.text


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"total_steps": "12"}, "manifest.json cannot be read (`total_steps` is '12'"),
        ({"health": [None]}, "manifest.json cannot be read (`health.0` is None"),
        ({"curves": {"train/reward": [[1, None]]}}, "cannot be read (`curves.train/reward.0.1`"),
        ({"backend": "\u202eother"}, "cannot be read (`backend` is '\\u202eother'"),
    ],
)
def test_a_broken_record_is_named_with_its_key_and_not_shown(
    tmp_path: Path, broken: dict[str, Any], said: str
) -> None:
    folder = tmp_path / "results/runs/grpo"
    folder.mkdir(parents=True)
    manifest = json.loads(run_records.manifest().model_dump_json(by_alias=True))
    (folder / "manifest.json").write_text(json.dumps(manifest | broken), encoding="utf-8")
    assert said in rendered(tmp_path, comparison()).text


def test_the_pages_that_the_browser_opens_are_made_of_whole_records(tmp_path: Path) -> None:
    report_fixtures.train(tmp_path, seed=1)
    for kind, name in ((Manifest, "manifest"), (Best, "best"), (Export, "export")):
        read_record(kind, tmp_path / f"{name}.json", name)


@pytest.mark.parametrize(
    ("url", "linked"),
    [("https://wandb.ai/me/p/runs/abc1", True), ("javascript:alert(1)", False), (None, False)],
)
def test_the_tracker_of_a_training_is_linked(tmp_path: Path, url: str | None, linked: bool) -> None:
    folder = tmp_path / "results/runs/grpo"
    folder.mkdir(parents=True)
    write_record(folder / "manifest.json", run_records.manifest(wandb_url=url))
    page = rendered(tmp_path, comparison())
    links = [attributes.get("href") for tag, attributes in page.elements if tag == "a"]
    assert (url in links) == linked


HOSTILE = st.one_of(
    # Halves of characters too.
    st.text(st.characters(exclude_categories=()), min_size=1, max_size=40),
    st.sampled_from(
        ["<script>alert(1)</script>", "</script><b>", "{{ 7*7 }}", "{% raw %}", "\u202eabc",
         "\x00\x1b", '"><img src=x onerror=alert(1)>', "--><!--", "]]>", "\u2028",
         "javascript:alert(1)", "\ud83d", "a\udc00|b"]
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(text=HOSTILE)
def test_text_from_outside_stays_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    value = comparison(
        verdict="not_comparable",
        headline=None,
        warnings=[text],
        reasons=[{"what": text, "baseline": text, "trained": {text: [text]}, "message": text,
                  "advice": text}],
        equal=[{"what": text, "baseline": text, "trained": None, "equal": False}],
    )  # fmt: skip
    value["runs"] = {f"run {text}": value["runs"]["grpo"]}
    page = rendered(tmp_path_factory.mktemp("hostile"), value)
    scripts = [a for tag, a in page.elements if tag == "script"]
    # Colour scheme, five pieces of data, two libraries, four programs.
    assert len(scripts) == 1 + 5 + 2 + 4
    allowed = {"class", "id", "type", "href", "role", "aria-label"}
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert all(set(a) <= allowed for a in scripts)
    assert not re.search("[\x00-\x08\u202a-\u202e]", page.text)


@given(st.text())
def test_embedded_json_comes_back_and_cannot_close_its_script(text: str) -> None:
    embedded = str(render.embedded_json({"a": text}))
    assert "<" not in embedded
    assert json.loads(embedded) == {"a": text}


SIGNS = st.sampled_from([*"`|<>*_[]()#!&@\\~ \n\u202e\x1b", "http://", "www.", "a@b.com", "&lt;"])


@given(st.lists(SIGNS | st.text(st.characters(codec="utf-8"), max_size=3)).map("".join))
def test_markdown_takes_text_literally(text: str) -> None:
    """A parser finds the text again, with nothing in it but words and code; hidden signs shown."""
    shown = " ".join(visible(text).split())
    tokens = MarkdownIt("commonmark").parse(f"x{markdown.escaped(text)}x")
    (inline,) = (token for token in tokens if token.type == "inline")
    assert {one.type for one in inline.children or []} <= {"text", "code_inline"}
    assert "".join(one.content for one in inline.children or []) == f"x{shown}x"
    # What GitHub makes links of is code, where it makes none.
    words = [one.content for one in inline.children or [] if one.type == "text"]
    assert not re.search(r"://|www\.|@", "".join(words), re.IGNORECASE)


def test_markdown_shows_hidden_signs_and_links_nothing() -> None:
    assert markdown.escaped("a\u202eb") == r"a\\u\{202E\}b"
    assert markdown.escaped("see https://x.example/a_b now") == "see `https://x.example/a_b` now"
    assert markdown.escaped("by me@x.example|<b>") == r"by `me@x.example`\|\<b\>"


def test_what_speaks_against_the_server_has_a_line_in_the_trust_section(tmp_path: Path) -> None:
    said = {"models": {"policy": 40, "other": 2}, "flags": {"disputed": 3}, "normalised": {"id": 1}}
    for subject, more in (("baseline", {}), ("grpo", said)):
        evaluation_folders.write(
            tmp_path / "results/evaluations" / subject,
            [evaluation_folders.outcome("simple", 0, True)],
            summary={"models": {"policy": 42}, **more},
        )
    (tmp_path / "results/comparison.json").write_text(json.dumps(comparison()))
    sources = read_sources(tmp_path / "results/comparison.json", tmp_path / "results")
    facts = {fact.label: fact for fact in trust(sources, anchors=False).facts}
    named = facts["Model that the server names"]
    assert named.values == ("policy (42)", "policy (40); other (2)")
    assert named.bad == (False, True)
    disputed = facts["Disputed: score, decoder and record differ"]
    assert (disputed.values, disputed.bad) == (("0", "3"), (False, True))
    assert facts["Requests brought into another form: id"].values == ("0", "1")


NAMES = st.text(st.characters(exclude_characters="/\x00", codec="utf-8"), min_size=1, max_size=20)


@settings(deadline=None, max_examples=20)
@given(name=NAMES | st.sampled_from(["\u202eslaved", "a\nb", "|<b>`", "-x", "\x85\u2028", " "]))
def test_a_folder_may_have_any_name_that_can_be_written_down(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    assume(name not in (".", "..") and len(name.encode()) < 200)
    folder = tmp_path_factory.mktemp("names")
    rows = [evaluation_folders.outcome("simple", n, n % 2 == 0) for n in range(20)]
    folders = [
        evaluation_folders.write(folder / side / name, rows, digest=side) for side in ("a", "b")
    ]
    out = folder / name / "comparison.json"
    done = CliRunner().invoke(cli, ["compare", *map(str, folders), "--out", str(out)])
    assert done.exit_code == 0, done.output
    report = out.with_name("report.html")
    render.write_report(out, folder, ReportSection(), report)
    for page in (report, report.with_suffix(".md")):
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", page.read_text(encoding="utf-8"))
