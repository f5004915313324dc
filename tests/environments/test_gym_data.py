"""Rows that Gym's own command prepares are the rows that toolgain trains on."""

import subprocess
from pathlib import Path

import pytest

from gym_env import GYM, needs_gym
from toolgain.common.errors import UserError
from toolgain.config.sections import ClusterSection, TrainingSection
from toolgain.training.trl import backend

WORKPLACE = "resources_servers/workplace_assistant/configs/workplace_assistant.yaml"

pytestmark = [
    pytest.mark.slow,
    needs_gym,
]


def section(train: Path, validation: Path) -> TrainingSection:
    return TrainingSection.model_validate(
        {
            "backend": "trl",
            "environment": "nemo_gym",
            "tasks": {"train_file": str(train), "validation_file": str(validation)},
            "gym": {"config_paths": [WORKPLACE]},
        }
    )


def test_collated_rows_are_taken_and_raw_ones_are_not(tmp_path: Path) -> None:
    command = [str((GYM / "bin" / "gym").absolute()), "dataset", "collate", "--config", WORKPLACE]
    command += ["--mode", "example_validation", "--output-dir", str(tmp_path / "data")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    rows = tmp_path / "data" / "example.jsonl"

    out = tmp_path / "tasks"
    # Rows of generated tasks, from a run before.
    (out / "gym").mkdir(parents=True)
    backend.make_tasks(section(rows, rows), ClusterSection(), out, None)
    assert (out / "train.jsonl").read_bytes() == rows.read_bytes()
    assert "workplace_assistant_simple_agent" in (out / "tasks.json").read_text()
    assert not (out / "gym").exists()

    (raw,) = GYM.glob(
        "lib/python3*/site-packages/resources_servers/workplace_assistant/data/example.jsonl"
    )
    with pytest.raises(UserError, match="line 1, has no agent_ref"):
        backend.make_tasks(section(raw, raw), ClusterSection(), tmp_path / "other", None)
