"""What a person is told who calls Snakemake in a way that cannot work; on real Snakemake."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FILES = {
    "good.yaml": (ROOT / "config/demo.yaml").read_text(),
    "more.yaml": "report: {title: x}\n",
    "tab.yaml": "model:\n\tpath: x\n",
    "broken.yaml": "model: {path: x\nruns: {}\n",
    "text.yaml": "only words\n",
    "twice.yaml": "model:\n  path: x\n  name: y\n  path: z\n",
    "list.yaml": "model: [a, b]\nruns: [c]\nevaluation: 3\n",
    "latin.yaml": "model:\n  path: caf\u00e9\n",
    "typo.yaml": "model: {path: x}\ntrainin: {backend: trl}\n",
    "empty.yaml": "",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("messages")
    for name, text in FILES.items():
        coding = "latin-1" if name == "latin.yaml" else "utf-8"
        (folder / name).write_text(text, encoding=coding)
    for name in (".venvs", "resources"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def snakemake(
    folder: Path, *words: str, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """A dry run in `folder`, with environment variables set or, by None, taken away."""
    variables = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "all", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in variables.items() if value is not None},
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--configfile", "no.yaml"], "config: no.yaml does not exist"),
        ([], "config: config/config.yaml does not exist"),
        (["--configfile", "tab.yaml"], "config: tab.yaml, line 2: a tab where YAML takes spaces"),
        (["--configfile", "broken.yaml"], "config: broken.yaml is not YAML, line 2, column 5: "),
        (["--configfile", "text.yaml"], "config: text.yaml holds no keys"),
        (["--configfile", "empty.yaml"], "config: empty.yaml holds no keys"),
        (["--configfile", "twice.yaml"], "twice.yaml, line 4: the key `path` stands on line 2"),
        (["--configfile", "latin.yaml"], "config: latin.yaml is not UTF-8, line 2: 0xe9 begins no"),
        (["--configfile", "list.yaml"], "`model` is ['a', 'b'], where keys are expected, such as"),
        (["--configfile", "typo.yaml"], "unknown key `trainin`; did you mean `training`?"),
        (["--configfile", "good.yaml", "train"], "targets such as `all` go in front"),
        (["--configfile", "good.yaml", "results/trial.json"], "results/trial.json is no config"),
        (
            ["--configfile", "good.yaml", "--configfile=more.yaml"],
            "give all files to one: --configfile good.yaml more.yaml",
        ),
        (
            ["--configfile", "good.yaml", "--config", "training.trl.max_steps=3"],
            "write it as --config 'training={trl: {max_steps: 3}}'",
        ),
    ],
)
def test_a_start_that_cannot_work_ends_with_one_line(
    folder: Path, words: list[str], line: str
) -> None:
    done = snakemake(folder, *words)
    assert done.returncode == 2, done.stderr
    (said,) = done.stderr.strip().splitlines()
    assert said.startswith("toolgain: ") and line in said


@pytest.mark.parametrize("words", [["all"], ["-n", "all", "--cores", "2"], ["--unlock"], []])
def test_a_folder_without_a_snakefile_is_told_where_to_start(
    tmp_path: Path, words: list[str]
) -> None:
    command = [sys.executable, "-m", "snakemake", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (said,) = done.stderr.strip().splitlines()
    assert said == (
        f"toolgain: no Snakefile in {tmp_path}; start in the repository's root: cd {ROOT}"
    )
    version = [sys.executable, "-m", "snakemake", "--version"]
    assert subprocess.run(version, cwd=tmp_path, check=False).returncode == 0


def test_what_the_messages_advise_works(folder: Path) -> None:
    files = ["--configfile", "good.yaml", "more.yaml"]
    done = snakemake(folder, *files, "--config", "training={trl: {max_steps: 30}}")
    assert done.returncode == 0, done.stderr


def test_a_dry_run_for_slurm_is_checked_as_a_start_is(folder: Path, tmp_path: Path) -> None:
    """Where there is no Slurm: a PATH without its commands is as good."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "sh", "which", "git", "env", "uname"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    path = f"{Path(sys.executable).parent}:{tools}"
    profile = ["--profile", str(ROOT / "profiles/slurm"), "--configfile", "good.yaml"]
    dry = snakemake(folder, *profile, PATH=path)
    assert dry.returncode == 2
    assert "toolgain: Slurm: no Slurm here" in dry.stderr
    # Without Slurm nobody is asked for what a job would get.
    assert "mem_mb=4000" in dry.stdout
    profile[1] = str(ROOT / "profiles/local")
    local = snakemake(folder, *profile)
    assert local.returncode == 0, local.stderr
    assert not {"mem_mb", "gres", "runtime"} & set(re.findall(r"\w+(?==)", local.stdout))


@pytest.mark.parametrize("home", [None, "/proc/no-home"], ids=["missing", "not-writable"])
def test_a_home_that_takes_no_cache_is_no_obstacle(folder: Path, home: str | None) -> None:
    words = ["--configfile", "good.yaml"]
    done = snakemake(folder, *words, HOME=home, XDG_CACHE_HOME=None)
    assert done.returncode == 0, done.stderr
    if home is not None:
        assert (folder / ".snakemake/cache").is_dir()
