"""The TRL backend: start `toolgain.training.trl.grpo` in its environment, watch it, hand on a stop.

The program is a child that ends with this process, whatever ends it. A request to stop (SIGTERM,
SIGUSR1, Ctrl-C) becomes a file that the program looks for after each step, since neither srun nor
torchrun hands signals on in time; the program then saves and ends.
"""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from toolgain.common import package
from toolgain.common.errors import StageError, UserError
from toolgain.common.files import read_json, write_json
from toolgain.common.logs import out_of_memory, tail
from toolgain.training.backend import Job, Outcome
from toolgain.training.store import checkpoints, segments

PROGRESS = "progress:"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
LOG = "train.log"

FULL = 1 << 20
"""A disk with fewer bytes free than this is full."""


def start(job: Job, launch: Path) -> Outcome:
    """Train up to `job.steps` from the latest checkpoint that training can go on from."""
    latest, unusable = checkpoints.latest_resumable(job.folder)
    for item in unusable:
        click.echo(f"{item.path.name} is passed over: {item.reason}")
        # Out of the way, or the training would come to this step again and find it taken.
        shutil.rmtree(item.path.with_name(f"old_{item.path.name}"), ignore_errors=True)
        item.path.rename(item.path.with_name(f"old_{item.path.name}"))
    checkpoints.discard_unfinished(job.folder)
    launch.mkdir(parents=True)
    log = launch / LOG
    stop_file = launch / "stop"
    plan = {
        "section": job.section,
        "steps": job.steps,
        "val_period": job.val_period,
        "save_period": job.save_period,
        "weights": {"path": job.weights["path"]},
        "train": str(job.train),
        "validation": str(job.validation),
        "validation_limit": 16 if job.smoke else None,
        "checkpoint_dir": str(job.folder),
        "log_dir": str(launch),
        "progress": [str(path) for path in job.progress],
        "progress_fields": {
            "stage": "smoke" if job.smoke else "train",
            "name": job.name,
            "total": job.steps,
            "log": str(log),
        },
        "lease": str(job.lease.path),
        "token": job.lease.token,
        "stop_at": job.stop_at,
        "stop_file": str(stop_file),
        "resume": str(latest.path) if latest else None,
    }
    write_json(launch / "plan.json", plan)
    code = _run(command(job, launch / "plan.json"), job, log, stop_file)
    ended = launch / "ended.json"
    if not ended.is_file():
        raise StageError(f"training: {cause(code, log)} Log: {log}.")
    if code != 0:
        # Written after everything was saved: a rank that falls over its end spoils nothing.
        click.echo(f"exit code {code} after the end of the training; see {log}")
    result = read_json(ended, "training")
    processes = read_json(launch / segments.PROCESSES, "training")
    return Outcome(
        step=result["step"],
        planned_steps=job.steps,
        stopped=result["stopped"],
        world_size=processes["world_size"],
        hosts=tuple(processes["hosts"]),
        gpus=processes["gpus"],
        versions=processes["versions"],
    )


def command(job: Job, plan: Path) -> list[str]:
    """The program's command line: one process, torchrun, or srun and torchrun on every node."""
    from toolgain.slurm import launch

    python = job.environment.absolute() / "bin" / "python"
    if not python.exists():
        raise UserError(
            f"--trl-env: {job.environment} holds no Python environment; `make setup` makes it."
        )
    program = [str(python), "-m", "toolgain.training.trl.grpo", str(plan)]
    return launch.command(program, job.nodes, job.section["trl"]["processes"])


def environment(job: Job) -> dict[str, str]:
    """The program's environment: offline, without telemetry, with the package on its path."""
    threads = job.section["trl"]["threads"]
    return {
        **os.environ,
        "PYTHONPATH": str(package.ROOT),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    } | ({"OMP_NUM_THREADS": str(threads)} if threads else {})


def _run(arguments: list[str], job: Job, log: Path, stop_file: Path) -> int:
    with log.open("ab", buffering=0) as file:
        child = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            env=environment(job),
            # Out of reach of the terminal's Ctrl-C, which comes to this process alone.
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            pass_fds=[job.lease.descriptor],
        )
        assert child.stdout is not None
        with _stop_on_signal(child, stop_file):
            for line in child.stdout:
                file.write(line)
                text = line.decode(errors="replace").rstrip()
                if text.startswith(PROGRESS):
                    click.echo(text.removeprefix(PROGRESS).strip())
            return child.wait()


@contextmanager
def _stop_on_signal(child: "subprocess.Popen[bytes]", stop_file: Path) -> Iterator[None]:
    def stop(number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGINT and stop_file.exists():
            child.kill()
            return
        stop_file.write_text(f"signal {name}\n")
        click.echo(f"{name}: saves at the end of this step and stops")

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if child.poll() is None:
            child.kill()
            child.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def cause(code: int, log: Path) -> str:
    """Why the program failed, in a sentence, from its exit code and the end of its log."""
    text = tail(log)
    if "No space left on device" in text or shutil.disk_usage(log.parent).free < FULL:
        return f"the disk that holds {log.parent} is full; the last whole checkpoint is untouched."
    if out_of_memory(text):
        return "out of memory; lower trl.micro_batch or prompts_per_step."
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "the program was killed (signal 9), by someone or for lack of memory."
    errors = re.findall(r"^(?:\[rank\d+\]: )?(?:\w+\.)*(\w*(?:Error|Exception)\b.*)$", text, re.M)
    own: list[str] = [line for line in errors if "ChildFailedError" not in line]
    if own:
        return own[-1].strip().rstrip(".") + "."
    if code < 0:
        return f"the program was ended by {signal.Signals(-code).name}."
    return f"the program ended with exit code {code}."
