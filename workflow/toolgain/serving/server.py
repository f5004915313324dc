"""The model server: started, waited for and stopped, or an endpoint that is already up."""

import contextlib
import ipaddress
import logging
import os
import re
import secrets
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from toolgain.common import processes
from toolgain.common.errors import ExitCode, StageError, UserError
from toolgain.common.logs import first_error, last_line, out_of_memory
from toolgain.common.processes import Command
from toolgain.config.sections import Serve
from toolgain.models.weights import context_of

log = logging.getLogger(__name__)

KEY_VARIABLE = "TOOLGAIN_SERVER_KEY"
ENDPOINT_READY_S = 60
"""An endpoint of others is not started by us, so it is not waited for as long."""


@dataclass(frozen=True)
class Endpoint:
    """Where to send chat completion requests."""

    base_url: str
    """Up to and with /v1."""
    model: str
    """The name that the server knows the model by."""
    key: str | None = field(repr=False)
    ready_timeout_s: float
    alive: Callable[[], str | None] = field(repr=False, default=lambda: None)
    """None while the server's process runs; else why it does not."""
    refuses: Callable[[], bool] = field(repr=False, default=lambda: False)
    """Whether it ended because its configuration does not fit, so that no other start helps."""
    proxies: Mapping[str, str] = field(repr=False, default_factory=dict)
    socket: Path | None = None
    """Unix socket that the server listens on, in the place of the host and port of the URL."""
    pid: int | None = None
    """The process above all of the server's; None: they are not known here."""

    @property
    def health_url(self) -> str:
        """A page that a server answers at any time, if only to say that it has no such page."""
        return self.base_url.removesuffix("/v1") + "/health"

    @property
    def chat_url(self) -> str:
        """The URL of chat completions."""
        return f"{self.base_url}/chat/completions"

    def client(self, timeout_s: float) -> httpx.Client:
        """An HTTP client with the key set."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        if self.socket:
            transport = httpx.HTTPTransport(uds=str(self.socket))
            return httpx.Client(
                headers=headers, timeout=timeout_s, trust_env=False, transport=transport
            )
        proxy = self.proxies.get("https" if self.base_url.startswith("https") else "http")
        return httpx.Client(headers=headers, timeout=timeout_s, trust_env=False, proxy=proxy)


@dataclass(frozen=True)
class ServerRequest:
    """What a backend needs to know to build its command."""

    serve: Serve
    weights: Path
    """Hugging Face folder of the model."""
    alias: str
    socket: Path
    """Unix socket to listen on, in a folder that is its owner's alone."""
    key: str = field(repr=False)
    """Random, made for this job; goes into the server's environment only."""
    folder: Path
    """A folder of this evaluation for links and caches."""
    trl_env: Path
    trust_remote_code: bool = False
    """Whether the model's own Python code may run."""


CommandBuilder = Callable[[ServerRequest], Command]


def transformers_command(request: ServerRequest) -> Command:
    """`transformers serve`, in the TRL environment.

    It refuses requests whose model name is not the path it was started with, so it runs beside a
    link named like the alias.
    """
    link = request.folder / request.alias
    link.unlink(missing_ok=True)
    link.symlink_to(request.weights.resolve(), target_is_directory=True)
    argv = [
        str(_python(request.trl_env)),
        "-P",
        "-s",
        "-m",
        "toolgain.serving.transformers_server",
        request.alias,
    ]
    argv += ["--uds", str(request.socket), "--dtype", request.serve.dtype]
    if request.serve.max_model_len:
        argv += ["--max-model-len", str(request.serve.max_model_len)]
    argv += request.serve.extra_args
    threads = str(request.serve.threads or "")
    env = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} if threads else {}
    env |= request.serve.env | {KEY_VARIABLE: request.key}
    return Command(argv, env, request.folder)


def vllm_command(request: ServerRequest) -> Command:
    """`vllm serve`, from PATH or in its container."""
    from toolgain.serving import vllm

    argv = vllm.vllm_serve_command(
        request.weights,
        request.alias,
        request.socket,
        request.serve,
        request.folder,
        request.trust_remote_code,
    )
    env = vllm.LOOPBACK | request.serve.env | vllm.vllm_environment(request.key)
    return Command(argv, env, request.folder)


BACKENDS: dict[str, CommandBuilder] = {
    "transformers": transformers_command,
    "vllm": vllm_command,
}


ALLOW_LONGER = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"


def check_context(serve: Serve, weights: Path) -> None:
    """Refuse a context longer than the model's own: beyond it the answers mean nothing.

    Raises:
        UserError: names both lengths.
    """
    wanted, own = serve.max_model_len, context_of(weights)
    if serve.server.ours and wanted and own and wanted > own and ALLOW_LONGER not in serve.env:
        raise UserError(
            f"evaluation.serve.max_model_len: {wanted} is more than the context of {weights}, "
            f"{own} tokens (max_position_embeddings in its config.json); set {own} or less, or "
            "null for the model's own."
        )


