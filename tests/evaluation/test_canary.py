"""What the canary finds out about a server."""

from typing import Any

import pytest
from fault_server import Fault, FaultServer, Handler, Request, completion, honest_answer

from toolgain.evaluation.canary import MUST_CALL, MUST_NOT_CALL, Canary, ask_canaries
from toolgain.serving.server import Endpoint


def canary(fault: Fault | None = None, model: str = "policy", key: str | None = None) -> Canary:
    server = FaultServer(**({"fault": fault} if fault else {}), key="right")
    with server:
        endpoint = Endpoint(server.url, model, key or "right", 1)
        return ask_canaries(endpoint, {"temperature": 0.0}, 5, sleep=lambda seconds: None)


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
