"""Where every stage stands, for `toolgain status`: from the results folder and from Slurm's queue.

Nothing here writes or asks a running stage: it reads the outputs, the small progress files that the
long stages keep, and squeue.
"""

import os
import shutil
import textwrap
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from toolgain.common.errors import UserError
from toolgain.common.failures import FOLDER, recorded, said_in
from toolgain.common.files import parse_json, read_text
from toolgain.common.progress import duration_words
from toolgain.common.screen import for_terminal, from_here
from toolgain.config.sections import TRAINERS
from toolgain.slurm.accounting import jobs_of
from toolgain.slurm.endings import MEANINGS, Ending
from toolgain.slurm.queue import NoAnswerError, QueuedJob, jobs
from toolgain.slurm.waiting import why_it_waits

REFRESH_SECONDS = 5
SILENT_SECONDS = 180
"""A stage silent for this long, and with no job in the queue, has probably been killed."""

JOBS_SHOWN = 3
"""Of a stage that took more Slurm jobs, only the first and the last are shown."""

STAGES = (
    # stage, Snakemake's rule, output below results (with the name of a run or subject)
    ("tasks", "tasks", "tasks/{}/tasks.json"),
    ("rehearse", "rehearse", "runs/{}/rehearsal.json"),
    ("smoke", "smoke", "runs/{}/smoke.json"),
    ("train", "train_run", "runs/{}/manifest.json"),
    ("select", "select", "runs/{}/best.json"),
    ("export", "export", "runs/{}/export.json"),
)


@dataclass(frozen=True)
class StatusRow:
    """One stage's line, and the lines below it."""

    stage: str
    state: str
    job: str = ""
    place: str = ""
    progress: str = ""
    reward: str = ""
    accuracy: str = ""
    left: str = ""
    log: str = ""
    """The log to open, from the working folder."""
    message: str = ""
    """Why it failed, in the stage's own words."""


HEADER = StatusRow("stage", "state", "job", "where", "progress", "reward", "accuracy", "left")
COLUMNS = ("stage", "state", "job", "place", "progress", "reward", "accuracy", "left")
SHORT = 12
"""Characters of a reason to wait that stand in the row itself."""
BELOW = {"place": "on ", "job": "job "}
"""Columns that move below their row, in this order, where the screen is too narrow for all."""


def show_status(results: Path, watch: bool) -> None:
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
        text = for_terminal(
            "\n".join(status_lines(results, shutil.get_terminal_size((80, 24)).columns))
        )
        if not watch:
            click.echo(text)
            return
        click.clear()
        click.echo(f"{text}\n\nevery {REFRESH_SECONDS} s; Ctrl-C ends this view, not the work")
        time.sleep(REFRESH_SECONDS)


def status_lines(results: Path, columns: int) -> Iterator[str]:
    """The lines of the status, for a screen of that many columns."""
    queue, note = _queue(results)
    yield from status_table(list(stage_rows(results, queue, time.time())), columns)
    if note:
        yield from textwrap.wrap(note, columns)


