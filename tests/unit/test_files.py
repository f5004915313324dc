"""Files are whole or not there; digests depend on content alone."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgain.common import files
from toolgain.common.errors import UserError
from toolgain.common.files import digest, read_json, read_jsonl, replacing, write_json, write_jsonl

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), json_values, min_size=2, max_size=4))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write("half a fi")
        raise RuntimeError
    assert read_json(path, "test") == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.json"]


def test_numbers_that_are_not_finite_are_written_as_null(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [float("nan"), 1.5]})
    assert read_json(tmp_path / "x.json", "test") == {"a": [None, 1.5]}


def test_a_broken_line_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"a": 1}])
    with path.open("a") as file:
        file.write('{"a": ')
    with pytest.raises(UserError, match=r"rows\.jsonl, line 2, is not JSON"):
        read_jsonl(path, "rows")


OPENED_OTHERWISE = {
    # Files of the package itself.
    "bfcl/revisions.py": {"TABLE"},
    "comparison/compare.py": {"ANCHORS"},
    "demo_model/scraps.py": {"Path(__file__).with_name('lexicon.txt')"},
    "demo_model/tokenizer.py": {"Path(__file__).with_name('chat_template.jinja')"},
    "head/container_probe.py": {"PROGRAM"},
    "report/render.py": {"ASSETS / name"},
    # Standard library alone; the kernel's own files.
    "common/supervise.py": {"Path(f'/proc/{pid}/stat')", "Path(f'/proc/{name}/stat')"},
    "evaluation/sandbox.py": {"Path(f'/proc/{name}/stat')"},
    # Ours, made a moment ago: its settings, a pipe that is to be waited for, programs.
    "evaluation/gateway.py": {"options.config"},
    "evaluation/interceptor.py": {"Path(params.secrets)"},
    "evaluation/sandbox_setup.py": {"script"},
    "checkpoint/export.py": {"path"},
    # No path.
    "environments/health.py": {"urllib.request.build_opener(urllib.request.ProxyHandler({}))"},
    "training/trl/gym_environment.py": {"self.room"},
}
"""Reads past `common/files`, by module, with what is read."""


def test_every_file_is_opened_by_a_reader_that_refuses_pipes_and_devices() -> None:
    """In each room: a path of a configuration or in a folder may name anything."""
    found: dict[str, set[str]] = {}
    package = Path(files.__file__).parents[1]
    for module in package.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and (what := read_past_us(node)):
                found.setdefault(module.relative_to(package).as_posix(), set()).add(what)
    assert found == OPENED_OTHERWISE


def read_past_us(call: ast.Call) -> str | None:
    """What a call reads, where it is a method of a path or the built-in `open`."""
    words = [ast.unparse(word) for word in (*call.args, *(word.value for word in call.keywords))]
    if isinstance(call.func, ast.Name):
        return words[0] if call.func.id == "open" else None
    if not isinstance(call.func, ast.Attribute):
        return None
    place, name = ast.unparse(call.func.value), call.func.attr
    if name in ("read_text", "read_bytes"):
        # What takes a path is a function of `files`; a path's own method takes an encoding.
        return None if call.args and not isinstance(call.args[0], ast.Constant) else place
    writes = any(word.strip("'")[:1] in ("a", "w", "x") for word in words)
    return place if name == "open" and place != "os" and not writes else None
