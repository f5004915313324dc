"""What the training program noted of each checkpoint that it wrote."""

import json
from pathlib import Path
from typing import Any

from toolgain.common.files import opened_text, read_text


def read_saves(folder: Path) -> list[dict[str, Any]]:
    """What the program noted about each checkpoint it wrote; a step saved twice counts once."""
    path = folder / "saves.jsonl"
    saves: dict[int, dict[str, Any]] = {}
    for line in read_text(path).splitlines() if path.is_file() else []:
        try:
            save = json.loads(line)
        except ValueError:
            continue
        saves[save["step"]] = save
    return list(saves.values())


def validation_items(path: Path) -> int:
    """Number of validation tasks."""
    with opened_text(path) as file:
        return sum(1 for line in file if line.strip())
