"""Training with NeMo RL inside one Slurm job: checked, launched, watched, judged by what it left.

A long training goes over several jobs. Each call here is one segment: it resumes from the newest
checkpoint (NeMo RL does that by itself), stops in time before the job's limit, and says whether
the planned steps are reached.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from toolgain.common.errors import StageError, UserError
from toolgain.common.files import now, read_text, write_json, write_text
from toolgain.common.signals import STOP_SIGNALS, handling
from toolgain.common.yaml_text import read_yaml
from toolgain.config.sections import ClusterSection, TrainingSection
from toolgain.records.record import write_record
from toolgain.slurm import allocation
from toolgain.training.backend import LaunchOutcome
from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.nemo_rl import refs, watch
from toolgain.training.nemo_rl.handover import handover, of_nodes, variables
from toolgain.training.nemo_rl.preparation import LaunchRequest, Prepared, Report, prepare_launch
from toolgain.training.nemo_rl.raysub import RaySub
from toolgain.training.store import checkpoints, saves


def run_segment(
    section: TrainingSection,
    *,
    weights: Path,
    tasks: Path,
    name: str,
    directory: Path,
    nodes: int,
    smoke: bool,
    cluster: ClusterSection,
    report: Report | None = None,
) -> LaunchOutcome:
    """Run one segment of a training run in the present Slurm job.

    Args:
        section: The run's frozen training section.
        weights: The base model's folder.
        tasks: tasks.json; train.jsonl and validation.jsonl lie beside it.
        name: Name of the run.
        directory: Checkpoint folder; the lease on it is held by the caller.
        nodes: Nodes to train on, of those that the job has.
        smoke: Only `smoke_steps` steps.
        cluster: The cluster section.
        report: Told where the training stands.

    Returns:
        How the segment ended; `stopped` says why where it stopped in time or ended as a hang.

    Raises:
        UserError: something would fail after the GPUs were taken; nothing was started.
        StageError: the training failed.
    """
    request = LaunchRequest(
        section=section,
        weights=weights,
        train=tasks.resolve().parent / "train.jsonl",
        validation=tasks.resolve().parent / "validation.jsonl",
        name=name,
        folder=directory.resolve(),
        nodes=nodes,
        smoke=smoke,
        cluster=refs.located(cluster),
        report=report or (lambda *_: None),
    )
    found = allocation.current()
    if found is None:
        raise UserError(
            "training.backend nemo_rl needs a Slurm job; run `snakemake --profile slurm train`, "
            "or set training.backend to trl."
        )
    if len(found.nodes) < nodes:
        raise UserError(
            f"training: {nodes} nodes are needed, Slurm job {found.job_id} has {len(found.nodes)}."
        )
    # A smoke training is one segment that must fit its time limit.
    prepared = prepare_launch(request, None if smoke else found.seconds_left())
    request.folder.mkdir(parents=True, exist_ok=True)
    hosts = found.nodes[:nodes]
    if checkpoints.latest_step(request.folder) >= prepared.planned:
        return _outcome(request, prepared, hosts, None, [], None, 0.0)
    checkpoints.discard_unfinished(request.folder)
    log_folder = _new_log_folder(request.folder, found.job_id)
    given = variables(request, prepared, of_nodes(found, hosts), log_folder, os.environ)
    _write_private(log_folder / "command.sh", given["COMMAND"])
    write_json(log_folder / "findings.json", [asdict(item) for item in prepared.findings])
    handed = handover(request, prepared, given, os.environ)
    write_record(log_folder / "handover.json", handed)
    return replace(_segment(request, prepared, given, log_folder, hosts), handover=handed)


def _segment(
    request: LaunchRequest,
    prepared: Prepared,
    variables: Mapping[str, str],
    log_folder: Path,
    hosts: tuple[str, ...],
) -> LaunchOutcome:
    nemo, site, folder = request.section.nemo_rl, request.cluster.nemo_rl, request.folder
    started = time.time()
    logs, curves = watch.Logs(), watch.Curves(request.logs)
    limits = watch.WatchLimits(
        zero_reward_steps=nemo.zero_reward_steps,
        hang_factor=nemo.hang_factor,
        setup_s=site.setup_minutes * 60,
        save_s=site.save_minutes * 60,
        planned=prepared.planned,
        step_s=site.step_minutes * 60,
        rollouts=prepared.numbers.prompts * prepared.numbers.generations,
        resumed=checkpoints.latest_step(folder) > 0,
    )
    alarms: list[watch.Alarm] = []
    otherwise: list[str] = []
    outlived: list[str] = []
    told_last: list[Any] = []

    def look() -> None:
        logs.read(running.logs())
        curves.read()
        _note_saves(folder)
        reward, accuracy = curves.last(watch.REWARD), curves.last(watch.ACCURACY)
        now_at = (
            reward.step if reward else 0,
            prepared.planned,
            reward.value if reward else None,
            accuracy.value if accuracy else None,
        )
        if list(now_at) != told_last:
            told_last[:] = now_at
            request.report(*now_at)

    with _told_to_stop() as told:
        running = RaySub(prepared.root, variables, log_folder)
        try:
            while running.returned() is None and not told:
                _pause(site.poll_seconds, running, told)
                look()
                alarms = watch.alarms(curves, logs, limits, started)
                otherwise = _config_differs(prepared, folder)
                if otherwise or any(alarm.fatal for alarm in alarms):
                    break
        finally:
            code = running.returned()
            outlived = running.end()
    look()
    ended_by = next((alarm for alarm in alarms if alarm.fatal), None)
    if ended_by is None:
        # What the last lines say counts too; a hang is none once everything has ended.
        alarms = [
            alarm for alarm in watch.alarms(curves, logs, limits, started) if alarm.name != "hang"
        ]
        ended_by = next((alarm for alarm in alarms if alarm.fatal), None)
    otherwise = otherwise or _config_differs(prepared, folder)
    total = checkpoints.latest_step(folder)
    if otherwise:
        end, message = (
            "failed",
            "NeMo RL trains with other values than asked: " + "; ".join(otherwise),
        )
    else:
        end, message = how_it_ended(
            total, prepared.planned, code, logs, ended_by, bool(told), outlived
        )
    lost = 0.0 if end == "finished" else _lost_seconds(folder, started)
    why = (
        f"training: step {total} of {prepared.planned} is saved; {message} "
        f"Log: {running.driver_log() or running.output}."
    )
    stopped = None if end == "finished" else why
    outcome = _outcome(request, prepared, hosts, stopped, alarms, logs.wandb_url, lost)
    write_json(log_folder / "outcome.json", {**asdict(outcome), "end": end, "message": message})
    if end == "failed":
        raise StageError(why)
    return outcome


def how_it_ended(
    total: int,
    planned: int,
    code: int | None,
    logs: watch.Logs,
    ended_by: watch.Alarm | None,
    told: bool,
    outlived: list[str],
) -> tuple[str, str]:
    """How a segment ended, and a sentence that says why.

    The exit code decides nothing: ray.sub gives 0 when it was ended, with the training still
    running.
    """
    if total >= planned:
        return "finished", "all steps are done."
    memory = f" Out of memory: {logs.out_of_memory}." if logs.out_of_memory else ""
    if ended_by is not None:
        why = f"{ended_by.evidence}. {watch.ADVICE[ended_by.name]}{memory}"
        if ended_by.name == "hang":
            return "hang", f"ended as a hang: {why}"
        return "failed", f"ended to save the GPUs: {why}"
    if logs.timed_out:
        return "time_limit", "stopped before the time limit; run the same command again to resume."
    if told:
        return "told_to_end", "the job was told to end; run the same command again to resume."
    still = f", while its job steps {', '.join(outlived)} still ran" if outlived else ""
    early = " NeMo RL stopped early by its own threshold." if logs.stopped_early else ""
    return "failed", f"ray.sub ended with exit code {code}{still}.{early}{memory}"


def _outcome(
    request: LaunchRequest,
    prepared: Prepared,
    hosts: tuple[str, ...],
    stopped: str | None,
    alarms: list[watch.Alarm],
    url: str | None,
    lost_s: float,
) -> LaunchOutcome:
    folder = request.folder
    _remember_url(folder, url)
    return LaunchOutcome(
        step=checkpoints.latest_step(folder),
        planned_steps=prepared.planned,
        stopped=stopped,
        hosts=hosts,
        world_size=prepared.numbers.world,
        gpus=prepared.numbers.world,
        health=tuple(watch.health(_remember_alarms(folder, alarms))),
        versions=prepared.versions,
        wandb_url=url or _remembered_url(folder),
        lost_s=lost_s,
    )


def _config_differs(prepared: Prepared, folder: Path) -> list[str]:
    """How the newest checkpoint's config.yaml differs from what was asked for."""
    step = checkpoints.latest_step(folder)
    path = checkpoints.step_folder(folder, step) / "config.yaml"
    if not step or not path.is_file():
        return []
    free = {
        # What may differ between the segments of one training.
        "checkpointing.checkpoint_must_save_by",
        "cluster.num_nodes",
        "cluster.gpus_per_node",
        # Filled in by NeMo RL: the size of the validation file, and exp_NNN.
        "grpo.max_val_samples",
        "logger.log_dir",
        # Where things lie may change between segments too.
        "policy.generation.vllm_cfg.tool_parser_plugin",
    }
    with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
        used = read_yaml(path)
        if isinstance(used, dict):
            asked = [item for item in prepared.overrides if item.key not in free]
            return ov.differences(asked, used)
    return []


