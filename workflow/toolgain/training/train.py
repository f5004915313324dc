"""The train stage: one GRPO training run, from a frozen section to a manifest that is written last.

The checkpoint folder is named after the fingerprint of what decides the outcome (section, weights,
tasks). A killed training run resumes from its last complete checkpoint; a finished one is described
again and not repeated; a second trainer is refused by a lease. What the trainer leaves behind is
checked by content, since an exit code proves nothing.
"""

import contextlib
import math
import shutil
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import click

from toolgain.common.amounts import counted
from toolgain.common.errors import ResumeLaterError, StageError, UserError
from toolgain.common.files import check_room, digest, file_digest, now, read_json, write_json
from toolgain.common.progress import Progress, duration_words, mirror, results_folder
from toolgain.config.sections import ClusterSection, TrainingSection, deciding
from toolgain.records.model import Model
from toolgain.records.record import read_record, write_record
from toolgain.records.tasks import Tasks, check_task_files
from toolgain.records.training import Manifest, SlurmJob, Smoke
from toolgain.training import manifest
from toolgain.training.backend import TrainingJob, trainer
from toolgain.training.store import checkpoints, curves, segments
from toolgain.training.store.lease import Lease

DONE = "finished"
"""How a launch ended that reached the last step."""

SAVE_MARGIN_SECONDS = 60.0
"""Kept free before a time limit, for the last checkpoint and the end."""


def train_run(
    section: TrainingSection,
    *,
    weights: Path,
    tasks: Path,
    name: str,
    out: Path,
    nodes: int,
    smoke: bool,
    trl_env: Path,
    gym_env: Path,
    cluster: ClusterSection,
) -> None:
    """Train, or resume, and write `out`: the manifest, or with `smoke` the record of the smoke run.

    Raises:
        UserError: weights or tasks are missing or not those that were recorded.
        StageError: another training holds the folder, or this one failed.
        ResumeLaterError: stopped in time with everything saved.
    """
    base = read_record(Model, weights, "--weights")
    described = read_record(Tasks, tasks, "--tasks")
    check_task_files(tasks, described.sha256)
    train, validation = (tasks.with_name(f"{name}.jsonl") for name in ("train", "validation"))
    steps = section.smoke_steps if smoke else trainer(section).planned_steps(section, train)
    key = fingerprint(section, base, train, validation)
    if smoke and steps == 0:
        write_record(out, Smoke(run=name, fingerprint=key, left_out=True))
        click.echo("smoke training left out (training.smoke_steps: 0)")
        return
    work = results_folder(out) / "work" / "training"
    folder = work / (key[:12] + ("-smoke" if smoke else ""))
    if smoke and (earlier := _earlier_smoke(folder, key)):
        write_record(out, earlier.model_copy(update={"run": name}))
        click.echo(f"smoke training passed before, at {earlier.finished}; not repeated")
        return
    stage = "smoke" if smoke else "train"
    progress = (folder / "progress.json", mirror(out, stage, name))
    # The work folder lies elsewhere.
    check_room(out.absolute().parent)
    with Lease(folder, _job_alive) as lease:
        if lease.taken_from:
            click.echo(f"takes over from a training run that has ended: {lease.taken_from}")
        _same_fingerprint(folder, key)
        periods = section.settings.val_period, section.settings.save_period
        val_period, save_period = (steps, steps) if smoke else periods
        job = TrainingJob(
            name=name,
            section=section,
            weights=base,
            tasks=tasks,
            train=train,
            validation=validation,
            folder=folder,
            steps=steps,
            val_period=val_period,
            save_period=save_period,
            nodes=nodes,
            cluster=cluster,
            smoke=smoke,
            stop_at=_stop_at(),
            environment=trl_env,
            gym_environment=gym_env,
            progress=progress,
            lease=lease,
        )
        try:
            job = _train(job)
            verify(job)
            if smoke:
                record = _smoke_record(job, key)
                write_record(folder / "smoke.json", record)
                write_record(out, record)
                return
            result = manifest.build(job, key, described, _slurm())
            write_record(out, result)
        except Exception as error:
            _note(job, "failed", str(error))
            raise
        _note(job, "finished", None)
        click.echo(training_summary(result))


def fingerprint(section: TrainingSection, base: Model, train: Path, validation: Path) -> str:
    """Digest of everything that decides the outcome of a training run."""
    decides = deciding(section)
    # The tasks count by their content.
    del decides["tasks"]
    found: dict[str, object] = {
        "training": decides,
        "weights": base.digest,
        "tasks": [file_digest(train), file_digest(validation)],
    }
    if section.plays_gym or section.settings.READS_GYM:
        own = [Path(path) for path in section.gym.config_paths if Path(path).is_file()]
        if own or section.plays_gym:
            found["gym_configs"] = [file_digest(path) for path in own]
    return digest(found)


def verify(job: TrainingJob) -> None:
    """Check by content that the training is finished.

    Raises:
        StageError: the last step's checkpoint is missing or not whole, no checkpoint carries a
            validation accuracy, the curves have gaps, or a reward is not a finite number.
    """
    whole, passed_over = checkpoints.scan(job.folder)
    last = max((item.step for item in whole), default=0)
    if last < job.steps:
        broken = "; ".join(f"{item.path.name}: {item.reason}" for item in passed_over)
        raise StageError(
            f"training: the trainer ended without an error at step {last} of {job.steps}"
            + (f" ({broken})" if broken else "")
            + f". Run again to resume. Logs: {job.logs}."
        )
    if not any(item.accuracy is not None for item in whole):
        raise StageError(
            f"training: no checkpoint in {job.folder} carries {checkpoints.METRIC}. "
            f"Logs: {job.logs}."
        )
    reward = dict(curves.read_curves(job.logs).get(curves.REWARD, []))
    missing = [step for step in range(1, job.steps + 1) if step not in reward]
    if missing:
        raise StageError(
            f"training: the curve {curves.REWARD} in {job.logs} has no value for step "
            f"{', '.join(map(str, missing[:5]))}{' and more' if len(missing) > 5 else ''}."
        )
    if not all(math.isfinite(value) for value in reward.values()):
        raise StageError(f"training: a reward in {job.logs} is not a finite number.")


