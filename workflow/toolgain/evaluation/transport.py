"""One request to a model server, cut where its response takes too long or gets too much.

A timeout of `requests` counts each wait for bytes, so a server that sends a byte now and then would
never meet it, in its headers as little as in its body. Here the socket itself knows when the whole
response is due. Runs in the harness's environment too, inside the adapter.
"""

import contextvars
import http.client
import io
import json
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from toolgain.bfcl.responses import Reply, read_reply, too_large

CONNECT_TIMEOUT_S = 10.0
CHUNK_BYTES = 64 * 1024

_due: contextvars.ContextVar[float] = contextvars.ContextVar("due", default=float("inf"))
"""When the response that is read now has to be whole, as `time.monotonic()` counts."""


class _DueReader(io.RawIOBase):
    """The bytes of a socket, until the response is due."""

    def __init__(self, bytes_of: io.RawIOBase, sock: socket.socket, due: float) -> None:
        self._bytes_of, self._socket, self._due = bytes_of, sock, due

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._due - time.monotonic()
        if left <= 0:
            raise TimeoutError("the response is not whole in time")
        # A socket without a timeout is None, and never infinite.
        self._socket.settimeout(min(left, 1e6))
        found: int | None = self._bytes_of.readinto(buffer)  # type: ignore[attr-defined]
        return found

    def close(self) -> None:
        if not self.closed:
            self._bytes_of.close()
        super().close()


class _DueResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        raw = self.fp.detach()  # type: ignore[attr-defined]
        self.fp = io.BufferedReader(_DueReader(raw, sock, _due.get()))


class _Connection(HTTPConnection):
    response_class = _DueResponse


class _SecureConnection(HTTPSConnection):
    response_class = _DueResponse


class _UnixConnection(_Connection):
    """To a server that listens on a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def _new_conn(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        try:
            # The pool sets the time to connect before it asks for a socket.
            made.settimeout(self.timeout)
            made.connect(self._path)
        except OSError as error:
            made.close()
            raise NewConnectionError(self, f"{self._path}: {error}") from error
        return made


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _UnixPool(HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.path = path

    def _new_conn(self) -> _UnixConnection:
        self.num_connections += 1
        return _UnixConnection(self.path)


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


class _UnixAdapter(HTTPAdapter):
    """Sends every request to the server at a unix socket, whatever host its URL names."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._pool = _UnixPool(str(path))

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        return self._pool

    def close(self) -> None:
        super().close()
        self._pool.close()
        self._pool = _UnixPool(self._pool.path)


def open_session(
    key: str | None, proxies: Mapping[str, str], unix_socket: Path | None = None
) -> requests.Session:
    """Connections to a server, for one thread.

    Args:
        key: sent as a bearer token.
        proxies: by scheme; the environment's are not read.
        unix_socket: where the server listens, in the place of a URL's host and port.
    """
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _UnixAdapter(unix_socket) if unix_socket else _Adapter())
    session.trust_env = False
    session.proxies = dict(proxies)
    session.headers["Content-Type"] = "application/json"
    # An answer that a gateway kept may be one of other weights.
    session.headers["Cache-Control"] = "no-cache, no-store"
    if key:
        session.headers["Authorization"] = f"Bearer {key}"
    return session


def post(
    session: requests.Session,
    url: str,
    body: Mapping[str, object],
    timeout_s: float,
    max_bytes: int,
    offered: Sequence[str] = (),
) -> Reply:
    """Ask once.

    Args:
        timeout_s: for the whole response, in seconds.
        max_bytes: largest response.
        offered: names of the functions in the request.
    """
    due = _due.set(time.monotonic() + timeout_s)
    try:
        return _read(session, url, json.dumps(body), timeout_s, max_bytes, offered)
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        return Reply("timeout", None, f"no answer within {timeout_s:g} s")
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        return Reply("connection", None, _cause(error))
    finally:
        _due.reset(due)


def _read(
    session: requests.Session,
    url: str,
    data: str,
    timeout_s: float,
    max_bytes: int,
    offered: Sequence[str],
) -> Reply:
    with session.post(
        url,
        data=data,
        timeout=(CONNECT_TIMEOUT_S, timeout_s),
        allow_redirects=False,
        stream=True,
    ) as response:
        content = bytearray()
        # As the bytes come: a whole block of a server that drips may take until the end.
        while block := response.raw.read1(CHUNK_BYTES, decode_content=True):
            content += block
            if len(content) > max_bytes:
                return too_large(response.status_code, max_bytes)
        return read_reply(response.status_code, bytes(content), response.headers, offered)


def _cause(error: BaseException) -> str:
    """The innermost cause, without the address that requests repeats."""
    reason: Any = error.args[0] if error.args else error
    reason = getattr(reason, "reason", reason)
    return type(reason).__name__ if isinstance(reason, BaseException) else type(error).__name__
