"""Where this machine cannot have a vLLM for its tests, `.ci/run` goes on and knows why."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from vllm import make_environment

Usage = namedtuple("Usage", "total used free")


@pytest.mark.slow
def test_without_the_wheels_the_reason_is_one_line_and_nothing_else_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    disk_with(10**12, monkeypatch)
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    [reason] = refused(tmp_path / "vllm", capfd)
    assert reason.startswith("vLLM 0.20.0 cannot be installed here: ")
    assert "No matching distribution found" in reason


def test_without_room_on_the_disk_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    disk_with(9_900_000_000, monkeypatch)
    [reason] = refused(tmp_path / "vllm", capfd)
    assert reason.startswith("vLLM 0.20.0 needs 12 GB of disk, and ")
    assert reason.endswith(" has 9.9 free")
    assert not (tmp_path / "vllm").exists()


def disk_with(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2 * 10**12, 10**12, free))


def refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What standard output has after exit code 2."""
    with pytest.raises(SystemExit) as ended:
        make_environment.main(folder, "0.20.0")
    assert ended.value.code == 2
    return capfd.readouterr().out.splitlines()
