"""Training with NeMo RL inside one Slurm job: checked, launched, watched, judged by what it left.

A long training goes over several jobs. Each call here is one segment: it goes on from the newest
checkpoint (NeMo RL does that by itself), stops in time before the job's limit, and says whether
the planned steps are reached.
"""

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from toolgain.errors import GoOnLaterError, StageError, ToolgainError, UserError
from toolgain.files import now, read_json, write_json, write_text
from toolgain.nemo_rl import lint, plan, refs, watch
from toolgain.nemo_rl import overrides as ov
from toolgain.nemo_rl.raysub import (
    RaySub,
    command,
    environment,
    mounts,
    wandb_key_file,
)
from toolgain.slurm import allocation
from toolgain.training import checkpoints

Report = Callable[[int, int, float | None, float | None], None]
"""Called with step, planned steps, last reward and last accuracy."""


@dataclass(frozen=True)
class Outcome:
    """What one segment came to."""

    planned_steps: int
    total_steps: int
    first_step: int
    """Steps that were done before this segment."""
    end: str
    """finished, time_limit, hang, zero_reward, nan, empty_batch, stopped, failed."""
    message: str
    hosts: list[str]
    world_size: int
    health: list[dict[str, Any]]
    versions: dict[str, str | None]
    wandb_url: str | None
    periods: dict[str, int]
    lost_s: float
    """Seconds of training after the last save, done again by the next segment."""
    log: str
    """The log to look at first."""


@dataclass(frozen=True)
class Prepared:
    """A training that was found fit to start."""

    ref: refs.Ref
    root: Path
    config: Path
    overrides: list[ov.Override]
    used: dict[str, Any]
    numbers: plan.Numbers
    planned_steps: int
    findings: list[lint.Finding]
    versions: dict[str, str | None]
    tasks: dict[str, Any] = field(default_factory=dict)


def train(
    section: Mapping[str, Any],
    *,
    weights: Mapping[str, Any],
    tasks: Path,
    name: str,
    directory: Path,
    nodes: int,
    smoke: bool,
    cluster: Mapping[str, Any],
    report: Report | None = None,
) -> Outcome:
    """Run one segment of a training in the present Slurm job.

    Args:
        section: The run's frozen training section.
        weights: The base model's `path` and `digest`.
        tasks: tasks.json; train.jsonl and validation.jsonl lie beside it.
        name: Name of the run.
        directory: Checkpoint folder; the lease on it is held by the caller.
        nodes: Nodes to train on, of those that the job has.
        smoke: Only `smoke_steps` steps.
        cluster: The cluster section.
        report: Told about each new step.

    Raises:
        UserError: something would fail after the GPUs were taken; nothing was started.
        GoOnLaterError: stopped in time, or ended as a hang: run again to go on.
        StageError: the training failed.
        The last two carry the segment as `.outcome`.
    """
    found = allocation.current()
    if found is None:
        raise UserError(
            "training.backend nemo_rl needs a Slurm job; run `snakemake --profile slurm train`, "
            "or set training.backend to trl."
        )
    if len(found.nodes) < nodes:
        raise UserError(
            f"training: {nodes} nodes wanted, Slurm job {found.job_id} has {len(found.nodes)}."
        )
    hosts = found.nodes[:nodes]
    directory = directory.resolve()
    prepared = prepare(
        section,
        weights=weights,
        tasks=tasks,
        name=name,
        directory=directory,
        nodes=nodes,
        smoke=smoke,
        cluster=cluster,
        seconds_left=found.seconds_left(),
    )
    site = cluster["nemo_rl"]
    directory.mkdir(parents=True, exist_ok=True)
    before = newest_step(directory)
    if before >= prepared.planned_steps:
        return _already_done(prepared, before, hosts, directory)
    checkpoints.discard_unfinished(directory)
    log_folder = _new_log_folder(directory, found.job_id)
    wandb = "off" if smoke else section["nemo_rl"]["wandb"]
    key_file = wandb_key_file(os.environ, prepared.ref, wandb)
    text = command(
        prepared.ref, prepared.root, prepared.config, prepared.overrides, site, wandb, key_file
    )
    needed = [
        prepared.root,
        Path.cwd(),
        directory,
        tasks.resolve().parent,
        Path(weights["path"]),
        plan.PLUGIN.parent,
        prepared.config.parent,
        *([Path(site["hf_home"])] if site["hf_home"] else []),
        *([Path(key_file).parent] if key_file else []),
    ]
    allocated = replace(found, nodes=hosts, cpus=found.cpus_per_node * nodes)
    variables = environment(
        os.environ,
        allocated,
        prepared.root,
        str(cluster["container"]),
        mounts(site["mounts"], needed),
        text,
        log_folder,
        cluster["gpus_per_node"],
        site,
        account=cluster.get("account") or os.environ.get("SLURM_ACCOUNT"),
    )
    if wandb == "online" and not key_file:
        variables["WANDB_API_KEY"] = os.environ["WANDB_API_KEY"]
    _write_private(log_folder / "command.sh", text)
    write_json(log_folder / "findings.json", [asdict(item) for item in prepared.findings])
    return _segment(
        section["nemo_rl"], prepared, variables, log_folder, directory, hosts, site, before, report
    )


