"""What ends `snakemake` before any job starts: a line per finding, exit code 2, nothing written."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolgain.common.files import write_json, write_text
from toolgain.config.freeze import frozen
from toolgain.config.sections import Config
from toolgain.head import preflight, retrain_guard
from toolgain.training.trl import backend as trl

ROOT = Path(__file__).parents[2]
VALUES: dict[str, Any] = {
    "model": {"path": str(ROOT / "resources/demo-model")},
    "evaluation": {"serve": {"backend": "transformers"}},
    "training": {"backend": "trl"},
    "environments": {"bfcl": str(ROOT / ".venvs/bfcl"), "trl": str(ROOT / ".venvs/trl")},
}


def config(**changes: Any) -> Config:
    """The configuration of a run on this machine, as the Snakefile reads it."""
    return preflight.config_or_exit({**VALUES, **changes})


def plan(*jobs: Any, dryrun: bool = False, touch: bool = False, dag: bool = True) -> Any:
    """A workflow of Snakemake, on this machine; only what the checks read of it."""
    planned = SimpleNamespace(
        needrun_jobs=lambda **_: list(jobs),
        reason=lambda _: SimpleNamespace(incomplete_output=False),
    )
    return SimpleNamespace(
        dag=planned if dag else None,
        dryrun=dryrun,
        touch=touch,
        executor_plugin=None,
    )


def ended(call: Any, *arguments: Any) -> None:
    with pytest.raises(SystemExit) as end:
        call(*arguments)
    assert end.value.code == 2


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


# -- the configuration


def test_a_configuration_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(preflight.readable_or_exit, str(tmp_path / "no.yaml"))
    (line,) = lines(capsys)
    assert line.startswith(f"toolgain: config: {tmp_path}/no.yaml does not exist")
    assert "--configfile" in line
    (tmp_path / "bad.yaml").write_text("model: [")
    ended(preflight.readable_or_exit, str(tmp_path / "bad.yaml"))
    (line,) = lines(capsys)
    assert "bad.yaml" in line


def test_a_wrong_key_is_one_line_with_the_nearest_that_exists(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended(preflight.config_or_exit, {**VALUES, "trainings": {}})
    (line,) = lines(capsys)
    assert line == "toolgain: config: unknown key `trainings`; did you mean `training`?"


# -- the start


def test_with_everything_in_place_the_jobs_start_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    preflight.check_or_exit(config(), plan())
    assert lines(capsys) == []


def test_all_findings_are_said_at_once_with_the_page_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = config(model={"path": "/no/model"}, environments={"bfcl": "/no/env", "trl": "/no/env"})
    ended(preflight.check_or_exit, wrong, plan())
    *found, last = lines(capsys)
    assert [line for line in found if line.startswith("toolgain: model: ") and "/no/model" in line]
    assert [line for line in found if "/no/env" in line]
    assert all(line.endswith(")") and ".md" in line for line in found)
    assert last == f"toolgain: {len(found)} things to fix first. Nothing was started."
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["results", "logs", ".snakemake"])
def test_a_folder_of_the_run_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A link to /proc, which takes no file of anybody's, root's neither."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).symlink_to("/proc")
    (line,) = preflight.start_findings(config(), plan())
    assert line.startswith("working folder: /proc cannot be written (")


def test_each_run_is_checked_with_its_own_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = {"here": {}, "there": {"training": {"backend": "nemo_rl"}}}
    found = list(
        preflight.start_findings(config(runs=runs, comparison={"primary": "here"}), plan())
    )
    assert any(line.startswith("run there, NeMo RL: cluster.nemo_rl.root names") for line in found)
    assert not any(line.startswith("run here") for line in found)


def test_a_finished_run_is_a_finding_unless_the_files_are_only_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(retrain_guard.WISH, raising=False)
    for stage in ("model", "training/grpo"):
        write_text(retrain_guard.FROZEN / f"{stage}.json", frozen(config(), stage) + "\n")
    write_json(Path("results/runs/grpo/manifest.json"), {"planned_steps": 40, "total_steps": 40})
    job = SimpleNamespace(
        rule=SimpleNamespace(name="train_run"), wildcards=SimpleNamespace(run="grpo"), input=[]
    )
    (line,) = preflight.start_findings(config(), plan(job))
    assert line.startswith("finished run: ")
    assert "TOOLGAIN_RETRAIN=grpo" in line
    assert list(preflight.start_findings(config(), plan(job, touch=True))) == []


def test_the_checkpoints_of_every_unfinished_run_have_to_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there already is room for them; a finished run's is not."""
    monkeypatch.chdir(tmp_path)
    runs = config(runs={"a": {"seed": 1}, "b": {"seed": 2}})
    training = SimpleNamespace(
        rule=SimpleNamespace(name="train_run"), wildcards=SimpleNamespace(run="a")
    )

    def free(size: int) -> list[str]:
        monkeypatch.setattr(
            "toolgain.head.doctor.shutil.disk_usage", lambda _: SimpleNamespace(free=size)
        )
        assert not any("disk" in line for line in preflight.start_findings(runs, plan()))
        found = preflight.start_findings(runs, plan(training))
        return [line for line in found if "disk space" in line]

    size = trl.bytes_of_checkpoint(ROOT / "resources/demo-model")
    assert size > 12 * 2_600_000
    both = 2 * trl.copies_at_once(runs.training_of("a")) * size
    (line,) = free(both - 1)
    assert line.startswith("disk space: 10 checkpoints of 31.")
    assert "lower training.trl.keep_top_k" in line
    assert free(both) == []
    checkpoint = Path("results/work/training/0123456789ab/step_2/weights")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"x" * 1000)
    assert free(both - 1000) == [] and free(both - 1001) != []


# -- a dry run


def test_a_dry_run_says_the_same_and_ends_with_the_same_exit_code(tmp_path: Path) -> None:
    """In a process of its own, which the check ends at its exit."""
    program = (
        "import pathlib, test_preflight as t; wrong = t.config(model={'path': '/no/model'}); "
        "t.preflight.check_dry_run(wrong, t.plan(dryrun=True), pathlib.Path.cwd())"
    )
    here = os.pathsep.join([str(Path(__file__).parent), str(ROOT / "workflow")])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": here},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    *found, last = done.stderr.splitlines()
    assert done.returncode == 2
    assert any("/no/model" in line for line in found)
    assert last.endswith("to fix first. This plan cannot start yet.")


@pytest.mark.parametrize("workflow", [plan(), plan(dryrun=True, dag=False)])
def test_after_a_run_or_without_a_plan_a_dry_run_has_nothing_to_say(
    workflow: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preflight.check_dry_run(config(model={"path": "/no/model"}), workflow, tmp_path)
    assert lines(capsys) == []
