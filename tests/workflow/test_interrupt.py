"""Ctrl-C at a terminal, which tells all processes at once: once and again; on real Snakemake."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_chain import Chain

pytestmark = pytest.mark.slow


def interrupted(chain: Chain, target: str, reached: Callable[[], bool], times: int) -> str:
    """The screen of a run that was interrupted so often once `reached`."""
    process = chain.start(target)
    end = time.monotonic() + 300
    while not reached() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
    assert reached(), screen(chain)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.3)
    assert process.wait(120) == 1, screen(chain)
    return screen(chain)


def screen(chain: Chain) -> str:
    return (chain.folder / "snakemake.log").read_text()


def step_of(chain: Chain) -> int:
    try:
        text = (chain.folder / "results/progress/train-grpo.json").read_text()
        return int(json.loads(text)["step"])
    except (OSError, ValueError):
        return 0


def long_training(folder: Path) -> Chain:
    chain = Chain(folder)
    chain.config["training"]["trl"] |= {"max_steps": 400, "val_period": 400, "save_period": 400}
    return chain


def test_a_training_saves_after_ctrl_c_and_the_screen_ends_with_what_to_do(tmp_path: Path) -> None:
    chain = long_training(tmp_path)
    said = interrupted(chain, "train", lambda: step_of(chain) > 0, times=1)
    assert list(tmp_path.glob("results/work/training/*/step_*/training_info.json"))
    assert "with everything saved; run the same command again to resume" in said
    # What the stage said last is in its log too: nothing of the run may end before the stage.
    assert "with everything saved" in (tmp_path / "logs/train/grpo.log").read_text()
    *_, cause, todo = said.rstrip().splitlines()
    assert cause.startswith("toolgain: ended by Ctrl-C; finished work is kept")
    assert todo.startswith("  start again: snakemake ") and "Traceback" not in said


def test_a_second_ctrl_c_ends_a_training_at_once_and_tears_nothing(tmp_path: Path) -> None:
    chain = long_training(tmp_path)
    said = interrupted(chain, "train", lambda: step_of(chain) > 0, times=3)
    assert "toolgain: it is ending" in said
    assert "Traceback" not in said and "RuntimeError" not in said
    assert said.rstrip().splitlines()[-2].startswith("toolgain: ended by Ctrl-C")
    # No lock stays: the same command may start at once.
    assert chain.run("-n", "train").returncode == 0