def prepare(
    section: Mapping[str, Any],
    *,
    weights: Mapping[str, Any],
    tasks: Path,
    name: str,
    directory: Path,
    nodes: int,
    smoke: bool,
    cluster: Mapping[str, Any],
    seconds_left: float | None,
) -> Prepared:
    """Check everything that can be known before the start and build the overrides.

    Raises:
        UserError: lists every finding, with its arithmetic.
    """
    nemo = section["nemo_rl"]
    ref, root, config, base, versions = checkout(nemo, cluster)
    counted = read_json(tasks, "tasks")
    folder = tasks.resolve().parent
    rows = int(counted["train"])
    place = plan.Place(
        model=Path(weights["path"]),
        train_file=folder / "train.jsonl",
        validation_file=folder / "validation.jsonl",
        checkpoints=directory,
        nodes=nodes,
        gpus_per_node=cluster["gpus_per_node"],
        run=name,
    )
    for file in (place.train_file, place.validation_file):
        if not file.is_file():
            raise UserError(f"tasks: {file} does not exist; delete {tasks} and run again.")
    steps = section["smoke_steps"] if smoke else 0
    asked = plan.overrides(nemo, section["seed"], ref, base, place, rows, steps)
    findings = [lint.log_folder(directory)]
    if seconds_left is not None:
        value, finding = lint.must_save_by(
            seconds_left, cluster["nemo_rl"], _longest_step(directory)
        )
        findings.append(finding)
        asked.append(ov.Override("checkpointing.checkpoint_must_save_by", value))
    used = ov.apply(base, asked)
    numbers = plan.numbers(used, rows)
    findings += lint.findings(numbers, ref)
    findings.append(_disk(numbers, Path(weights["path"]), directory))
    lint.refuse(findings)
    planned = numbers.total_steps
    assert planned is not None
    return Prepared(
        ref, root, config, asked, used, numbers, planned, findings, versions, dict(counted)
    )


def checkout(
    nemo: Mapping[str, Any], cluster: Mapping[str, Any]
) -> tuple[refs.Ref, Path, Path, DictConfig, dict[str, str | None]]:
    """The NeMo RL version, its checkout, the YAML and its content, and the versions found.

    Raises:
        UserError: checkout, image, Gym or YAML is missing or of another version.
    """
    ref = refs.REFS[nemo["ref"]]
    named = cluster["nemo_rl"]["root"]
    if not named:
        raise UserError(
            "cluster.nemo_rl.root names no NeMo RL checkout; clone it on the shared file system "
            f"with `git clone --recursive --branch {ref.name} https://github.com/NVIDIA-NeMo/RL`."
        )
    root = Path(named).resolve()
    commit = refs.check_checkout(ref, root)
    gym = refs.check_gym(ref, root)
    refs.check_image(ref, cluster["container"])
    config = Path(nemo["config"])
    config = config if config.is_absolute() else root / config
    versions = {
        "nemo_rl": ref.name,
        "nemo_rl_commit": commit,
        "nemo_gym_commit": gym,
        "container": str(cluster["container"]),
    }
    return ref, root, config, ov.load_yaml(config), versions


def newest_step(directory: Path) -> int:
    """Step of the newest whole checkpoint; 0 without one."""
    if not directory.is_dir():
        return 0
    whole, _ = checkpoints.scan(directory)
    return max((item.step for item in whole), default=0)