def _note_saves(folder: Path) -> None:
    """Note each checkpoint when it is first seen: upstream deletes the worse ones later."""
    known = {save["step"] for save in saves.read_saves(folder)}
    new = [item for item in checkpoints.scan(folder)[0] if item.step not in known]
    if new:
        with (folder / "saves.jsonl").open("a", encoding="utf-8") as file:
            for item in new:
                line = {"step": item.step, "accuracy": item.accuracy, "seconds": 0.0}
                file.write(json.dumps(line) + "\n")


def _lost_seconds(directory: Path, started: float) -> float:
    """Seconds since the newest save of this segment, or since its start."""
    saves = [path.stat().st_mtime for path in directory.glob("step_*/training_info.json")]
    return max(0.0, time.time() - max([started, *saves]))


def _pause(seconds: float, running: RaySub, told: list[int]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and running.returned() is None and not told:
        time.sleep(min(0.5, seconds))


@contextlib.contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT, which come before a time limit or from `scancel`."""
    told: list[int] = []
    with handling(STOP_SIGNALS, lambda received, _: told.append(received)):
        yield told


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
        known = json.loads(read_text(path))
    new = [asdict(alarm) for alarm in alarms if asdict(alarm) not in known]
    if new:
        write_json(path, [*known, *new])
    return [watch.Alarm(**entry) for entry in [*known, *new]]


def _remember_url(directory: Path, url: str | None) -> None:
    if url:
        write_json(directory / "wandb.json", {"url": url, "seen": now()})


def _remembered_url(directory: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads(read_text(directory / "wandb.json"))["url"])
    return None


def _write_private(path: Path, text: str) -> None:
    write_text(path, text)
    path.chmod(0o600)
