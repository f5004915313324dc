"""Nothing that a model writes ends a stage: reward, parsers, item table and report survive it."""

import json
from pathlib import Path

import pytest
from evaluation_folders import outcome
from harness_folders import answered, decoder, item, outcomes, write
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes import score
from questions import read_questions
from toolgain.bfcl.history import kind_of_history, one_call_each, sendable
from toolgain.bfcl.outcomes import read_items, write_items, write_questions
from toolgain.bfcl.toolcalls import TAGS, looks_like_call, markup_of_call
from toolgain.common.files import digest, read_json, write_json

PIECES = st.sampled_from(
    [
        "<tool_call>",
        "</tool_call>",
        "<TOOLCALL>",
        "</TOOLCALL>",
        "<think>",
        "</think>",
        "```json\n",
        '{"name": "f", "arguments": ',
        '{"x": ',
        "}",
        "]",
        "[" * 2000,
        "9" * 400,
        "NaN",
        "-Infinity",
        "\ud83d",
        '"\\ud83d"',
        "\x00",
        "\u2028",
        "\r\n",
        '"',
        "\\",
        "f",
    ]
)
HOSTILE = st.lists(PIECES | st.text(max_size=10), max_size=12).map("".join)
TASK = {"expected": [{"name": "f", "arguments": {"x": 5.0, "y": [1, {"z": "a"}]}}]}


@given(HOSTILE)
def test_reward_of_any_completion(completion: str) -> None:
    assert -1 <= score(TASK, completion).reward <= 1


@pytest.mark.parametrize("value", ["9" * 400, "-" + "9" * 400, "NaN", "1e999", "[" * 2000])
def test_reward_of_values_that_are_no_floats(value: str) -> None:
    call = f'<tool_call>{{"name": "f", "arguments": {{"x": {value}}}}}</tool_call>'
    assert -1 <= score(TASK, call).reward < 1


@given(HOSTILE)
def test_looking_for_calls_in_any_text(text: str) -> None:
    looks_like_call(text)
    markup_of_call(text, TAGS)


ANSWERS = HOSTILE | st.lists(
    st.dictionaries(HOSTILE, HOSTILE, min_size=1, max_size=1), min_size=1, max_size=3
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ANSWERS, min_size=1, max_size=5))
def test_item_table_of_any_answers(
    tmp_path_factory: pytest.TempPathFactory, answers: list[object]
) -> None:
    folder = tmp_path_factory.mktemp("hostile")

    items = [item("irrelevance", number) for number in range(len(answers))]
    rows = [answered(one, answer) for one, answer in zip(items, answers, strict=True)]
    write(folder, "irrelevance", rows, [])
    table = outcomes(folder, {"irrelevance": items})
    write_items(folder, table)
    assert [json.loads(row.answer) for row in read_items(folder)] == answers
    for row, decoded in zip(table, decoder().decode(answers), strict=True):
        assert row.strict_valid == (decoded.kind == "text" and not row.flags)


@given(HOSTILE)
def test_files_hold_any_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("files")
    write_json(folder / "x.json", {"text": text})
    assert read_json(folder / "x.json", "x") == {"text": text}
    write_questions(folder, [{"question": text}])
    assert read_questions(folder) == [{"question": text}]
    digest(text)


@given(st.lists(st.tuples(HOSTILE, HOSTILE), max_size=3), HOSTILE)
def test_conversation_is_always_one_that_servers_take(
    written: list[tuple[str, str]], content: str
) -> None:
    calls = [
        {"id": str(n), "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(written)
    ]
    asked: list[dict[str, object]] = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})},
        {"role": "user", "content": "q"},
    ]
    sent, changed = sendable(asked)
    again, twice = sendable(sent)
    assert again == sent and not twice
    assert changed == (sent != asked)
    for message in sent:
        for call in message.get("tool_calls", []):  # type: ignore[attr-defined]
            assert isinstance(json.loads(call["function"]["arguments"]), dict)


def test_conversations_are_told_by_what_they_hold() -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": "{}"}}
    user: dict[str, object] = {"role": "user", "content": "q"}
    text: dict[str, object] = {"role": "assistant", "content": "a"}
    assert kind_of_history([user]) == ""
    assert kind_of_history([user, text]) == "text"
    assert kind_of_history([user, text | {"tool_calls": [call]}]) == "call"
    assert kind_of_history([text, {"role": "assistant", "content": "", "tool_calls": [call]}]) == (
        "call without text"
    )


def test_unreadable_call_goes_back_as_the_text_that_it_is() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "[1"}}
    sent, changed = sendable([{"role": "assistant", "content": "", "tool_calls": [call]}])
    assert changed and sent == [{"role": "assistant", "content": "f [1"}]


def test_calls_of_one_answer_can_be_sent_one_by_one() -> None:
    def call(number: str) -> dict[str, object]:
        return {"id": number, "function": {"name": "f", "arguments": "{}"}}

    def result(number: str) -> dict[str, object]:
        return {"role": "tool", "tool_call_id": number, "content": number}

    both: dict[str, object] = {
        "role": "assistant",
        "content": "Both.",
        "tool_calls": [call("1"), call("2")],
    }
    sent = one_call_each([both, result("1"), result("2")])
    assert sent == [
        {**both, "tool_calls": [call("1")]},
        result("1"),
        {**both, "content": "", "tool_calls": [call("2")]},
        result("2"),
    ]
    assert one_call_each(sent) is None
    assert one_call_each([both, {"role": "user", "content": "q"}]) is None


def test_item_table_holds_half_a_character(tmp_path: Path) -> None:
    row = outcome("simple", 0, right=False)._replace(error_message="\ud83d", answer='"\ud83d"')
    write_items(tmp_path, [row])
    (found,) = read_items(tmp_path)
    assert json.loads(found.answer) == "\ud83d"
