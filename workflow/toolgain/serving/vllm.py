"""The flags of `vllm serve` for an evaluation, those that every supported vLLM knows.

Checked against the argument definitions of vLLM 0.11.2, 0.17.1, 0.20.0 and 0.25.1, those of the
supported NeMo RL versions, and parsed by the programs of 0.20.0 and 0.25.1 (tests/upstream).
"""

import os
import shlex
import sys
from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.config.sections import Serve
from toolgain.models.settings import read_settings
from toolgain.serving import own_network
from toolgain.serving.tool_parser import plugin_path
from toolgain.slurm.containers import folders_behind, in_container, located_image, mounts

FLAGS = (
    "--uds",
    "--served-model-name",
    "--dtype",
    "--max-model-len",
    "--tensor-parallel-size",
    "--data-parallel-size",
    "--generation-config",
    "--enable-auto-tool-choice",
    "--tool-call-parser",
    "--tool-parser-plugin",
    "--chat-template",
    "--trust-remote-code",
    "--mamba-ssm-cache-dtype",
    "--seed",
)
"""Every flag that `arguments` may use."""

# Flags of a model family, as its card and NeMo RL's recipe set them.
FAMILIES: dict[str, tuple[str, ...]] = {
    # The state of its Mamba layers loses accuracy in 16 bits.
    "nemotron_h": ("--mamba-ssm-cache-dtype", "float32"),
}


def vllm_serve_command(
    model: Path,
    alias: str,
    socket: Path,
    serve: Serve,
    folder: Path,
    trust_remote_code: bool = False,
) -> list[str]:
    """The whole command line of the server, in its container where one is named.

    Args:
        model: Hugging Face folder.
        alias: Served name.
        socket: Unix socket to listen on.
        serve: `evaluation.serve`.
        folder: A folder of this evaluation, which the container sees too.
        trust_remote_code: `model.trust_remote_code`.

    Raises:
        UserError: a container is named outside of a Slurm job, or a flag cannot be right.
    """
    words = shlex.split(serve.program)
    family = family_of(model)
    line = [*words, "serve", *vllm_flags(model, alias, socket, serve, family, trust_remote_code)]
    # An interface that the user names is not there in a network of the server's own.
    alone = LOOPBACK | serve.env == serve.env | LOOPBACK
    if not serve.container:
        own = (sys.executable, "-P", "-I", own_network.__file__) if alone else ()
        return [*own, *line]
    if not os.environ.get("SLURM_JOB_ID"):
        raise UserError(
            "evaluation.serve.container needs a Slurm job; use --profile slurm, or leave it out "
            "and have vLLM on the PATH."
        )
    plugin = plugin_path(serve.tool_parser_plugin)
    needed = [
        *folders_behind(model),
        folder.resolve(),
        socket.parent,
        *([plugin.parent] if plugin else []),
        *([Path(own_network.__file__)] if alone else []),
    ]
    line = [*(IN_IMAGE if alone else ()), *line]
    image = located_image(serve.container) or ""
    return in_container(line, image, mounts([], needed), folder.resolve())


def vllm_flags(
    model: Path,
    alias: str,
    socket: Path,
    serve: Serve,
    family: str | None = None,
    trust_remote_code: bool = False,
) -> list[str]:
    """The arguments after `vllm serve`. The key goes by the environment (VLLM_API_KEY).

    Args:
        model: Hugging Face folder.
        alias: Served name.
        socket: Unix socket to listen on.
        serve: `evaluation.serve`.
        family: `model_type` of the model's config.json.
        trust_remote_code: `model.trust_remote_code`.

    Raises:
        UserError: a plugin or flag cannot be right.
    """
    values = [str(model), "--served-model-name", alias, "--uds", str(socket)]
    values += ["--dtype", str(serve.dtype)]
    if serve.max_model_len:
        values += ["--max-model-len", str(serve.max_model_len)]
    values += ["--tensor-parallel-size", str(serve.tensor_parallel_size)]
    if serve.data_parallel_size > 1:
        values += ["--data-parallel-size", str(serve.data_parallel_size)]
    # Not `auto`: sampling defaults of a generation_config.json must not differ between the base
    # model and an export, and the harness sets its own. End tokens are read from it all the same.
    values += ["--generation-config", "vllm", "--seed", "0"]
    parser, plugin = serve.tool_parser, plugin_path(serve.tool_parser_plugin)
    if parser:
        values += ["--enable-auto-tool-choice", "--tool-call-parser", parser]
    elif plugin:
        raise UserError(
            "evaluation.serve.tool_parser_plugin is set without tool_parser; for Nemotron Nano v2 "
            "set tool_parser: nemotron_json."
        )
    if plugin:
        values += ["--tool-parser-plugin", str(plugin)]
    template = model / "chat_template.jinja"
    if template.is_file():
        values += ["--chat-template", str(template)]
    if trust_remote_code:
        values += ["--trust-remote-code"]
    values += FAMILIES.get(family or "", ())
    return [*values, *serve.extra_args]


IN_IMAGE = (
    *("sh", "-c"),
    'if command -v python3 > /dev/null; then exec python3 -I "$0" "$@"; fi; exec "$@"',
    own_network.__file__,
)
"""`own_network` in a container, where the image has a Python."""

LOOPBACK = {
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
}
"""Where vLLM's processes, which all run on one node, talk to each other; its own choice is the
address that other machines see, and a site may name an interface between nodes to all jobs.
`evaluation.serve.env` can name others."""


def vllm_environment(key: str, hf_home: str | None = None) -> dict[str, str]:
    """What the server needs in its environment: its key, and no calls home."""
    values = {
        "VLLM_API_KEY": key,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    return values | ({"HF_HOME": hf_home} if hf_home else {})


def family_of(model: Path) -> str | None:
    """`model_type` of a model folder's config.json."""
    found = read_settings(model / "config.json").get("model_type")
    return str(found) if found else None
