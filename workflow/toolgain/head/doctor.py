"""`toolgain doctor`: for each thing that a run needs, that it is there, or what to do.

The same checks, in the same words, run before every start of the workflow and after every dry run
(`toolgain.head.preflight`).
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
from omegaconf import DictConfig, OmegaConf

from toolgain.common.amounts import counted, in_gib
from toolgain.common.errors import ExitCode, ToolgainError, UserError
from toolgain.common.files import opened_text, shell_characters
from toolgain.common.screen import for_terminal
from toolgain.config import sections as configuration
from toolgain.config.sections import ClusterSection, Config, Serve, TrainingSection
from toolgain.head import container_probe, handovers, own_tasks
from toolgain.head.prompt_checks import are_large, prompt_findings
from toolgain.models.base import check_files, check_template, check_trainable, given_template
from toolgain.models.remote_code import check_remote_code
from toolgain.models.rendering import template_of
from toolgain.records.record import read_record
from toolgain.records.training import Manifest
from toolgain.serving.server import check_context
from toolgain.serving.vllm import family_of, vllm_flags
from toolgain.slurm import preflight, queue, resources
from toolgain.slurm.containers import is_file_image, mounts
from toolgain.training.backend import trainer
from toolgain.training.nemo_rl import gym, lint, plan, refs, schema
from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.nemo_rl.preparation import root_of, yaml_file_of
from toolgain.training.store.checkpoints import size_of
from toolgain.training.trl import backend as trl


@dataclass(frozen=True)
class CheckLine:
    """One checked thing."""

    name: str
    ok: bool
    message: str

    @property
    def page(self) -> str:
        """The page that helps where it is not ok."""
        return next((page for start, page in PAGES.items() if self.name.startswith(start)), CONFIG)


CONFIG = "config/README.md"
SLURM_PAGE = "profiles/README.md"
PAGES = {
    "environment": "README.md",
    "run ": "docs/nemo-rl.md",
    "container": "docs/nemo-rl.md",
    "PMIx": "docs/nemo-rl.md",
    "account for ray.sub": "docs/nemo-rl.md",
    "account, partition": SLURM_PAGE,
    "shared caches": "docs/nemo-rl.md",
    "finished run": "docs/reliability.md",
    "tasks of": "docs/demo.md",
    "disk space": "docs/reliability.md",
    "Slurm": SLURM_PAGE,
    "working folder": SLURM_PAGE,
}
"""The page that helps, by the beginning of a check's name."""

MANIFEST = "results/runs/{}/manifest.json"
"""What a finished training run leaves."""

Check = Callable[[], str]


def print_checks(config_files: Sequence[Path], container_job: bool) -> int:
    """Print a line per check; the exit code is 2 when something is to be done."""
    config = configuration.load_config(*config_files)
    lines = list(checks(config))
    if container_job:
        lines += container_lines(config)
    for line in lines:
        where = "" if line.ok else f" ({line.page})"
        click.echo(
            for_terminal(f"{'ok ' if line.ok else 'FIX'}  {line.name}: {line.message}{where}")
        )
    wrong = sum(not line.ok for line in lines)
    click.echo(f"{len(lines) - wrong} of {len(lines)} checks ok")
    return int(ExitCode.BAD_INPUT if wrong else ExitCode.OK)


def checks(
    config: Config,
    requests: Iterable[preflight.JobRequest] | None = None,
    trains: bool = True,
) -> Iterator[CheckLine]:
    """Every check that needs no job.

    Args:
        config: the configuration.
        requests: what the plan's jobs ask Slurm for; empty on a machine without Slurm. None: what
            a whole run would ask for, where it needs Slurm or Slurm is here.
        trains: whether the plan trains, for which TRL's checkpoints need room.
    """
    nemo_rl = any(trainer(config.training_of(run)).NEEDS_CLUSTER for run in config.runs)
    if requests is None:
        requests = whole_run_requests(config) if nemo_rl or shutil.which("sbatch") else []
    requests = list(requests)
    yield _line("working folder", _folder)
    yield from environment_lines(config)
    yield _line("model", lambda: _model(config))
    if Path(config.model.path).is_dir():
        yield _line("chat template", lambda: _template(config))
    yield _line("serving flags", lambda: _serving(config))
    for run_name in config.runs:
        training = config.training_of(run_name)
        if own_tasks.has_own_tasks(config, run_name):
            yield _line(f"tasks of {run_name}", partial(own_tasks.said_tasks, config, run_name))
        if trainer(training).NEEDS_CLUSTER:
            yield from _training_lines(config, run_name, training)
        elif training.plays_gym and training.tasks.train_file:
            yield from _rows_of_gym(config, run_name, training)
    if nemo_rl:
        yield _line("shared caches", lambda: _caches(config))
    if trains and _trains_in_trl_environment(config) and _whole(config):
        yield _line("disk space", lambda: _disk_of_trl(config))
    if requests:
        yield from slurm_lines(config, requests, nemo_rl)


