"""How much of the code has no type to speak of: fewer objects of anything, never more."""

import re
from pathlib import Path

CODE = Path(__file__).parents[2] / "workflow"
UNTYPED = re.compile(r"(?:dict|Mapping)\[str, Any\]|\bJson\b")
MOST = 3.8
"""Lines with an untyped object in 1,000 lines. Lower it whenever it can be."""


def test_untyped_objects_stay_few() -> None:
    lines = [
        line
        for path in CODE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    found = sum(1 for line in lines if UNTYPED.search(line))
    assert found / len(lines) * 1000 <= MOST, f"{found} lines of {len(lines)}"
