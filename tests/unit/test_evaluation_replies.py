"""An answer of a model server, or which kind of failure."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgain.bfcl.responses import read_reply
from toolgain.bfcl.toolcalls import harness_answer, is_whole_call, looks_like_call, opening


def chat(**message: object) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", **message}}]}).encode()


def test_completion_is_an_answer() -> None:
    reply = read_reply(200, chat(content="Hello."))
    assert reply.kind == "ok"
    assert reply.body is not None
    assert harness_answer(reply.body["choices"][0]["message"]) == "Hello."


def test_null_content_and_no_calls_are_empty_text() -> None:
    for message in ({"content": None}, {"content": None, "tool_calls": []}, {"tool_calls": None}):
        reply = read_reply(200, chat(**message))
        assert reply.body is not None
        assert harness_answer(reply.body["choices"][0]["message"]) == ""


def test_parsed_call_is_read_as_the_harness_reads_it() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    reply = read_reply(200, chat(content=None, tool_calls=[call]))
    assert reply.body is not None
    assert harness_answer(reply.body["choices"][0]["message"]) == [{"f": '{"x": 1}'}]


@pytest.mark.parametrize(
    ("status", "content", "kind", "again"),
    [
        (200, b"<html>Sign in</html>", "malformed", True),
        (200, b'{"choices": [{"mess', "malformed", True),
        (200, b'{"error": "x"}', "malformed", True),
        (200, b'{"choices": []}', "malformed", True),
        (200, b'{"choices": [{"message": "text"}]}', "malformed", True),
        (200, b"null", "malformed", True),
        (500, b"oops", "http_5xx", True),
        (503, b"", "http_5xx", True),
        (429, b"slow down", "http_429", True),
        (401, b"no key", "http_4xx", False),
        (404, b"The model `x` does not exist.", "http_4xx", False),
        (400, b"bad tool schema", "http_4xx", False),
        (400, b"This model's maximum context length is 4096 tokens.", "context_overflow", False),
        (400, b'{"code": "context_length_exceeded"}', "context_overflow", False),
        (413, b"prompt is too long", "context_overflow", False),
        (302, b"", "http_5xx", True),
    ],
)
def test_kinds_of_failure(status: int, content: bytes, kind: str, again: bool) -> None:
    reply = read_reply(status, content)
    assert (reply.kind, reply.worth_another_try) == (kind, again)
    assert reply.body is None


@given(st.integers(100, 599), st.binary(max_size=200))
def test_whatever_comes_back_is_an_answer_or_a_failure(status: int, content: bytes) -> None:
    reply = read_reply(status, content)
    assert (reply.body is not None) == (reply.kind == "ok")


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>',
        '<TOOLCALL>[{"name": "f", "arguments": {}}]</TOOLCALL>',
        '[TOOL_CALLS] [{"name": "f", "arguments": {}}]',
        '<|python_tag|>{"name": "f", "parameters": {}}',
        '{"name": "f", "parameters": {"x": 1}}',
        'Sure: [{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": {}}]',
        '{"function": {"name": "f", "arguments": "{}"}}',
        "<function=f>{}</function>",
        '[get_weather(city="Paris")]',
        "</tool_call>",
    ],
)
def test_call_that_came_as_text(text: str) -> None:
    assert looks_like_call(text)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ('<tool_call>{"name": "f", "arguments": {}}</tool_call>', True),
        ('<tool_call>{"name": "f", "arguments": {</tool_call>', False),
        ("<function=f><parameter=x>1</parameter></function>", True),
        ('[get_weather(city="Paris")]', True),
        ("<tool_call>", False),
        ("No.", False),
    ],
)
def test_only_a_whole_call_is_the_parsers_failure(text: str, whole: bool) -> None:
    assert is_whole_call(text) == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot help with that.",
        "Use [1] and {x} as in f(x).",
        'The JSON {"name": "Anna"} has a name.',
        '{"arguments": []}',
        "None of the functions can be used.",
        pytest.param("[" * 5000, id="open-brackets"),
    ],
)
def test_text_that_is_no_call(text: str) -> None:
    assert not looks_like_call(text)


@given(st.text())
def test_any_text_can_be_looked_at(text: str) -> None:
    looks_like_call(text)


def test_opening_ends_before_the_first_answer() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u", "name": "x"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "later"},
    ]
    assert opening(messages) == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
    ]