def status_table(rows: list[StatusRow], columns: int) -> Iterator[str]:
    """Rows as lines that fit into `columns` characters."""
    shown = [name for name in COLUMNS if any(getattr(row, name) for row in rows)]
    moved: list[str] = []
    widths = _widths(rows, shown)
    for name in BELOW:
        if sum(widths.values()) + 2 * (len(widths) - 1) > columns and name in shown:
            shown.remove(name)
            moved.append(name)
            widths = _widths(rows, shown)
    for row in (HEADER, *rows):
        yield "  ".join(getattr(row, name).ljust(widths[name]) for name in shown).rstrip()
        if row is HEADER:
            continue
        facts = [BELOW[name] + getattr(row, name) for name in moved if getattr(row, name)]
        for text in (", ".join(facts), row.message, row.log):
            yield from textwrap.wrap(
                from_here(text),
                columns,
                initial_indent="    ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )


def _widths(rows: list[StatusRow], names: list[str]) -> dict[str, int]:
    return {name: max(len(getattr(row, name)) for row in (HEADER, *rows)) for name in names}


def stage_rows(results: Path, queue: list[QueuedJob], now: float) -> Iterator[StatusRow]:
    """A row per stage in the order of the chain.

    Args:
        results: the results folder.
        queue: the jobs of this folder that Slurm knows; the latest of each stage counts.
        now: seconds since the epoch.
    """
    by_comment = {job.comment: job for job in sorted(queue, key=lambda job: int(job.job_id))}
    runs = _runs(results)
    trial = Stage("trial", "", results / "trial.json", results / "config" / "trial.json")
    job = by_comment.get("rule_trial")
    if trial.plan.exists() or trial.done.exists() or job:
        yield _row(results, trial, job, now)
    for subject in ("baseline", *runs):
        for stage, rule, output in STAGES if subject != "baseline" else ():
            done = results / output.format(subject)
            job = by_comment.get(f"rule_{rule}_wildcards_{subject}")
            plan = results / "config" / "training" / f"{subject}.json"
            if not (done.exists() or job or _is_planned(stage, _read(plan))):
                continue
            yield _row(results, Stage(stage, subject, done, plan), job, now)
        done = results / "evaluations" / subject / "summary.json"
        job = by_comment.get(f"rule_evaluate_model_wildcards_{subject}")
        plan = results / "config" / "evaluation.json"
        yield _row(results, Stage("evaluate", subject, done, plan), job, now)
    for name, output in (("compare", "comparison.json"), ("report", "report.html")):
        plan = results / "config" / "comparison.json"
        yield _row(results, Stage(name, "", results / output, plan), None, now)


def _is_planned(stage: str, training: Mapping[str, object]) -> bool:
    """Whether a training section asks for this stage."""
    if stage == "rehearse":
        settings = training.get("gym")
        return isinstance(settings, Mapping) and bool(settings.get("rehearsal_rows"))
    return stage != "smoke" or bool(training.get("smoke_steps"))


@dataclass(frozen=True)
class Stage:
    """A stage of one run or subject."""

    kind: str
    name: str
    done: Path
    """The output that is there once it is done."""
    plan: Path
    """Its part of the configuration, written before it starts."""

    @property
    def title(self) -> str:
        """What the table calls it, such as `train grpo`."""
        return f"{self.kind} {self.name}".strip()


def _runs(results: Path) -> list[str]:
    """The runs that are planned or have left something; Snakemake takes their plans away for a
    moment when it writes them again."""
    planned = {path.stem for path in (results / "config" / "training").glob("*.json")}
    begun = {path.name for kind in ("runs", "tasks") for path in (results / kind).glob("*/")}
    return sorted(planned | begun)


def _row(results: Path, stage: Stage, job: QueuedJob | None, now: float) -> StatusRow:
    progress = _progress(results, stage)
    title = stage.title
    standing = job.standing if job is not None else None
    if stage.done.exists() and standing not in ("waiting", "running"):
        invalid = _why_invalid(stage)
        return StatusRow(
            title,
            "not valid" if invalid else "done",
            _jobs(stage.kind, stage.done),
            message=invalid,
            **_numbers(progress),
        )
    if job is not None and standing == "waiting":
        reason = job.reason if job.reason != "None" else ""
        short = 0 < len(reason) <= SHORT
        said = ("" if short else reason, why_it_waits(job.reason) or "")
        return StatusRow(
            title,
            f"waiting ({reason})" if short else "waiting",
            job.job_id,
            message=": ".join(filter(None, said)),
            **_numbers(progress),
        )
    if job is not None and standing == "running":
        own = str(progress.get("log") or "") or _slurm_log(results, job)
        shown = {**_numbers(progress), "log": own}
        return StatusRow(title, "running", job.job_id, job.nodes, left=job.time_left, **shown)
    log = _log(results, stage)
    message = said_in(log) or ""
    if progress.get("state") == "running" and not message and standing != "ended_badly":
        silent = now - _seconds(progress.get("updated"), now)
        place = str(progress.get("host") or "")
        shown = {**_numbers(progress), "log": str(progress.get("log") or "")}
        if silent > SILENT_SECONDS or _gone(progress):
            return StatusRow(title, f"silent for {duration_words(silent)}", place=place, **shown)
        return StatusRow(title, "running", place=place, **shown)
    if job is not None and standing == "ended_badly":
        failure = recorded(job.job_id, results.parent / FOLDER)
        ending = Ending(job.job_id, job.state, Path(_slurm_log(results, job)), failure)
        message = failure.message if failure else MEANINGS.get(ending.word) or message
        shown_log = str(log) if log.exists() and log.stat().st_size else str(ending.log)
        return StatusRow(title, job.state.lower(), job.job_id, message=message, log=shown_log)
    if message or progress.get("state") == "failed":
        message = message or str(progress.get("message") or "")
        shown_log = str(log) if log.exists() else str(progress.get("log") or "")
        return StatusRow(title, "failed", message=message, log=shown_log)
    return StatusRow(title, "to do", **_numbers(progress))


def _why_invalid(stage: Stage) -> str:
    """Why a finished evaluation does not count; empty where it does, and for other stages."""
    summary = _read(stage.done) if stage.kind == "evaluate" else {}
    if summary.get("valid") is not False:
        return ""
    reasons = summary.get("reasons")
    said = map(str, reasons) if isinstance(reasons, list) else ()
    return "; ".join(("will not be compared", *said))


def _progress(results: Path, stage: Stage) -> dict[str, Any]:
    """The stage's progress file; that of another plan is no progress of this one."""
    name = "-".join(filter(None, (stage.kind, stage.name)))
    progress = _read(results / "progress" / f"{name}.json")
    plan = _read(stage.plan)
    try:
        planned = stage.plan.stat().st_mtime
    except OSError:
        return progress
    # Stamps have whole seconds.
    if _seconds(progress.get("updated"), planned) + 1 > planned:
        return progress
    backend = plan.get("backend", "")
    trainer = TRAINERS.get(backend) if stage.kind == "train" else None
    total = plan.get(backend, {}).get(trainer.STEPS_KEY) if trainer else None
    return {"step": 0, "total": total, "unit": "steps"} if total else {}


def _log(results: Path, stage: Stage) -> Path:
    """The stage's log, which each attempt begins again."""
    logs = results.parent / "logs" / stage.kind
    return logs / f"{stage.name}.log" if stage.name else logs.with_suffix(".log")


def _jobs(stage: str, done: Path) -> str:
    """The Slurm jobs of a finished stage, from what it wrote; empty for one outside of Slurm.

    Slurm is not asked: it forgets ended jobs after minutes, a results folder keeps for years.
    """
    if stage not in ("trial", "smoke", "train", "export", "evaluate"):
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


def _queue(results: Path) -> tuple[list[QueuedJob], str | None]:
    """The jobs submitted from the folder that holds `results`, and why none are shown."""
    if not shutil.which("squeue"):
        return [], None
    folder = os.path.realpath(results.resolve().parent)
    try:
        mine = jobs("--me", timeout=20)
    except NoAnswerError as error:
        return [], f"Slurm does not answer now ({error}); shown is what the files say."
    return [job for job in mine if job.work_dir == folder and job.comment.startswith("rule_")], None


def _slurm_log(results: Path, job: QueuedJob) -> str:
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
        value = parse_json(read_text(path))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
