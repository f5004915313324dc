"""What an evaluation makes of a server that fails: no false credit, nothing lost, all counted.

Each test programs a fault, runs `toolgain evaluate` through the real harness, and looks at the
record, at the items and at what the server was asked.
"""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluating import Evaluation, evaluate
from fault_server import FaultServer, Handler, Request, completion, honest_answer

from questions import read_questions

Asked = Callable[..., tuple[FaultServer, Evaluation]]

pytestmark = pytest.mark.slow


def unavailable(handler: Handler) -> bool:
    handler.answer(503, {"error": "overloaded"})
    return True


def test_undisturbed_server_gives_a_valid_evaluation(undisturbed: Evaluation) -> None:
    summary = undisturbed.summary
    assert summary["valid"] is True
    assert summary["reasons"] == []
    assert summary["errors"] == {}
    assert summary["n"] == len(undisturbed.items) == 17
    assert summary["retried"] == 0
    assert all(row.finish_reason for row in undisturbed.items), "each row has its request"
    # The harness sends 0.001 whatever it is told; this is what the server received.
    assert summary["sampling_seen"] == [{"temperature": 0.0, "top_p": 1.0}]


def test_server_that_is_down_for_good_is_not_asked_everything(asked: Asked) -> None:
    server, evaluation = asked(lambda request, handler: unavailable(handler))
    summary = evaluation.summary
    assert evaluation.exit_code == 3
    assert summary["valid"] is False
    assert "canary" in summary["reasons"][0] and "503" in summary["reasons"][0]
    assert summary["overall"] is None
    assert summary["errors"] == {"not_asked": 17}
    assert len(server.bodies) == 3


def test_server_that_dies_after_the_canary_gives_no_score(asked: Asked) -> None:
    """The harness alone reports success and an Overall of 16.8 for all items here: it takes
    errors for abstentions."""
    _, evaluation = asked(
        lambda request, handler: not request.canary and unavailable(handler),
        retry={"rounds": 1, "backoff_s": 0.1, "request_attempts": 1},
    )
    summary = evaluation.summary
    assert evaluation.exit_code == 3
    assert summary["errors"] == {"http_5xx": 17}
    assert "17 of 17 items (100.0 %) got no answer" in summary["reasons"][0]
    assert summary["harness_overall"] > 5
    assert not any(row.valid for row in evaluation.items)
    assert {row.flags for row in evaluation.items} == {("inference_error",)}


def test_bursts_of_503_are_retried(asked: Asked, undisturbed: Evaluation) -> None:
    _, evaluation = asked(lambda request, handler: in_a_burst(request) and unavailable(handler))
    assert evaluation.exit_code == 0, evaluation.stderr
    assert evaluation.table == undisturbed.table
    assert evaluation.summary["retried"] > 0
    assert evaluation.asked_twice == undisturbed.asked_twice


def in_a_burst(request: Request) -> bool:
    return request.number in range(10, 20) or request.number in range(40, 46)


def reset_every_20th(request: Request, handler: Handler) -> bool:
    if request.number % 20 != 7:
        return False
    handler.reset()
    return True


def html_every_10th(request: Request, handler: Handler) -> bool:
    if request.number % 10 != 4:
        return False
    handler.answer(200, b"<html><body>Sign in to the proxy</body></html>", "text/html")
    return True


def cut_json_every_10th(request: Request, handler: Handler) -> bool:
    if request.number % 10 != 5:
        return False
    whole = json.dumps(completion(honest_answer(request.body), request.body)).encode()
    handler.answer(200, whole[: len(whole) // 2])
    return True


def hang_once(request: Request, handler: Handler) -> bool:
    if request.number != 12:
        return False
    handler.hang(60)
    return True


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (reset_every_20th, "connection"),
        (html_every_10th, "malformed"),
        (cut_json_every_10th, "malformed"),
        (hang_once, "timeout"),
    ],
)
def test_passing_fault_is_retried(
    asked: Asked, undisturbed: Evaluation, fault: Any, kind: str
) -> None:
    _, evaluation = asked(fault)
    assert evaluation.exit_code == 0, evaluation.stderr
    assert evaluation.table == undisturbed.table
    assert evaluation.summary["failed_attempts"][kind] > 0
    assert evaluation.summary["retried"] > 0
    # Nothing that was answered is retried: each question as often as without the fault.
    assert evaluation.asked_twice == undisturbed.asked_twice


def test_request_that_hangs_for_ever_costs_its_item_alone(
    asked: Asked, undisturbed: Evaluation
) -> None:
    question = question_of(undisturbed, "irrelevance")
    _, evaluation = asked(
        lambda request, handler: asks(request, question) and hang(handler),
        retry={"rounds": 1, "backoff_s": 0.1, "request_timeout_s": 1, "request_attempts": 1},
    )
    assert evaluation.exit_code == 3
    assert evaluation.summary["errors"] == {"timeout": 1}
    (lost,) = [row for row in evaluation.items if row.flags]
    assert lost.category == "irrelevance" and not lost.valid
    assert [row for row in evaluation.table if row[0] != lost.key] == [
        row for row in undisturbed.table if row[0] != lost.key
    ]


def question_of(evaluation: Evaluation, category: str) -> str:
    """The question of the one item of a single-turn category."""
    (row,) = [r for r in read_questions(evaluation.folder) if r["category"] == category]
    question: str = row["question"][0][-1]["content"]
    return question


def asks(request: Request, question: str) -> bool:
    return request.body["messages"][-1]["content"] == question


def hang(handler: Handler) -> bool:
    handler.hang(60)
    return True


