"""A table of trainers and one of servers map a name to its code; nothing else asks for names."""

import ast
from pathlib import Path
from types import ModuleType
from typing import get_args

from toolgain.config.sections import SERVERS, TRAINERS, Serve, TrainingSection
from toolgain.serving import server
from toolgain.training import backend

CODE = Path(__file__).parents[2] / "workflow" / "toolgain"


def test_every_trainer_has_a_module_with_all_functions_and_a_section_of_its_name() -> None:
    assert set(backend.BACKENDS) == set(TRAINERS)
    values = TrainingSection.model_fields["backend"].annotation
    assert set(TRAINERS) == set(get_args(values))
    wanted = [name for name in vars(backend.Trainer) if not name.startswith("_")]
    wanted += list(backend.Trainer.__annotations__)
    for name in TRAINERS:
        section = TrainingSection(backend=name)
        module = backend.trainer(section)
        assert isinstance(module, ModuleType)
        assert [missing for missing in wanted if not hasattr(module, missing)] == []
        assert section.settings is getattr(section, name)


def test_every_server_that_is_ours_can_be_started() -> None:
    assert set(SERVERS) == set(get_args(Serve.model_fields["backend"].annotation))
    assert set(server.BACKENDS) == {name for name, facts in SERVERS.items() if facts.ours}


NAMES = {*TRAINERS, *SERVERS} - {"endpoint"}
TABLES = {"training/backend.py", "serving/server.py"}


def decides(node: ast.AST) -> bool:
    """Whether it compares with a backend's name, or is a table of backends."""
    if isinstance(node, ast.Compare):
        parts = [one for side in (node.left, *node.comparators) for one in ast.walk(side)]
    elif isinstance(node, ast.Dict):
        parts = [key for key in node.keys if key]
        if not {key.value for key in parts if isinstance(key, ast.Constant)} <= NAMES:
            return False
    else:
        return False
    return any(isinstance(part, ast.Constant) and part.value in NAMES for part in parts)


def test_no_code_decides_by_a_backends_name() -> None:
    """But the tables that map it to code, and the configuration, where it is read."""
    found = [
        f"{name}:{node.lineno}"
        for path in CODE.rglob("*.py")
        if not (name := path.relative_to(CODE).as_posix()).startswith("config/sections/")
        and name not in TABLES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.expr) and decides(node)
    ]
    assert not found
