"""A table of trainers and one of servers map a name to its code; nothing else asks for names."""

import re
from pathlib import Path
from types import ModuleType
from typing import get_args

from toolgain.config.sections import SERVERS, TRAINERS, Serve, TrainingSection
from toolgain.serving import server
from toolgain.training import backend

CODE = Path(__file__).parents[2] / "workflow" / "toolgain"
ASKED = re.compile(r"(?:training|section|serve|config|job)\w*\.backend (?:==|!=|in|not in) ")


def test_every_trainer_has_a_module_with_all_functions_and_a_section_of_its_name() -> None:
    assert set(backend.BACKENDS) == TRAINERS
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


def test_no_code_compares_a_backends_name() -> None:
    found = [
        f"{path.relative_to(CODE)}:{number}"
        for path in CODE.rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if ASKED.search(line)
    ]
    assert not found
