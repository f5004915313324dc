"""Files are whole or not there; digests depend on content alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
