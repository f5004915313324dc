"""The flags of `vllm serve` held against vLLM's own argument definitions.

VLLM_SOURCES names one or several folders (separated by `:`), each holding the package `vllm` of a
release: `pip download --no-deps vllm==0.20.0`, then unzip the wheel.
"""

import ast
import os
import re
from pathlib import Path

import pytest

from toolgain.nemo_rl import vllm
from toolgain.nemo_rl.plan import PLUGIN

pytestmark = pytest.mark.upstream

SOURCES = [Path(name) for name in os.environ.get("VLLM_SOURCES", "").split(":") if name]


@pytest.mark.skipif(not SOURCES, reason="VLLM_SOURCES names no vLLM")
@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_every_flag_is_defined(source: Path) -> None:
    package = source / "vllm"
    text = "".join(
        (package / name).read_text()
        for name in ("entrypoints/openai/cli_args.py", "engine/arg_utils.py")
    )
    # A flag is an argument of add_argument, or a field of a class of arguments.
    defined = set(re.findall(r'"(--[a-z][a-z-]*)"', text))
    defined |= {f"--{n.replace('_', '-')}" for n in re.findall(r"^    (\w+)\s*:", text, re.M)}
    assert set(vllm.FLAGS) - defined == set()


@pytest.mark.skipif(not SOURCES, reason="VLLM_SOURCES names no vLLM")
@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_the_parser_s_imports_are_there(source: Path) -> None:
    tree = ast.parse(PLUGIN.read_text())
    block = next(node for node in tree.body if isinstance(node, ast.Try))
    layouts = [block.body, block.handlers[0].body]
    complete = []
    for layout in layouts:
        wanted = [n for n in layout if isinstance(n, ast.ImportFrom)]
        complete.append(all(has(source, node) for node in wanted))
    assert any(complete)


def has(source: Path, node: ast.ImportFrom) -> bool:
    """Whether a module of vLLM defines or imports all names of an import statement."""
    assert node.module
    path = source / (node.module.replace(".", "/") + ".py")
    if not path.is_file():
        return False
    names: set[str] = set()
    for item in ast.walk(ast.parse(path.read_text())):
        if isinstance(item, ast.ClassDef):
            names.add(item.name)
        elif isinstance(item, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in item.names}
    return {alias.name for alias in node.names} <= names
