"""`toolgain doctor`: for each thing that a NeMo RL run needs, that it is there, or what to do.

The checks that need no job run before every submission as well (`findings`).
"""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from omegaconf import DictConfig

from toolgain.common.errors import ExitCode, ToolgainError, UserError
from toolgain.config import sections as configuration
from toolgain.config.sections import Config, TrainingSection
from toolgain.models import chat_template
from toolgain.models.base import files_of
from toolgain.serving import tool_parser
from toolgain.serving.vllm import arguments, family_of
from toolgain.slurm.containers import host_environment, in_container, mounts
from toolgain.training.nemo_rl import gym, lint, plan, refs
from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.nemo_rl.launch import checkout

PROBE = """
import importlib.metadata, json, sys
found = {}
for name in ("nemo-rl", "vllm", "ray"):
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = None
if len(sys.argv) > 2:
    try:
        from vllm.tool_parsers.abstract_tool_parser import ToolParserManager
    except ImportError:
        from vllm.entrypoints.openai.tool_parsers.abstract_tool_parser import ToolParserManager
    ToolParserManager.import_tool_parser(sys.argv[1])
    found["parser"] = ToolParserManager.get_tool_parser(sys.argv[2]).__name__
print(json.dumps(found))
"""
"""Run in the container: what is installed there, and whether the tool parser can be had."""


@dataclass(frozen=True)
class Line:
    """One checked thing."""

    name: str
    ok: bool
    message: str


Check = Callable[[], str]


def run(config_file: Path, container_job: bool) -> int:
    """Print a line per check; the exit code is 2 when something is to be done."""
    config = configuration.load(config_file)
    lines = list(checks(config))
    if container_job:
        lines += container_lines(config)
    for line in lines:
        click.echo(f"{'ok ' if line.ok else 'FIX'}  {line.name}: {line.message}")
    wrong = sum(not line.ok for line in lines)
    click.echo(f"{len(lines) - wrong} of {len(lines)} checks ok")
    return int(ExitCode.BAD_INPUT if wrong else ExitCode.OK)


def findings(config: Config) -> Iterator[str]:
    """What keeps a NeMo RL training of this configuration from running, as lines for its user."""
    for run_name in config.runs:
        training = config.training_of(run_name)
        if training.backend == "nemo_rl":
            for line in _training_lines(config, run_name, training):
                if not line.ok:
                    yield f"{line.name}: {line.message}"


def checks(config: Config) -> Iterator[Line]:
    """Every check that needs no job."""
    yield from slurm_lines(config)
    yield _line("model", lambda: _model(config))
    yield _line("chat template", lambda: _template(config))
    yield _line("serving flags", lambda: _serving(config))
    for run_name in config.runs:
        training = config.training_of(run_name)
        if training.backend != "nemo_rl":
            message = f"backend {training.backend} needs nothing of this"
            yield Line(f"run {run_name}", True, message)
            continue
        yield from _training_lines(config, run_name, training, deep=True)
    yield _line("shared caches", lambda: _caches(config))


def slurm_lines(config: Config) -> Iterator[Line]:
    """What Slurm on this host knows."""
    missing = [name for name in ("sbatch", "srun", "scontrol", "sinfo") if not shutil.which(name)]
    if missing:
        yield Line("Slurm", False, f"{', '.join(missing)} not on the PATH; start on a login node.")
        return
    yield Line("Slurm", True, "sbatch, srun, scontrol and sinfo are on the PATH")
    text = _said("srun", "--help")
    yield Line(
        "container option of srun",
        "--container-image" in text,
        "srun knows --container-image"
        if "--container-image" in text
        else "srun knows no --container-image; ask the administrator for pyxis and enroot.",
    )
    text = _said("srun", "--mpi=list")
    yield Line(
        "PMIx",
        "pmix" in text,
        "srun has pmix"
        if "pmix" in text
        else "srun --mpi=list shows no pmix, which ray.sub asks for; ask the administrator.",
    )
    yield from _partition_lines(config)


def _partition_lines(config: Config) -> Iterator[Line]:
    from toolgain.slurm import preflight
    from toolgain.slurm.queue import NoAnswerError
    from toolgain.slurm.resources import minutes

    cluster = config.cluster
    request = preflight.Request(
        rule="train_run",
        account=cluster.account or os.environ.get("SLURM_ACCOUNT"),
        partition=cluster.partition or os.environ.get("SLURM_PARTITION"),
        nodes=cluster.nodes,
        gpus=cluster.gpus_per_node,
        cpus=cluster.cpus_per_node,
        memory_mb=cluster.memory_gb_per_node * 1000,
        minutes=minutes(cluster.train_time),
        whole_nodes=True,
    )
    shortest = minutes(cluster.shortest_time)
    try:
        bad = list(preflight.findings([request], Path.cwd().resolve(), shortest))
    except NoAnswerError as error:
        bad = [f"Slurm does not answer ({error})."]
    name = "account, partition, GPUs, shared folder"
    if bad:
        for message in bad:
            yield Line(name, False, message)
        return
    yield Line(
        name,
        True,
        f"{request.nodes} nodes x {request.gpus} GPUs for {cluster.train_time} fit "
        f"{request.partition or 'the default partition'}; the nodes see this folder",
    )
    yield Line(
        "account for ray.sub",
        bool(request.account),
        f"{request.account}"
        if request.account
        else "ray.sub hands an account to srun; set cluster.account or SLURM_ACCOUNT.",
    )


