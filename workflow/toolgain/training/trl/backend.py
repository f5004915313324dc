"""The TRL backend: start `toolgain.training.trl.grpo` in its environment, watch it, hand on a stop.

The program is a child that ends with this process, whatever ends it. A request to stop (SIGTERM,
SIGUSR1, Ctrl-C) becomes a file that the program looks for after each step, since neither srun nor
torchrun hands signals on in time; the program then saves and ends.
"""

import math
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from toolgain.common import package
from toolgain.common.amounts import counted, in_gib
from toolgain.common.errors import ResumeLaterError, StageError, UserError
from toolgain.common.logs import out_of_memory, tail
from toolgain.common.signals import STOP_SIGNALS, end_with_parent, handling
from toolgain.config.sections import ClusterSection, TrainingSection
from toolgain.models.response_templates import reader_of_folder
from toolgain.models.weights import read_safetensors_header
from toolgain.records.record import read_record, write_record
from toolgain.tasks import gym_rows
from toolgain.training.backend import LaunchOutcome, TrainingJob
from toolgain.training.store import checkpoints, segments
from toolgain.training.trl.plan import LaunchEnd, LaunchPlan, Processes

NEEDS_TRL_ENVIRONMENT = True
NEEDS_CLUSTER = False

OPTIMIZER_COPIES = 3
"""Numbers kept per weight in a checkpoint: the weight and two of Adam's."""

PROGRESS = "progress:"
LOG = "train.log"

FULL = 1 << 20
"""A disk with fewer bytes free than this is full."""

LOST_PROCESS = re.compile(r"Connection (closed|reset) by peer|remote (worker|process)|Dist\w*Error")
"""What torch says, with gloo or NCCL, where another process of the training has ended."""


def make_tasks(
    section: TrainingSection, _: ClusterSection, out: Path, bfcl_data: Path | None
) -> None:
    """Generate the tasks, or check those of the files that `training.tasks` names."""
    from toolgain.demo_model.everyday_tasks import everyday_task
    from toolgain.tasks import stage
    from toolgain.training.nemo_rl import gym

    if section.plays_gym and section.tasks.train_file:
        # Both files are given, or none.
        gym.copy_rows(gym.given_files(section.tasks), section.tasks, out, bfcl_data)
        return
    stage.make_tasks(section.tasks, out, bfcl_data, everyday_task)


def rows_of(job: TrainingJob) -> tuple[Path, Path]:
    """The lines that are played: tasks, or rows of NeMo Gym. Training and validation."""
    if not job.section.plays_gym or job.section.tasks.train_file:
        return job.train, job.validation
    folder = job.tasks.parent / gym_rows.FOLDER
    return folder / job.train.name, folder / job.validation.name


def planned_steps(section: TrainingSection, _: Path) -> int:
    """The section's `trl.max_steps`."""
    return section.trl.max_steps


def check(job: TrainingJob) -> None:
    """Refuse a run whose checkpoints will not fit, or that could not read the model's calls.

    Raises:
        UserError: names the space needed and what is free, or the key to set.
    """
    # Else a right call in the model's own form would earn what a refusal earns.
    reader_of_folder(Path(job.weights.path))
    if job.section.plays_gym:
        python = job.gym_environment.absolute() / "bin" / "python"
        if not python.exists():
            raise UserError(
                f"training.environment nemo_gym: {python} (environments.gym) does not exist; "
                "`make setup-gym` makes it."
            )
    copies = 2 if job.smoke else copies_at_once(job.section)
    missing = max(1, copies - len(checkpoints.scan(job.folder)[0]))
    needed = missing * bytes_of_checkpoint(Path(job.weights.path))
    free = shutil.disk_usage(job.folder).free
    if needed > free:
        more = counted(missing, "more checkpoint")
        raise UserError(
            f"training: {job.folder} has {in_gib(free)} free; {more} take "
            f"{in_gib(needed)}. Free some, or lower keep_top_k."
        )


