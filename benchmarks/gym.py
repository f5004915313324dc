"""Rollouts per second in NeMo Gym and with toolgain's own tasks, and what sharing prompts saves.

    .venv/bin/python benchmarks/gym.py [--model resources/demo-model] [--steps 3] [--only NAME]

Trains a few steps of each kind with `toolgain train` and reads its curves: the same generated tasks
with toolgain's own reward and in Gym's xlam_fc; and Workplace Assistant's example rows, whose
prompts have 3,700 tokens, with each prompt computed once for its rollouts (`share_prompts`) and
once per rollout. The first step of each is left out. Needs `make setup-gym`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from toolgain.common import package
from toolgain.common.files import digest, write_json, write_jsonl
from toolgain.config.sections import TasksSection, TrainingSection
from toolgain.models.base import files_of
from toolgain.tasks.stage import make_tasks
from toolgain.training.nemo_rl.gym import copy_rows

XLAM = "resources_servers/xlam_fc/configs/xlam_fc.yaml"
WORKPLACE = "resources_servers/workplace_assistant/configs/workplace_assistant.yaml"
GYM = package.environment("gym")
SHORT = {"num_prompts_per_step": 8, "num_generations": 8, "max_completion_length": 96}
LONG = {"num_prompts_per_step": 2, "num_generations": 4, "max_completion_length": 64}

KINDS: dict[str, dict[str, Any]] = {
    "generated tasks": {"trl": SHORT},
    "generated tasks in xlam_fc": {
        "trl": SHORT,
        "environment": "nemo_gym",
        "gym": {"config_paths": [XLAM], "max_turns": 1},
    },
    "workplace, prompts shared": {
        "trl": LONG,
        "environment": "nemo_gym",
        "gym": {"config_paths": [WORKPLACE], "max_turns": 4},
    },
    "workplace, prompts not shared": {
        "trl": {**LONG, "share_prompts": False},
        "environment": "nemo_gym",
        "gym": {"config_paths": [WORKPLACE], "max_turns": 4},
    },
}


def workplace_rows(out: Path) -> dict[str, str]:
    """The example rows that Gym ships, as training and validation rows; the keys that name them."""
    (data,) = GYM.glob(
        "lib/python3*/site-packages/resources_servers/workplace_assistant/data/example.jsonl"
    )
    agent = {"type": "responses_api_agents", "name": "workplace_assistant_simple_agent"}
    rows = [{**json.loads(line), "agent_ref": agent} for line in data.read_text().splitlines()]
    write_jsonl(out / "rows.jsonl", rows)
    write_jsonl(out / "one.jsonl", rows[:1])
    files = {"train": out / "rows.jsonl", "validation": out / "one.jsonl"}
    copy_rows(files, TasksSection(), out / "tasks", None)
    return {f"{split}_file": str(path) for split, path in files.items()}


def measure(model: Path, steps: int, changes: dict[str, Any], threads: int) -> dict[str, float]:
    """Means over the steps after the first: seconds of a step and of its rollouts, their size."""
    fixed = {"max_steps": steps, "val_period": steps, "save_period": steps, "threads": threads}
    chosen = {"backend": "trl", **changes, "trl": {**changes["trl"], **fixed}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "results"
        if WORKPLACE in changes.get("gym", {}).get("config_paths", []):
            chosen["tasks"] = workplace_rows(folder)
        else:
            make_tasks(TasksSection(train=200, validation=8), folder / "tasks", None)
        section = TrainingSection.model_validate(chosen)
        files = files_of(model)
        write_json(folder / "model.json", {"path": str(model), "digest": digest(files)})
        write_json(folder / "config.json", section.model_dump())
        command = [
            *(str(Path(sys.executable).with_name("toolgain")), "train", "--run", "bench"),
            *("--config", str(folder / "config.json"), "--weights", str(folder / "model.json")),
            *("--tasks", str(folder / "tasks" / "tasks.json")),
            *("--out", str(folder / "runs" / "bench" / "manifest.json")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        curves = json.loads((folder / "runs" / "bench" / "manifest.json").read_text())["curves"]
    means = {
        name: fmean(value for step, value in curves[f"train/{name}"] if step > 1)
        for name in ("step_time", "rollout_time", "turns", "completion_length")
    }
    rollouts = section.trl.rollouts_per_step
    means["rollouts"] = rollouts
    means["rollouts_per_second"] = rollouts / means["rollout_time"]
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("resources/demo-model"))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--only", help="a part of the name of what is measured")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {options.threads} threads")
    for name, changes in KINDS.items():
        if options.only and options.only not in name:
            continue
        found = measure(options.model.absolute(), options.steps, changes, options.threads)
        print(
            f"{name}: {found['rollouts']:.0f} rollouts of {found['turns']:.1f} answers and "
            f"{found['completion_length']:.0f} sampled tokens, {found['rollouts_per_second']:.1f} "
            f"a second; a step {found['step_time']:.1f} s, of which rollouts "
            f"{found['rollout_time']:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