def whole_run_requests(config: Config) -> list[preflight.JobRequest]:
    """What the jobs of a whole run ask Slurm for."""
    stages = {
        "train_run": resources.for_training(config),
        "export": resources.for_export(config),
        "evaluate_model": resources.for_evaluation(config),
    }
    if config.evaluation.trial:
        stages["trial"] = resources.for_evaluation(config)
    if any(config.training_of(run).smoke_steps for run in config.runs):
        stages["smoke"] = resources.for_smoke(config)
    if any(config.training_of(run).rehearses for run in config.runs):
        stages["rehearse"] = resources.for_evaluation(config)
    place = {
        "slurm_account": os.environ.get("SLURM_ACCOUNT"),
        "slurm_partition": os.environ.get("SLURM_PARTITION"),
    }
    return [preflight.request_for(rule, {**place, **asked}) for rule, asked in stages.items()]


def _folder() -> str:
    folder = Path.cwd().resolve()
    if signs := shell_characters(folder):
        raise UserError(
            f"{folder} holds {' '.join(map(repr, signs))}: the harness puts its path into a shell "
            "command without quotes. Move to a folder of letters, digits and `-_.` alone."
        )
    bad = list(preflight.write_findings(folder))
    if bad:
        raise UserError(" ".join(bad))
    return f"{folder} can be written"


def _trains_in_trl_environment(config: Config) -> bool:
    return any(trainer(config.training_of(run)).NEEDS_TRL_ENVIRONMENT for run in config.runs)


def environment_lines(config: Config) -> Iterator[CheckLine]:
    """The Python environments of the stages that this configuration runs outside of containers."""
    needed = {"bfcl": config.environments.bfcl}
    serves = config.evaluation.serve.server.package is not None
    if serves or _trains_in_trl_environment(config):
        needed["trl"] = config.environments.trl
    if any(one.rehearses or one.plays_gym for one in map(config.training_of, config.runs)):
        needed["gym"] = config.environments.gym
    for name, folder in needed.items():
        there = (Path(folder) / "bin" / "python").exists()
        yield CheckLine(
            f"environment {name}",
            there,
            folder
            if there
            else f"environments.{name}: {folder} holds no Python environment; run "
            f"`make setup{'-gym' * (name == 'gym')}`.",
        )


def slurm_lines(
    config: Config, requests: list[preflight.JobRequest], nemo_rl: bool
) -> Iterator[CheckLine]:
    """What Slurm on this host knows, and whether it has what the jobs ask for.

    Args:
        config: the configuration.
        requests: what the jobs ask for.
        nemo_rl: whether a run is trained with NeMo RL, which needs more of Slurm.
    """
    needed = ("sbatch", "srun", "scontrol", "sinfo")
    missing = [name for name in needed if not shutil.which(name)]
    if missing:
        yield CheckLine("Slurm", False, preflight.NO_SLURM)
        return
    try:
        queue.ask_slurm("scontrol", "ping")
    except queue.NoAnswerError as error:
        yield CheckLine(
            "Slurm",
            False,
            f"it does not answer ({error}); is slurmctld up? `scontrol ping` asks it.",
        )
        return
    yield CheckLine("Slurm", True, "slurmctld answers; sbatch, srun and sinfo are on the PATH")
    if nemo_rl:
        yield from _nemo_rl_slurm_lines(requests)
    bad = list(preflight.slurm_findings(requests, Path.cwd().resolve(), shortest(config)))
    for message in bad:
        yield CheckLine("account, partition, GPUs, shared folder", False, message)
    if not bad:
        said = ", ".join(
            f"{one.rule} ({one.nodes} x {counted(one.gpus, 'GPU')}, {one.minutes} min)"
            for one in requests
        )
        yield CheckLine(
            "account, partition, GPUs, shared folder",
            True,
            f"fit, and the nodes share this folder: {said}",
        )