def copies_at_once(section: TrainingSection) -> int:
    """Checkpoints that lie there at most: the best, the latest, and the one being written."""
    settings = section.trl
    return min(settings.keep_top_k + 2, settings.max_steps // settings.save_period + 1)


def bytes_of_checkpoint(weights: Path) -> int:
    """Size of a checkpoint of the model in the folder `weights`."""
    numbers = sum(_parameters(path) for path in weights.glob("*.safetensors"))
    return OPTIMIZER_COPIES * 4 * numbers


def _parameters(path: Path) -> int:
    """How many numbers a safetensors file holds."""
    header, _ = read_safetensors_header(path)
    return sum(
        math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"
    )


def start(job: TrainingJob, launch: Path) -> LaunchOutcome:
    """Train up to `job.steps` from the latest checkpoint that training can resume from."""
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
    train, validation = rows_of(job)
    plan = LaunchPlan(
        section=job.section,
        steps=job.steps,
        val_period=job.val_period,
        save_period=job.save_period,
        weights=job.weights.path,
        train=str(train),
        validation=str(validation),
        validation_limit=16 if job.smoke else None,
        checkpoint_dir=str(job.folder),
        log_dir=str(launch),
        log=str(log),
        progress=[str(path) for path in job.progress],
        stage="smoke" if job.smoke else "train",
        name=job.name,
        lease=str(job.lease.path),
        token=job.lease.token,
        stop_at=job.stop_at,
        stop_file=str(stop_file),
        resume=str(latest.path) if latest else None,
        gym_environment=str(job.gym_environment) if job.section.plays_gym else None,
    )
    write_record(launch / "plan.json", plan)
    code = _run(program_command(job, launch / "plan.json"), job, log, stop_file)
    ended = launch / "ended.json"
    if not ended.is_file():
        raise failure(code, log)
    if code != 0:
        # Written after everything was saved: a rank that falls over its end spoils nothing.
        click.echo(f"exit code {code} after the end of the training; see {log}")
    result = read_record(LaunchEnd, ended, "training")
    processes = read_record(Processes, launch / segments.PROCESSES, "training")
    return LaunchOutcome(
        step=result.step,
        planned_steps=job.steps,
        stopped=result.stopped,
        message=result.stopped and _stopped_line(job, result.step, result.stopped),
        world_size=processes.world_size,
        hosts=tuple(processes.hosts),
        gpus=processes.gpus,
        versions=processes.versions | _gym_version(job),
    )


def _gym_version(job: TrainingJob) -> dict[str, str]:
    """The version of NeMo Gym where the training plays in it; its environment is another one."""
    if not job.section.plays_gym:
        return {}
    # Needs a client for HTTP, which a plain training does without.
    from toolgain.serving.server import python_version_of

    found = python_version_of(job.gym_environment, "nemo-gym")
    return {"nemo-gym": found} if found else {}


def _stopped_line(job: TrainingJob, step: int, why: str) -> str:
    return (
        f"training: stopped after step {step} of {job.steps} ({why}) with everything saved; run "
        "the same command again to resume."
    )


def program_command(job: TrainingJob, plan: Path) -> list[str]:
    """The program's command line: one process, torchrun, or srun and torchrun on every node."""
    from toolgain.slurm import launch

    python = job.environment.absolute() / "bin" / "python"
    if not python.exists():
        raise UserError(
            f"--trl-env: {job.environment} holds no Python environment; `make setup` makes it."
        )
    program = [str(python), "-m", "toolgain.training.trl.grpo", str(plan)]
    return launch.launch_command(program, job.nodes, job.section.trl.processes)


def program_environment(job: TrainingJob) -> dict[str, str]:
    """The program's environment: offline, without telemetry, with the package on its path."""
    threads = job.section.trl.threads
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


def _run(arguments: list[str], job: TrainingJob, log: Path, stop_file: Path) -> int:
    with log.open("ab", buffering=0) as file:
        child = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            env=program_environment(job),
            # Out of reach of the terminal's Ctrl-C, which comes to this process alone.
            start_new_session=True,
            preexec_fn=end_with_parent,
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
            raise ResumeLaterError(
                "training: ended at once by a second Ctrl-C, without a save; run the same command "
                "again to resume from the last checkpoint."
            )
        stop_file.write_text(f"signal {name}\n")
        click.echo(f"{name}: saves at the end of this step and stops")

    try:
        with handling(STOP_SIGNALS, stop):
            yield
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def failure(code: int, log: Path) -> StageError | UserError:
    """The error for a program that failed: bad input where it says so, and a retry is no help."""
    said = f"training: {cause(code, log)} Log: {log}."
    errors = _errors(tail(log))
    return UserError(said) if errors and errors[-1].startswith("UserError") else StageError(said)


def _errors(text: str) -> list[str]:
    """The errors that a log of the program names, without those that only follow from others.

    Where one of several processes fails, the others lose it a moment later and say so last.
    """
    errors: list[str] = re.findall(
        r"^(?:\[rank\d+\]: )?(?:\w+\.)*(\w*(?:Error|Exception)\b.*)$", text, re.M
    )
    errors = [line for line in errors if "ChildFailedError" not in line]
    return [line for line in errors if not LOST_PROCESS.search(line)] or errors


def _own_errors(text: str) -> list[str]:
    """Of these the errors of this package; all where there is none."""
    errors = _errors(text)
    return [line for line in errors if line.startswith(("StageError", "UserError"))] or errors


def cause(code: int, log: Path) -> str:
    """Why the program failed, in a sentence, from its exit code and the end of its log."""
    text = tail(log)
    if "No space left on device" in text or shutil.disk_usage(log.parent).free < FULL:
        return f"the disk that holds {log.parent} is full; the last whole checkpoint is untouched."
    if out_of_memory(text):
        return "out of memory; lower trl.per_device_train_batch_size or num_prompts_per_step."
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "the program was killed (signal 9), by someone or for lack of memory."
    if own := _own_errors(text):
        # The errors of this package are written for the reader.
        said = re.sub(r"^(StageError|UserError): (training: )?", "", own[-1].strip())
        return said.rstrip(".") + "."
    if code < 0:
        return f"the program was ended by {signal.Signals(-code).name}."
    return f"the program ended with exit code {code}."
