"""The whole chain with a training in NVIDIA's environment xlam_fc."""

from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from small_chain import ROOT, SMALL, Chain

from gym_env import GYM, needs_gym


def small(folder: Path) -> Chain:
    """The small chain with the training of config/gym.yaml, two steps of it."""
    training = yaml.safe_load((ROOT / "config/gym.yaml").read_text())["training"]
    config = deepcopy(SMALL)
    config["environments"]["gym"] = str(GYM)
    config["training"] = {**SMALL["training"], **training, "tasks": SMALL["training"]["tasks"]}
    # A call has some 50 tokens: what is cut earns nothing, and would not be trainable.
    config["training"]["trl"] = {
        **SMALL["training"]["trl"],
        "max_steps": 2,
        "max_completion_length": 96,
    }
    return Chain(folder, config)


@pytest.mark.slow
@needs_gym
def test_the_chain_rehearses_trains_in_gym_and_compares(tmp_path: Path) -> None:
    chain = small(tmp_path)
    done = chain.run("all")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    rehearsal = chain.read("runs/grpo/rehearsal.json")
    assert (rehearsal["verdict"], rehearsal["failed"]) == ("trainable", 0)
    assert rehearsal["rows"]["checked"] == 56 and rehearsal["rows"]["unplayable"] == 0
    page = (tmp_path / "results" / "report.html").read_text()
    assert "Rows that Gym can play" in page and "56 of 56 tried" in page
    manifest = chain.read("runs/grpo/manifest.json")
    assert manifest["total_steps"] == 2
    assert [step for step, _ in manifest["curves"]["validation/accuracy"]] == [0, 2]
    # The agent of xlam_fc would go on forever where a call is answered.
    assert {turns for _, turns in manifest["curves"]["train/turns"]} == {1.0}
    comparison = chain.read("comparison.json")
    assert comparison["verdict"] in {"improved", "regressed", "no_clear_change", "not_comparable"}


def test_a_missing_environment_is_named_before_any_job(tmp_path: Path) -> None:
    chain = small(tmp_path)
    chain.config["environments"]["gym"] = str(tmp_path / "nowhere")
    done = chain.run("all")
    assert done.returncode != 0
    assert "environments.gym" in done.stderr and "`make setup-gym`" in done.stderr
    assert not (tmp_path / "results").exists()
