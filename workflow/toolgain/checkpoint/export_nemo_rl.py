"""Export a NeMo RL checkpoint with upstream's own converters, and make the result servable.

Which converter fits is told from the checkpoint's content, as both kinds use the suffix `.distcp`.
What decides how a model answers besides its weights (config, tokenizer, chat template, generation
config, code) is the base's afterwards, so that the two models differ in their weights alone.
"""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from toolgain.checkpoint.tensors import tensors
from toolgain.common import package
from toolgain.common.errors import StageError, UserError
from toolgain.common.files import read_json, read_text, write_text
from toolgain.common.logs import last_line
from toolgain.common.yaml_text import read_yaml
from toolgain.config.sections import ClusterSection
from toolgain.models.settings import read_settings
from toolgain.slurm.containers import host_environment, in_container, mounts
from toolgain.training.nemo_rl.refs import located

MEGATRON = "examples/converters/convert_megatron_to_hf.py"
DCP = "examples/converters/convert_dcp_to_hf.py"
TO_SAFETENSORS = ("-m", "toolgain.checkpoint.to_safetensors")
PARITY = "toolgain.checkpoint.parity"
PACKAGE = package.ROOT
"""The folder that holds the package; the programs above run in the container."""
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.index.json")


def convert_checkpoint(
    checkpoint: Path,
    source: Path,
    temporary: Path,
    *,
    kind: str,
    cluster: ClusterSection,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Convert `checkpoint` into the Hugging Face folder `temporary`.

    Args:
        checkpoint: A folder `step_N`.
        source: The base model's folder.
        temporary: Where the result goes; made here.
        kind: megatron, dcp or consolidated, told from the content.
        cluster: The cluster section.
        trust_remote_code: `model.trust_remote_code`.

    Returns:
        Checks by name: architecture, shards_complete, rounded_exactly (where numbers were
        rounded), greedy_answers_equal (where there is a GPU, else `parity` says why not); and
        `converter`.

    Raises:
        UserError: checkout or container is missing.
        StageError: the converter failed, or its result is not a model.
    """
    cluster = located(cluster)
    work = temporary.with_name("convert.tmp")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    log = temporary.with_name("export.log")
    checks: dict[str, Any] = {"converter": kind}
    if kind == "consolidated":
        converted = checkpoint / "policy" / "weights" / "model" / "consolidated"
    else:
        if not cluster.nemo_rl.root:
            raise UserError(
                "export: a NeMo RL checkpoint needs upstream's converter; set "
                "cluster.nemo_rl.root to the checkout (--cluster FILE)."
            )
        converted = work / "hf"
        # The converter refuses a folder that exists, and one kind makes it before it fails.
        config = _config_for(checkpoint, source, work)
        root = Path(cluster.nemo_rl.root).resolve()
        arguments = converter(kind, root, checkpoint, config, converted, source)
        _run(arguments, root, cluster, [checkpoint, source, work], log)
    checks["architecture"] = _architectures(converted) == _architectures(source)
    binary = converted / "pytorch_model.bin"
    temporary.mkdir(parents=True, exist_ok=True)
    if binary.is_file() and not list(converted.glob("*.safetensors")):
        checks |= _rounded(binary, source, temporary, cluster, [work], log)
    elif _other_types(converted, source):
        # Automodel writes the fp32 master weights.
        checks |= _rounded(converted, source, temporary, cluster, [converted, work], log)
    else:
        for path in sorted(converted.glob("*.safetensors*")):
            shutil.copyfile(path, temporary / path.name)
    checks["shards_complete"] = shards_complete(temporary)
    copy_identity(source, temporary)
    checks |= _parity(converted, temporary, source, cluster, log, trust_remote_code)
    shutil.rmtree(work, ignore_errors=True)
    return checks


def converter(
    kind: str, root: Path, checkpoint: Path, config: Path, out: Path, source: Path
) -> list[str]:
    """The converter's arguments after `python`.

    Raises:
        UserError: the checkout has no such converter, or the checkpoint not what it reads.
    """
    name = MEGATRON if kind == "megatron" else DCP
    program = root / name
    if not program.is_file():
        raise UserError(f"export: {program} does not exist; is {root} a NeMo RL checkout?")
    weights = checkpoint / "policy" / "weights"
    common = [name, "--config", str(config), "--hf-ckpt-path", str(out)]
    if kind == "dcp":
        return [*common, "--dcp-ckpt-path", str(weights)]
    iterations = sorted(weights.glob("iter_*"))
    if len(iterations) != 1:
        raise UserError(
            f"export: {weights} holds {len(iterations)} folders iter_*; expected one. Choose "
            "another checkpoint."
        )
    extra = []
    # From v0.6.0 on. Before, the name is read from the config, which names the base here anyway.
    if "--hf-model-name" in read_text(program):
        extra = ["--hf-model-name", str(source)]
    return [*common, "--megatron-ckpt-path", str(iterations[0]), *extra]


def _config_for(checkpoint: Path, source: Path, work: Path) -> Path:
    """The checkpoint's config.yaml with the base model where it is now."""
    path = checkpoint / "config.yaml"
    try:
        config = read_yaml(path)
        policy = config["policy"]
        policy["model_name"] = str(source)
        policy["tokenizer"]["name"] = str(source)
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"export: {path} is not a NeMo RL configuration: {error!r}.") from error
    # The converter reads hf_overrides, the training hf_config_overrides; they would be lost.
    if policy.get("hf_config_overrides"):
        policy["hf_overrides"] = policy["hf_config_overrides"]
    target = work / "config.yaml"
    write_text(target, yaml.safe_dump(config))
    return target


