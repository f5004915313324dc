"""Logs of inspect_ai, before and after."""

import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from toolgain.cli import cli
from toolgain.common.errors import NotValidError, UserError
from toolgain.comparison import inspect_logs, tables

Json = dict[str, object]


def sample(name: str, value: object, category: str = "", epoch: int = 1) -> Json:
    scores = {"bfcl_scorer": {"value": value, "answer": "f()", "explanation": "Correct"}}
    return {
        "id": name,
        "epoch": epoch,
        "input": "What is it?",
        "target": "",
        "metadata": {"category_name": category},
        "scores": scores,
        "error": None,
    }


def log(path: Path, samples: list[Json], task: str = "inspect_evals/bfcl", **more: object) -> Path:
    header = {"version": 2, "status": "success", "eval": {"task": task, "task_version": "8-B"}}
    header |= more
    if path.suffix == ".eval":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("header.json", json.dumps(header))
            packed.writestr("summaries.json", json.dumps(samples))
    else:
        path.write_text(json.dumps(header | {"samples": samples}))
    return path


def bfcl_samples(right: int) -> list[Json]:
    """60 single-turn samples, and 20 scenarios in two categories."""
    found = [sample(f"simple_python_{n}", int(n < right), "simple_python") for n in range(60)]
    for category in ("multi_turn_base", "multi_turn_miss_func"):
        found += [sample(f"{category}_{n}", 0, category) for n in range(20)]
    return found


@pytest.mark.parametrize("suffix", inspect_logs.SUFFIXES)
def test_two_logs_are_compared_by_category(suffix: str, tmp_path: Path) -> None:
    before = log(tmp_path / f"before{suffix}", bfcl_samples(20))
    after = log(tmp_path / f"after{suffix}", bfcl_samples(45))
    out = tmp_path / "comparison.json"
    done = CliRunner().invoke(cli, ["compare", str(before), str(after), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "not the official Overall" in done.output
    found = json.loads(out.read_text())
    assert found["overall"]["n"] == 100
    assert found["groups"]["simple_python"]["gained"] == 25
    assert set(found["groups"]) == {"simple_python", "multi_turn_base", "multi_turn_miss_func"}
    # The variants of a scenario are one cluster.
    assert found["clusters"] == 60 + 20


def test_a_sample_scores_the_mean_of_its_epochs(tmp_path: Path) -> None:
    samples = [sample("1", value, epoch=epoch) for epoch, value in enumerate(["C", "I", "P"], 1)]
    path = log(tmp_path / "log.json", samples, "gsm8k")
    assert tables.read_table(path)["1"].score == pytest.approx(0.5)


def test_live_samples_of_one_function_document_are_one_cluster(tmp_path: Path) -> None:
    ids = ["live_simple_0-0-0", "live_simple_1-0-1", "live_simple_2-1-0"]
    path = log(tmp_path / "log.json", [sample(one, 1, "live_simple") for one in ids])
    found = tables.read_table(path)
    assert found[ids[0]].cluster == found[ids[1]].cluster != found[ids[2]].cluster


def test_other_tasks_are_not_comparable(tmp_path: Path) -> None:
    one = log(tmp_path / "one.json", [sample("1", 1)], "gsm8k")
    other = log(tmp_path / "other.json", [sample("1", 1)], "ifeval")
    with pytest.raises(NotValidError, match=r"is of gsm8k \(.*, other.json of ifeval"):
        tables.compare_tables(one, other, [], 0.05)


@pytest.mark.parametrize(
    ("said", "samples", "more"),
    [
        ("ended as 'error'", [sample("1", 1)], {"status": "error"}),
        ("1 of 2 samples without a score", [sample("1", 1), sample("2", 1) | {"scores": None}], {}),
        ("1 of 1 samples without a score", [sample("1", 1) | {"error": {"message": "503"}}], {}),
        ("is 'maybe'; allowed: 0 to 1", [sample("1", "maybe")], {}),
        ("is 'nan'; allowed: 0 to 1", [sample("1", float("nan"))], {}),
        ("holds no samples", [], {}),
        ("twice in one epoch", [sample("1", 1), sample("1", 1)], {}),
        ("fewer epochs", [sample("1", 1), sample("1", 1, epoch=2), sample("2", 1)], {}),
        ("has the values a, b; name one", [sample("1", {"a": 1, "b": 0})], {}),
        ("is not a log of inspect_ai: eval: Field required", [], {"eval": None}),
    ],
)
def test_a_log_that_cannot_be_read_says_why(
    said: str, samples: list[Json], more: Json, tmp_path: Path
) -> None:
    path = log(tmp_path / "log.json", samples, **more)
    if more.get("eval", "") is None:
        path.write_text('{"status": "success"}')
    with pytest.raises(UserError, match=said):
        tables.read_table(path)


def test_several_scorers_need_a_name(tmp_path: Path) -> None:
    both = {"exact": {"value": 1}, "graded": {"value": {"style": 0.25, "facts": 1}}}
    path = log(tmp_path / "log.json", [sample("1", 1) | {"scores": both}])
    with pytest.raises(UserError, match="name one with --metric: exact, graded"):
        tables.read_table(path)
    assert tables.read_table(path, ["graded,style"])["1"].score == 0.25


def test_a_packed_log_of_another_kind_says_how_to_convert_it(tmp_path: Path) -> None:
    path = log(tmp_path / "log.eval", [sample("1", 1)])
    # The method of both members, in their headers and in the directory: 93 is zstd.
    content = path.read_bytes()
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        parts = content.split(mark)
        parts[1:] = [part[: place - 4] + b"\x5d\x00" + part[place - 2 :] for part in parts[1:]]
        content = mark.join(parts)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"inspect log convert .* --to json"):
        tables.read_table(path)


def test_what_is_no_log_says_so(tmp_path: Path) -> None:
    for name in ("a.eval", "a.json"):
        path = tmp_path / name
        path.write_text("no log")
        with pytest.raises(UserError, match="is not a log of inspect_ai"):
            tables.read_table(path)
