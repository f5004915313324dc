"""Every verb that reads JSON: whatever the file holds, one line and exit code 2, no traceback."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from verbs import VERBS, place_of

from toolgain.cli import cli
from toolgain.common.errors import ExitCode, ToolgainError, UserError
from toolgain.common.files import DEEPEST_JSON, parse_json, read_json

# Without `runs`: with it, an object may be a comparison of which the report shows what there is.
KEYS = st.sampled_from(
    [
        "path",
        "digest",
        "step",
        "train",
        "sha256",
        "checkpoint_dir",
        "curves",
        "verdict",
        "backend",
        "nodes",
        "serve",
        "schema",
        "items",
        "overall",
        "categories",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just(10**300),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(KEYS, inside, max_size=3),
    max_leaves=8,
)
TEXTS = st.one_of(
    VALUES.map(json.dumps),
    st.sampled_from(
        ["", "{", "[" * 10_000, "[" * 10_000 + "]" * 10_000, '{"a":' * 10_000, "1e999"]
    ),
    st.text(max_size=10),
)


@pytest.fixture
def place(tmp_path: Path) -> dict[str, Path]:
    return place_of(tmp_path)


@pytest.mark.parametrize(
    "verb",
    # An evaluation reads the benchmark's items before its weights.
    [pytest.param(v, marks=[pytest.mark.slow] * v.startswith("evaluate")) for v in VERBS],
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=TEXTS)
def test_whatever_a_file_holds_is_one_line_and_exit_code_2(
    place: dict[str, Path], verb: str, text: str
) -> None:
    place["FILE"].write_text(text, encoding="utf-8", errors="surrogatepass")
    words = [str(place.get(word, word)) for word in VERBS[verb]]
    with pytest.raises(ToolgainError) as caught:
        cli.main(words, standalone_mode=False)
    assert caught.value.exit_code == ExitCode.BAD_INPUT, str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 10_000 + "]" * 10_000, "nested deeper than"),
        ("[" * (DEEPEST_JSON + 1) + "]" * (DEEPEST_JSON + 1), "nested deeper than"),
        ('{"gpus": 1e400}', "too large"),
        ('{"gpus": 1' + "0" * 300 + "}", "too large"),
        ('{"accuracy": NaN}', "not a JSON number"),
    ],
)
def test_what_is_out_of_bounds_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "best.json"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read_json(path, "--best")
    assert str(path) in str(caught.value)


@given(VALUES.filter(lambda value: "Infinity" not in json.dumps(value)))
def test_what_is_within_bounds_is_read_as_it_is(value: Any) -> None:
    text = json.dumps(value)
    if "NaN" not in text and not any(len(word) > 19 for word in text.split()):
        assert parse_json(text) == value
