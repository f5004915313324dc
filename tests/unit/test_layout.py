"""The rooms of the package: every module lies in one, and every room says what it is for."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import toolgain

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow" / "toolgain"
CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
ROOMS = {
    name.strip()
    for layer in CONTRACT["contracts"][0]["layers"]
    for name in layer.replace(":", "|").split("|")
} - {"cli"}
"""The rooms that `lint-imports` keeps in order (pyproject.toml)."""
INSIDE = {
    "config/sections",
    "training/nemo_rl",
    "training/store",
    "training/trl",
    "tasks/generated",
}
"""Rooms inside a room."""


def documentation(module: Path) -> str:
    return ast.get_docstring(ast.parse(module.read_text())) or ""


def test_every_module_lies_in_a_room() -> None:
    outside = {
        str(module.relative_to(PACKAGE))
        for module in PACKAGE.rglob("*.py")
        if str(module.parent.relative_to(PACKAGE)) not in ROOMS | INSIDE
    }
    assert outside == {"__init__.py", "cli.py"}


@pytest.mark.parametrize("room", sorted(ROOMS | INSIDE))
def test_a_room_says_what_it_is_for(room: str) -> None:
    said = documentation(PACKAGE / room / "__init__.py")
    assert said.endswith(".")
    if room in ROOMS - {"common"}:
        assert "In:" in said and "Out:" in said, "what comes in and what goes out"


def test_every_module_says_what_it_holds() -> None:
    silent = [str(path) for path in PACKAGE.rglob("*.py") if not documentation(path)]
    assert not silent


def test_the_guide_for_contributors_names_every_room() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    assert not [room for room in sorted(ROOMS) if f"`{room}`" not in guide]


def test_every_path_that_the_guide_names_exists() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`([a-z_]+/[a-z_/]+(?:\.[a-z]+|/))`", guide))
    assert len(named) > 10
    assert not [path for path in named if not any((top / path).exists() for top in (PACKAGE, ROOT))]


def test_no_two_files_of_tests_have_one_name() -> None:
    """Outside a package the second could not be imported in the same session."""
    alone = [
        path.name
        for path in (ROOT / "tests").rglob("test_*.py")
        if not (path.parent / "__init__.py").exists()
    ]
    assert sorted(alone) == sorted(set(alone))


def test_one_version_is_named_everywhere() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert named == toolgain.__version__ == citation["version"]
    assert f"## {named}" in (ROOT / "CHANGELOG.md").read_text()
