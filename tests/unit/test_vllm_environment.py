"""Where this machine cannot have a vLLM for its tests, `.ci/run` goes on and knows why."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_without_the_wheels_the_reason_is_one_line_and_nothing_else_is_wrong(
    tmp_path: Path,
) -> None:
    around = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "UV_OFFLINE": "1"}
    around |= {"UV_CACHE_DIR": str(tmp_path / "cache"), "PIP_CONFIG_FILE": os.devnull}
    done = made(tmp_path / "vllm", around)
    assert done.returncode == 2, done.stderr
    [reason] = done.stdout.splitlines()
    assert reason.startswith("vLLM 0.20.0 cannot be installed here: ")
    assert "No matching distribution found" in reason


def test_without_room_on_the_disk_nothing_is_begun(tmp_path: Path) -> None:
    # What the script needs is more than any disk has.
    script = (ROOT / "tests/vllm/make_environment.py").read_text()
    (tmp_path / "vllm.py").write_text(script.replace("NEEDED_GB = 12", "NEEDED_GB = 10**9"))
    done = made(tmp_path / "vllm", {}, tmp_path / "vllm.py")
    assert done.returncode == 2 and "needs 1000000000 GB of disk" in done.stdout
    assert not (tmp_path / "vllm").exists()


def made(
    folder: Path, around: dict[str, str], script: Path = ROOT / "tests/vllm/make_environment.py"
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, script, folder, "0.20.0"],
        env=os.environ | around,
        capture_output=True,
        text=True,
        check=False,
    )
