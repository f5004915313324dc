"""How one request is asked: retries, the breaker, replays; a real server that fails on purpose."""

import http.server
import json
import socketserver
import threading
import time
from pathlib import Path

import pytest
from fault_server import Fault, FaultServer, Handler, Request, completion, no_fault
from interceptor_process import PYTHON, interceptor

from toolgain.serving.server import socket_folder

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="the harness's environment is not installed (.venvs/bfcl)"
)

UNASKED = "not asked: the server seems to be down"


def failing(status: int, times: int) -> Fault:
    """Answers the first `times` attempts at a question with `status`."""

    def fault(request: Request, handler: Handler) -> bool:
        if request.attempt >= times:
            return False
        handler.answer(status, {"error": "on purpose"})
        return True

    return fault


def hanging(request: Request, handler: Handler) -> bool:
    handler.hang(600)
    return True


def test_a_failure_of_the_server_is_retried_and_every_attempt_recorded(tmp_path: Path) -> None:
    with FaultServer(failing(503, times=2)) as server, interceptor(tmp_path, server.url) as asked:
        answer = asked.ask("What is the weather?")
        (row,) = asked.recorded()
    assert answer.status == "200"
    assert [attempt["kind"] for attempt in row["attempts"]] == ["http_5xx", "http_5xx", "ok"]
    assert row["kind"] == "ok"
    assert row["decoded"] == "text"


def test_the_harness_sees_the_kind_of_a_failure_that_stays(tmp_path: Path) -> None:
    with FaultServer(failing(503, times=9)) as server, interceptor(tmp_path, server.url) as asked:
        answer = asked.ask("What is the weather?")
        assert len(server.bodies) == 3  # `attempts`
    assert answer.status == "503 http_5xx"
    assert not asked.answers.read_text()


def test_what_the_server_refuses_is_asked_once(tmp_path: Path) -> None:
    with FaultServer(failing(400, times=9)) as server, interceptor(tmp_path, server.url) as asked:
        assert asked.ask("What is the weather?").status == "400 http_4xx"
        assert len(server.bodies) == 1


def test_a_request_without_an_answer_in_time_is_a_timeout(tmp_path: Path) -> None:
    with (
        FaultServer(hanging) as server,
        interceptor(tmp_path, server.url, timeout_s=0.2, attempts=1) as asked,
    ):
        assert asked.ask("What is the weather?").status == "502 timeout"
        (row,) = asked.recorded()
    assert row["attempts"][0]["detail"] == "no answer within 0.2 s"


def test_a_response_above_the_limit_is_cut_and_not_retried(tmp_path: Path) -> None:
    with (
        FaultServer() as server,
        interceptor(tmp_path, server.url, max_bytes=20) as asked,
    ):
        assert asked.ask("What is the weather?").status == "502 too_large"
        assert len(server.bodies) == 1


def test_the_server_gets_the_configured_sampling_model_and_key(tmp_path: Path) -> None:
    with (
        FaultServer(key="s3cret") as server,
        interceptor(tmp_path, server.url, key="s3cret", sampling={"temperature": 0.5}) as asked,
    ):
        assert asked.ask("What is the weather?", temperature=0.001, seed=7).status == "200"
        (body,) = server.bodies
        (row,) = asked.recorded()
    assert (body["model"], body["temperature"], body["seed"]) == ("policy", 0.5, 7)
    assert row["sampling"] == {"temperature": 0.5, "seed": 7}
    assert "s3cret" not in asked.record.read_text() + asked.answers.read_text()


def test_a_rate_limit_is_waited_for_and_costs_no_attempt(tmp_path: Path) -> None:
    with (
        FaultServer(failing(429, times=1)) as server,
        interceptor(tmp_path, server.url, attempts=1, give_up_at=4e9) as asked,
    ):
        assert asked.ask("What is the weather?").status == "200"
        (row,) = asked.recorded()
    assert [attempt["kind"] for attempt in row["attempts"]] == ["http_429", "ok"]


def asks_for(headers: dict[str, str], body: bytes = b"{}") -> Fault:
    """Refuses everything by a rate limit, with `headers`."""

    def fault(request: Request, handler: Handler) -> bool:
        handler.send_response(429)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        return True

    return fault


def test_a_wait_beyond_the_time_limit_is_not_waited_for_by_anybody(tmp_path: Path) -> None:
    """A day, where an hour is left: the first request says so, and no other is sent."""
    with (
        FaultServer(asks_for({"Retry-After": "86400"})) as server,
        interceptor(tmp_path, server.url, attempts=1, give_up_at=time.time() + 3600) as asked,
    ):
        answers = [asked.ask(f"Question {n}?") for n in range(3)]
        assert len(server.bodies) == 1
    assert {answer.status for answer in answers} == {"429 http_429"}
    assert "longer than the time limit" in answers[-1].body


