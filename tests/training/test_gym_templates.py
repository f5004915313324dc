"""Rollouts of several turns by the chat templates of several families."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from training_place import ROOT, TRL_ENV

pytestmark = pytest.mark.slow


def test_sampled_tokens_stay_as_they_are_whatever_the_template_writes_of_them() -> None:
    """Twenty random rollouts with each template: those that TRL ships, Qwen3's and Llama's among
    them, which write earlier answers differently from how they were sampled."""
    paths = [ROOT / "workflow", ROOT / "tests" / "unit"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    program = Path(__file__).with_name("gym_turns.py")
    output = subprocess.run(
        [str(TRL_ENV / "bin" / "python"), str(program)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = json.loads(output.splitlines()[-1])
    assert {"qwen3", "llama3_1", "nemotron_3_nano", "mistral"} <= set(found)
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