def _run(
    arguments: Sequence[str],
    root: Path,
    cluster: ClusterSection,
    folders: Sequence[Path],
    log: Path,
) -> None:
    python = shlex.split(cluster.nemo_rl.converter_python)
    command = in_job([*python, *arguments], root, cluster, folders, gpus=1)
    with log.open("wb") as file:
        code = subprocess.run(
            command,
            cwd=root,
            # The converters import nemo_rl of the checkout, as the training did.
            env=host_environment(os.environ) | {"PYTHONPATH": str(root)} | _offline(cluster),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code != 0:
        raise StageError(
            f"export: upstream's converter ended with exit code {code}: {_last_line(log)} "
            f"Log: {log}."
        )


def _json_of(
    arguments: Sequence[str],
    cluster: ClusterSection,
    folders: Sequence[Path],
    gpus: int | None,
    log: Path,
) -> tuple[int, dict[str, Any] | None]:
    """Exit code of a program of ours in the container, and the JSON of its last line."""
    root = Path(cluster.nemo_rl.root or PACKAGE).resolve()
    python = shlex.split(cluster.nemo_rl.converter_python)
    with log.open("ab") as file:
        found = subprocess.run(
            in_job([*python, *arguments], root, cluster, folders, gpus),
            cwd=root,
            env=host_environment(os.environ) | _offline(cluster) | {"PYTHONPATH": str(PACKAGE)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            check=False,
        )
    try:
        said = json.loads(found.stdout.decode().strip().splitlines()[-1])
    except (ValueError, IndexError):
        said = None
    return found.returncode, said if isinstance(said, dict) else None


def _parity(
    converted: Path,
    temporary: Path,
    source: Path,
    cluster: ClusterSection,
    log: Path,
    trust_remote_code: bool,
) -> dict[str, Any]:
    """Whether what will be served answers as the converter's own folder does.

    Without a GPU it is not checked, nor where the container cannot run the model outside of vLLM:
    the checks say so, and the export stands on the others.
    """
    if not cluster.gpus_per_node:
        return {"parity": "not checked, no GPU"}
    arguments = ["-m", PARITY, str(converted), str(temporary)]
    arguments += ["--trust-remote-code"] * trust_remote_code
    try:
        code, said = _json_of(arguments, cluster, [converted, source, temporary], 1, log)
    except OSError as error:
        return {"parity": f"not checked, no Python for it: {error}"}
    if code != 0 or said is None:
        return {
            "parity": f"not checked, the program ended with exit code {code}: {_last_line(log)}"
        }
    return said


def in_job(
    command: Sequence[str],
    root: Path,
    cluster: ClusterSection,
    folders: Sequence[Path],
    gpus: int | None,
) -> list[str]:
    """`command` in the container where a Slurm job and an image are, else as it is.

    The converter of Megatron checkpoints wants a GPU to be there (Megatron-Bridge issue 1329).
    """
    if not os.environ.get("SLURM_JOB_ID") or not cluster.container:
        return list(command)
    needed = {path.resolve() for path in (root, PACKAGE, *folders)}
    behind = {
        target.resolve().parent
        for folder in folders
        if folder.is_dir()
        for target in folder.iterdir()
    }
    site = cluster.nemo_rl
    home = [Path(site.hf_home)] if site.hf_home else []
    found = mounts(site.mounts, [*needed, *behind, *home])
    has_gpus = gpus if cluster.gpus_per_node else None
    return in_container(command, str(cluster.container), found, root, has_gpus)


def _offline(cluster: ClusterSection) -> dict[str, str]:
    site = cluster.nemo_rl
    values = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    if site.hf_home:
        values["HF_HOME"] = str(site.hf_home)
    if site.cuda_arch_list:
        values["TORCH_CUDA_ARCH_LIST"] = str(site.cuda_arch_list)
    return values | dict(site.env)


def _other_types(converted: Path, source: Path) -> bool:
    """Whether a tensor has another number type than in the base."""
    base = tensors(source)
    return any(
        name in base and tensor.dtype != base[name].dtype
        for name, tensor in tensors(converted).items()
    )


def _rounded(
    weights: Path,
    source: Path,
    temporary: Path,
    cluster: ClusterSection,
    folders: Sequence[Path],
    log: Path,
) -> dict[str, Any]:
    """fp32 weights, in a file or a folder, as safetensors of the base's number types."""
    arguments = list(map(str, (*TO_SAFETENSORS, weights, source, temporary)))
    code, said = _json_of(arguments, cluster, [*folders, source, temporary], None, log)
    if code != 0 or said is None:
        raise StageError(
            f"export: the weights of {weights} could not be rounded (exit code {code}): "
            f"{_last_line(log)} Log: {log}."
        )
    return {
        "rounded_exactly": bool(said["exact"]),
        # A tied output layer may be written a second time.
        "nothing_left_out": not set(said["extra"]) - {"lm_head.weight"},
    }


def shards_complete(folder: Path) -> bool:
    """Whether every file that the index names is there, and nothing is when it names none."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return len(list(folder.glob("*.safetensors"))) == 1
    named = set(read_json(index, "export")["weight_map"].values())
    return named == {path.name for path in folder.glob("*.safetensors")}


def copy_identity(source: Path, target: Path) -> None:
    """Copy all of the base but its weights: config, tokenizer, chat template, code."""
    for path in sorted(source.iterdir()):
        if path.is_file() and not any(path.match(pattern) for pattern in WEIGHTS):
            shutil.copyfile(path.resolve(), target / path.name)


def _architectures(folder: Path) -> Any:
    config = folder / "config.json"
    if not config.is_file():
        raise StageError(f"export: the converted model {folder} has no config.json.")
    return read_settings(config, "export").get("architectures")


def _last_line(log: Path) -> str:
    return last_line(log)[:300] or "it said nothing."
