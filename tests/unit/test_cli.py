"""The command line: its help, and the environments that its verbs use."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from toolgain.cli import cli
from toolgain.common import package

ROOT = Path(__file__).parents[2]
TOOLGAIN = Path(sys.executable).with_name("toolgain")
RUNNER = CliRunner()


def test_the_list_of_verbs_fits_80_columns_and_cuts_no_line() -> None:
    said = RUNNER.invoke(cli, ["--help"], terminal_width=80).output
    listed = said.partition("Commands:")[2]
    assert "..." not in listed
    for name, command in cli.commands.items():
        first = (command.help or "").split("\n")[0]
        assert f"  {name}" in listed and first in listed


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_every_option_of_a_verb_has_its_help(verb: str) -> None:
    said = RUNNER.invoke(cli, [verb, "--help"], terminal_width=80)
    assert said.exit_code == 0
    assert max(map(len, said.output.splitlines())) <= 80
    for option in cli.commands[verb].params:
        if isinstance(option, click.Option):
            assert option.opts[0] in said.output
            assert option.help


def test_environments_are_those_of_the_checkout_wherever_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOOLGAIN_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert package.environment("bfcl") == ROOT / ".venvs" / "bfcl"
    monkeypatch.setenv("TOOLGAIN_HOME", str(tmp_path))
    assert package.environment("trl") == tmp_path / ".venvs" / "trl"


def score(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "TOOLGAIN_HOME"}
    return subprocess.run(
        [TOOLGAIN, "score", "nothing"],
        cwd=folder,
        env={**env, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_verb_works_from_any_folder_and_names_the_environment_that_it_misses(
    tmp_path: Path,
) -> None:
    found = score(tmp_path)
    # The harness's data was found; what is missing is the folder to score.
    assert found.returncode == 2
    assert "holds no BFCL results" in found.stderr
    folder = tmp_path / "nothing" / "result" / "m"
    folder.mkdir(parents=True)
    (folder / "BFCL_v3_simple_result.json").touch()
    missing = score(tmp_path, TOOLGAIN_HOME=str(tmp_path))
    assert missing.returncode == 2
    assert f"{tmp_path}/.venvs/bfcl holds no nvidia-bfcl data" in missing.stderr
