"""What a fresh clone promises: the profiles, the generated files, the orchestrator's pins."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def snakemake(*arguments: str, python: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(python or sys.executable), "-m", "snakemake", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_slurm_is_a_link_to_the_profile() -> None:
    link = ROOT / "slurm"
    assert link.is_symlink()
    assert link.readlink() == Path("profiles/slurm")


def test_generated_files_are_in_step_with_their_sources() -> None:
    command = [sys.executable, "tools/generate.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["docs/results.md", "config/README.md"])
def test_every_key_has_its_meaning(page: str) -> None:
    rows = [line for line in (ROOT / page).read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if "| None" in row] == []


def test_parsing_the_workflow_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['snakemake']\n"
        "import toolgain.cli, toolgain.config.freeze\n"
        "import toolgain.head.preflight, toolgain.head.targets\n"
        "print([name for name in ('torch', 'transformers', 'pandas', 'numpy', 'scipy', "
        "'nemo_evaluator') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_bad_configuration_ends_with_one_line_and_exit_code_2(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("model: {path: x}\nevaluation: {alias: grpo1}\n")
    done = snakemake("-n", "all", "--configfile", str(config))
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("toolgain:")]
    assert len(lines) == 1
    assert "misreads the alias 'grpo1'" in lines[0]


def test_a_missing_model_is_said_before_any_job_starts(tmp_path: Path) -> None:
    config = tmp_path / "missing.yaml"
    config.write_text("model: {path: no/such/model}\ntraining: {backend: trl}\n")
    work = tmp_path / "work"
    work.mkdir()
    done = snakemake(
        "all", "-c1", "-s", str(ROOT / "Snakefile"), "-d", str(work), "--configfile", str(config)
    )
    assert done.returncode == 2
    assert "toolgain: model: model.path: no/such/model is not a folder" in done.stderr
    assert not (work / "results").exists()


def findings(screen: str) -> list[str]:
    """What a start, a dry run or `toolgain doctor` finds, without what each adds of its own."""
    lines = [line.removeprefix("FIX  ").removeprefix("toolgain: ") for line in screen.splitlines()]
    starts = ("working folder: ", "environment ", "model: ", "serving flags: ", "run ", "shared ")
    return [line for line in lines if line.startswith(starts)]


def test_a_start_a_dry_run_and_doctor_find_the_same_and_all_at_once(tmp_path: Path) -> None:
    """With nothing prepared: the production configuration in an empty folder with a space."""
    work = tmp_path / "my work"
    work.mkdir()
    config = ROOT / "config/config.yaml"
    words = ["-s", str(ROOT / "Snakefile"), "-d", str(work), "--configfile", str(config)]
    start, dry = snakemake("all", "-c1", *words), snakemake("-n", "all", *words)
    doctor = subprocess.run(
        [str(Path(sys.executable).with_name("toolgain")), "doctor", "--config", str(config)],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (start.returncode, dry.returncode, doctor.returncode) == (2, 2, 2), dry.stderr
    found = findings(start.stderr)
    assert len(found) >= 6, start.stderr
    assert findings(dry.stderr) == findings(doctor.stdout) == found
    text = "\n".join(found)
    for word in (
        "holds ' '",
        "make setup",
        "hf download",
        "sqsh does not exist",
        "ray.sub",
        "hf_home",
    ):
        assert word in text, text
    for line in found:
        page = line.rpartition("(")[2].rstrip(")")
        assert (ROOT / page).is_file(), line
    assert start.stderr.rstrip().endswith("Nothing was started.")
    assert dry.stderr.rstrip().endswith("This plan cannot start yet.")
    assert not list(work.glob("[!.]*"))


def test_only_a_run_with_smoke_steps_waits_for_a_smoke_training(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    config["runs"] = {"careful": {"training": {"smoke_steps": 2}}, "plain": {}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    done = snakemake("-n", "all", "-d", str(tmp_path), "--configfile", str(path))
    # The plan is shown though nothing that it needs is in this folder.
    assert done.returncode == 2, done.stderr
    assert "output: results/runs/careful/smoke.json" in done.stdout
    assert "output: results/runs/plain/smoke.json" not in done.stdout


def test_a_relative_profile_holds_where_the_command_was_given(tmp_path: Path) -> None:
    words = ["-n", "all", "-d", str(tmp_path), "--profile", "profiles/local"]
    done = snakemake(*words, "--configfile", str(ROOT / "config/demo.yaml"))
    # An empty folder lacks the model; that is said, in place of an end without a word.
    assert done.returncode == 2, done.stderr
    assert "model.path: resources/demo-model is not a folder" in done.stderr


def test_lint_has_only_the_hints_that_contributing_md_answers() -> None:
    done = snakemake("--lint")
    hints = {line[6:] for line in (done.stdout + done.stderr).splitlines() if line[:6] == "    * "}
    answered = (ROOT / "CONTRIBUTING.md").read_text()
    assert hints
    for hint in hints:
        assert hint.rstrip(":.") in " ".join(answered.split()), hint


def test_a_target_of_an_unknown_run_is_named(tmp_path: Path) -> None:
    words = ["-n", "results/evaluations/grpp/summary.json", "-d", str(tmp_path)]
    done = snakemake(*words, "--configfile", str(ROOT / "config/demo.yaml"))
    assert done.returncode != 0
    assert "there is no run 'grpp'; there is: grpo" in done.stdout + done.stderr


def install_as_conda_does(python: Path, requirements: Path) -> None:
    """By uv where there is one, which has most of it in its cache, else or if it fails by pip."""
    rest = ("install", "--quiet", "--requirement", requirements)
    ways: list[tuple[str | Path, ...]] = [(python, "-m", "pip", *rest)]
    if uv := shutil.which("uv"):
        ways.insert(0, (uv, "pip", *rest, "--python", python))
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    assert any(subprocess.run(way, cwd=ROOT, env=env, check=False).returncode == 0 for way in ways)


@pytest.mark.slow
def test_the_pip_part_of_environment_yml_gives_a_working_orchestrator(tmp_path: Path) -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pins = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n".join(pins) + "\n")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install_as_conda_does(python, requirements)
    # Whether or not somebody has run the demo in this clone.
    done = snakemake("--profile", "profiles/local", "-n", "--forceall", "all", python=python)
    assert done.returncode == 0, done.stderr
    assert "evaluate_model" in done.stdout + done.stderr
