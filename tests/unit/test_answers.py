"""The server's and the reward's reader of answers: transformers' own parser, in every markup."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from markups import TEMPLATES

ROOT = Path(__file__).parents[2]
PARIS = ["get_weather", {"city": "Paris", "days": 3, "exact": True}]
ROME = ["get_weather", {"city": "Rome </x> } ] {", "days": 1, "exact": False}]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> Any:
    """What the program found in the environment where transformers is installed."""
    folder = Path(__file__).parent
    python = ROOT / ".venvs" / "trl" / "bin" / "python"
    done = subprocess.run(
        [str(python), str(folder / "read_answers.py")],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'workflow'}:{folder}", "HF_HUB_OFFLINE": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("markup", TEMPLATES)
def test_calls_of_every_markup_are_read_with_the_types_of_their_arguments(
    found: Any, markup: str
) -> None:
    seen = found["markups"][markup]
    assert seen["one"] == ["", [PARIS], False]
    # Llama writes one call in an answer.
    if markup != "llama3_json":
        assert seen["two"] == ["", [PARIS, ROME], False]
    assert seen["ids"] == ["get_weather"]


@pytest.mark.parametrize("markup", TEMPLATES)
def test_a_thought_is_no_call_and_text_is_text(found: Any, markup: str) -> None:
    assert found["markups"][markup]["thought"] == ["No.", [], False]
    assert found["markups"][markup]["text"] == ["No tool does that.", [], False]


@pytest.mark.parametrize("markup", TEMPLATES)
def test_a_call_that_is_cut_off_is_neither_a_call_nor_a_refusal(found: Any, markup: str) -> None:
    cut = found["markups"][markup]["cut"]
    assert cut is None or cut[2]


def test_real_templates_are_rendered_as_transformers_does_and_their_calls_are_read(
    found: Any,
) -> None:
    real = found["real"]
    assert len(real) > 40
    assert [name for name, (same, _, _) in real.items() if not same] == []
    readers = {name: reader for name, (_, tools, reader) in real.items() if tools}
    assert readers["qwen3"] == readers["qwen2_5"] == "hermes"
    assert readers["llama3_1"] == readers["llama3_2"] == "llama3_json"
    assert readers["nemotron_3_nano"] == readers["qwen3_5_think"] == "qwen3_xml"
    assert not real["llama3"][1] and not real["gemma3"][1]
