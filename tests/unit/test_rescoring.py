"""Which calls could run code of the model, and what is scored again instead of them."""

import keyword
from pathlib import Path

import pytest
from harness_folders import BFCL_ENV
from hypothesis import given, settings
from hypothesis import strategies as st

from toolgain.bfcl import revisions
from toolgain.bfcl.data import installed_data, load_items
from toolgain.bfcl.folders import HarnessFolder
from toolgain.bfcl.results import NATIVE, PlainFolder
from toolgain.evaluation.rescore import asked_alike, is_plain_text
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


CHANGED = ("live_simple", "irrelevance", "live_relevance", "multi_turn_base")
BASE = load_items(installed_data(BFCL_ENV), CHANGED)
FITTING = st.lists(st.sampled_from(list(revisions.revision_table())), min_size=1, unique=True)


@given(FITTING)
@settings(max_examples=10, deadline=None)
def test_only_what_every_fitting_revision_asks_alike_is_scored_again(names: list[str]) -> None:
    items = revisions.items(BASE, names[0])
    folder = HarnessFolder(Path(), "m", "v3")
    source = PlainFolder(folder, items, revisions.Recognised(tuple(names), 0), NATIVE)
    left_out = {
        (category, place)
        for name in names
        for category, changes in revisions.revision_table()[name].items()
        for place, change in changes.items()
        if change.question
    }
    alike = asked_alike(source, BASE)
    for category, chosen in items.items():
        for item in chosen:
            assert (item.key in alike) == ((category, item.index) not in left_out)
            if item.key in alike:
                assert alike[item.key] is BASE[category][item.index]
