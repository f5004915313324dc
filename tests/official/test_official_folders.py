"""Folders of Berkeley's bfcl-eval, made by its own evaluator from answers with known mistakes."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolgain.bfcl import data, results, v4
from toolgain.bfcl.data import installed_data
from toolgain.bfcl.folders import models_of, one_model
from toolgain.common.errors import NotValidError, UserError
from toolgain.comparison import compare
from toolgain.config.sections import ComparisonSection, EvaluationSection
from toolgain.evaluation import sandbox_setup
from toolgain.evaluation.harness import HarnessFolders, HarnessSettings, score_again
from toolgain.evaluation.rescore import rescorer

ROOT = Path(__file__).parents[2]
BFCL_ENV = ROOT / ".venvs" / "bfcl"
OFFICIAL = ROOT / ".venvs" / "bfcl-eval"
MODEL = "gpt-4o-2024-11-20-FC"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (OFFICIAL / ".ready").exists() and not os.environ.get("CI"),
        reason="`make .venvs/bfcl-eval/.ready` installs Berkeley's evaluator",
    ),
]

Root = Callable[[str, int, float], Path]


def official_data() -> Path:
    (found,) = OFFICIAL.glob("lib/python3*/site-packages/bfcl_eval/data")
    return found


def scored(root: Path) -> Path:
    """Have the official evaluator score what lies in `root`."""
    environment = {**os.environ, "BFCL_PROJECT_ROOT": str(root), "OPENAI_API_KEY": "none"}
    command = [str(OFFICIAL / "bin/bfcl"), "evaluate", "--model", MODEL, "--test-category", "all"]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture(scope="session")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Root:
    def make(name: str, seed: int, wrong: float) -> Path:
        root = tmp_path_factory.mktemp("official") / name
        program = Path(__file__).with_name("synthetic_answers.py")
        out = root / "result" / MODEL
        arguments = [official_data(), "BFCL_v3", out, seed, wrong]
        subprocess.run([sys.executable, program, *map(str, arguments)], check=True)
        return root

    return make


@pytest.fixture(scope="session")
def before(answered: Root) -> Path:
    return scored(answered("before", 1, 0.4))


@pytest.fixture(scope="session")
def after(answered: Root) -> Path:
    return scored(answered("after", 2, 0.2))


def percent(text: str) -> float:
    return float(text.removesuffix("%"))


def to_printed_digits(shown: dict[str, float]) -> object:
    # A half may be rounded either way: 75.125 is printed as 75.12 or 75.13.
    return pytest.approx(shown, abs=0.005 + 1e-9)


def printed(root: Path) -> dict[str, float]:
    """What the official leaderboard says, to two digits."""
    with (root / "score/data_overall.csv").open() as file:
        row = next(csv.DictReader(file))
    names = {"overall": "Overall Acc", "live": "Live Acc", "multi_turn": "Multi Turn Acc"}
    found = {ours: percent(row[theirs]) for ours, theirs in names.items()}
    with (root / "score/data_non_live.csv").open() as file:
        found["non_live"] = percent(next(csv.DictReader(file))["Non_Live Overall Acc"])
    return found


def numbers(scores: dict[str, object]) -> dict[str, float]:
    groups = scores["groups"]
    assert isinstance(groups, dict)
    return {**groups, "overall": scores["overall"]}


def test_the_scores_are_the_official_ones_to_every_printed_digit(before: Path, after: Path) -> None:
    for root in (before, after):
        found = results.score_folder(one_model(root), installed_data(BFCL_ENV))
        assert found["n"] == 4441 and found["errors"] == 0
        assert found["data"] == "bfcl-eval 2025.7.17 to 2025.8.6"
        assert numbers(found) == to_printed_digits(printed(root))
        assert numbers(found["as_published"]) == to_printed_digits(printed(root))


def test_with_errors_both_numbers_are_given(answered: Root) -> None:
    root = answered("errors", 3, 0.3)
    file = root / "result" / MODEL / "BFCL_v3_live_irrelevance_result.json"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows[:100]:
        row["result"] = "Error during inference: 503 Server Error"
        del row["latency"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scored(root)
    found = results.score_folder(one_model(root), installed_data(BFCL_ENV))
    assert found["errors"] == 100
    assert numbers(found["as_published"]) == to_printed_digits(printed(root))
    assert found["overall"] < found["as_published"]["overall"]


def test_two_official_folders_are_compared_by_one_command(
    before: Path, after: Path, tmp_path: Path
) -> None:
    out = tmp_path / "comparison.json"
    compare.compare_folders(before, [after], ComparisonSection(), out, BFCL_ENV)
    result = json.loads(out.read_text())
    assert result["verdict"] == "improved"
    assert result["n"] == 4441
    shown = printed(before), printed(after)
    line = result["headline"]
    assert [line["baseline"], line["trained"]] == pytest.approx(
        [side["overall"] for side in shown], abs=0.005 + 1e-9
    )


def test_one_root_of_many_models(before: Path, after: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name, source in (("base", before), ("tuned", after)):
        for kind in ("result", "score"):
            shutil.copytree(source / kind / MODEL, root / kind / name)
    assert [one.model for one in models_of(root)] == ["base", "tuned"]
    first, second = compare.chosen([root], "base", ["tuned"])
    out = tmp_path / "comparison.json"
    compare.compare_folders(first, [second], ComparisonSection(), out, BFCL_ENV)
    assert json.loads(out.read_text())["baseline"]["subject"] == "base"
    with pytest.raises(UserError, match="holds no model 'other'; it has base, tuned"):
        compare.chosen([root], "base", ["other"])


def test_older_score_rows_are_numbered(before: Path, tmp_path: Path) -> None:
    """Their id is the position from 1; the item's stands in the prompt."""
    root = tmp_path / "older"
    for kind in ("result", "score"):
        shutil.copytree(before / kind / MODEL, root / kind / MODEL)
    for file in (root / "score" / MODEL).glob("*_score.json"):
        head, *rows = [json.loads(line) for line in file.read_text().splitlines()]
        rows = [{**row, "id": number} for number, row in enumerate(rows, start=1)]
        file.write_text("\n".join(json.dumps(row) for row in [head, *rows]))
    data = installed_data(BFCL_ENV)
    assert results.score_folder(one_model(root), data) == results.score_folder(
        one_model(before), data
    )


