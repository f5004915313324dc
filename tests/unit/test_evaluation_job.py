"""What an evaluation is made from, the inputs that are refused, and its progress."""

import json
from pathlib import Path
from typing import Any

import pytest

from toolgain.cli import cli, main
from toolgain.common.errors import ResumeLaterError, UserError
from toolgain.evaluation import evaluate
from toolgain.evaluation.harness import HarnessFolders
from toolgain.evaluation.job import evaluation_section, prepare_evaluation
from toolgain.evaluation.progress import ItemProgress
from toolgain.records.summary import Canary
from toolgain.slurm import accounting

ROOT = Path(__file__).parents[2]
BFCL_ENV, TRL_ENV = ROOT / ".venvs" / "bfcl", ROOT / ".venvs" / "trl"


def test_section_comes_from_frozen_json_or_from_yaml(tmp_path: Path) -> None:
    frozen, workflow = tmp_path / "evaluation.json", tmp_path / "config.yaml"
    frozen.write_text(json.dumps({"parallelism": 3}))
    workflow.write_text("model: {path: m}\nevaluation:\n  parallelism: 3\n")
    assert evaluation_section(frozen, None, None, None) == evaluation_section(
        workflow, None, None, None
    )


def test_command_line_goes_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "evaluation.yaml"
    file.write_text("serve: {dtype: float32}\nsubset: {non_live: 50}\n")
    section = evaluation_section(file, "http://h/v1", "MY_KEY", 4)
    assert (section.serve.backend, section.serve.url) == ("endpoint", "http://h/v1")
    assert (section.serve.api_key_env, section.serve.dtype) == ("MY_KEY", "float32")
    assert section.subset is not None
    assert (section.subset.non_live, section.subset.multi_turn) == (4, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("parallelsm: 3", "unknown key `parallelsm`; did you mean `parallelism`"),
        ("alias: grpo1", "misreads the alias"),
        ("subset: {non_live: 0}", "subset.non_live"),
        ("[1, 2]", "holds no keys"),
        ("a: [", "cannot be read"),
        ("evaluation: 3", "`evaluation` holds no keys"),
    ],
)
def test_section_that_cannot_be_right_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "evaluation.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        evaluation_section(file, None, None, None)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name what to evaluate"),
        (["--endpoint", "http://h/v1"], "--endpoint needs --model NAME"),
        (["--weights", "nowhere.json"], "nowhere.json does not exist"),
        (["--weights", "."], "has no config.json"),
        (["--endpoint", "http://h/v1", "--model", "m", "--bfcl-env", "gone"], "--bfcl-env: "),
        (["--endpoint", "http://h/v1", "--model", "m", "--config", "gone.json"], "does not exist"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    environments = ["--bfcl-env", str(BFCL_ENV), "--trl-env", str(TRL_ENV)]
    line = ["toolgain", "evaluate", "--out", "out", *environments, *arguments]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and words in said[0]
    assert list(tmp_path.iterdir()) == []
    assert cli.commands["evaluate"]


def job(out: Path, **section: Any) -> Any:
    values = evaluation_section(None, "http://h/v1", None, 1).model_copy(update=section)
    return prepare_evaluation(out, values, None, "http://h/v1", "m", BFCL_ENV, TRL_ENV)


def test_work_lies_beside_the_results_or_inside_of_a_lone_folder(tmp_path: Path) -> None:
    inside = job(tmp_path / "results" / "evaluations" / "baseline")
    assert inside.folders(0).work.parent == tmp_path / "results" / "work" / "evaluations"
    lone = job(tmp_path / "mine")
    assert lone.folders(0).work.parent == tmp_path / "mine" / "work"
    assert lone.folders(1).work != lone.folders(0).work
    assert lone.subject == "mine"
    assert lone.size == 17


def test_a_folder_that_the_harness_would_misread_is_refused_before_any_process(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=r"which holds ' ': .*without quotes"):
        job(tmp_path / "with space" / "mine")
    assert not (tmp_path / "with space").exists()


def test_an_evaluation_counts_every_job_that_worked_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results" / "evaluations" / "baseline"
    used = {"7": 1800, "8": 3600}

    def sacct(*command: str) -> str:
        ids = command[-1].removeprefix("--jobs=").split(",")
        return "".join(f"{one}|{used[one]}|gres/gpu=8,node=1|RUNNING|n1\n" for one in ids)

    def attempt(job_id: str, canary: Any) -> None:
        monkeypatch.setenv("SLURM_JOB_ID", job_id)
        monkeypatch.setattr(evaluate, "ask_canary", canary)
        evaluate.evaluate_model(
            out,
            endpoint="http://h/v1",
            model_name="m",
            subset=1,
            allow_invalid=True,
            bfcl_env=BFCL_ENV,
            trl_env=TRL_ENV,
        )

    def stopped(*_: Any) -> Canary:
        raise ResumeLaterError("stopped")

    def unanswered(*_: Any) -> Canary:
        return Canary(answered=False, parsed_call=False, call_as_text=False, text=False)

    monkeypatch.setattr(accounting, "ask_slurm", sacct)
    with pytest.raises(ResumeLaterError):
        attempt("7", stopped)
    attempt("8", unanswered)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["slurm_jobs"] == ["7", "8"]
    assert manifest["cost"]["jobs"] == ["7", "8"]
    assert manifest["cost"]["gpu_hours"] == 12.0


def test_progress_counts_finished_items(tmp_path: Path) -> None:
    folders = HarnessFolders(tmp_path / "results" / "work" / "evaluations" / "x-r1")
    results = folders.box / "harness" / "result" / "policy"
    out = tmp_path / "results" / "evaluations" / "grpo"
    with ItemProgress(out, "grpo", "policy", 20, folders, before=10, done=2) as progress:
        results.mkdir(parents=True)
        (results / "BFCL_v3_simple_result.json").write_text("{}\n{}\n")
        first = progress.update()
        with (results / "BFCL_v3_simple_result.json").open("a") as file:
            file.write("{}\n{}\n")
        assert progress.update() > first
        folders.requests.write_text("{}\n")
        assert progress.update() > first + 2, "a request is progress too"
        (folders.box / "harness").rename(folders.output)
    written = json.loads((tmp_path / "results/progress/evaluate-grpo.json").read_text())
    assert (written["stage"], written["name"]) == ("evaluate", "grpo")
    assert (written["step"], written["total"], written["unit"]) == (14, 20, "items")
    assert written["state"] == "running"
    assert written["message"].startswith("14 of 20 items")
