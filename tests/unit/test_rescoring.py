"""Which calls could run code of the model, and what is scored again instead of them."""

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgain.evaluation.rescore import is_plain_text
from toolgain.evaluation.rescoring import NO_FUNCTION, _harmless, is_plain

OFFERED = ["ls", "cd"]


@pytest.mark.parametrize(
    "answer",
    ["text", "", [], [{"ls": "{}"}], [{"cd": '{"folder": "x\'); import os"}'}, {"ls": "{}"}]],
)
def test_text_and_calls_of_offered_functions_run_no_code(answer: object) -> None:
    assert is_plain(answer, OFFERED)


@pytest.mark.parametrize(
    "answer",
    [
        [{"__import__('os').system": '{"command": "x"}'}],
        [{"exec": '{"object": "x"}'}],
        [{"ls": '{"a=exec(1) or b": 1}'}],
        [{"ls": "{}"}, {"open": '{"file": "x"}'}],
        [{"ls": "[1]"}],
        ["ls()"],
    ],
)
def test_anything_else_may(answer: object) -> None:
    assert not is_plain(answer, OFFERED)
    (turn,) = _harmless([[answer]], set(OFFERED))
    assert turn == [[{NO_FUNCTION: "{}"} for _ in answer]]  # type: ignore[attr-defined]


@given(st.text(), st.text())
def test_what_passes_is_one_call_with_names(name: str, key: str) -> None:
    import ast
    import json

    if is_plain([{name: json.dumps({key: 1})}], [name]) and not keyword.iskeyword(key):
        call = ast.parse(f"{name}({key}=1)", mode="eval").body
        assert keyword.iskeyword(name) or isinstance(call, ast.Call)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("I cannot do that.", True),
        ("[ls(), cd(folder='a')]", True),
        ("```\nls()\n```", True),
        ("[ls(a=[1, {'b': None}])]", True),
        ("[ls(a=open('/x'))]", False),
        ("[exec(object='x')]", False),
        ("[ls.__self__(a=1)]", False),
        ("[ls('x')]", False),
        ("ls(**{'a=1': 2})", False),
    ],
)
def test_text_of_prompt_mode_runs_no_code_of_the_model(text: str, plain: bool) -> None:
    assert is_plain_text(text, set(OFFERED)) == plain


@given(st.text())
def test_any_text_is_plain_or_not(text: str) -> None:
    assert is_plain_text(text, set(OFFERED)) in (True, False)
