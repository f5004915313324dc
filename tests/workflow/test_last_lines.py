"""The last lines of the screen after a stage failed on this machine; on real Snakemake."""

import subprocess
import sys
from pathlib import Path

from small_chain import Chain


def test_the_screen_and_the_status_end_with_the_stage_s_own_words(tmp_path: Path) -> None:
    """An environment that has a Python and nothing of the harness."""
    chain = Chain(tmp_path)
    python = tmp_path / "empty/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    chain.config["environments"]["bfcl"] = str(tmp_path / "empty")

    done = chain.run("train")

    assert done.returncode == 1, done.stderr[-3000:]
    said = (tmp_path / "logs/tasks/grpo.log").read_text().splitlines()
    cause = next(line for line in said if line.startswith("toolgain: "))
    # Paths are seen from the working folder.
    words = " ".join(cause.removeprefix("toolgain: ").replace(f"{tmp_path}/", "").split())
    block = done.stderr.rpartition("toolgain: 1 stage failed.")[2]
    assert words in " ".join(block.split())
    assert "  tasks grpo" in block and "log:  logs/tasks/grpo.log" in block
    assert block.rstrip().splitlines()[-1].startswith("  start again: snakemake ")
    status = subprocess.run(
        [str(Path(sys.executable).with_name("toolgain")), "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert words in " ".join(status.stdout.split())
    assert max(map(len, status.stdout.splitlines())) <= max(80, len(str(tmp_path)) + 60)
