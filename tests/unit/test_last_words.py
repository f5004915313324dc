"""What is said of a job that ended badly."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolgain.common.failures import Failure, recorded, said_in
from toolgain.head.last_words import failure_block, invalid_evaluations
from toolgain.slurm.endings import Ending, Refusal


def job(folder: Path, rule: str = "train_run", log: str = "") -> Any:
    """A job as Snakemake's scheduler holds it, with what its stage wrote into its log."""
    path = folder / "stage.log"
    path.write_text(log)
    return SimpleNamespace(
        rule=SimpleNamespace(name=rule), wildcards_dict={"run": "grpo"}, log=[str(path)]
    )


@pytest.mark.parametrize(
    ("state", "rule", "advice"),
    [
        ("OUT_OF_MEMORY", "train_run", "raise cluster.memory_gb_per_node, then start again"),
        ("OUT_OF_MEMORY", "evaluate_model", "raise cluster.evaluate_memory_gb"),
        ("OUT_OF_MEMORY", "export", "raise cluster.export_memory_gb"),
        ("TIMEOUT", "train_run", "it resumes; cluster.train_time is the limit of one job"),
        ("CANCELLED by 0", "train_run", "start again; finished work is kept and resumed"),
        ("NODE_FAIL", "train_run", "start again; finished work is kept and resumed"),
    ],
)
def test_the_next_step_names_the_key(tmp_path: Path, state: str, rule: str, advice: str) -> None:
    ending = Ending("12", state, tmp_path / "12.log", None)
    text = "\n".join(failure_block([(job(tmp_path, rule, "some text\n"), ending)], 100))
    assert advice in text
    assert f"{rule} grpo (Slurm job 12, {state.split()[0]})" in text
    assert ending.sentence in " ".join(text.split()), (
        "Slurm's word is the cause where the stage said nothing"
    )


def test_the_stage_s_own_line_is_the_cause(tmp_path: Path) -> None:
    log = (
        "toolgain: an older attempt.\n12:00 x\ntoolgain: the disk is full; free some.\nTraceback\n"
    )
    text = "\n".join(failure_block([(job(tmp_path, log=log), None)], 80))
    assert "    the disk is full; free some.\n    log:  " in text
    assert "older" not in text


def test_an_earlier_attempt_s_line_is_no_cause_of_this_one(tmp_path: Path) -> None:
    """A job that was cancelled, or never taken, before its stage began its log again."""
    stage = job(tmp_path, log="toolgain: the disk is full; free some.\n")
    cancelled = Ending("12", "CANCELLED by 0", tmp_path / "12.log", None)
    refused = Refusal("Invalid qos specification")
    for ending in (cancelled, refused):
        text = "\n".join(failure_block([(stage, ending)], 80))
        assert "disk" not in text, text
    assert "train_run grpo (not submitted)" in text
    assert "sbatch refuses the job: Invalid qos specification." in text
    assert "    next: name a QOS that you may use" in text
    assert "log:" not in text


def test_paths_are_seen_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = f"toolgain: the server was not ready; see {tmp_path}/results/work/server.log.\n"
    text = "\n".join(failure_block([(job(tmp_path, log=log), None)], 80))
    assert "see results/work/server.log." in text and "log:  stage.log" in text


def test_without_a_line_of_its_own_the_end_of_the_log_is_shown(tmp_path: Path) -> None:
    log = "".join(f"line {number}\n" for number in range(40)) + "Segmentation fault\n"
    text = "\n".join(failure_block([(job(tmp_path, log=log), None)], 80))
    assert "| Segmentation fault" in text and "line 36" in text and "line 30" not in text


def test_the_block_fits_the_screen(tmp_path: Path) -> None:
    log = "toolgain: " + "a long cause of many words " * 20 + "\n"
    for columns in (60, 80, 100):
        found = list(failure_block([(job(tmp_path, log=log), None)], columns))[:-1]
        assert max(len(line) for line in found if "stage.log" not in line) <= columns


def test_what_a_job_left_behind_is_read_or_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "7.json").write_text('{"exit_code": 2, "message": "x"}')
    (tmp_path / "8.json").write_text("[]")
    assert recorded("7", tmp_path) == Failure(2, "x")
    assert recorded("8", tmp_path) is None
    assert recorded("9", tmp_path) is None
    assert said_in(tmp_path / "none.log") is None


def test_an_evaluation_that_does_not_count_is_said_when_it_ends(tmp_path: Path) -> None:
    outputs = [tmp_path / "baseline" / name for name in ("summary.json", "items.csv")]
    outputs[0].parent.mkdir()
    outputs[0].write_text('{"valid": false, "reasons": ["all 17 answers were empty"]}')
    (line,) = invalid_evaluations(outputs)
    assert "the evaluation of baseline is not valid" in line
    assert "all 17 answers were empty" in line
    outputs[0].write_text('{"valid": true, "reasons": []}')
    assert not list(invalid_evaluations(outputs))
    outputs[0].unlink()
    assert not list(invalid_evaluations(outputs))
