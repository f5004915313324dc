"""What a Snakemake was called for, by its command line."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Loading it adds to the module path.
import snakemake.cli  # noqa: F401

from toolgain.common.errors import UserError
from toolgain.head import command_line
from toolgain.head.command_line import check_words, on_slurm, options


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    on_slurm.cache_clear()
    yield
    on_slurm.cache_clear()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("all --cores 2", False),
        ("all -n --cores 2", False),
        ("all --executor toolgain-slurm --jobs 4", True),
        ("all -n --executor slurm --jobs 4", True),
        # The job's own Snakemake, and the one that it starts for the rule's command.
        ("--target-jobs train_run:run=a --executor slurm-jobstep --jobs 1 --mode remote", True),
        ("--target-jobs train_run:run=a --cores all --mode remote", True),
        # A rule of Python on one machine is a Snakemake of its own too.
        ("--target-jobs select:run=a --cores all --mode subprocess", False),
    ],
)
def test_a_job_on_slurm_asks_for_what_its_workflow_asked_for(
    words: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["snakemake", *words.split()])
    assert on_slurm() is expected


def test_another_program_is_not_on_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["toolgain", "status"])
    assert on_slurm() is False


def test_a_profile_that_is_not_here_names_the_folder_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setattr(command_line, "STARTED_IN", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"--profile slurm: .*cd {root}$"):
        check_words(["--profile", "slurm", "all"])
    monkeypatch.setattr(command_line, "STARTED_IN", root)
    monkeypatch.chdir(root)
    with pytest.raises(UserError, match="there are profiles/local, profiles/slurm"):
        check_words(["all", "--profile=sulrm"])
    for name in ("slurm", "profiles/local", "none", str(root / "profiles/slurm/config.yaml")):
        check_words(["--profile", name, "all"])
    (tmp_path / "settings/snakemake/mine").mkdir(parents=True)
    check_words(["--profile", "mine", "all"])


def test_every_command_that_the_documentation_shows_names_its_targets_first() -> None:
    """Snakemake takes every word behind --configfile for a file."""
    root = Path(__file__).parents[2]
    folders = ("", "docs", "config", "config/recipes", "profiles", "profiles/local")
    texts = [path for name in folders for path in (root / name).glob("*.*") if path.is_file()]
    shown = [
        (path.name, words)
        for path in texts
        if path.suffix in (".md", ".yaml")
        for words in re.findall(r"snakemake ([^`\n#]*--configfile [^`\n#]*)", path.read_text())
    ]
    assert len(shown) > 8
    for name, words in shown:
        files = next(
            values for option, values in options(words.split()) if option == "--configfile"
        )
        wrong = [word for word in files if not word.endswith(".yaml")]
        assert not wrong, f"{name}: {words}"