def _python(env: Path) -> Path:
    python = env.absolute() / "bin" / "python"
    if not python.exists():
        raise UserError(f"--trl-env: {python} does not exist; `make setup` makes .venvs/trl.")
    return python


@contextmanager
def serving(
    serve: Serve,
    weights: Path,
    alias: str,
    folder: Path,
    trl_env: Path,
    log_file: Path,
    trust_remote_code: bool = False,
) -> Iterator[Endpoint]:
    """Serve the model in `weights` while the block runs.

    Raises:
        StageError: the server ended or did not answer in time; the message names the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    claim = folder.with_name(f"{folder.name}.processes.json")
    processes.end_leftovers(claim)
    with socket_folder() as private:
        socket_file, key = private / "model", secrets.token_urlsafe(32)
        request = ServerRequest(
            serve, weights.absolute(), alias, socket_file, key, folder, trl_env, trust_remote_code
        )
        command = BACKENDS[serve.backend](request)
        env = processes.scrubbed_environment(None, folder, with_slurm=True)
        log.info("evaluate: starting the model server (%s), log %s", serve.backend, log_file)
        # Every start appends.
        begin = log_file.stat().st_size if log_file.exists() else 0
        with processes.running(command, env, log_file, claim) as process:

            def last_words() -> str:
                return first_error(log_file, begin) or last_line(log_file)

            def alive() -> str | None:
                if process.poll() is None:
                    return None
                ended = f"the model server ended (exit {process.returncode})"
                return f"{ended}; see {log_file}: {last_words()}"

            def refuses() -> bool:
                code = process.poll()
                return code is not None and refuses_configuration(code, last_words())

            yield Endpoint(
                # No host of this name is looked up: requests go to the socket.
                base_url="http://localhost/v1",
                model=alias,
                key=key,
                ready_timeout_s=serve.ready_timeout_s,
                alive=alive,
                refuses=refuses,
                socket=socket_file,
                pid=None if serve.container else process.pid,
            )


_DOES_NOT_FIT = re.compile(
    r"ValidationError|(tool|reasoning)[ _-](call )?parser(?!\.py)|chat[ _]template"
    r"|response_template|max_model_len|trust_remote_code",
    re.IGNORECASE,
)
"""What the errors of servers name that refuse their configuration. Memory and drivers are not among
them: another attempt, or another node, may have them."""


def refuses_configuration(code: int, said: str) -> bool:
    """Whether a server that ended at its start refuses its configuration.

    Args:
        code: Its exit code; 2 is what argparse ends with, and the server of this package.
        said: The error in its log.
    """
    if code == ExitCode.BAD_INPUT:
        return True
    memory = out_of_memory(said) or "KV cache" in said
    return 0 < code < 128 and bool(_DOES_NOT_FIT.search(said)) and not memory


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder of this user alone, on this machine, with a name short enough for a socket."""
    temporary = tempfile.gettempdir()
    # A socket's path has at most 107 bytes (unix(7)).
    short = len(os.fsencode(temporary)) < 80
    with tempfile.TemporaryDirectory(
        prefix="toolgain-", dir=temporary if short else "/tmp", ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


def existing(serve: Serve, subject: str, model: str, ready_timeout_s: float | None) -> Endpoint:
    """The endpoint that the configuration names.

    Raises:
        UserError: the URL or the variable of the key is missing or cannot be right.
    """
    url = (serve.url or "").replace("{subject}", subject).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise UserError(
            f"evaluation.serve.url is {serve.url!r}; expected its URL up to /v1, such as "
            "http://127.0.0.1:8000/v1."
        )
    url = url.removesuffix("/chat/completions")
    key = None
    if serve.api_key_env:
        key = os.environ.get(serve.api_key_env)
        if not key:
            raise UserError(
                f"--api-key-env: the environment variable {serve.api_key_env} is not set."
            )
    return Endpoint(url, model, key, ready_timeout_s or ENDPOINT_READY_S, proxies=_proxies(url))


def is_this_machine(host: str) -> bool:
    """Whether a host in a URL is this machine, in any spelling: 127.0.0.2, [::1], 0.0.0.0, its
    own name."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        own = socket.gethostname().lower()
        return (
            name == "localhost" or name.endswith(".localhost") or name in (own, own.split(".")[0])
        )
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _proxies(url: str) -> dict[str, str]:
    """Proxies of the environment for `url`, none for this machine."""
    from urllib.request import getproxies, proxy_bypass

    host = httpx.URL(url).host
    if is_this_machine(host) or proxy_bypass(host):
        return {}
    return {scheme: proxy for scheme, proxy in getproxies().items() if scheme in ("http", "https")}


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_ready(endpoint: Endpoint) -> str | None:
    """Wait until the server answers.

    Returns:
        None when it is ready; else what it answered last when the time was up.

    Raises:
        UserError: a server of ours has ended because it refuses its configuration.
        StageError: a server of ours has ended for another reason.
    """
    deadline = time.monotonic() + endpoint.ready_timeout_s
    last = "no answer"
    with endpoint.client(5.0) as client:
        while True:
            if reason := endpoint.alive():
                if endpoint.refuses():
                    raise UserError(
                        f"evaluate: {reason}. The server refuses its configuration: see "
                        "evaluation.serve, and the model's chat template and tool parser."
                    )
                raise StageError(f"evaluate: {reason}")
            try:
                status = client.get(endpoint.health_url).status_code
            except httpx.HTTPError as error:
                last = type(error).__name__
            else:
                # Any answer of a running application will do; not every server has this page.
                if status < 500:
                    return None
                last = f"HTTP {status}"
            if not processes.wait_until(deadline, 0.25):
                return last


GENERATING_ROUTES = (
    *("/invocations", "/v1/chat/completions", "/v1/completions", "/v1/responses", "/generate"),
    *("/inference/v1/generate", "/pooling", "/score", "/tokenize"),
)
"""Routes of vLLM that work with the model. Its key guards those below /v1 alone."""


def open_routes(endpoint: Endpoint) -> list[str]:
    """The routes that a server on this machine which asks for a key also serves without it, to any
    user. Servers of ours listen on a unix socket that no other user reaches."""
    if (
        not endpoint.key
        or endpoint.socket
        or not is_this_machine(httpx.URL(endpoint.base_url).host)
    ):
        return []
    root, found = endpoint.base_url.removesuffix("/v1"), []
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        for route in GENERATING_ROUTES:
            # An empty request does no work: a route that is open says what it misses (400, 422).
            with contextlib.suppress(httpx.HTTPError):
                if client.post(root + route, json={}).status_code not in (401, 403, 404, 405):
                    found.append(route)
    return found


def open_ports(endpoint: Endpoint) -> list[str]:
    """The addresses other than the loopback's at which processes of a server of ours listen, and
    which others reach: in a network of its own (`own_network`) it has none. The model does not
    answer there; vLLM's torch.distributed does, in some versions."""
    if endpoint.pid is None:
        return []
    here = Path("/proc/self/ns/net").readlink()
    found = set()
    with contextlib.suppress(psutil.Error):
        above = psutil.Process(endpoint.pid)
        for process in (above, *above.children(recursive=True)):
            with contextlib.suppress(psutil.Error, OSError):
                if Path(f"/proc/{process.pid}/ns/net").readlink() != here:
                    continue
                for one in process.net_connections("tcp"):
                    if one.status == psutil.CONN_LISTEN and not _is_loopback(one.laddr.ip):
                        found.add(f"{one.laddr.ip}:{one.laddr.port}")
    return sorted(found)


def _is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return bool((getattr(found, "ipv4_mapped", None) or found).is_loopback)


def server_facts(endpoint: Endpoint) -> dict[str, Any]:
    """What the server says about itself: version and context length, where it does."""
    facts: dict[str, Any] = {}
    with endpoint.client(5.0) as client:
        with contextlib.suppress(httpx.HTTPError, ValueError, AttributeError, TypeError):
            root = endpoint.base_url.removesuffix("/v1")
            facts["version"] = client.get(f"{root}/version").json().get("version")
        with contextlib.suppress(httpx.HTTPError, ValueError, AttributeError, TypeError, KeyError):
            for row in client.get(f"{endpoint.base_url}/models").json()["data"]:
                if row.get("id") == endpoint.model:
                    facts["max_model_len"] = row.get("max_model_len")
    return {name: value for name, value in facts.items() if value is not None}


def python_version_of(env: Path, package: str) -> str | None:
    """The version of `package` installed in the environment `env`, without starting it."""
    name = package.replace("-", "_")
    for info in env.glob(f"lib/python3*/site-packages/{name}-*.dist-info"):
        return info.name.removeprefix(f"{name}-").removesuffix(".dist-info")
    return None


def serving_environment(serve: Serve, trl_env: Path) -> Path | None:
    """The Python environment of the server's program; None where it is in a container or foreign.

    Args:
        serve: `evaluation.serve`.
        trl_env: Environment of `transformers serve`.
    """
    if serve.server.package is not None:
        return trl_env
    if not serve.server.ours or serve.container:
        return None
    program = shutil.which(shlex.split(serve.program)[0])
    return Path(program).absolute().parent.parent if program else None


def this_python() -> str:
    """Version of the orchestrator's Python."""
    return ".".join(map(str, sys.version_info[:3]))
