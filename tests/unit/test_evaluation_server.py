"""The model server's command, its readiness, and endpoints of others."""

import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sandboxed import as_user

from privileges import may_make_namespaces
from toolgain.common.errors import StageError, UserError
from toolgain.config.sections import Serve
from toolgain.serving import own_network, server
from toolgain.serving.server import Endpoint, ServerRequest

USERS = [0, 65534] if os.geteuid() == 0 else [os.geteuid()]


def request(tmp_path: Path, **serve: Any) -> ServerRequest:
    env = tmp_path / "trl"
    (env / "bin").mkdir(parents=True)
    (env / "bin" / "python").touch()
    weights = tmp_path / "some-model"
    weights.mkdir()
    (weights / "config.json").write_text('{"model_type": "qwen3"}')
    (tmp_path / "server").mkdir()
    section = Serve.model_validate({"backend": "transformers", **serve})
    return ServerRequest(
        section, weights, "policy", Path("/tmp/s"), "a-key", tmp_path / "server", env
    )


def test_transformers_serves_from_a_folder_named_like_the_alias(tmp_path: Path) -> None:
    """It refuses requests for any other name than the path it was started with."""
    asked = request(tmp_path, dtype="float32", max_model_len=4096, threads=1)
    command = server.transformers_command(asked)
    assert (tmp_path / "server" / "policy").resolve() == tmp_path / "some-model"
    assert command.cwd == tmp_path / "server"
    assert command.argv[1:6] == ["-P", "-s", "-m", "toolgain.serving.transformers_server", "policy"]
    assert "/tmp/s" in command.argv and "4096" in command.argv
    assert command.env["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("backend", sorted(server.BACKENDS))
def test_key_is_in_the_environment_and_in_no_command_line(tmp_path: Path, backend: str) -> None:
    command = server.BACKENDS[backend](request(tmp_path, backend=backend))
    assert "a-key" in command.env.values()
    assert not [part for part in command.argv if "a-key" in part]
    assert "a-key" not in repr(command)


@pytest.mark.parametrize("backend", sorted(server.BACKENDS))
def test_a_server_gets_its_configured_environment_and_keeps_its_key(
    tmp_path: Path, backend: str
) -> None:
    given = {"NCCL_DEBUG": "INFO", "VLLM_API_KEY": "other", server.KEY_VARIABLE: "other"}
    command = server.BACKENDS[backend](request(tmp_path, backend=backend, env=given))
    assert command.env["NCCL_DEBUG"] == "INFO"
    assert "a-key" in command.env.values()


def test_endpoint_is_taken_up_to_v1() -> None:
    for url in ("http://h:1/v1", "http://h:1/v1/", "http://h:1/v1/chat/completions"):
        found = server.existing(Serve(backend="endpoint", url=url), "baseline", "m", None)
        assert found.chat_url == "http://h:1/v1/chat/completions"


def test_subject_is_filled_into_the_url() -> None:
    serve = Serve(backend="endpoint", url="http://h/{subject}/v1")
    assert server.existing(serve, "grpo", "m", None).base_url == "http://h/grpo/v1"


def test_key_of_an_endpoint_comes_from_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    serve = Serve(backend="endpoint", url="http://h/v1", api_key_env="MY_KEY")
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UserError, match="environment variable MY_KEY is not set"):
        server.existing(serve, "baseline", "m", None)
    monkeypatch.setenv("MY_KEY", "sk-1")
    found = server.existing(serve, "baseline", "m", None)
    assert found.key == "sk-1" and "sk-1" not in repr(found)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://h"])
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UserError, match=r"evaluation\.serve\.url"):
        server.existing(Serve(backend="endpoint", url=url), "baseline", "m", None)


def test_server_that_is_not_there_is_waited_for_and_named() -> None:
    endpoint = Endpoint(f"http://127.0.0.1:{server.free_port()}/v1", "m", None, 0.5)
    assert server.wait_ready(endpoint) == "ConnectError"