def shortest(config: Config) -> int:
    """Minutes below which a job's time limit is refused."""
    return configuration.minutes(config.cluster.shortest_time)


def _nemo_rl_slurm_lines(requests: list[preflight.JobRequest]) -> Iterator[CheckLine]:
    there = "--container-image" in _said("srun", "--help")
    yield CheckLine(
        "container option of srun",
        there,
        "srun knows --container-image"
        if there
        else "srun knows no --container-image; ask the administrator for pyxis and enroot.",
    )
    there = "pmix" in _said("srun", "--mpi=list")
    yield CheckLine(
        "PMIx",
        there,
        "srun has pmix"
        if there
        else "srun --mpi=list shows no pmix, which ray.sub asks for; ask the administrator.",
    )
    account = next((one.account for one in requests if one.account), None)
    yield CheckLine(
        "account for ray.sub",
        bool(account),
        account or "ray.sub hands an account to srun; set cluster.account or SLURM_ACCOUNT.",
    )


def _model(config: Config) -> str:
    folder = Path(config.model.path)
    check_files(folder)
    check_trainable(folder)
    check_remote_code(folder, config.model.trust_remote_code, "model.trust_remote_code")
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    return f"{folder}: {counted(len(sizes), 'weight file')}, {in_gib(sum(sizes))}"


def _template(config: Config) -> str:
    section = config.model
    serves = bool(config.evaluation.serve.server.package)
    read_here = serves or _trains_in_trl_environment(config)
    text = given_template(section) or template_of(Path(section.path).resolve())
    if section.patch == "none" and (
        "enable_thinking=true" in text.replace(" ", "") and "<TOOLCALL>" in text
    ):
        raise UserError(
            f"{section.chat_template or section.path} is the template of Nemotron Nano v2 with "
            "reasoning on; NeMo RL's recipe trains with reasoning off: set model.patch to "
            "nemotron-nano-v2."
        )
    return check_template(section, read_here)


def _serving(config: Config) -> str:
    serve = config.evaluation.serve
    if not serve.server.ours:
        return _endpoint(serve)
    check_context(serve, Path(config.model.path))
    if not serve.server.on_gpus:
        return f"backend {serve.backend}"
    model = Path(config.model.path)
    family = family_of(model) if (model / "config.json").is_file() else None
    trusted = config.model.trust_remote_code
    values = vllm_flags(model, config.evaluation.alias, Path("socket"), serve, family, trusted)
    image = config.serving_image
    key = "evaluation.serve.container" if serve.container else "cluster.container"
    # Where a run is trained in the same image, that run's line says what it lacks.
    trained_in = any(trainer(config.training_of(run)).NEEDS_CLUSTER for run in config.runs)
    said_there = trained_in and not serve.container
    if image and is_file_image(image) and not Path(image).is_file() and not said_there:
        raise UserError(
            f"{key}: {image} does not exist; give the path of a .sqsh file "
            "that every node sees, or an image of a registry."
        )
    if not image and not shutil.which(shlex.split(serve.program)[0]):
        raise UserError(
            f"evaluation.serve: neither a container is named nor is `{serve.program}` on the PATH "
            "here; set evaluation.serve.container to an image with vLLM."
        )
    return f"{serve.program} serve {shlex.join(values)}"


def _endpoint(serve: Serve) -> str:
    if not serve.url:
        raise UserError(
            "evaluation.serve.url: backend `endpoint` needs the URL of a server, up to /v1."
        )
    if serve.api_key_env and not os.environ.get(serve.api_key_env):
        raise UserError(
            f"evaluation.serve.api_key_env: the environment variable {serve.api_key_env} is not "
            "set; export it before the start."
        )
    return f"endpoint {serve.url}"