def _segment(
    nemo: Mapping[str, Any],
    prepared: Prepared,
    variables: Mapping[str, str],
    log_folder: Path,
    directory: Path,
    hosts: tuple[str, ...],
    site: Mapping[str, Any],
    before: int,
    report: Report | None,
) -> Outcome:
    started = time.time()
    logs, curves = watch.Logs(), watch.Curves(directory / "logs")
    limits = watch.Limits(
        zero_reward_steps=nemo["zero_reward_steps"],
        hang_factor=nemo["hang_factor"],
        setup_s=site["setup_minutes"] * 60,
        save_s=site["save_minutes"] * 60,
    )
    running: RaySub | None = None
    alarms: list[watch.Alarm] = []
    asked_otherwise: list[str] = []
    outlived: list[str] = []
    stopped = False
    with _told_to_stop() as told:
        running = RaySub(prepared.root, variables, log_folder)
        try:
            while running.returned() is None and not told and not asked_otherwise:
                _pause(site["poll_seconds"], running, told)
                logs.read(running.logs())
                curves.read()
                _tell(report, curves, prepared.planned_steps)
                alarms = watch.alarms(curves, logs, limits, started)
                asked_otherwise = _config_differs(prepared, directory)
                if any(alarm.fatal for alarm in alarms):
                    break
            stopped = bool(told)
        finally:
            code = running.returned()
            outlived = running.end()
    logs.read(running.logs())
    curves.read()
    _tell(report, curves, prepared.planned_steps)
    ended_by = next((alarm for alarm in alarms if alarm.fatal), None)
    if ended_by is None:
        # What the last lines say counts too; a hang is none once everything has ended.
        alarms = [
            alarm for alarm in watch.alarms(curves, logs, limits, started) if alarm.name != "hang"
        ]
    total = newest_step(directory)
    all_alarms = _remember_alarms(directory, alarms)
    end, message = _judge(
        prepared, total, before, code, logs, ended_by, asked_otherwise, stopped, outlived
    )
    outcome = Outcome(
        planned_steps=total if logs.stopped_early and end == "finished" else prepared.planned_steps,
        total_steps=total,
        first_step=before,
        end=end,
        message=message,
        hosts=list(hosts),
        world_size=prepared.numbers.world,
        health=watch.health(all_alarms),
        versions=prepared.versions,
        wandb_url=logs.wandb_url or _remembered_url(directory),
        periods={
            "val_period": prepared.numbers.val_period,
            "save_period": prepared.numbers.save_period,
            "keep_top_k": prepared.numbers.keep_top_k,
        },
        lost_s=0.0 if end == "finished" else _lost_seconds(directory, started),
        log=str(running.driver_log() or running.output),
    )
    write_json(log_folder / "outcome.json", asdict(outcome))
    _remember_url(directory, logs.wandb_url)
    if end == "finished":
        return outcome
    kind: type[ToolgainError] = (
        GoOnLaterError if end in ("time_limit", "hang", "stopped") else StageError
    )
    error = kind(message)
    error.outcome = outcome  # type: ignore[attr-defined]
    raise error


def _judge(
    prepared: Prepared,
    total: int,
    before: int,
    code: int | None,
    logs: watch.Logs,
    ended_by: watch.Alarm | None,
    asked_otherwise: list[str],
    stopped: bool,
    outlived: list[str],
) -> tuple[str, str]:
    """How the segment ended and the line that says so. The exit code alone decides nothing."""
    planned = prepared.planned_steps
    reached = f"step {total} of {planned} is saved"
    if asked_otherwise:
        return "failed", "NeMo RL trains with other values than asked: " + "; ".join(
            asked_otherwise
        )
    if total >= planned or (logs.stopped_early and total > before):
        return "finished", reached
    memory = f" Out of memory: {logs.out_of_memory}." if logs.out_of_memory else ""
    if ended_by is not None:
        word = "ended as a hang" if ended_by.name == "hang" else "ended"
        return ended_by.name, f"the training was {word}: {ended_by.evidence}; {reached}.{memory}"
    if logs.timed_out or stopped:
        why = "before the job's time limit" if logs.timed_out else "when the job was told to end"
        return (
            "time_limit" if logs.timed_out else "stopped",
            f"the training stopped {why}; {reached}. Run the same command again to go on.",
        )
    still = f", while job steps {', '.join(outlived)} still ran" if outlived else ""
    said = "was ended" if code is None else f"ended with exit code {code}{still}"
    return "failed", f"ray.sub {said}, but {reached}.{memory}"