def _model(config: Config) -> str:
    folder = Path(config.model.path).resolve()
    if not folder.is_dir():
        raise UserError(
            f"model.path: {folder} is not a folder; download it once on a host with a network: "
            f"`hf download <repository> --local-dir {folder}`."
        )
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    files = [name for name in ("config.json", "tokenizer_config.json") if (folder / name).is_file()]
    if len(files) < 2 or not sizes:
        files_of(folder)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        absent = sorted(name for name in named if not (folder / name).is_file())
        if absent:
            raise UserError(
                f"model.path: {folder} lacks {len(absent)} of {len(named)} weight files, such as "
                f"{absent[0]}; the download is not complete."
            )
    return f"{folder}: {len(sizes)} weight files, {sum(sizes) / 2**30:.1f} GiB, on this disk"


def _template(config: Config) -> str:
    section = config.model
    folder = Path(section.path).resolve()
    if section.chat_template:
        path = Path(section.chat_template)
        if not path.is_file():
            raise UserError(f"model.chat_template: {path} does not exist.")
        text, where = path.read_text(encoding="utf-8"), str(path)
    else:
        text, where = chat_template.template_of(folder), str(folder)
    if section.patch == "none":
        if "enable_thinking=true" in text.replace(" ", "") and "<TOOLCALL>" in text:
            raise UserError(
                f"{where} is the template of Nemotron Nano v2 with reasoning on; NeMo RL's recipe "
                "trains with reasoning off: set model.patch to nemotron-nano-v2."
            )
        return f"{where}: taken as it is"
    changed = chat_template.patched(text, section.patch, where)
    return f"{where}: " + (
        "every replacement is found once" if changed != text else "it is patched already"
    )


def _serving(config: Config) -> str:
    serve = config.evaluation.serve
    if serve.backend != "vllm":
        return f"backend {serve.backend}"
    model = Path(config.model.path)
    family = family_of(model) if (model / "config.json").is_file() else None
    values = arguments(model, config.evaluation.alias, 8000, serve.model_dump(), family)
    if not serve.container and not shutil.which(shlex.split(serve.program)[0]):
        raise UserError(
            f"evaluation.serve: neither a container is named nor is `{serve.program}` on the PATH "
            "here; set evaluation.serve.container to an image with vLLM."
        )
    return f"{serve.program} serve {shlex.join(values)}"


def _training_lines(
    config: Config, run_name: str, training: TrainingSection, deep: bool = False
) -> Iterator[Line]:
    """Checkout, image, YAML, overrides, data and arithmetic of one run."""
    section = training.model_dump()
    nemo, cluster = section["nemo_rl"], refs.located(config.cluster.model_dump())
    prefix = f"run {run_name}, "
    try:
        ref, root, yaml_file, base, versions = checkout(nemo, cluster)
    except ToolgainError as error:
        yield Line(prefix + "NeMo RL", False, str(error))
        return
    said = ", ".join(f"{name} {value}" for name, value in versions.items())
    yield Line(prefix + "NeMo RL", True, said)
    yield _line(prefix + "mounts", lambda: _mounts(cluster, root))
    rows: int | None = None
    files: dict[str, Path] | None = None
    try:
        files = gym.find(ref, root, section["tasks"])
        if deep:
            found = {split: gym.read_rows(path) for split, path in files.items()}
            rows = len(found["train"].rows)
            agents = ", ".join(sorted({name for part in found.values() for name in part.agents}))
            text = f"{rows} training and {len(found['validation'].rows)} validation rows ({agents})"
            yield Line(prefix + "data", True, text)
        else:
            with files["train"].open(encoding="utf-8") as file:
                rows = sum(1 for line in file if line.strip())
    except ToolgainError as error:
        yield Line(prefix + "data", False, str(error))
    try:
        numbers, listed = _arithmetic(config, section, ref, root, base, rows, files)
    except ToolgainError as error:
        yield Line(prefix + f"settings ({yaml_file.name})", False, str(error))
        return
    for item in listed:
        yield Line(prefix + item.name, item.ok, item.message)
    yield _line(prefix + "disk space", lambda: _disk(config, numbers))