def training_summary(result: Manifest) -> str:
    """What a training run came to, in a few lines."""
    accuracy = result.curves.get(curves.ACCURACY, [])
    duration = duration_words(result.times.wall_s)
    lines = [f"{result.run}: {counted(result.total_steps, 'step')} in {duration}"]
    if accuracy:
        values = ", ".join(f"{value:.3f} at {step}" for step, value in accuracy)
        lines.append(f"validation accuracy: {values}")
    for sign in result.health:
        word = {True: "yes", False: "NO ", None: "?  "}[sign["passed"]]
        lines.append(f"{word}  {sign['title']}. {sign['evidence']}")
    return "\n".join(lines)


def _train(job: TrainingJob) -> TrainingJob:
    """Bring the training to its end, or raise; the job with the steps that it turned out to have.

    Raises:
        ResumeLaterError: stopped in time with everything saved.
    """
    known = [
        entry["planned_steps"]
        for entry in segments.read_segments(job.folder)
        if entry["end"] == DONE
    ]
    if known:
        job = replace(job, steps=known[-1])
    done = checkpoints.latest_step(job.folder)
    if done >= job.steps:
        click.echo(f"step {job.steps}, the last one, is done in {job.folder}")
        return job
    backend = trainer(job.section)
    backend.check(job)
    launch = curves.next_launch(job.logs)
    segments.begin(job.folder, launch, _saved_at(job.folder, done))
    if done:
        click.echo(f"resumes after step {done} of {job.steps}")
    try:
        outcome = backend.start(job, launch)
    except Exception:
        # A full disk must not hide what failed.
        with contextlib.suppress(OSError):
            segments.end(job.folder, launch, "failed")
        raise
    facts = {k: v for k, v in asdict(outcome).items() if k not in ("step", "stopped", "message")}
    facts["handover"] = outcome.handover and outcome.handover.model_dump()
    segments.end(job.folder, launch, outcome.stopped or DONE, **facts)
    if outcome.stopped:
        raise ResumeLaterError(outcome.message or outcome.stopped)
    return replace(job, steps=outcome.planned_steps)


def _saved_at(folder: Path, step: int) -> datetime | None:
    """When the checkpoint of `step` was written; None for step 0."""
    if not step:
        return None
    info = checkpoints.step_folder(folder, step) / "training_info.json"
    return datetime.fromtimestamp(info.stat().st_mtime, UTC)


def _same_fingerprint(folder: Path, key: str) -> None:
    path = folder / "fingerprint.json"
    if path.is_file() and (found := read_json(path, "training").get("fingerprint")) != key:
        raise StageError(
            f"training: {folder} belongs to another training run (fingerprint {found}); "
            "move it away."
        )
    write_json(path, {"schema": 1, "fingerprint": key})


def _earlier_smoke(folder: Path, key: str) -> Smoke | None:
    path = folder / "smoke.json"
    if not path.is_file():
        return None
    record = read_record(Smoke, path, "smoke training")
    return record if record.fingerprint == key and record.passed else None


def _smoke_record(job: TrainingJob, key: str) -> Smoke:
    from toolgain.slurm.accounting import of_jobs

    found = curves.read_curves(job.logs)
    times = [value for _, value in found.get("train/step_time", [])]
    # The smoke training proved that a checkpoint can be written; it is not kept.
    for item in checkpoints.scan(job.folder)[0]:
        shutil.rmtree(item.path)
    slurm_jobs = segments.slurm_jobs(job.folder)
    return Smoke(
        run=job.name,
        left_out=False,
        passed=True,
        steps=job.steps,
        fingerprint=key,
        config_digest=digest(job.section.frozen()),
        finished=now(),
        seconds_per_step=sum(times) / len(times) if times else None,
        reward=found.get(curves.REWARD, []),
        accuracy=found.get(curves.ACCURACY, []),
        folder=str(job.folder),
        slurm_jobs=slurm_jobs,
        cost=of_jobs(slurm_jobs),
    )


def _note(job: TrainingJob, state: str, message: str | None) -> None:
    """Write the end into the progress files, over what the program wrote last."""
    path = job.progress[0]
    fields = read_json(path, "progress") if path.is_file() else {}
    kept = {key: value for key, value in fields.items() if key != "updated"}
    defaults = {"stage": "smoke" if job.smoke else "train", "name": job.name, "total": job.steps}
    Progress(list(job.progress), **{**defaults, **kept, "state": state, "message": message})


def _stop_at() -> float | None:
    from toolgain.slurm.allocation import current

    found = current()
    if found is None or found.end is None:
        return None
    if found.end - SAVE_MARGIN_SECONDS < time.time():
        raise UserError(
            f"training: the time limit of Slurm job {found.job_id} leaves less than "
            f"{SAVE_MARGIN_SECONDS:.0f} s; ask for more time."
        )
    return found.end - SAVE_MARGIN_SECONDS


def _slurm() -> SlurmJob | None:
    from toolgain.slurm.allocation import current, manifest_entry

    return manifest_entry(current())


def _job_alive(job_id: str) -> bool | None:
    from toolgain.slurm.queue import NoAnswerError, is_alive

    try:
        return is_alive(job_id)
    except NoAnswerError:
        return None
