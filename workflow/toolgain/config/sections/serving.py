"""`evaluation.serve`: the model server of an evaluation."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator, model_validator

from toolgain.config.sections.base import Positive, Section


@dataclass(frozen=True)
class ServerFacts:
    """What follows from the choice of a model server; `toolgain.serving.server` starts it."""

    ours: bool
    """Whether the evaluate stage starts and stops it."""
    on_gpus: bool = False
    """Whether it takes GPUs, and runs in the container of the cluster where one is named."""
    package: str | None = None
    """The package of the trl environment that serves; None: none of that environment."""
    parser_key: str = "its own settings"
    """The key that decides how it reads tool calls."""


SERVERS = {
    "transformers": ServerFacts(
        ours=True, package="transformers", parser_key="model.response_template"
    ),
    "vllm": ServerFacts(ours=True, on_gpus=True, parser_key="evaluation.serve.tool_parser"),
    "endpoint": ServerFacts(ours=False),
}
"""The values of `evaluation.serve.backend`."""


class Serve(Section):
    """The model server that the evaluate stage starts and stops."""

    backend: Literal["transformers", "vllm", "endpoint"] = Field(
        "vllm", description="`endpoint`: a server that is already up, named by `url`."
    )
    url: str | None = Field(
        None, description="Base URL up to /v1, with backend `endpoint`; `{subject}` is filled in."
    )
    api_key_env: str | None = Field(
        None, description="Environment variable that holds the endpoint's key."
    )

    @field_validator("url")
    @classmethod
    def _url_holds_no_key(cls, url: str | None) -> str | None:
        if url and has_credentials(url):
            raise ValueError(
                "the URL holds a key or a password, which would end up in files and logs; put it "
                "into an environment variable and name that in evaluation.serve.api_key_env "
                "(--api-key-env)"
            )
        return url

    dtype: str = Field("bfloat16", description="Number type of the weights while serving.")
    max_model_len: Positive | None = Field(32768, description="Context length in tokens.")
    tool_parser: str | None = Field(
        None, description="vLLM's --tool-call-parser, such as `hermes` or `nemotron_json`."
    )
    tool_parser_plugin: str | None = Field(
        None, description="`nemotron-nano-v2` for toolgain's own plugin, or a file."
    )
    data_parallel_size: Positive = Field(1, description="Model copies, one or more GPUs each.")
    tensor_parallel_size: Positive = Field(1, description="GPUs that share one model copy.")
    extra_args: list[str] = Field([], description="Further arguments of the server, as they are.")
    env: dict[str, str] = Field(
        {},
        description="Environment variables of the server, such as `VLLM_*`, `NCCL_*` or "
        "`TRITON_CACHE_DIR`, which it would not get otherwise; no secrets.",
    )
    container: str | None = Field(
        None,
        description="Container image that vLLM runs in (needs a Slurm job and pyxis); null: "
        "`cluster.container`; an empty text: none, vLLM from the PATH.",
    )
    program: str = Field("vllm", description="How vLLM is started, here or in the container.")
    ready_timeout_s: Positive = Field(1800, description="Timeout of its start, in seconds.")
    threads: Positive | None = Field(None, description="CPU threads of the server.")

    @property
    def server(self) -> ServerFacts:
        """What follows from `backend`."""
        return SERVERS[self.backend]

    @model_validator(mode="after")
    def _parser_is_of_this_server(self) -> "Serve":
        for name in ("tool_parser", "tool_parser_plugin"):
            # An endpoint's parser can be named, for the canary to know the markup of a call.
            if self.server.package and getattr(self, name) is not None:
                raise ValueError(
                    f"{name} is vLLM's and has no effect with backend {self.backend}; what reads "
                    f"the model's tool calls there is {self.server.parser_key}"
                )
        return self


def has_credentials(url: str) -> bool:
    """Whether `url` holds a user, a password, or a parameter that looks like a key."""
    parts = urlsplit(url)
    names = {name.lower().replace("-", "_") for name, _ in parse_qsl(parts.query)}
    secret = re.compile(r"key|token|secret|auth|sig|pass|pwd")
    return "@" in parts.netloc or any(map(secret.search, names))
