"""A model server that answers nothing is told from one that answers one request at a time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest

from toolgain.environments.relay import Relay
from toolgain.rehearsal.model_health import ModelHealth, watched
from toolgain.serving.server import Endpoint

LIMIT_S = 2.0


class Model:
    """A model server; `works` holds every request back, `hangs` the health checks too."""

    def __init__(self, kind: type[HTTPServer]) -> None:
        self.hangs, self.over = threading.Event(), threading.Event()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if model.hangs.is_set():
                    model.over.wait()
                self.reply()

            def do_POST(self) -> None:
                model.over.wait()
                self.reply()

            def reply(self) -> None:
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing."""

        self.server = kind(("127.0.0.1", 0), Handler)
        self.endpoint = Endpoint(
            f"http://127.0.0.1:{self.server.server_address[1]}/v1", "policy", None, 10.0
        )


@contextmanager
def serving(kind: type[HTTPServer]) -> Iterator[tuple[Model, Relay]]:
    model, relay = Model(kind), Relay("", "", 9)
    relay.endpoint = model.endpoint
    thread = threading.Thread(target=model.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield model, relay
    finally:
        model.over.set()
        model.server.shutdown()
        model.server.server_close()


def ask(relay: Relay) -> None:
    """A rollout's request, which is not answered before the end."""
    threading.Thread(target=relay.answer, args=({"messages": []},), daemon=True).start()
    wait_for(lambda: relay.waiting > 0)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


class Threads(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


def test_a_server_that_answered_at_work_and_then_answers_nothing_is_dead() -> None:
    with serving(Threads) as (model, relay):
        health = ModelHealth(model.endpoint, relay, LIMIT_S)
        ask(relay)
        wait_for(lambda: health.answers_at_work)
        assert health.reason is None
        model.hangs.set()
        wait_for(lambda: health.reason)
        assert health.reason == (
            "the model server has answered no request and no health check for 2 s "
            "(training.gym.health_timeout_s)"
        )


def test_a_server_of_one_request_at_a_time_is_not_dead_while_it_works() -> None:
    """For as long as it takes to find a hung one, twice."""
    with serving(HTTPServer) as (busy, relay), serving(Threads) as (model, other):
        ask(relay)
        health = ModelHealth(busy.endpoint, relay, LIMIT_S)
        ask(other)
        for _ in range(2):
            model.hangs.clear()
            found = ModelHealth(model.endpoint, other, LIMIT_S)
            wait_for(lambda found=found: found.answers_at_work)  # type: ignore[misc]
            model.hangs.set()
            wait_for(lambda found=found: found.reason)  # type: ignore[misc]
        assert health.reason is None


@pytest.mark.parametrize("limit_s", [None, LIMIT_S])
def test_what_the_server_itself_says_comes_first(limit_s: float | None) -> None:
    gone = Endpoint("http://127.0.0.1:9/v1", "policy", None, 1.0, alive=lambda: "it ended")
    with watched(gone, Relay("", "", 9), limit_s) as endpoint:
        assert endpoint.alive() == "it ended"
