"""Real GRPO training runs of a tiny model: what they need, made once for all tests."""

import os
import subprocess
from pathlib import Path

import pytest
from training_place import ROOT, TRL_ENV, Place, new_place


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that answers in the right form and mostly wrongly."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "workflow"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    program = Path(__file__).with_name("tiny_model.py")
    command = [str(TRL_ENV / "bin" / "python"), str(program), str(folder)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture
def place(tmp_path: Path, tiny_model: Path) -> Place:
    """A fresh results folder."""
    return new_place(tmp_path, tiny_model)