def _training_lines(
    config: Config, run_name: str, training: TrainingSection
) -> Iterator[CheckLine]:
    """Checkout, image, YAML, overrides, data and arithmetic of one run.

    What is missing gets its line, and everything that does not need it is checked all the same.
    """
    nemo, cluster = training.nemo_rl, refs.located(config.cluster)
    prefix, ref = f"run {run_name}, ", refs.REFS[nemo.ref]
    try:
        root = root_of(nemo, cluster)
    except ToolgainError as error:
        yield CheckLine(prefix + "NeMo RL", False, str(error))
        root = None
    if root:
        yield _line(prefix + "NeMo RL", lambda: _said_checkout(ref, root))
    there = root is not None and root.is_dir()
    if root and there:
        yield _line(prefix + "NeMo Gym", lambda: _said_gym(ref, root))
        yield _line(prefix + "mounts", lambda: _mounts(cluster, root))
    yield _line(prefix + "container image", lambda: _image(ref, cluster))
    rows, files = None, None
    try:
        files = gym.find(ref, root, training.tasks)
        rows, text = _rows(files)
        yield CheckLine(prefix + "data", True, text)
    except ToolgainError as error:
        yield CheckLine(prefix + "data", False, str(error))
    if not root or not there:
        return
    yaml_file = yaml_file_of(nemo, root)
    try:
        base = ov.load_yaml(yaml_file)
        numbers, listed = _arithmetic(config, training, ref, root, base, rows, files)
    except ToolgainError as error:
        yield CheckLine(prefix + f"settings ({yaml_file.name})", False, str(error))
        return
    for item in listed:
        yield CheckLine(prefix + item.name, item.ok, item.message)
    yield _line(prefix + "disk space", lambda: _disk(config, numbers))
    if all(item.ok for item in listed) and files:
        yield _line(prefix + "training job", lambda: _handed_over(config, run_name, smoke=False))
        if training.smoke_steps:
            yield _line(prefix + "smoke job", lambda: _handed_over(config, run_name, smoke=True))


def _handed_over(config: Config, run_name: str, smoke: bool) -> str:
    """What the job hands to ray.sub, in a line; it is built whole, so what refuses it is found."""
    shown = handovers.shown_handover(config, run_name, None, smoke).handover
    option = " --smoke" if smoke else ""
    return (
        f"{shown.nodes} x {counted(shown.gpus_per_node, 'GPU')}, "
        f"{counted(len(shown.overrides), 'override')}, {counted(len(shown.mounts), 'mount')}; "
        f"`toolgain train --show-command --run {run_name}{option}` "
        "prints what ray.sub will get"
    )


def _said_checkout(ref: refs.Ref, root: Path) -> str:
    commit = refs.check_checkout(ref, root)
    return f"{ref.name}: {refs.said_version(commit, refs.uncommitted_changes(root))}"


def _said_gym(ref: refs.Ref, root: Path) -> str:
    commit = refs.check_gym(ref, root)
    return refs.said_version(commit, refs.uncommitted_changes(root / refs.GYM_FOLDER))


def _image(ref: refs.Ref, cluster: ClusterSection) -> str:
    refs.check_image(ref, cluster.container)
    return str(cluster.container)


def _rows(files: Mapping[str, Path]) -> tuple[int, str]:
    """Training rows, and what the files hold."""
    if are_large(files):
        with opened_text(files["train"]) as file:
            rows = sum(1 for line in file if line.strip())
        return rows, f"{counted(rows, 'training row')}, counted and not read: the files are large"
    found = {split: gym.read_gym_rows(path) for split, path in files.items()}
    rows, others = (len(found[split].rows) for split in ("train", "validation"))
    agents = ", ".join(sorted({name for part in found.values() for name in part.agents}))
    return (
        rows,
        f"{rows} training and {counted(others, 'validation row')} ({agents})",
    )


def _rows_of_gym(config: Config, run_name: str, training: TrainingSection) -> Iterator[CheckLine]:
    """Whether the environment that `.venvs/gym` has can play the rows of a run of TRL."""
    prefix = f"run {run_name}, "
    try:
        files = gym.given_files(training.tasks)
        found = {path: gym.read_gym_rows(path) for path in files.values()}
        yield CheckLine(prefix + "data", True, _rows(files)[1])
    except ToolgainError as error:
        yield CheckLine(prefix + "data", False, str(error))
        return
    packages = next(Path(config.environments.gym).glob("lib/python3*/site-packages"), None)
    if packages is None:
        return  # another line says that the environment is missing
    empty = OmegaConf.create({})
    asked = [ov.Override(*pair) for pair in plan.gym_values(training.gym, empty).items()]
    used = ov.apply(empty, asked)
    for item in lint.rows_and_environment(used, packages, found):
        yield CheckLine(prefix + item.name, item.ok, item.message)


