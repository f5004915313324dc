"""One name, one thing: a reader who searches for a class finds it once."""

import ast
from collections import defaultdict
from pathlib import Path

CODE = Path(__file__).parents[2] / "workflow"


def test_a_class_name_stands_for_one_class_and_no_function_is_called_run() -> None:
    classes: dict[str, list[str]] = defaultdict(list)
    for path in CODE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            where = f"{path.relative_to(CODE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(where)
            assert not (isinstance(node, ast.FunctionDef) and node.name == "run"), where
    twice = {name: places for name, places in classes.items() if len(places) > 1}
    assert not twice