def test_server_of_ours_that_ended_is_not_waited_for() -> None:
    endpoint = Endpoint("http://127.0.0.1:9/v1", "m", None, 60, lambda: "it ended (exit 1)")
    with pytest.raises(StageError, match="it ended"):
        server.wait_ready(endpoint)


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        ("echo no such device; exit 3", StageError, r"exit 3.*no such device"),
        (
            "echo UserError: nothing reads the tool calls >&2; exit 2",
            UserError,
            r"nothing reads the tool calls\. The server refuses",
        ),
    ],
)
def test_server_that_does_not_start_is_quoted_and_a_refused_configuration_is_bad_input(
    program: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    env = tmp_path / "trl"
    (env / "bin").mkdir(parents=True)
    python = env / "bin" / "python"
    python.write_text(f"#!/bin/bash\n{program}\n")
    python.chmod(0o755)
    weights, log = tmp_path / "model", tmp_path / "server.log"
    weights.mkdir()
    with (
        server.serving(
            Serve(backend="transformers"), weights, "policy", tmp_path / "server", env, log
        ) as endpoint,
        pytest.raises(error, match=message),
    ):
        server.wait_ready(endpoint)


@pytest.mark.parametrize(
    ("code", "said", "refuses"),
    [
        (2, "vllm serve: error: unrecognized arguments: --tool-parser", True),
        (1, "KeyError: 'invalid tool call parser: hermse (chose from { hermes,qwen3_xml })'", True),
        (1, "ValueError: The supplied chat template (x.jinja) looks like a file path", True),
        (
            1,
            "pydantic_core.ValidationError: 1 validation error for ModelConfig",
            True,
        ),
        (
            1,
            "ValueError: Free memory on device (2/80 GiB) on startup is less than desired",
            False,
        ),
        (1, "ValueError: 9 GiB KV cache is needed; decrease `max_model_len`", False),
        (1, "torch.OutOfMemoryError: CUDA out of memory; lower max_model_len", False),
        (1, "ERROR [hermes_tool_parser.py:139] json.decoder.JSONDecodeError: Unterminated", False),
        (1, "RuntimeError: Found no NVIDIA driver on your system.", False),
        (-9, "INFO chat template content format: string", False),
        (137, "INFO chat template content format: string", False),
    ],
)
def test_a_server_that_no_other_attempt_helps_is_told_from_one_that_met_with_bad_luck(
    code: int, said: str, refuses: bool
) -> None:
    assert server.refuses_configuration(code, said) is refuses


def test_proxies_are_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:pass@proxy:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    here = server.existing(Serve(backend="endpoint", url="http://127.0.0.1:1/v1"), "b", "m", None)
    there = server.existing(Serve(backend="endpoint", url="http://models/v1"), "b", "m", None)
    assert dict(here.proxies) == {}
    assert there.proxies["http"] == "http://user:pass@proxy:3128"
    assert "pass" not in repr(there)


def test_routes_that_need_no_key_are_found() -> None:
    """As vLLM's: its key guards what is below /v1 alone."""

    class Guarded(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            guarded = self.path.startswith("/v1")
            known = guarded or self.path == "/invocations"
            self.send_response(401 if guarded else 400 if known else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_port}/v1"
        assert server.open_routes(Endpoint(url, "m", "sk-1", 5)) == ["/invocations"]
        assert server.open_routes(Endpoint(url, "m", None, 5)) == []
        unreachable = Endpoint(url, "m", "sk-1", 5, socket=Path("/tmp/s"))
        assert server.open_routes(unreachable) == []
        running.shutdown()


@pytest.mark.parametrize(
    ("config", "wanted", "refused"),
    [
        ({"max_position_embeddings": 8192}, 32768, True),
        ({"max_position_embeddings": 8192}, 8192, False),
        ({"text_config": {"max_position_embeddings": 8192}}, 8193, True),
        ({}, 32768, False),
        ({"max_position_embeddings": 8192}, None, False),
        (
            {
                "max_position_embeddings": 32768,
                "rope_scaling": {"rope_type": "yarn", "factor": 4.0},
            },
            131072,
            False,
        ),
        # Llama's kind is counted in already.
        (
            {
                "max_position_embeddings": 8192,
                "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
            },
            32768,
            True,
        ),
    ],
)
def test_a_context_beyond_the_models_own_is_refused(
    tmp_path: Path, config: dict[str, Any], wanted: int | None, refused: bool
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    for backend in ("transformers", "vllm"):
        serve = Serve.model_validate({"backend": backend, "max_model_len": wanted})
        if refused:
            with pytest.raises(UserError, match=r"max_model_len: \d+ is more .* set 8192 or less"):
                server.check_context(serve, tmp_path)
        else:
            server.check_context(serve, tmp_path)
    elsewhere = Serve(backend="endpoint", url="http://127.0.0.1:1/v1", max_model_len=10**6)
    server.check_context(elsewhere, tmp_path)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.0.0.2", "[::1]", "0.0.0.0"),
        *("::", "::ffff:127.0.0.1", socket.gethostname()),
    ],
)
def test_no_proxy_is_asked_for_this_machine_however_it_is_spelt(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://192.0.2.1:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert server.is_this_machine(host)
    shown = f"[{host}]" if ":" in host and "[" not in host else host
    serve = Serve.model_validate({"backend": "endpoint", "url": f"http://{shown}:1/v1"})
    assert server.existing(serve, "s", "m", None).proxies == {}


def test_other_machines_are_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for host in ("192.0.2.7", "localhost.example", "example.org"):
        assert not server.is_this_machine(host)
        serve = Serve.model_validate({"backend": "endpoint", "url": f"http://{host}:1/v1"})
        assert server.existing(serve, "s", "m", None).proxies


def test_ports_of_a_server_that_others_reach_are_found() -> None:
    """Also those of processes that it started."""
    here = Endpoint("http://localhost/v1", "m", "sk-1", 5, pid=os.getpid())
    code = "import socket, time; s = socket.create_server(('0.0.0.0', 0)); "
    code += "print(s.getsockname()[1], flush=True); time.sleep(600)"
    with socket.create_server(("127.0.0.1", 0)) as own:
        mine = own.getsockname()[1]
        started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        with started:
            assert started.stdout
            port = started.stdout.readline().strip()
            found = server.open_ports(here)
            started.kill()
    assert f"0.0.0.0:{port}" in found
    assert f"127.0.0.1:{mine}" not in found
    assert server.open_ports(Endpoint("http://localhost/v1", "m", "sk-1", 5)) == []


SERVING_ALONE = """
import os, socket, sys, time
unix = socket.socket(socket.AF_UNIX)
unix.bind(sys.argv[1])
unix.listen()
store = socket.create_server(('0.0.0.0', 0))
port = store.getsockname()[1]
socket.create_connection(('127.0.0.1', port)).close()
print(port, os.getuid(), flush=True)
while True:
    unix.accept()[0].sendall(b'here')
"""


@contextmanager
def in_its_own_network(place: Path, *around: str) -> Iterator[tuple[int, int]]:
    """A server with a port on all addresses and a unix socket; its process and its port."""
    # A copy, where every user reads it.
    program = shutil.copy(own_network.__file__, place)
    python = "/usr/bin/python3"
    words = [*around, python, "-I", program, python, "-I", "-c", SERVING_ALONE, str(place / "s")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd="/") as process:
        assert process.stdout
        try:
            yield process.pid, int(process.stdout.readline().split()[0])
        finally:
            process.kill()


def answers_at(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 3):
        return True
    return False


@pytest.mark.parametrize("user", USERS)
def test_in_a_network_of_its_own_a_server_is_reached_by_its_unix_socket_alone(user: int) -> None:
    if not may_make_namespaces(user):
        pytest.skip("this machine gives no namespaces to this user")
    place = Path(tempfile.mkdtemp())
    os.chown(place, user, user)
    with in_its_own_network(place, *as_user(user)) as (number, port):
        assert not answers_at(port)
        assert server.open_ports(Endpoint("http://localhost/v1", "m", "sk-1", 5, pid=number)) == []
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(place / "s"))
            assert one.recv(4) == b"here"
    shutil.rmtree(place)


def test_where_no_network_is_to_be_had_the_server_runs_and_its_ports_are_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    denied = Path(__file__).with_name("denied.py")
    around = ("setpriv", "--no-new-privs", "/usr/bin/python3", str(denied), "unshare", "--")
    with in_its_own_network(tmp_path, *around) as (number, port):
        assert answers_at(port)
        here = Endpoint("http://localhost/v1", "m", "sk-1", 5, pid=number)
        assert server.open_ports(here) == [f"0.0.0.0:{port}"]
    assert "shares the machine's network (Operation not permitted)" in capfd.readouterr().err