def _arithmetic(
    config: Config,
    section: TrainingSection,
    ref: refs.Ref,
    root: Path,
    base: DictConfig,
    rows: int | None,
    files: Mapping[str, Path] | None,
) -> tuple[plan.RunNumbers, list[lint.Finding]]:
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
    classes = schema.read_schema(root)
    asked = plan.overrides(
        *(section.nemo_rl, section.seed, ref, base, place, rows), schema=classes, gym=section.gym
    )
    used = ov.apply(base, asked)
    numbers = plan.run_numbers(used, rows)
    found = {path: gym.read_gym_rows(path) for path in (files or {}).values()}
    _, time_limit = lint.must_save_by(
        configuration.minutes(config.cluster.train_time) * 60, config.cluster.nemo_rl
    )
    return numbers, [
        lint.required_keys(classes, used),
        *lint.lint_numbers(numbers, ref),
        *lint.modes(used),
        lint.step_limits(used, root / refs.GYM_FOLDER),
        *lint.rows_and_environment(used, root / refs.GYM_FOLDER, found),
        *prompt_findings(config, numbers.sequence_length, files),
        lint.log_folder(work),
        time_limit,
    ]


def _mounts(cluster: ClusterSection, root: Path) -> str:
    found = mounts(cluster.nemo_rl.mounts, [root, Path.cwd().resolve()])
    return ",".join(found)


def _disk(config: Config, numbers: plan.RunNumbers) -> str:
    finding = lint.disk(numbers, _weights_bytes(config), _room(config), 0)
    if not finding.ok:
        raise UserError(finding.message)
    return finding.message


def _disk_of_trl(config: Config) -> str:
    """The checkpoints of every run of TRL that is not finished; each is kept for the next start."""
    sections = [config.training_of(run) for run in _unfinished(config)]
    copies = sum(trl.copies_at_once(one) for one in sections if trainer(one).NEEDS_TRL_ENVIRONMENT)
    size = trl.bytes_of_checkpoint(Path(config.model.path))
    room = _room(config)
    text = (
        f"{counted(copies, 'checkpoint')} of {in_gib(size)} = "
        f"{in_gib(copies * size)}; free, or such already: {in_gib(room)}"
    )
    if copies * size > room:
        raise UserError(
            f"{text}. Make room where results/work lies, or lower training.trl.keep_top_k."
        )
    return text


def _whole(config: Config) -> bool:
    """Whether the weights of the base model are there; another line says where they are not."""
    try:
        check_files(Path(config.model.path))
    except UserError:
        return False
    return True


def _weights_bytes(config: Config) -> int:
    if not _whole(config):
        raise UserError(
            "not known: the size follows from the weights of model.path, which must be fixed first."
        )
    return sum(path.stat().st_size for path in Path(config.model.path).glob("*.safetensors"))


def _unfinished(config: Config) -> list[str]:
    return [run for run in config.runs if not Path(MANIFEST.format(run)).exists()]


def _room(config: Config) -> int:
    """Bytes for checkpoints: what is free where they go, and what unfinished runs have there."""
    finished = set()
    for run in set(config.runs) - set(_unfinished(config)):
        try:
            record = read_record(Manifest, Path(MANIFEST.format(run)), "training manifest")
            finished.add(record.fingerprint)
        except UserError:
            continue
    work = Path("results/work/training")
    place = next(path for path in (work, *work.parents) if path.exists())
    present = sum(
        size_of(folder)
        for folder in work.glob("*/")
        if not any(fingerprint.startswith(folder.name) for fingerprint in finished)
    )
    return shutil.disk_usage(place).free + present


def _caches(config: Config) -> str:
    home = config.cluster.nemo_rl.hf_home
    if not home:
        raise UserError(
            "cluster.nemo_rl.hf_home is not set: NeMo RL keeps the converted base model there, and "
            "inside the container your own home is not visible; name a folder that all nodes see."
        )
    folder = Path(home)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"cluster.nemo_rl.hf_home: {home} is not a writable folder; make one.")
    return home


def container_lines(config: Config) -> Iterator[CheckLine]:
    """A small job on every node: does the image start, and is there what a run needs in it?"""
    cluster = refs.located(config.cluster)
    if not config.cluster.container:
        yield CheckLine("container job", False, "cluster.container names no image.")
        return
    for run_name in config.runs:
        training = config.training_of(run_name)
        if trainer(training).NEEDS_CLUSTER:
            for line in container_probe.probe_lines(training, cluster):
                yield CheckLine(f"run {run_name}, container job: {line.name}", line.ok, line.said)


def _line(name: str, check: Check) -> CheckLine:
    try:
        return CheckLine(name, True, check())
    except ToolgainError as error:
        return CheckLine(name, False, str(error))
    except (OSError, ValueError, KeyError) as error:
        return CheckLine(name, False, f"cannot be checked: {error!r}")


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