def test_an_account_without_credit_is_a_refusal_and_no_rate_limit(tmp_path: Path) -> None:
    empty = b'{"error": {"type": "insufficient_quota", "code": "insufficient_quota"}}'
    with (
        FaultServer(asks_for({}, empty)) as server,
        interceptor(tmp_path, server.url, give_up_at=4e9) as asked,
    ):
        assert asked.ask("What is the weather?").status == "429 http_4xx"
        assert len(server.bodies) == 1


def test_a_namespace_that_the_server_leaves_is_no_part_of_a_name(tmp_path: Path) -> None:
    """Though only some calls have it; the harness sees the offered name, and it is counted."""

    def mixed(request: Request, handler: Handler) -> bool:
        space = "" if request.number else "functions."
        call = {"id": "1", "type": "function"}
        named = {**call, "function": {"name": f"{space}get_weather", "arguments": "{}"}}
        handler.answer(200, completion({"tool_calls": [named]}, request.body))
        return True

    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {}}}]
    with FaultServer(mixed) as server, interceptor(tmp_path, server.url) as asked:
        bodies = [asked.ask(f"{n}?", tools=tools).body for n in range(2)]
        first, second = asked.recorded()
    for body in bodies:
        (call,) = json.loads(body)["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == "get_weather"
    assert (first["foreign"], second["foreign"]) == (0, 0)
    assert "function_name" in first["normalised"]
    assert "function_name" not in second["normalised"]


def test_after_failures_in_a_row_requests_fail_unasked_until_a_probe_is_answered(
    tmp_path: Path,
) -> None:
    with (
        FaultServer(failing(503, times=9)) as server,
        interceptor(tmp_path, server.url, breaker=2, attempts=1) as asked,
    ):
        # The third, or on a busy machine a later one: every few seconds a probe goes out.
        answers = iter(lambda: asked.ask("What is the weather?").body, UNASKED)
        assert set(answers) == {'{"error": "on purpose"}'}
        *reached, spared = asked.recorded()
        assert len(reached) == len(server.bodies) >= 2
        assert (spared["kind"], spared["attempts"]) == ("http_5xx", [])
        server.fault = no_fault
        while asked.ask("What is the weather?").status != "200":
            time.sleep(0.1)
        assert asked.ask("And tomorrow?").status == "200"


def test_answers_of_an_interrupted_attempt_are_replayed_once_each(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with FaultServer() as server:
        with interceptor(first, server.url) as asked:
            before = asked.ask("What is the weather?")
        with interceptor(second, server.url, replay=str(asked.answers)) as again:
            replayed = again.ask("What is the weather?")
            assert len(server.bodies) == 1
            again.ask("What is the weather?")
            assert len(server.bodies) == 2
    assert json.loads(replayed.body) == json.loads(before.body)
    (old,), (same, new) = asked.recorded(), again.recorded()
    assert same["number"] == old["number"] != new["number"]
    assert (same["attempts"], len(new["attempts"])) == ([], 1)


def calling_what_is_asked(request: Request, handler: Handler) -> bool:
    """The answer calls the function that the question names."""
    name = request.body["messages"][-1]["content"]
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    handler.answer(200, completion(message, request.body))
    return True


def test_a_call_that_is_code_is_counted(tmp_path: Path) -> None:
    """By what the harness's evaluator has names for; `get_weather` is offered."""
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
    fine = ["get_weather", "made_up", "os.system", "get weather"]
    code = ["print", "importlib.os.system", "exec('x') or str", "func_call_list.clear"]
    with (
        FaultServer(calling_what_is_asked) as server,
        interceptor(tmp_path, server.url) as asked,
    ):
        for name in (*fine, *code):
            asked.ask(name, tools=[tool])
        found = [row["code"] for row in asked.recorded()]
    assert found == [0] * len(fine) + [1] * len(code)


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers each request with text, on a unix socket."""

    daemon_threads = True


class TextHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": "It rains."}
        content = json.dumps(completion(message, body)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Be silent; the client has no address."""


def test_server_on_a_unix_socket_is_asked_there(tmp_path: Path) -> None:
    """Until it is there, every request is a failed connection."""
    with (
        socket_folder() as folder,
        interceptor(tmp_path, "http://localhost/v1", socket=str(folder / "model")) as asked,
    ):
        assert asked.ask("What is the weather?").status == "502 connection"
        with UnixServer(str(folder / "model"), TextHandler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            assert [asked.ask(f"Question {n}").status for n in range(3)] == ["200"] * 3
            server.shutdown()
        rows = asked.recorded()
    assert [row["kind"] for row in rows] == ["connection", "ok", "ok", "ok"]