def as_text(message: dict[str, Any]) -> dict[str, Any]:
    """The message as a server without a tool parser gives it."""
    calls = [
        {"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])}
        for call in message.get("tool_calls", [])
    ]
    if not calls:
        return message
    text = "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)
    return {"role": "assistant", "content": text}


def test_server_without_tool_parser_is_found_before_the_start(asked: Asked) -> None:
    def unparsed(request: Request, handler: Handler) -> bool:
        handler.answer(200, completion(as_text(honest_answer(request.body)), request.body))
        return True

    server, evaluation = asked(unparsed)
    assert evaluation.exit_code == 3
    assert "tool calls come back as text" in evaluation.summary["reasons"][0]
    assert all(request["messages"][0]["content"] for request in server.bodies)
    assert len(server.bodies) <= 8


def test_unparsed_calls_get_no_strict_credit(asked: Asked) -> None:
    """The harness credits a call that it cannot read as a correct abstention."""

    def unparsed_where_no_call_is_right(request: Request, handler: Handler) -> bool:
        if request.canary:
            return False
        handler.answer(200, completion(as_text(honest_answer(request.body)), request.body))
        return True

    _, evaluation = asked(unparsed_where_no_call_is_right)
    summary = evaluation.summary
    irrelevance = {row.category: row for row in evaluation.items if "irrelevance" in row.category}
    called = [row for row in irrelevance.values() if "unparsed_call" in row.flags]
    assert called and all(row.valid and not row.strict_valid for row in called)
    assert summary["flags"]["unparsed_call"] >= len(called)
    assert summary["strict"]["overall"] < summary["overall"]


def test_wrong_model_name_is_said(tmp_path: Path) -> None:
    with FaultServer() as server:
        evaluation = evaluate(server, tmp_path / "out", model="gpt")
    assert evaluation.exit_code == 3
    assert "The model `gpt` does not exist" in evaluation.summary["reasons"][0]
    assert len(server.bodies) == 1


@pytest.mark.parametrize(("allowed", "exit_code"), [(0.02, 3), (0.5, 0)])
def test_context_overflow_is_a_kind_of_its_own(
    asked: Asked, allowed: float, exit_code: int
) -> None:
    def overflow(request: Request, handler: Handler) -> bool:
        if len(json.dumps(request.body)) < 10_000:
            return False
        message = "This model's maximum context length is 4096 tokens. However, you requested 9000."
        handler.answer(400, {"object": "error", "message": message, "code": 400})
        return True

    _, evaluation = asked(overflow, max_overflow_share=allowed)
    summary = evaluation.summary
    assert evaluation.exit_code == exit_code
    assert summary["errors"] == {"context_overflow": 4}
    assert summary["retried"] == 0, "a retry would overflow again"
    overflowed = [row for row in evaluation.items if "context_overflow" in row.flags]
    assert {row.category for row in overflowed} == {
        "multi_turn_base",
        "multi_turn_miss_func",
        "multi_turn_miss_param",
        "multi_turn_long_context",
    }
    assert not any(row.valid for row in overflowed)


def test_slow_start_is_waited_for(tmp_path: Path, undisturbed: Evaluation) -> None:
    with FaultServer(up=False) as server:
        threading.Timer(4, lambda: setattr(server, "up", True)).start()
        evaluation = evaluate(server, tmp_path / "out")
    assert evaluation.exit_code == 0, evaluation.stderr
    assert evaluation.table == undisturbed.table


def test_server_that_dies_and_comes_back(asked: Asked, undisturbed: Evaluation) -> None:
    def die_for_a_while(request: Request, handler: Handler) -> bool:
        if request.number != 15:
            return False
        server = handler.server
        server.up = False
        threading.Timer(5, lambda: setattr(server, "up", True)).start()
        handler.reset()
        return True

    _, evaluation = asked(die_for_a_while)
    assert evaluation.exit_code == 0, evaluation.stderr
    assert evaluation.table == undisturbed.table
    assert evaluation.summary["rounds"] >= 1
    assert evaluation.summary["failed_attempts"]["connection"] > 0


def test_answers_that_change_between_tries_are_taken_once(asked: Asked) -> None:
    """An item that was answered keeps its answer, whatever happens to the others."""

    def moody(request: Request, handler: Handler) -> bool:
        if request.number in range(5, 40, 3):
            return unavailable(handler)
        message = {"role": "assistant", "content": f"Answer number {request.number}."}
        handler.server.answered[request.fingerprint] += 1
        handler.answer(200, completion(message, request.body))
        return True

    _, evaluation = asked(
        lambda request, handler: not request.canary and moody(request, handler),
        retry={"rounds": 3, "backoff_s": 0.1, "request_attempts": 1},
    )
    assert evaluation.exit_code == 0, evaluation.stderr
    assert evaluation.summary["errors"] == {}
    numbers = [text for row in evaluation.items for text in _answers(json.loads(row.answer))]
    assert len(numbers) == len(set(numbers)), "one answer was used for two requests"
    assert evaluation.summary["failed_attempts"]["http_5xx"] > 0
    # The opening that three multi-turn items share is answered to each; all else once.
    assert evaluation.asked_twice == 2


def _answers(answer: Any) -> list[str]:
    return [answer] if isinstance(answer, str) else [t for part in answer for t in _answers(part)]


def test_key_is_sent_and_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-a-secret-for-this-test"
    monkeypatch.setenv("SOME_KEY", key)
    with FaultServer(key=key) as server:
        evaluation = evaluate(server, tmp_path / "out", arguments=("--api-key-env", "SOME_KEY"))
    assert evaluation.exit_code == 0, evaluation.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if key.encode() in path.read_bytes()]
    assert key not in evaluation.stderr
