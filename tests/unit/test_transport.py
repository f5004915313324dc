"""One request on the wire: a response that never ends is cut, whatever part of it drips."""

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from toolgain.evaluation.transport import open_session, post

HEAD = b"HTTP/1.1 200 OK\r\n"
BODY = b'{"choices": [{"message": {"content": "No."}, "finish_reason": "stop"}]}'
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@contextmanager
def answering(whole: bytes, drips: bytes = b"") -> Iterator[str]:
    """A server that sends `whole` and then a byte of `drips`, again and again, now and then."""
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            try:
                connection.sendall(whole)
                while drips and not over.wait(0.02):
                    connection.sendall(drips)
            except OSError:
                return

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions"
        over.set()


def test_a_whole_response_is_an_answer() -> None:
    with answering(WHOLE) as url, open_session(None, {}) as session:
        reply = post(session, url, {}, timeout_s=30, max_bytes=1000)
    assert reply.completion is not None and reply.completion.content == "No."


@pytest.mark.parametrize(
    ("whole", "drips"),
    [
        (b"", b"H"),
        (HEAD, b"X"),
        (HEAD, b"X-More: y\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"Content-Length: 99999\r\n\r\n", b" "),
        (HEAD + b"\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    ],
    ids=[
        *("status line", "header line", "headers", "continue"),
        *("body", "body without a length", "chunks", "length of a chunk"),
    ],
)
def test_a_response_that_drips_is_cut_when_it_is_due(whole: bytes, drips: bytes) -> None:
    """No single wait is too long, and none of them would ever be the last."""
    with answering(whole, drips) as url, open_session(None, {}) as session:
        reply = post(session, url, {}, timeout_s=0.5, max_bytes=10**6)
    # More headers than a response may have are no response either.
    assert reply.kind in ("timeout", "connection")
    assert reply.kind == "timeout" or drips.endswith(b"\r\n")


def test_silence_is_a_timeout_and_a_closed_connection_is_none() -> None:
    with answering(b"", b"") as url, open_session(None, {}) as session:
        assert post(session, url, {}, timeout_s=60, max_bytes=1000).kind == "connection"
    with socket.create_server(("127.0.0.1", 0)) as silent, open_session(None, {}) as session:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        reply = post(session, url, {}, timeout_s=0.2, max_bytes=1000)
    assert (reply.kind, reply.detail) == ("timeout", "no answer within 0.2 s")


def test_a_response_that_is_too_large_is_not_read_to_its_end() -> None:
    endless = HEAD + b"\r\n" + b"a" * 5000
    with answering(endless, b"a" * 5000) as url, open_session(None, {}) as session:
        assert post(session, url, {}, timeout_s=60, max_bytes=2000).kind == "too_large"


def test_a_connection_is_used_again_and_the_next_answer_has_its_own_time() -> None:
    seen: list[tuple[str | None, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.headers["Authorization"], self.headers["Cache-Control"]))
            time.sleep(0.3)
            self.wfile.write(WHOLE)

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        with open_session("word", {}) as session:
            kinds = [post(session, url, {}, 0.1 if n == 1 else 60, 1000).kind for n in range(3)]
        server.shutdown()
    assert kinds == ["ok", "timeout", "ok"]
    assert set(seen) == {("Bearer word", "no-cache, no-store")}
