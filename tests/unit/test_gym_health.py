"""A server that answers nothing is told from one that works, by what its processes do."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from toolgain.environments.health import HealthCheck, Limits, is_answering

SERVER = '''
import http.server, subprocess, sys, time

# A tenth of a core: enough to be seen, and the other tests have the rest.
WORK = """
import time
while True:
    until = time.process_time() + 0.01
    while time.process_time() < until:
        pass
    time.sleep(0.09)
"""

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/compute":
            exec(WORK)
        if self.path == "/child":
            subprocess.run([sys.executable, "-c", WORK])
        if self.path == "/hang":
            time.sleep(3600)
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_):
        pass

# One request at a time, as with a verifier that blocks its event loop.
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
'''


class Running:
    """A server that runs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout
        self.process, self.pid = process, process.pid
        self.url = f"http://127.0.0.1:{process.stdout.readline().strip()}"

    def check(self, limit_s: float = 3.0) -> HealthCheck:
        return HealthCheck(f"{self.url}/", self.pid, Limits(limit_s))

    def ask(self, page: str) -> None:
        """Ask for a page that is never answered."""
        assert not is_answering(f"{self.url}/{page}", 0.5)


@contextmanager
def server() -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield Running(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (lambda one: os.kill(one.pid, signal.SIGSTOP), "a signal has stopped it"),
        (lambda one: one.ask("hang"), "it uses no processor"),
    ],
    ids=["stopped", "hangs"],
)
def test_a_server_that_answers_nothing_and_does_nothing_is_dead(
    does: Callable[[Running], None], said: str
) -> None:
    with server() as one:
        does(one)
        check = one.check(1.0)
        wait_for(lambda: check.reason is not None)
        assert check.reason == f"it has answered nothing for 1 s, and {said}"


@pytest.mark.slow
def test_a_server_that_loops_in_one_request_is_dead_and_one_that_works_through_a_queue_is_not() -> (
    None
):
    handled = itertools.count(1)
    with server() as looping, server() as working, server() as unknown:
        for one in (looping, working, unknown):
            one.ask("compute")

        def check(one: Running, requests: Callable[[], int]) -> HealthCheck:
            return HealthCheck(f"{one.url}/", one.pid, Limits(60.0, busy_s=0.2), requests)

        healthy = [check(working, lambda: next(handled)), check(unknown, lambda: 0)]
        for _ in range(2):
            found = check(looping, lambda: 7)
            wait_for(lambda check=found: check.reason is not None)  # type: ignore[misc]
            assert found.loops and found.reason
            assert "at one request and answered nothing meanwhile" in found.reason
        assert [check.reason for check in healthy] == [None] * 2


@pytest.mark.slow
def test_a_server_that_answers_or_works_is_not() -> None:
    """For as long as it takes to find two hung ones, one after the other."""
    with server() as idle, server() as computing, server() as waiting, server() as hung:
        computing.ask("compute")
        waiting.ask("child")
        alive = [one.check() for one in (idle, computing, waiting)]
        hung.ask("hang")
        for _ in range(2):
            found = hung.check()
            wait_for(lambda check=found: check.reason is not None)  # type: ignore[misc]
        assert [check.reason for check in alive] == [None] * 3
