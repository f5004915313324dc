"""Servers with odd habits, in the real evaluation: the numbers are right, or it is not valid.

Each run has many habits at once: which one a question meets depends on its messages alone.
"""

import gzip
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluating import TOOLGAIN, Evaluation, evaluate
from fault_server import FaultServer, Handler, Request, completion, honest_answer

Asked = Callable[..., tuple[FaultServer, Evaluation]]
Habit = Callable[[Request, Handler], None]

pytestmark = pytest.mark.slow


def usual(request: Request) -> dict[str, Any]:
    return completion(honest_answer(request.body), request.body)


def chosen(request: Request, habits: list[Habit]) -> Habit:
    return habits[int(request.fingerprint[:8], 16) // 4 % len(habits)]


def sends(content: bytes, status: int = 200, kind: str = "application/json") -> Habit:
    return lambda request, handler: handler.answer(status, content, kind)


def changes(change: Callable[[dict[str, Any]], object]) -> Habit:
    """The usual response, changed."""

    def habit(request: Request, handler: Handler) -> None:
        body = usual(request)
        change(body)
        handler.answer(200, body)

    return habit


def with_headers(handler: Handler, content: bytes, *headers: tuple[str, str]) -> None:
    handler.send_response(200)
    for name, value in headers:
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


def cut_chunks(request: Request, handler: Handler) -> None:
    whole = json.dumps(usual(request)).encode()
    with_headers(handler, b"%x\r\n%s" % (len(whole), whole[:20]), ("Transfer-Encoding", "chunked"))
    handler.close_connection = True


def cut_length(request: Request, handler: Handler) -> None:
    whole = json.dumps(usual(request)).encode()
    with_headers(handler, whole[:-1], ("Content-Length", str(len(whole) + 9)))
    handler.close_connection = True


def broken_gzip(request: Request, handler: Handler) -> None:
    length = ("Content-Length", "9")
    with_headers(handler, b"no gzip!!", ("Content-Encoding", "gzip"), length)


def drips(request: Request, handler: Handler) -> None:
    """A byte now and then: no single wait is too long, and the answer never ends."""
    with_headers(handler, b"", ("Content-Length", "100000"))
    handler.close_connection = True
    while not handler.server.stopping.is_set():
        handler.wfile.write(b" ")
        time.sleep(0.5)


def redirects(request: Request, handler: Handler) -> None:
    handler.send_response(307)
    handler.send_header("Location", "/v1/chat/completions?again")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def other_letters(request: Request, handler: Handler) -> None:
    body = usual(request)
    body["choices"][0]["message"]["content"] = "Zürich"
    handler.answer(200, json.dumps(body, ensure_ascii=False).encode("latin-1"))


def emptied(finish: str | None, tokens: int, **message: object) -> Habit:
    def change(body: dict[str, Any]) -> None:
        said = {"role": "assistant", "content": "", **message}
        body["choices"][0].update(message=said, finish_reason=finish)
        body["usage"]["completion_tokens"] = tokens

    return changes(change)


NO_ANSWERS: list[tuple[str, Habit]] = [
    ("connection", cut_chunks),
    ("connection", cut_length),
    ("connection", broken_gzip),
    ("timeout", drips),
    ("http_5xx", redirects),
    ("malformed", other_letters),
    ("malformed", sends(b"", 204)),
    ("malformed", sends(b"<html>Sign in</html>", kind="text/html")),
    ("malformed", sends(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n')),
    ("malformed", changes(lambda body: body.update(choices=[]))),
    ("error_in_answer", sends(b'{"error": {"message": "engine is paused"}}')),
    ("aborted", emptied("abort", 0)),
    ("no_answer", emptied("stop", 0)),
    ("no_answer", emptied(None, 7)),
    ("reasoning_only", emptied("stop", 7, reasoning_content="I call f.")),
    ("lost_call", emptied("tool_calls", 7, content="I do it.")),
]


def test_response_without_an_answer_is_retried(asked: Asked, undisturbed: Evaluation) -> None:
    habits = [habit for _, habit in NO_ANSWERS]
    met = set()

    def once(request: Request, handler: Handler) -> bool:
        if request.canary or request.attempt:
            return False
        habit = chosen(request, habits)
        met.add(habit)
        habit(request, handler)
        return True

    _, evaluation = asked(
        once,
        retry={"rounds": 3, "backoff_s": 0.1, "request_timeout_s": 3, "request_attempts": 3},
    )
    assert evaluation.exit_code == 0, evaluation.stderr
    assert evaluation.table == undisturbed.table
    expected = {kind for kind, habit in NO_ANSWERS if habit in met}
    assert expected <= set(evaluation.summary["failed_attempts"])
    assert len(met) > 8, "the questions of the subset are too few"


def in_message(change: Callable[[dict[str, Any]], object]) -> Habit:
    return changes(lambda body: change(body["choices"][0]["message"]))


def in_calls(change: Callable[[dict[str, Any]], object]) -> Habit:
    return in_message(lambda message: [change(call) for call in message.get("tool_calls", [])])


def compressed(request: Request, handler: Handler) -> None:
    content = gzip.compress(json.dumps(usual(request)).encode())
    length = ("Content-Length", str(len(content)))
    with_headers(handler, content, ("Content-Encoding", "gzip"), length)


def in_chunks(request: Request, handler: Handler) -> None:
    whole = json.dumps(usual(request)).encode()
    chunks = [whole[n : n + 50] for n in range(0, len(whole), 50)]
    content = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    with_headers(handler, content, ("Transfer-Encoding", "chunked"))


def encoded(encoding: str) -> Habit:
    def habit(request: Request, handler: Handler) -> None:
        handler.answer(200, json.dumps(usual(request)).encode(encoding), "text/plain")

    return habit


def as_object(call: dict[str, Any]) -> None:
    call["function"]["arguments"] = json.loads(call["function"]["arguments"])


def with_mark(call: dict[str, Any]) -> None:
    call["function"]["arguments"] = "\ufeff" + call["function"]["arguments"]


def legacy(message: dict[str, Any]) -> None:
    if calls := message.pop("tool_calls", None):
        message["function_call"] = calls[0]["function"]


def in_parts(message: dict[str, Any]) -> None:
    text = message["content"]
    message["content"] = [{"type": "text", "text": text}] if text else []


def refused(message: dict[str, Any]) -> None:
    if text := message["content"]:
        message.update(content="", refusal=text)


def several(body: dict[str, Any]) -> None:
    other = {"index": 1, "message": {"content": "Another."}, "finish_reason": "stop"}
    body["choices"].append(other)


SPELLINGS: list[Habit] = [
    compressed,
    in_chunks,
    encoded("utf-8-sig"),
    encoded("utf-16"),
    lambda request, handler: handler.answer(203, usual(request)),
    in_calls(as_object),
    in_calls(with_mark),
    in_calls(lambda call: call.pop("id")),
    in_calls(lambda call: call.update(id=5, type=None)),
    in_message(legacy),
    in_message(in_parts),
    in_message(refused),
    in_message(lambda message: message.setdefault("tool_calls", "")),
    in_message(lambda message: message.update(role=None)),
    changes(several),
    changes(lambda body: body.pop("usage")),
    changes(lambda body: body["usage"].update(prompt_tokens="11", completion_tokens=-1)),
    changes(lambda body: body["choices"][0].pop("finish_reason")),
    changes(lambda body: body["choices"][0].update(finish_reason={"type": "EOS"})),
    changes(lambda body: body.update(object=None, id=None, created="now")),
]


def test_answer_in_any_spelling_has_the_same_score(
    asked: Asked, undisturbed: Evaluation, tmp_path: Path
) -> None:
    def spelt(request: Request, handler: Handler) -> bool:
        if request.canary:
            return False
        chosen(request, SPELLINGS)(request, handler)
        return True

    _, evaluation = asked(spelt)
    assert evaluation.exit_code == 0, evaluation.stderr
    assert evaluation.table == undisturbed.table
    assert evaluation.summary["normalised"]
    assert evaluation.summary["failed_attempts"] == {}
    # Comparable, since each answer was read as what it says; that it was needed is said.
    folders = [undisturbed.folder, evaluation.folder]
    done = subprocess.run(
        [TOOLGAIN, "compare", *folders, "--out", tmp_path / "c.json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "c.json").read_text())
    assert said["headline"]["delta"] == 0
    assert any("normalised in different ways" in check for check in said["checks_impossible"])


def two_calls(request: Request) -> dict[str, Any]:
    """The honest answer, made twice where it is a call."""
    body = usual(request)
    message = body["choices"][0]["message"]
    if calls := message.get("tool_calls"):
        message["tool_calls"] = [*calls, {**calls[0], "id": "call_second"}]
    return body


def test_faults_that_stay_have_kinds_of_their_own(asked: Asked) -> None:
    """A response that is larger than allowed, and a template that shows one call an answer."""

    def stubborn(request: Request, handler: Handler) -> bool:
        messages, tools = request.body["messages"], request.body.get("tools", [])
        if request.canary:
            return False
        if len(tools) < 5:
            # A single-turn item: one of them gets more than anybody takes.
            if request.fingerprint[0] in "01":
                handler.answer(200, b" " * 300_000)
                return True
            return False
        before = [message for message in messages if message["role"] == "assistant"]
        if any(len(message.get("tool_calls") or []) > 1 for message in before):
            handler.answer(400, {"error": "this template shows one call at a time"})
        else:
            handler.answer(200, two_calls(request))
        return True

    _, evaluation = asked(stubborn, max_response_bytes=200_000, max_error_share=0.9)
    assert evaluation.exit_code == 0, evaluation.stderr
    summary = evaluation.summary
    assert summary["normalised"]["history_one_call_each"] > 0
    assert set(summary["errors"]) <= {"too_large"}
    assert summary["rounds"] == 0, "none of it would come out otherwise"
    several_turns = [row for row in evaluation.items if row.category.startswith("multi_turn")]
    assert not any("history_refused" in row.flags for row in several_turns)
    assert any(row.calls > 1 for row in several_turns)


def test_conversation_that_the_server_refuses_is_the_models_wrong_answer(asked: Asked) -> None:
    def refuses(request: Request, handler: Handler) -> bool:
        messages = request.body["messages"]
        before = [message for message in messages if message["role"] == "assistant"]
        # It takes some conversations back, so not all of them are its fault.
        if len(before) < 2:
            return False
        handler.answer(400, {"error": "arguments of an earlier call are not an object"})
        return True

    _, evaluation = asked(refuses)
    assert evaluation.exit_code == 0, evaluation.stderr
    summary = evaluation.summary
    assert summary["errors"] == {}
    lost = [row for row in evaluation.items if "history_refused" in row.flags]
    assert lost and all(row.error_type == "history_refused" and not row.valid for row in lost)
    assert summary["flags"]["history_refused"] == len(lost)
    assert any("the server refused to continue" in said for said in summary["warnings"])


def test_rounds_continue_while_they_answer_something(asked: Asked, undisturbed: Evaluation) -> None:
    """Every other question fails once, so the steps of a conversation take several rounds."""

    def later(request: Request, handler: Handler) -> bool:
        if request.canary or request.attempt or int(request.fingerprint[:4], 16) % 2:
            return False
        handler.answer(503, {"error": "overloaded"})
        return True

    _, evaluation = asked(later, retry={"rounds": 1, "backoff_s": 0.1, "request_attempts": 1})
    assert evaluation.exit_code == 0, evaluation.stderr
    assert evaluation.table == undisturbed.table
    assert evaluation.summary["rounds"] > 1


def test_server_that_allows_so_many_requests_a_minute(
    tmp_path: Path, undisturbed: Evaluation
) -> None:
    """Few requests are refused, and none of them counts as a failure of the server."""
    window_s, allowed = 4.0, 8
    started: list[float] = []
    refusals = 0

    def limit(request: Request, handler: Handler) -> bool:
        nonlocal refusals
        now = time.monotonic()
        started[:] = [at for at in started if at > now - window_s]
        if len(started) < allowed:
            started.append(now)
            return False
        refusals += 1
        handler.send_response(429)
        handler.send_header("Retry-After", str(max(1, round(started[0] + window_s - now))))
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    with FaultServer(limit) as server:
        evaluation = evaluate(server, tmp_path / "out", retry={"rounds": 1, "request_attempts": 1})
    assert evaluation.exit_code == 0, evaluation.stderr
    assert evaluation.table == undisturbed.table
    assert evaluation.summary["rounds"] == 0
    assert 0 < refusals < len(server.bodies) / 2


HOSTILE = ["half \ud83d", "\x00\x85\u2028\r", "[" * 50_000, "</script><b>|`", "9" * 400]


def test_evaluation_that_met_hostile_text_can_be_resumed(asked: Asked, tmp_path: Path) -> None:
    broken = True

    def hostile(request: Request, handler: Handler) -> bool:
        if request.canary:
            return False
        if broken and request.number > 20:
            handler.answer(503, {"error": "down"})
            return True
        body = usual(request)
        message, text = body["choices"][0]["message"], HOSTILE[request.number % len(HOSTILE)]
        for call in message.get("tool_calls", []):
            call["function"]["name"] += text[:50] if request.number % 3 == 0 else ""
            call["function"]["arguments"] = f'{{"x": {json.dumps(text)}, "y": {"9" * 400}}}'
        if not message.get("tool_calls"):
            message["content"] = text
        handler.answer(200, body)
        return True

    section = {"retry": {"rounds": 0, "backoff_s": 0.1, "request_attempts": 1}}
    server, first = asked(hostile, **section)
    assert first.exit_code == 3 and set(first.summary["errors"]) == {"http_5xx"}
    answered = [row for row in first.table if json.loads(row[4])[:5] != "Error"]
    broken = False
    second = evaluate(server, tmp_path / "out", **section)
    assert second.exit_code == 0, second.stderr
    assert [row for row in second.table if row in answered] == answered
    assert not (tmp_path / "out" / "work" / "spent.json").exists()


def test_missing_parser_is_a_warning_where_that_was_chosen(asked: Asked) -> None:
    def as_text(request: Request, handler: Handler) -> bool:
        message = honest_answer(request.body)
        if calls := message.pop("tool_calls", None):
            call = calls[0]["function"]
            said = {"name": call["name"], "arguments": json.loads(call["arguments"])}
            message["content"] = f"<tool_call>{json.dumps(said)}</tool_call>"
        handler.answer(200, completion(message, request.body))
        return True

    _, evaluation = asked(as_text, canary="warn")
    assert evaluation.exit_code == 0, evaluation.stderr
    summary = evaluation.summary
    assert any("after <tool_call>" in said for said in summary["warnings"])
    credited = [row for row in evaluation.items if row.valid and not row.strict_valid]
    assert all(row.flags for row in credited)
    assert bool(credited) == any("count as right in the official" in w for w in summary["warnings"])
