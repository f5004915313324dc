"""What a command that evaluates a model's words can reach: one server and one folder."""

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFINE = [sys.executable, "-m", "toolgain.evaluation.sandbox"]


def confined(code: str, folder: Path, port: int | None = None, user: str | None = None) -> str:
    """What Python prints that runs `code` in confinement; its errors too."""
    reach = ["--reach", str(port)] if port else []
    command = [*CONFINE, "--write", str(folder), *reach, "--", sys.executable, "-c", code]
    if user:
        command = ["setpriv", f"--reuid={user}", "--regid=65534", "--clear-groups", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return done.stdout + done.stderr


@pytest.fixture(scope="module", autouse=True)
def kernel_allows_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A kernel without Landlock or namespaces confines nothing; the tool then says so."""
    said = confined("print('ran')", tmp_path_factory.mktemp("probe"), port=1)
    assert "ran" in said
    if "not confined" in said:
        pytest.skip(f"this kernel does not confine: {said.splitlines()[0]}")


@pytest.fixture
def port() -> Iterator[int]:
    """A server on this machine's loopback that says `hello`."""

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def fetch(port: int, host: str = "127.0.0.1") -> str:
    return (
        "import urllib.request\n"
        f"print(urllib.request.urlopen('http://{host}:{port}/', timeout=5).read().decode())"
    )


def test_the_one_server_is_reached(tmp_path: Path, port: int) -> None:
    assert confined(fetch(port), tmp_path, port).strip() == "hello"


def test_another_port_of_this_machine_is_not(tmp_path: Path, port: int) -> None:
    assert "Connection refused" in confined(fetch(port), tmp_path, 1)


def test_no_address_beyond_loopback_is(tmp_path: Path, port: int) -> None:
    assert "Network is unreachable" in confined(fetch(port, "192.0.2.1"), tmp_path, port)


def test_it_writes_into_its_folder_and_nowhere_else(tmp_path: Path, port: int) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (other / "kept").write_text("as it was")
    code = (
        "import os, pathlib\n"
        f"pathlib.Path({str(own)!r}, 'x').write_text('mine')\n"
        "def attempt(what):\n"
        "    try: what(); print('DONE')\n"
        "    except OSError as error: print(type(error).__name__)\n"
        f"other = pathlib.Path({str(other)!r})\n"
        "attempt(lambda: (other / 'kept').write_text('spoilt'))\n"
        "attempt(lambda: (other / 'kept').unlink())\n"
        "attempt(lambda: (other / 'new').mkdir())\n"
        "attempt(lambda: pathlib.Path('/tmp/hostile').write_text('x'))\n"
        "attempt(lambda: os.truncate(other / 'kept', 0))\n"
    )
    assert confined(code, own, port).split() == ["PermissionError"] * 5
    assert (own / "x").read_text() == "mine"
    assert (other / "kept").read_text() == "as it was"


def test_it_cannot_end_a_process_of_its_user(tmp_path: Path, port: int) -> None:
    said = confined(f"import os; os.kill({os.getpid()}, 0); print('DONE')", tmp_path, port)
    version = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if version >= (6, 12):
        assert "PermissionError" in said


def test_the_exit_status_is_passed_on(tmp_path: Path) -> None:
    command = [
        *CONFINE,
        "--write",
        str(tmp_path),
        "--",
        sys.executable,
        "-c",
        "raise SystemExit(7)",
    ]
    assert subprocess.run(command, check=False).returncode == 7


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root")
def test_an_ordinary_user_is_confined_too(port: int) -> None:
    """As `nobody`, by way of a user namespace: of all interfaces only loopback is left."""
    folder = Path(f"/tmp/toolgain-confine-{os.getpid()}")
    folder.mkdir()
    folder.chmod(0o777)
    try:
        done = subprocess.run(
            [
                *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                *(*CONFINE, "--write", str(folder), "--reach", str(port)),
                *("--", "cat", "/proc/net/dev"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
    finally:
        folder.rmdir()
    if "ermission denied" in done.stderr and not done.stdout:
        pytest.skip("nobody cannot read this checkout or its interpreter")
    interfaces = [line.split(":")[0].strip() for line in done.stdout.splitlines()[2:]]
    assert interfaces == ["lo"], done.stderr


def test_a_free_port_needs_no_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "ran" in confined("print('ran')", tmp_path, taken.getsockname()[1])
