"""The flags of `vllm serve` and the tool parser held against vLLM itself.

VLLM_SOURCES names one or several folders (separated by `:`), each holding the package `vllm` of a
release: `pip download --no-deps vllm==0.20.0`, then unzip the wheel.

VLLM_PYTHON names one or several Pythons (separated by `:`) that can import vLLM: vLLM's own program
then parses the lines. Neither a GPU nor CUDA is needed: `pip install --no-deps vllm==0.20.0` beside
a CPU build of torch, and those of its other requirements that the import asks for.
"""

import ast
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import made
import pytest
import yaml

from toolgain.config.sections import Serve
from toolgain.serving import vllm
from toolgain.serving.tool_parser import PLUGIN

pytestmark = pytest.mark.upstream

SOURCES = [Path(name) for name in os.environ.get("VLLM_SOURCES", "").split(":") if name]
CHECKED_VERSIONS = ("0.11.2", "0.17.1", "0.20.0", "0.25.1", "0.29.0")
PYTHONS = [name for name in os.environ.get("VLLM_PYTHON", "").split(":") if name]
PROGRAM = Path(__file__).with_name("vllm_program.py")
RECIPES = Path(__file__).parents[2] / "config/recipes"
KINDS = {"nemotron-nano-9b-v2": "nemotron_h", "qwen3-4b-instruct": "qwen3"}


@pytest.mark.skipif(not SOURCES, reason="VLLM_SOURCES names no vLLM")
@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_every_flag_is_defined(source: Path) -> None:
    package = source / "vllm"
    # The first of them has moved.
    files = [*package.rglob("cli_args.py"), package / "engine/arg_utils.py"]
    text = "".join(path.read_text() for path in files)
    # A flag is an argument of add_argument, or a field of a class of arguments.
    defined = set(re.findall(r'"(--[a-z][a-z-]*)"', text))
    defined |= {f"--{n.replace('_', '-')}" for n in re.findall(r"^    (\w+)\s*:", text, re.M)}
    assert set(vllm.FLAGS) - defined == set()


@pytest.mark.skipif(not SOURCES, reason="VLLM_SOURCES names no vLLM")
@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_the_parser_s_imports_are_there(source: Path) -> None:
    found = {
        name: [module for module in modules if name in names_of(source, module)]
        for name, modules in imports_of_the_parser()
    }
    assert [name for name, modules in found.items() if not modules] == []


@pytest.mark.slow
@pytest.mark.skipif(not (SOURCES and PYTHONS), reason="VLLM_SOURCES and VLLM_PYTHON name no vLLM")
@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_the_parser_imports_and_reads_in_each_release(source: Path, tmp_path: Path) -> None:
    program = PROGRAM.with_name("parser_program.py")
    around = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [PYTHONS[0], "-P", program, PLUGIN, source],
        env=around,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    read = json.loads(done.stdout.splitlines()[-1])
    assert Path(read["from"]).is_relative_to(source)
    assert read["text"] == "Done."
    assert read["streamed_text"].strip() == "Done."
    assert read["calls"] == read["streamed_calls"] == [["add", '{"a": 1}']]


def imports_of_the_parser() -> list[tuple[str, list[str]]]:
    """(name, modules that it is looked for in) of what the plugin takes from vLLM."""
    tree = ast.parse(PLUGIN.read_text())
    tables: dict[str, list[str]] = {}
    wanted = []
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        if isinstance(node.value, ast.Tuple):
            values = [one.value for one in node.value.elts if isinstance(one, ast.Constant)]
            tables[node.targets[0].id] = [str(value) for value in values]
        elif isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "_found":
            name, table = node.value.args
            wanted.append((ast.literal_eval(name), tables[ast.unparse(table)]))
    assert wanted
    return wanted


def names_of(source: Path, module: str) -> set[str]:
    """What a module of vLLM defines or imports."""
    path = source / (module.replace(".", "/") + ".py")
    names: set[str] = set()
    for item in ast.walk(ast.parse(path.read_text())) if path.is_file() else ():
        if isinstance(item, ast.ClassDef):
            names.add(item.name)
        elif isinstance(item, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in item.names}
    return names


