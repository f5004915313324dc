"""A results folder in which the train stage can be run on a tiny model."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolgain.common.files import digest, file_digest, write_json, write_jsonl
from toolgain.config.sections import TrainingSection
from toolgain.models.base import files_of
from toolgain.tasks import gym_rows
from toolgain.tasks.generated.generate import generate

ROOT = Path(__file__).parents[2]
TRL_ENV = ROOT / ".venvs" / "trl"
TOOLGAIN = Path(sys.executable).with_name("toolgain")

SETTINGS: dict[str, Any] = {
    "max_steps": 12,
    "num_prompts_per_step": 4,
    "num_generations": 4,
    "learning_rate": 1e-2,
    "max_completion_length": 24,
    "val_period": 4,
    "save_period": 4,
    "keep_top_k": 1,
    "bf16": False,
    "threads": 1,
}


@dataclass
class Place:
    """A results folder with a frozen section, the tiny model and tasks."""

    folder: Path
    section: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    """Keys of the training section that say where the tasks are played."""

    @property
    def manifest(self) -> Path:
        return self.folder / "results" / "runs" / "grpo" / "manifest.json"

    @property
    def checkpoints(self) -> Path:
        """The one checkpoint folder (not the smoke training's)."""
        work = self.folder / "results" / "work" / "training"
        (found,) = (path for path in work.iterdir() if not path.name.endswith("-smoke"))
        return found

    def configure(self, smoke_steps: int = 2, **settings: Any) -> "Place":
        section = TrainingSection.model_validate(
            {
                "backend": "trl",
                "smoke_steps": smoke_steps,
                "trl": SETTINGS | settings,
                **self.environment,
            }
        )
        self.section = section.model_dump()
        write_json(self.folder / "results" / "config.json", self.section)
        return self

    def command(self, *more: str, out: Path | None = None) -> list[str]:
        results = self.folder / "results"
        return [
            *(str(TOOLGAIN), "train", "--run", "grpo"),
            *("--config", str(results / "config.json")),
            *("--weights", str(results / "model.json")),
            *("--tasks", str(results / "tasks" / "grpo" / "tasks.json")),
            *("--out", str(out or self.manifest)),
            *("--trl-env", str(TRL_ENV)),
            *more,
        ]

    def train(self, *more: str, out: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*more, out=out), text=True, capture_output=True, check=False
        )

    def start(self, *more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command(*more), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def read(self) -> Any:
        return json.loads(self.manifest.read_text())


def new_place(folder: Path, model: Path, **environment: Any) -> Place:
    results = folder / "results"
    files = files_of(model)
    write_json(
        results / "model.json", {"path": str(model), "digest": digest(files), "name": "tiny"}
    )
    tasks = results / "tasks" / "grpo"
    for split, number in (("train", 40), ("validation", 12)):
        made = generate(5, number, split, 0.5, 500)
        write_jsonl(tasks / f"{split}.jsonl", [task.as_json() for task in made])
        rows = [gym_rows.row(index, task) for index, task in enumerate(made)]
        write_jsonl(tasks / gym_rows.FOLDER / f"{split}.jsonl", rows)
    sums = {split: file_digest(tasks / f"{split}.jsonl") for split in ("train", "validation")}
    write_json(tasks / "tasks.json", {"train": 40, "validation": 12, "sha256": sums})
    return Place(folder, environment=environment).configure()
