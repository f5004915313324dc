"""Every verb that reads JSON: whatever the file holds, one line and exit code 2, no traceback."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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

RUN = ("--run", "grpo", "--out", "OUT")
VERBS = {
    "model": ("model", "--config", "FILE", "--out", "OUT"),
    "tasks": ("tasks", "--config", "FILE", "--out", "OUT"),
    "tasks, cluster": ("tasks", "--config", "NEMO", "--cluster", "FILE", "--out", "OUT"),
    "train, config": (
        *("train", "--config", "FILE", "--weights", "ABSENT", "--tasks", "ABSENT", *RUN),
    ),
    "train, weights": (
        *("train", "--config", "EMPTY", "--weights", "FILE", "--tasks", "ABSENT", *RUN),
    ),
    "train, tasks": (
        *("train", "--config", "EMPTY", "--weights", "MODEL", "--tasks", "FILE", *RUN),
    ),
    "select": ("select", "FILE", "--out", "OUT"),
    "export, best": ("export", "--best", "FILE", "--base", "MODEL", "--out", "OUT"),
    "export, base": ("export", "--best", "BEST", "--base", "FILE", "--out", "OUT"),
    "evaluate, config": ("evaluate", "--config", "FILE", "--weights", "ABSENT", "--out", "OUT"),
    "evaluate, weights": ("evaluate", "--weights", "FILE", "--out", "OUT"),
    "compare, config": ("compare", "ABSENT", "ABSENT", "--config", "FILE", "--out", "OUT"),
    "compare, summary": ("compare", "SUMMARY", "SUMMARY", "--out", "OUT"),
    "compare, manifest": ("compare", "MANIFEST", "MANIFEST", "--out", "OUT"),
    "verdict": ("verdict", "FILE"),
    "report": ("report", "FILE", "--results", "HERE", "--out", "OUT"),
    "report, config": ("report", "ABSENT", "--config", "FILE", "--out", "OUT"),
}


@pytest.fixture
def place(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name.lower() for name in ("FILE", "OUT", "ABSENT")}
    found |= {
        name: tmp_path / f"{name.lower()}.json" for name in ("EMPTY", "NEMO", "MODEL", "BEST")
    }
    found["HERE"] = tmp_path
    found["EMPTY"].write_text('{"backend": "trl"}')
    found["NEMO"].write_text('{"backend": "nemo_rl"}')
    found["MODEL"].write_text(json.dumps({"path": str(tmp_path), "digest": "0"}))
    found["BEST"].write_text(json.dumps({"path": str(tmp_path / "step_1"), "step": 1}))
    for name, file in (("SUMMARY", "summary.json"), ("MANIFEST", "manifest.json")):
        folder = found[name] = tmp_path / name.lower()
        folder.mkdir()
        (folder / "summary.json").write_text("{}")
        (folder / "manifest.json").write_text("{}")
        (folder / "items.csv").write_text("category,id\n")
        (folder / file).unlink()
        (folder / file).symlink_to(found["FILE"])
    return found


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
        ('{"accuracy": NaN}', "no JSON number"),
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
