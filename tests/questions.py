"""Reads what an evaluation asked, for tests."""

import gzip
import json
from pathlib import Path
from typing import Any

from toolgain.bfcl.outcomes import QUESTIONS


def read_questions(folder: Path) -> list[dict[str, Any]]:
    """The rows of questions.jsonl.gz in an evaluation folder."""
    with gzip.open(folder / QUESTIONS, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