def _arithmetic(
    config: Config,
    section: Mapping[str, Any],
    ref: refs.Ref,
    root: Path,
    base: DictConfig,
    rows: int | None,
    files: Mapping[str, Path] | None,
) -> tuple[plan.Numbers, list[lint.Finding]]:
    from toolgain.slurm.resources import minutes

    work = Path("results/work/training").resolve()
    place = plan.Place(
        model=Path(config.model.path).resolve(),
        train_file=(files or {}).get("train", work / "train.jsonl"),
        validation_file=(files or {}).get("validation", work / "validation.jsonl"),
        checkpoints=work,
        nodes=config.cluster.nodes,
        gpus_per_node=config.cluster.gpus_per_node,
        run="run",
    )
    asked = plan.overrides(section["nemo_rl"], section["seed"], ref, base, place, rows)
    numbers = plan.numbers(ov.apply(base, asked), rows)
    site = config.cluster.nemo_rl.model_dump()
    _, time_limit = lint.must_save_by(minutes(config.cluster.train_time) * 60, site)
    return numbers, [*lint.findings(numbers, ref), lint.log_folder(work), time_limit]


def _mounts(cluster: Mapping[str, Any], root: Path) -> str:
    found = mounts(cluster["nemo_rl"]["mounts"], [root, Path.cwd().resolve()])
    return ",".join(found)


def _disk(config: Config, numbers: plan.Numbers) -> str:
    weights = sum(p.stat().st_size for p in Path(config.model.path).glob("*.safetensors"))
    free = shutil.disk_usage(Path.cwd()).free
    finding = lint.disk(numbers, weights, free, 0)
    if not finding.ok:
        raise UserError(finding.message)
    return finding.message


def _caches(config: Config) -> str:
    home = config.cluster.nemo_rl.hf_home
    if not home:
        raise UserError(
            "cluster.nemo_rl.hf_home is not set: NeMo RL keeps the converted base model there, and "
            "inside the container your own home is not visible; name a folder that all nodes see."
        )
    folder = Path(home)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"cluster.nemo_rl.hf_home: {home} is no folder you can write to; make it.")
    return home


def container_lines(config: Config) -> Iterator[Line]:
    """A small job: does the image start, what is in it, and does the tool parser import there?"""
    cluster = refs.located(config.cluster.model_dump())
    if not config.cluster.container:
        yield Line("container job", False, "cluster.container names no image.")
        return
    for run_name in config.runs:
        training = config.training_of(run_name)
        if training.backend != "nemo_rl":
            continue
        yield _line(
            f"run {run_name}, container job",
            lambda training=training: _probe(training, cluster),  # type: ignore[misc]
        )


def _probe(training: TrainingSection, cluster: Mapping[str, Any]) -> str:
    nemo = training.nemo_rl
    ref, root, _, _, _ = checkout(nemo.model_dump(), cluster)
    plugin = tool_parser.plugin_path(nemo.tool_parser_plugin)
    python = shlex.split(cluster["nemo_rl"]["vllm_python"])
    command = [*python, "-c", PROBE]
    if plugin:
        command += [str(plugin), nemo.tool_parser or "nemotron_json"]
    needed = [root, tool_parser.PLUGIN.parent, *([plugin.parent] if plugin else [])]
    found = mounts(cluster["nemo_rl"]["mounts"], needed)
    step = in_container(command, str(cluster["container"]), found, root)
    step.remove("--overlap")
    place = {"--account": cluster["account"], "--partition": cluster["partition"]}
    words = [f"{name}={value}" for name, value in place.items() if value]
    step[1:1] = [*words, "--time=20", "--job-name=toolgain-doctor"]
    environment = host_environment(os.environ) | {"HF_HUB_OFFLINE": "1"}
    environment |= {
        name: os.environ[name]
        for name in ("SLURM_ACCOUNT", "SLURM_PARTITION")
        if name in os.environ
    }
    done = subprocess.run(
        step, env=environment, cwd=root, capture_output=True, text=True, check=False, timeout=1500
    )
    try:
        said = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise UserError(
            f"`{shlex.join(step[:4])} ...` ended with exit code {done.returncode}: {last[:300]}; "
            "can the nodes read the image, and is the parser made for its vLLM?"
        ) from None
    if said.get("vllm") and said["vllm"].split("+")[0] != ref.vllm and ref.commit:
        raise UserError(
            f"the image has vLLM {said['vllm']}, but NeMo RL {ref.name} comes with {ref.vllm}; "
            "image and training.nemo_rl.ref do not belong together."
        )
    return ", ".join(f"{name} {value}" for name, value in said.items() if value)


def _line(name: str, check: Check) -> Line:
    try:
        return Line(name, True, check())
    except ToolgainError as error:
        return Line(name, False, str(error))
    except (OSError, ValueError, KeyError) as error:
        return Line(name, False, f"cannot be checked: {error!r}")


def _said(*command: str) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout + done.stderr