MISSPELT = {
    "unrecognized arguments: --max-modell-len": {"extra_args": ["--max-modell-len", "5"]},
    "argument --dtype: invalid choice: 'bfloat17'": {"dtype": "bfloat17"},
    "invalid tool call parser: nemotron_jsonn": {"tool_parser": "nemotron_jsonn"},
}


def line_for(recipe: str, folder: Path, **values: Any) -> list[str]:
    """The command line for the model of a recipe."""
    model = folder / recipe
    if not model.exists():
        made.model(model)
        (model / "config.json").write_text(json.dumps({"model_type": KINDS[recipe]}))
        if recipe.startswith("nemotron"):
            (model / "chat_template.jinja").write_text("{{ messages }}")
    shipped = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())["evaluation"]["serve"]
    serve = Serve.model_validate(shipped | values)
    trusted = recipe.startswith("nemotron")
    return vllm.vllm_serve_command(
        model, "policy", Path("/tmp/toolgain-1/model"), serve, folder, trusted
    )


@pytest.mark.slow
@pytest.mark.skipif(not PYTHONS, reason="VLLM_PYTHON names no Python with vLLM")
@pytest.mark.parametrize("python", PYTHONS)
def test_vllm_s_own_program_parses_our_lines_and_no_misspelt_one(
    python: str, tmp_path: Path
) -> None:
    good = [(recipe, copies) for recipe in KINDS for copies in (1, 8)]
    lines = [line_for(recipe, tmp_path, data_parallel_size=copies) for recipe, copies in good]
    lines += [line_for("nemotron-nano-9b-v2", tmp_path, **wrong) for wrong in MISSPELT.values()]
    # One start for all lines: the imports of vLLM take the time.
    said = answers(python, lines)
    for (recipe, copies), answer in zip(good, said, strict=False):
        assert answer.get("refused") is None, recipe
        assert answer["version"].partition("+")[0] in CHECKED_VERSIONS
        wanted = understood(recipe, tmp_path / recipe) | {"data_parallel_size": copies}
        assert {name: answer["arguments"][name] for name in wanted} == wanted
        if recipe.startswith("nemotron"):
            # The plugin, imported and called by vLLM.
            assert answer["read"]["content"] == "Done."
            [call] = answer["read"]["tool_calls"]
            assert call["function"] == {"name": "add", "arguments": '{"a": 1}'}
    for reason, answer in zip(MISSPELT, said[len(good) :], strict=True):
        assert reason in answer["refused"]


def answers(python: str, lines: list[list[str]]) -> list[dict[str, Any]]:
    """What vLLM's own program makes of command lines."""
    around = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [python, PROGRAM],
        input=json.dumps([line[line.index("serve") :] for line in lines]),
        env=around | vllm.vllm_environment("secret"),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert found.returncode == 0, found.stderr
    said: list[dict[str, Any]] = json.loads(found.stdout.splitlines()[-1])
    return said


def understood(recipe: str, model: Path) -> dict[str, Any]:
    """The arguments that vLLM must have read, by the names of its own namespace."""
    wanted = {
        "model_tag": str(model),
        "served_model_name": ["policy"],
        "uds": "/tmp/toolgain-1/model",
        "dtype": "bfloat16",
        "max_model_len": 32768,
        "tensor_parallel_size": 1,
        "generation_config": "vllm",
        "seed": 0,
        "enable_auto_tool_choice": True,
        "tool_call_parser": "hermes",
        "trust_remote_code": False,
        "mamba_ssm_cache_dtype": "auto",
        "chat_template": None,
        "api_key": None,
    }
    if recipe.startswith("nemotron"):
        wanted |= {
            "tool_call_parser": "nemotron_json",
            "tool_parser_plugin": str(PLUGIN),
            "trust_remote_code": True,
            "mamba_ssm_cache_dtype": "float32",
            "chat_template": str(model / "chat_template.jinja"),
        }
    return wanted
