"""Where every stage stands, for `toolgain status`: from the results folder and from Slurm's queue.

Nothing here writes or asks a running stage: it reads the outputs, the small progress files that the
long stages keep, and squeue.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from toolgain.common.errors import UserError
from toolgain.common.progress import clock
from toolgain.slurm.accounting import jobs_of
from toolgain.slurm.queue import Job, NoAnswerError, jobs

REFRESH_SECONDS = 5
SILENT_SECONDS = 180
"""A stage that says nothing for so long, with no job in the queue, has probably been killed."""

JOBS_SHOWN = 3
"""Of a stage that took more Slurm jobs, only the first and the last are shown."""

STAGES = (
    # stage, Snakemake's rule, output below results (with the name of a run or subject)
    ("tasks", "tasks", "tasks/{}/tasks.json"),
    ("smoke", "smoke", "runs/{}/smoke.json"),
    ("train", "train_run", "runs/{}/manifest.json"),
    ("select", "select", "runs/{}/best.json"),
    ("export", "export", "runs/{}/export.json"),
)


@dataclass(frozen=True)
class Row:
    """One stage's line."""

    stage: str
    state: str
    job: str = ""
    place: str = ""
    progress: str = ""
    reward: str = ""
    accuracy: str = ""
    left: str = ""
    log: str = ""


HEADER = Row("stage", "state", "job", "where", "progress", "reward", "accuracy", "time left", "log")


def run(results: Path, watch: bool) -> None:
    """Print the state of every stage; with `watch`, again and again until Ctrl-C.

    Raises:
        UserError: there is no results folder.
    """
    if not results.is_dir():
        raise UserError(
            f"status: {results} is not a folder; start the workflow first, or name it with "
            "--results."
        )
    while True:
        text = "\n".join(report(results))
        if not watch:
            click.echo(text)
            return
        click.clear()
        click.echo(f"{text}\n\nevery {REFRESH_SECONDS} s; Ctrl-C ends this view, not the work")
        time.sleep(REFRESH_SECONDS)


def report(results: Path) -> Iterator[str]:
    """The lines of the status."""
    queue, note = _queue(results)
    rows = [HEADER, *stages(results, queue, time.time())]
    columns = [
        name
        for name in Row.__dataclass_fields__
        if name in ("stage", "state") or any(getattr(row, name) for row in rows[1:])
    ]
    widths = [max(len(getattr(row, name)) for row in rows) for name in columns]
    for row in rows:
        cells = (
            getattr(row, name).ljust(width) for name, width in zip(columns, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()
    if note:
        yield note


def stages(results: Path, queue: list[Job], now: float) -> Iterator[Row]:
    """A row per stage in the order of the chain.

    Args:
        results: the results folder.
        queue: the jobs of this folder that Slurm knows; the latest of each stage counts.
        now: seconds since the epoch.
    """
    by_comment = {job.comment: job for job in sorted(queue, key=lambda job: int(job.job_id))}
    runs = sorted(path.stem for path in (results / "config" / "training").glob("*.json"))
    for subject in ("baseline", *runs):
        for stage, rule, output in STAGES if subject != "baseline" else ():
            if stage == "smoke" and not (
                (results / output.format(subject)).exists()
                or f"rule_{rule}_wildcards_{subject}" in by_comment
            ):
                continue
            done = results / output.format(subject)
            job = by_comment.get(f"rule_{rule}_wildcards_{subject}")
            yield _row(results, stage, subject, done, job, now)
        done = results / "evaluations" / subject / "summary.json"
        job = by_comment.get(f"rule_evaluate_model_wildcards_{subject}")
        yield _row(results, "evaluate", subject, done, job, now)
    for stage, name in (("compare", "comparison.json"), ("report", "report.html")):
        yield _row(results, stage, "", results / name, None, now)


def _row(results: Path, stage: str, name: str, done: Path, job: Job | None, now: float) -> Row:
    progress = _read(results / "progress" / f"{stage}-{name}.json")
    title = f"{stage} {name}".strip()
    active = job is not None and job.standing in ("waiting", "running")
    if done.exists() and not active:
        return Row(title, "done", _jobs(stage, done), **_numbers(progress))
    if job is not None and job.standing == "waiting":
        reason = f" ({job.reason})" if job.reason not in ("", "None") else ""
        return Row(title, f"waiting{reason}", job=job.job_id, **_numbers(progress))
    if job is not None and job.standing == "running":
        log = _log(results, job)
        shown = {**_numbers(progress), "log": str(progress.get("log") or log)}
        return Row(title, "running", job.job_id, job.nodes, left=job.time_left, **shown)
    if progress.get("state") == "running":
        silent = now - _seconds(progress.get("updated"), now)
        place = str(progress.get("host") or "")
        shown = {**_numbers(progress), "log": str(progress.get("log") or "")}
        if silent > SILENT_SECONDS or _gone(progress):
            return Row(title, f"silent for {clock(silent)}", place=place, **shown)
        return Row(title, "running", place=place, **shown)
    if job is not None and job.standing == "ended_badly":
        return Row(title, job.state.lower(), job.job_id, log=_log(results, job))
    if progress.get("state") == "failed":
        message = str(progress.get("message") or "")
        return Row(title, "failed", progress=message, log=str(progress.get("log") or ""))
    return Row(title, "to do")


def _jobs(stage: str, done: Path) -> str:
    """The Slurm jobs of a finished stage, from what it wrote; empty for one outside of Slurm.

    Slurm is not asked: it forgets ended jobs after minutes, a results folder keeps for years.
    """
    if stage not in ("smoke", "train", "export", "evaluate"):
        return ""
    record = done.with_name("manifest.json") if stage == "evaluate" else done
    ids = jobs_of(_read(record))
    if len(ids) > JOBS_SHOWN:
        return f"{ids[0]} ... {ids[-1]} ({len(ids)} jobs)"
    return ", ".join(ids)


def _numbers(progress: dict[str, Any]) -> dict[str, str]:
    """Step, reward and accuracy as they are shown."""
    if not progress:
        return {}
    total = progress.get("total")
    count = f"{progress.get('step')} of {total}" if total else str(progress.get("step") or "")
    shown = {"progress": f"{count} {progress.get('unit', '')}".strip()}
    for name in ("reward", "accuracy"):
        value = progress.get(name)
        if isinstance(value, int | float):
            shown[name] = f"{value:.3f}"
    return shown


def _queue(results: Path) -> tuple[list[Job], str | None]:
    """The jobs submitted from the folder that holds `results`, and why none are shown."""
    if not shutil.which("squeue"):
        return [], None
    folder = os.path.realpath(results.resolve().parent)
    try:
        mine = jobs("--me", timeout=20)
    except NoAnswerError as error:
        return [], f"Slurm does not answer now ({error}); shown is what the files say."
    return [job for job in mine if job.work_dir == folder and job.comment.startswith("rule_")], None


def _log(results: Path, job: Job) -> str:
    rule, _, wildcards = job.comment.partition("_wildcards_")
    path = results.parent / "logs" / "slurm" / rule / wildcards / f"{job.job_id}.log"
    return str(path) if path.exists() else ""


def _gone(progress: dict[str, Any]) -> bool:
    """Whether the process that wrote this ran on this machine and is no more."""
    if progress.get("host") != os.uname().nodename or not progress.get("pid"):
        return False
    return not Path(f"/proc/{progress['pid']}").exists() and Path("/proc/self").exists()


def _seconds(stamp: Any, default: float) -> float:
    try:
        return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()
    except (TypeError, ValueError):
        return default


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