@pytest.fixture(scope="session")
def by_nvidia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers to nvidia-bfcl's own items, scored by it."""
    work = tmp_path_factory.mktemp("nvidia").resolve()
    source = installed_data(BFCL_ENV)
    alias = EvaluationSection().alias
    folders = HarnessFolders(work)
    program = Path(__file__).with_name("synthetic_answers.py")
    arguments = [source, "BFCL_v3", folders.again / "result" / alias, 1, 0.4]
    subprocess.run([sys.executable, program, *map(str, arguments)], check=True)
    items = results.load_full(source)
    data.write_data_folder(items, source, folders.data)
    for file in (folders.again / "result" / alias).iterdir():
        if file.stem.removeprefix("BFCL_v3_").removesuffix("_result") not in items:
            file.unlink()
    settings = HarnessSettings(
        bfcl_env=BFCL_ENV,
        alias=alias,
        parallelism=1,
        sampling={},
        timeout_s=0,
        attempts=0,
        stall_s=600,
        layers=sandbox_setup.layers(),
    )
    assert score_again(settings, folders, list(items)) is None
    return folders.again


V4 = OFFICIAL / "v4"


def test_a_v4_folder_has_the_official_v4_scores(tmp_path: Path) -> None:
    """All of it, with answers to the agentic parts, scored by bfcl-eval v4's own evaluator."""
    here = Path(__file__).parent
    result = tmp_path / "result" / MODEL
    environment = {
        **os.environ,
        "BFCL_PROJECT_ROOT": str(tmp_path),
        "OPENAI_API_KEY": "none",
        "PYTHONPATH": str(V4),
    }

    def run(*command: object) -> None:
        line = [OFFICIAL / "bin/python", *map(str, command)]
        done = subprocess.run(line, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    data_folder = V4 / "bfcl_eval" / "data"
    run(here / "synthetic_answers.py", data_folder, "BFCL_v4", tmp_path / "flat", 1, 0.4)
    run(here / "v4_answers.py", tmp_path / "flat", result, 1, 0.4)
    run("-m", "bfcl_eval", "evaluate", "--model", MODEL, "--test-category", "all")
    with (tmp_path / "score/data_overall.csv").open() as file:
        row = next(csv.DictReader(file))
    with (tmp_path / "score/data_agentic.csv").open() as file:
        agentic = next(csv.DictReader(file))["Agentic Overall Acc"]
    names = {
        "overall": "Overall Acc",
        "non_live": "Non-Live AST Acc",
        "live": "Live Acc",
        "hallucination": "Irrelevance Detection",
        "multi_turn": "Multi Turn Acc",
    }
    shown = {ours: percent(row[theirs]) for ours, theirs in names.items()}
    found = v4.score_v4(one_model(tmp_path))
    assert found["errors"] == 0 and found["missing"] == []
    assert {**found["groups"], "overall": found["overall"]} == to_printed_digits(
        {**shown, "agentic": percent(agentic)}
    )


def test_two_revisions_of_the_data_are_not_comparable(
    by_nvidia: Path, after: Path, tmp_path: Path
) -> None:
    out = tmp_path / "comparison.json"
    with pytest.raises(NotValidError, match="data_revision"):
        compare.compare_folders(by_nvidia, [after], ComparisonSection(), out, BFCL_ENV)
    whats = {reason["what"] for reason in json.loads(out.read_text())["reasons"]}
    assert {"data_revision", "scorer"} <= whats


def test_one_scorer_for_both_makes_two_revisions_comparable(
    by_nvidia: Path, after: Path, tmp_path: Path
) -> None:
    """Berkeley's scorer and NVIDIA's agree on every item whose data are equal."""
    out = tmp_path / "comparison.json"
    with rescorer(BFCL_ENV) as rescore:
        compare.compare_folders(
            by_nvidia, [after], ComparisonSection(), out, BFCL_ENV, rescore=rescore
        )
    found = json.loads(out.read_text())
    assert found["verdict"] == "improved"
    # The official revision asks the others with another question.
    assert found["n"] == 4441 - 102
    said = [warning for warning in found["warnings"] if "scored again" in warning]
    assert len(said) == 2
    for one in said:
        assert "; 0 answers are scored otherwise than in the folder where the data are equal" in one
