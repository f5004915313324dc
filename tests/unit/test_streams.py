"""An answer that is streamed though nobody asked for it is the same answer, or none."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgain.bfcl.responses import read_reply

TEXT = {"role": "assistant", "content": "No, I cannot do this."}
TWO_CALLS = {
    "role": "assistant",
    "content": "Both.",
    "tool_calls": [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": given}}
        for n, (name, given) in enumerate([("f", '{"x": "a b"}'), ("g", "{}")])
    ],
}
USAGE = {"prompt_tokens": 11, "completion_tokens": 7}


def whole(message: dict[str, Any]) -> bytes:
    finish = "tool_calls" if "tool_calls" in message else "stop"
    return json.dumps(
        {"model": "m", "choices": [{"message": message, "finish_reason": finish}], "usage": USAGE}
    ).encode()


def cut(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)) | {0, len(text)})
    return [text[a:b] for a, b in pairwise(places)]


@st.composite
def streams(draw: st.DrawFn, message: dict[str, Any], indexed: bool = True) -> str:
    """The message as server-sent events, in parts of any size."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": part} for part in cut(draw, message["content"])]
    for n, call in enumerate(message.get("tool_calls", [])):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        index = {"index": n} if indexed else {}
        first = {**call, **index, "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [first]})
        for part in cut(draw, arguments):
            rest = {**index, "function": {"arguments": part}}
            deltas.append({"tool_calls": [rest]})
    finish = "tool_calls" if "tool_calls" in message else "stop"
    chunks: list[dict[str, Any]] = [
        {"object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": delta}]}
        for delta in deltas
    ]
    chunks.append({"choices": [{"delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": USAGE})
    end = draw(st.sampled_from(["\n\n", "\r\n\r\n"]))
    alive = draw(st.sampled_from(["", f": still at it{end}", f"event: ping{end}"]))
    return "".join(f"{alive}data: {json.dumps(chunk)}{end}" for chunk in chunks) + "data: [DONE]\n"


@given(st.data(), st.sampled_from([TEXT, TWO_CALLS]), st.booleans())
def test_a_stream_is_the_answer_that_its_parts_make_up(
    data: st.DataObject, message: dict[str, Any], indexed: bool
) -> None:
    expected = read_reply(200, whole(message)).completion
    found = read_reply(200, data.draw(streams(message, indexed)).encode()).completion
    assert expected is not None and found is not None
    assert found.body() == expected.body()
    assert found.normalised == ("stream",)


@given(st.data(), st.sampled_from([TEXT, TWO_CALLS]))
def test_a_stream_that_was_cut_is_no_answer(data: st.DataObject, message: dict[str, Any]) -> None:
    text = data.draw(streams(message))
    end = text.index('"finish_reason": "')
    part = text[: data.draw(st.integers(0, end))]
    assert read_reply(200, part.encode()).kind == "malformed"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('data: {"error": {"message": "provider is gone"}}\n\ndata: [DONE]\n\n', "error_in_answer"),
        ('data: {"choices": [], "error": {"code": 429}}\n\n', "http_429"),
        (": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n", "malformed"),
        ("data: [DONE]\n\n", "malformed"),
        ("data: []\n\n", "malformed"),
        ('data: {"choices": [{"delta": "text", "finish_reason": "stop"}]}\n\n', "malformed"),
        ('data: {"choices": [{"delta": {"content": [1]}, "finish_reason": "stop"}]}', "malformed"),
        ('data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n', "ok"),
    ],
)
def test_streams_of_something_else(text: str, kind: str) -> None:
    assert read_reply(200, text.encode()).kind == kind


def test_signs_of_life_before_a_whole_body_are_passed_over() -> None:
    found = read_reply(200, b": OPENROUTER PROCESSING\n\n" * 5 + whole(TEXT)).completion
    assert found is not None and found.content == TEXT["content"]


def test_calls_with_one_index_and_ids_of_their_own_are_several() -> None:
    calls = [{**call, "index": 0} for call in TWO_CALLS["tool_calls"]]  # type: ignore[union-attr]
    chunk = {"choices": [{"delta": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    found = read_reply(200, f"data: {json.dumps(chunk)}\n\n".encode()).completion
    assert found is not None and [call.name for call in found.calls] == ["f", "g"]


def test_a_long_stream_costs_linear_time() -> None:
    """Quadratic time would be hours for these."""
    chunk = json.dumps({"choices": [{"delta": {"content": "a"}}]})
    calls = "".join(
        f"data: {json.dumps({'choices': [{'delta': {'tool_calls': [part]}}]})}\n\n"
        for part in ({"index": n, "function": {"name": "f"}} for n in range(5_000))
    )
    end = 'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
    assert read_reply(200, (f"data: {chunk}\n\n" * 30_000 + end).encode()).kind == "ok"
    assert read_reply(200, (calls + end).encode()).kind == "ok"
