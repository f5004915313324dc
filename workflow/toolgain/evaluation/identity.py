"""What is measured and by what: the weights, and everything that must agree to compare."""

import json
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from toolgain.bfcl.categories import TASK
from toolgain.bfcl.data import Items, items_digest
from toolgain.common.errors import UserError
from toolgain.common.files import digest, file_digest, read_json, read_text
from toolgain.config.sections import EvaluationSection
from toolgain.models.response_templates import reader_of_folder
from toolgain.records.evaluation import EvaluatedWeights
from toolgain.serving.server import python_version_of

FORMULA = "bfcl-v3-official"
"""Name of the Overall's formula in `toolgain.bfcl.overall`."""

# These say where and how fast the answers are made, not which.
_NOT_IN_KEY = ("machine",)


@dataclass(frozen=True)
class EvaluatedModel:
    """The model that is evaluated."""

    path: str
    """Folder, or the URL of an endpoint."""
    digest: str | None
    """None for an endpoint: its weights cannot be seen."""
    name: str
    """Name to show."""
    served_name: str
    """Name in the requests."""
    trust_remote_code: bool = False
    """Whether the model's own Python code may run."""

    @property
    def folder(self) -> Path:
        """The model folder, where the weights are not an endpoint's."""
        return Path(self.path)

    def record(self) -> EvaluatedWeights:
        """For manifest.json."""
        return EvaluatedWeights(path=self.path, digest=self.digest, name=self.name)


def read_weights(
    weights: Path | None, served_name: str, url: str | None, trust_remote_code: bool = False
) -> EvaluatedModel:
    """The weights named on the command line: a model folder, or a JSON with path and digest.

    Args:
        trust_remote_code: what --trust-remote-code says of a model folder; a JSON says it itself.

    Raises:
        UserError: they are missing or incomplete.
    """
    if weights is None:
        return EvaluatedModel(url or "", None, served_name, served_name)
    if weights.is_dir():
        from toolgain.models.base import files_of
        from toolgain.models.remote_code import check_remote_code

        folder = weights.resolve()
        made_of = digest(files_of(folder))
        check_remote_code(folder, trust_remote_code, "--trust-remote-code")
        return EvaluatedModel(str(folder), made_of, folder.name, served_name, trust_remote_code)
    found = read_json(weights, "--weights")
    try:
        path, made_of, name = found["path"], found["digest"], found["name"]
    except (KeyError, TypeError):
        raise UserError(
            f"--weights: {weights} has no path, digest and name; expected a model folder or the "
            "JSON of `toolgain model` or `toolgain export`."
        ) from None
    if not Path(path).is_dir():
        raise UserError(f"--weights: {weights} names the model folder {path}, which is not there.")
    trusted = trust_remote_code or found.get("trust_remote_code") is True
    return EvaluatedModel(path, made_of, name, served_name, trusted)


def comparable(
    section: EvaluationSection, items: Items, weights: EvaluatedModel, bfcl_env: Path, trl_env: Path
) -> dict[str, JsonValue]:
    """What must agree between two evaluations; the weights are the only difference allowed.

    A value that cannot be known is null: two nulls agree, and the comparison says so.
    """
    serve = section.serve
    own, package = serve.server.ours, serve.server.package
    return {
        "items": items_digest(items),
        "scorer": f"nvidia-bfcl {python_version_of(bfcl_env, 'nvidia-bfcl')}",
        "harness": section.harness_container
        or f"nemo-evaluator {python_version_of(bfcl_env, 'nemo-evaluator')}",
        "formula": FORMULA,
        "task": TASK,
        "alias": section.alias,
        "chat_template": _chat_template(weights.folder) if own else None,
        "tool_parser": serve.tool_parser or (reader_of_folder(weights.folder) if package else None),
        "sampling": section.sampling.model_dump(),
        "context": serve.max_model_len if own else None,
        "dtype": serve.dtype if own else None,
        "server": serve.backend,
        "server_version": python_version_of(trl_env, package) if package else None,
        "server_arguments": [
            *serve.extra_args,
            *(f"{name}={value}" for name, value in sorted(serve.env.items())),
        ],
        "machine": machine() if own else None,
    }


def work_key(weights: EvaluatedModel, facts: dict[str, JsonValue]) -> str:
    """The name of the work folder: other weights or another way of asking, another folder."""
    asked = {name: value for name, value in facts.items() if name not in _NOT_IN_KEY}
    made_of = weights.digest or digest(["endpoint", weights.path, weights.served_name])
    return f"{made_of[:12]}-{digest(asked)[:12]}"


def _chat_template(folder: Path) -> str | None:
    """Digest of the template that the server will use: the file, or the tokenizer's own."""
    file = folder / "chat_template.jinja"
    if file.exists():
        return file_digest(file)
    template = _tokenizers_template(folder)
    return None if template is None else digest(template)


def chat_template_text(folder: Path) -> str | None:
    """The text of the template that the server will use; None where there is none."""
    file = folder / "chat_template.jinja"
    if file.exists():
        return read_text(file, errors="replace")
    template = _tokenizers_template(folder)
    # A tokenizer may hold several, as a list of names and texts.
    return template if template is None or isinstance(template, str) else json.dumps(template)


def _tokenizers_template(folder: Path) -> object:
    try:
        settings = json.loads(read_text(folder / "tokenizer_config.json"))
        return settings.get("chat_template")
    except (OSError, ValueError, AttributeError):
        return None


def machine() -> str:
    """The kind of machine: its GPUs, or its CPU."""
    program = shutil.which("nvidia-smi")
    if program:
        listed = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
        )
        names = sorted({line.strip() for line in listed.stdout.splitlines() if line.strip()})
        if listed.returncode == 0 and names:
            return ", ".join(names)
    try:
        for line in read_text(Path("/proc/cpuinfo")).splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()
