"""What the training program noted of each checkpoint that it wrote."""

import json
from pathlib import Path
from typing import Any


def read_saves(folder: Path) -> list[dict[str, Any]]:
    """What the program noted about each checkpoint it wrote; a step saved twice counts once."""
    path = folder / "saves.jsonl"
    saves: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            save = json.loads(line)
        except ValueError:
            continue
        saves[save["step"]] = save
    return list(saves.values())


def validation_items(path: Path) -> int:
    """Number of validation tasks."""
    with path.open(encoding="utf-8") as file:
        return sum(1 for line in file if line.strip())
