"""What the canary finds out about a server."""

from pathlib import Path
from typing import Any

import pytest
from fault_server import Fault, FaultServer, Handler, Request, completion, honest_answer

from toolgain.bfcl.decoder import decoding
from toolgain.bfcl.toolcalls import TAGS
from toolgain.evaluation.canary import MUST_CALL, MUST_NOT_CALL, ask_canaries
from toolgain.records.summary import Canary
from toolgain.serving.server import Endpoint


def canary(
    fault: Fault | None = None,
    model: str = "policy",
    key: str | None = None,
    tags: tuple[str, ...] = TAGS,
    max_bytes: int = 10_000,
) -> Canary:
    server = FaultServer(**({"fault": fault} if fault else {}), key="right")
    with server, decoding(BFCL_ENV) as decoder:
        endpoint = Endpoint(server.url, model, key or "right", 1)
        return ask_canaries(
            endpoint,
            {"temperature": 0.0},
            5,
            decoder,
            tags,
            max_bytes,
            sleep=lambda seconds: None,
        )


BFCL_ENV = Path(__file__).parents[2] / ".venvs" / "bfcl"


def always(message: dict[str, Any]) -> Fault:
    """A model that always says the same."""

    def fault(request: Request, handler: Handler) -> bool:
        handler.answer(200, completion({"role": "assistant", **message}, request.body))
        return True

    return fault


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_two_requests_are_enough_for_a_good_server() -> None:
    found = canary()
    assert (found.answered, found.parsed_call, found.text, found.call_as_text) == (
        True,
        True,
        True,
        False,
    )
    assert len(found.seen) == 2


def test_missing_parser_is_seen() -> None:
    found = canary(always({"content": '<tool_call>{"name": "f", "arguments": {}}</tool_call>'}))
    assert found.call_as_text and not found.parsed_call
    assert len(found.seen) == len(MUST_CALL) + len(MUST_NOT_CALL)


def test_broken_call_is_the_models_failure_not_the_parsers() -> None:
    found = canary(always({"content": '<tool_call>{"name": "f", "argum</tool_call>'}))
    assert found.answered
    assert not found.call_as_text and not found.parsed_call and not found.text


def test_call_in_a_form_of_its_own_is_the_models_failure_too() -> None:
    fenced = '```json\n{"name": "f", "arguments": {}}\n```'
    found = canary(always({"content": fenced}))
    assert found.answered and not found.call_as_text and not found.parsed_call
    foreign = '<TOOLCALL>[{"name": "f", "arguments": {}}]</TOOLCALL>'
    assert not canary(always({"content": foreign}), tags=("<tool_call>",)).call_as_text
    assert canary(always({"content": foreign}), tags=("<TOOLCALL>",)).markup == "<TOOLCALL>"


def test_call_that_the_harness_cannot_decode_proves_nothing() -> None:
    broken = {**CALL, "function": {"name": "f", "arguments": "no JSON"}}
    found = canary(always({"content": None, "tool_calls": [broken]}))
    assert found.answered and not found.parsed_call and not found.text
    assert {row.decoded for row in found.seen} == {"undecodable"}


def test_call_in_another_spelling_is_proof() -> None:
    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    found = canary(always({"content": None, "tool_calls": [call]}))
    assert found.parsed_call
    assert list(found.seen[0].normalised) == ["tool_call_type", "tool_call_id", "arguments_object"]


def test_empty_answer_is_no_text() -> None:
    found = canary(always({"content": "", "tool_calls": []}))
    assert found.answered and not found.text and not found.parsed_call


def test_reasoning_parser_that_takes_everything_is_named_with_its_cure() -> None:
    found = canary(always({"content": None, "reasoning_content": "I call f."}))
    assert not found.answered
    assert found.failure_kind == "reasoning_only" and "reasoning parser" in found.failure


def test_one_swallowed_answer_does_not_stop_an_evaluation() -> None:
    def first_question(request: Request, handler: Handler) -> bool:
        if request.body["messages"][0]["content"] != MUST_CALL[0][0]:
            return False
        message = {"role": "assistant", "content": None, "reasoning_content": "I call f."}
        handler.answer(200, completion(message, request.body))
        return True

    found = canary(first_question)
    assert found.answered and found.parsed_call and found.unanswered == 1


def test_response_without_end_is_cut() -> None:
    found = canary(always({"content": "a" * 20_000}))
    assert not found.answered and found.failure_kind == "too_large"


def test_model_that_declines_proves_nothing_about_the_parser() -> None:
    found = canary(always({"content": "I would rather not."}))
    assert found.answered and found.text
    assert not found.parsed_call and not found.call_as_text


def test_model_that_always_calls_is_asked_several_times() -> None:
    found = canary(always({"content": None, "tool_calls": [CALL]}))
    assert found.parsed_call and not found.text
    assert len(found.seen) == 1 + len(MUST_NOT_CALL)


def test_one_parsed_call_is_proof_though_another_came_as_text() -> None:
    def second_time_right(request: Request, handler: Handler) -> bool:
        if request.number:
            return False
        message = {"role": "assistant", "content": "<tool_call>oops"}
        handler.answer(200, completion(message, request.body))
        return True

    found = canary(second_time_right)
    assert found.parsed_call and not found.call_as_text


def test_passing_failure_is_asked_again() -> None:
    def first_time_busy(request: Request, handler: Handler) -> bool:
        if request.number:
            return False
        handler.answer(503, {"error": "busy"})
        return True

    assert canary(first_time_busy).parsed_call


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"model": "gpt"}, "http_4xx", "The model `gpt` does not exist"),
        ({"key": "wrong"}, "http_4xx", "missing or wrong key"),
    ],
)
def test_refusal_is_quoted(arguments: dict[str, str], kind: str, words: str) -> None:
    found = canary(**arguments)
    assert not found.answered
    assert found.failure_kind == kind and words in found.failure


def test_sampling_is_that_of_the_evaluation() -> None:
    bodies: list[dict[str, Any]] = []

    def note(request: Request, handler: Handler) -> bool:
        bodies.append(request.body)
        return False

    canary(note)
    assert {body["temperature"] for body in bodies} == {0.0}
    assert [len(body.get("tools", [])) for body in bodies] == [1, 0]
    assert honest_answer(bodies[0])["tool_calls"]
