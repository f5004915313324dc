"""One name, one thing: a reader who searches for a class or a function finds it once."""

import ast
from collections import defaultdict
from pathlib import Path

CODE = Path(__file__).parents[2] / "workflow"


ALIKE = (
    "toolgain/cli.py",
    "toolgain/training/trl/backend.py",
    "toolgain/training/nemo_rl/backend.py",
)
"""The verbs are called as their stages are, and the trainers keep one contract."""


def test_a_name_stands_for_one_class_or_one_function() -> None:
    named: dict[str, list[str]] = defaultdict(list)
    for path in CODE.rglob("*.py"):
        where = str(path.relative_to(CODE))
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            function = isinstance(node, ast.FunctionDef) and where not in ALIKE
            if (function or isinstance(node, ast.ClassDef)) and not node.name.startswith("_"):
                named[node.name].append(f"{where}:{node.lineno}")
    assert not {name: places for name, places in named.items() if len(places) > 1}
    assert "run" not in named, "says nothing: say what is run"