def _config_differs(prepared: Prepared, directory: Path) -> list[str]:
    """How the newest checkpoint's config.yaml differs from what was asked for."""
    step = newest_step(directory)
    path = checkpoints.step_folder(directory, step) / "config.yaml"
    if not step or not path.is_file():
        return []
    # What may differ between the segments of one training.
    free = {"checkpointing.checkpoint_must_save_by", "cluster.num_nodes", "cluster.gpus_per_node"}
    # Filled in by NeMo RL from the validation file.
    free.add("grpo.max_val_samples")
    # NeMo RL puts exp_NNN behind it.
    free.add("logger.log_dir")
    with contextlib.suppress(OSError, yaml.YAMLError):
        used = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(used, dict):
            asked = [item for item in prepared.overrides if item.key not in free]
            return ov.differences(asked, used)
    return []


def _already_done(
    prepared: Prepared, total: int, hosts: tuple[str, ...], directory: Path
) -> Outcome:
    return Outcome(
        planned_steps=prepared.planned_steps,
        total_steps=total,
        first_step=total,
        end="finished",
        message=f"step {total} of {prepared.planned_steps} was saved before",
        hosts=list(hosts),
        world_size=prepared.numbers.world,
        health=watch.health(_remember_alarms(directory, [])),
        versions=prepared.versions,
        wandb_url=_remembered_url(directory),
        periods={
            "val_period": prepared.numbers.val_period,
            "save_period": prepared.numbers.save_period,
            "keep_top_k": prepared.numbers.keep_top_k,
        },
        lost_s=0.0,
        log=str(directory / "launches"),
    )


def _disk(numbers: plan.Numbers, model: Path, directory: Path) -> lint.Finding:
    existing = directory
    while not existing.exists():
        existing = existing.parent
    present = sorted(directory.glob("step_*")) if directory.is_dir() else []
    measured = checkpoints.size_of(present[-1]) if present else None
    weights = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    free = shutil.disk_usage(existing).free
    return lint.disk(numbers, weights, free, len(present), measured or None)


def _longest_step(directory: Path) -> float | None:
    """The longest step of the launches so far, in seconds; None before two steps were done."""
    curves = watch.Curves(directory / "logs")
    curves.read()
    return max(curves.step_times(), default=None)


def _lost_seconds(directory: Path, started: float) -> float:
    """Seconds since the newest save of this segment, or since its start."""
    saves = [path.stat().st_mtime for path in directory.glob("step_*/training_info.json")]
    return max(0.0, time.time() - max([started, *saves]))


def _tell(report: Report | None, curves: watch.Curves, planned: int) -> None:
    if report is None:
        return
    reward, accuracy = curves.last(watch.REWARD), curves.last(watch.ACCURACY)
    report(
        reward.step if reward else 0,
        planned,
        reward.value if reward else None,
        accuracy.value if accuracy else None,
    )


def _pause(seconds: float, running: RaySub, told: list[int]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and running.returned() is None and not told:
        time.sleep(min(0.5, seconds))


@contextlib.contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT, which come before a time limit or from `scancel`."""
    told: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, lambda received, _frame: told.append(received))
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _new_log_folder(directory: Path, job_id: str) -> Path:
    """A folder of its own for each launch: stale signal files of ray.sub confuse a new start."""
    parent = directory / "launches"
    parent.mkdir(mode=0o700, exist_ok=True)
    number = sum(1 for _ in parent.iterdir()) + 1
    while True:
        folder = parent / f"{number:03d}-job-{job_id}"
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
        else:
            return folder


def _remember_alarms(directory: Path, alarms: list[watch.Alarm]) -> list[watch.Alarm]:
    """The alarms of all segments; those of this one are added to the file."""
    path = directory / "alarms.json"
    known: list[dict[str, Any]] = []
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
    new = [asdict(alarm) for alarm in alarms if asdict(alarm) not in known]
    if new:
        write_json(path, [*known, *new])
    return [watch.Alarm(**entry) for entry in [*known, *new]]


def _remember_url(directory: Path, url: str | None) -> None:
    if url:
        write_json(directory / "wandb.json", {"url": url, "seen": now()})


def _remembered_url(directory: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads((directory / "wandb.json").read_text(encoding="utf-8"))["url"])
    return None


def _write_private(path: Path, text: str) -> None:
    write_text(path, text)
    path.chmod(0o600)
