"""Every configuration key that a text of the project names exists: messages, help, docs, pages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from toolgain.config.sections import Config

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow" / "toolgain"
TEXTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("config/**/*.md")),
    *sorted(ROOT.glob("profiles/*.md")),
    *sorted(PACKAGE.glob("report/templates/*.j2")),
]

FILES = ("json", "jsonl", "html", "md", "csv", "yaml", "yml", "toml", "bin", "tmp", "gz", "sub")
FILES += ("safetensors", "py", "smk", "rst", "tsv", "txt", "log", "css", "js", "j2")
"""What follows the dot in the name of a file, such as `comparison.json`."""

OF_NEMO_RL = {"cluster.num_nodes", "cluster.gpus_per_node"}
"""Keys of NeMo RL's own configuration whose section is called like one of ours."""


def sections(model: type[BaseModel] = Config) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section by its name: `cluster`, `nemo_rl` (three of them), `serve`, ..."""
    for name, field in model.model_fields.items():
        for section in section_types(field.annotation):
            yield name, section
            yield from sections(section)


def section_types(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from section_types(part)


SECTIONS: dict[str, list[type[BaseModel]]] = {}
for _name, _section in sections():
    SECTIONS.setdefault(_name, []).append(_section)
NAMED = re.compile(rf"(?<![\w./*-])(?:{'|'.join(SECTIONS)})(?:\.[a-z]\w*)+(?![\w/(*-])", re.ASCII)


def exists(key: str) -> bool:
    first, *rest = key.split(".")
    return any(leads_somewhere(section, rest) for section in SECTIONS[first])


def leads_somewhere(section: type[BaseModel], names: list[str]) -> bool:
    if not names or (section is SECTIONS["runs"][0] and len(names) == 1):
        return True
    if section is SECTIONS["runs"][0] and names[0] not in section.model_fields:
        # The name of a run stands between `runs` and its keys.
        names = names[1:]
    field = section.model_fields.get(names[0])
    if field is None:
        return False
    deeper = list(section_types(field.annotation))
    # A run's `training` overrides the section of that name; a dictionary takes any key.
    if section is SECTIONS["runs"][0] and names[0] == "training":
        deeper = SECTIONS["training"][:1]
    if not deeper:
        return len(names) == 1 or "dict" in str(field.annotation)
    return any(leads_somewhere(one, names[1:]) for one in deeper)


def keys_in(text: str) -> Iterator[str]:
    for found in NAMED.finditer(text):
        key = found[0]
        if key.rpartition(".")[2] not in FILES and key not in OF_NEMO_RL:
            yield key


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def messages(module: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module with their lines, the parts of f-strings too; no docstrings."""
    tree = ast.parse(module.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, DOCUMENTED) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in docstrings:
            yield node.lineno, text


def read(page: Path) -> str:
    """The text of a page; of a template, what it writes itself."""
    return re.sub(r"{[{%].*?[%}]}", "", page.read_text(), flags=re.DOTALL)


def test_the_search_finds_keys_and_knows_wrong_ones() -> None:
    text = "cluster.runtime; raise training.nemo_rl.val_period or runs.a.training.seed (model.json)"
    keys = ["cluster.runtime", "training.nemo_rl.val_period", "runs.a.training.seed"]
    assert list(keys_in(text)) == keys
    assert [key for key in keys if not exists(key)] == ["cluster.runtime"]
    assert not exists("cluster.nemo_rl.no_such_key") and not exists("nemo_rl.no_such_key")
    assert exists("nemo_rl.setup_minutes") and exists("evaluation.serve.backend")


def test_every_key_that_a_message_names_exists() -> None:
    wrong = [
        f"{module.relative_to(ROOT)}:{line}: {key}"
        for module in sorted(PACKAGE.rglob("*.py"))
        for line, text in messages(module)
        for key in keys_in(text)
        if not exists(key)
    ]
    assert not wrong


def test_every_key_that_a_page_names_exists() -> None:
    wrong = [
        f"{page.relative_to(ROOT)}: {key}"
        for page in TEXTS
        for key in keys_in(read(page))
        if not exists(key)
    ]
    assert not wrong
