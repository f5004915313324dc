"""Run NVIDIA's BFCL harness: `nemo-evaluator run_eval`, watched, in an environment of its own."""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from toolgain.common import package, processes
from toolgain.common.errors import UserError
from toolgain.common.files import shell_signs
from toolgain.common.processes import Command
from toolgain.evaluation import sandbox
from toolgain.serving.server import Endpoint, free_port

EVAL_TYPE = "bfclv3_ast"
"""NVIDIA's name for the task `multi_turn,ast` with native function calling."""


@dataclass(frozen=True)
class HarnessFolders:
    """The files of one repeat, below its work folder."""

    work: Path

    @property
    def output(self) -> Path:
        """The harness's output folder, with result/ and score/."""
        return self.work / "harness"

    @property
    def data(self) -> Path:
        """The items asked, for BFCL_DATA_DIR."""
        return self.work / "data"

    @property
    def requests(self) -> Path:
        """A line for each request that the harness made."""
        return self.work / "requests.jsonl"

    @property
    def answers(self) -> Path:
        """Answers of the server, until the evaluation is complete."""
        return self.work / "answers.jsonl"

    @property
    def replay(self) -> Path:
        """Answers that an interrupted attempt received and did not come to write down."""
        return self.work / "replay.jsonl"

    @property
    def server_facts(self) -> Path:
        """What the server said about itself."""
        return self.work / "server.json"

    @property
    def slurm_jobs(self) -> Path:
        """The Slurm jobs that have worked on the evaluation."""
        return self.work / "slurm_jobs.json"

    @property
    def log(self) -> Path:
        return self.work / "harness.log"


@dataclass(frozen=True)
class HarnessSettings:
    """How to run the harness."""

    bfcl_env: Path
    alias: str
    task: str
    parallelism: int
    sampling: Mapping[str, Any]
    timeout_s: float
    attempts: int
    stall_s: float
    """Without any progress for so long, the harness is ended."""
    backoff_s: float = field(default=0.5)
    container: str | None = None
    """Image that holds the harness, in place of `bfcl_env`."""


def run_config(
    settings: HarnessSettings, folders: HarnessFolders, endpoint: Endpoint, secrets: Path
) -> dict[str, Any]:
    """The run configuration, built with nemo-evaluator's own typed classes.

    The harness puts values into a shell command without quotes and splits them at `,` and `=`,
    so it sees the adapter's address and the alias only; the real ones go to the interceptor.
    """
    with _logging_untouched():
        from nemo_evaluator.adapters.adapter_config import (
            AdapterConfig,
            DiscoveryConfig,
            InterceptorConfig,
        )
        from nemo_evaluator.api.api_dataclasses import (
            ApiEndpoint,
            ConfigParams,
            EndpointType,
            EvaluationConfig,
            EvaluationTarget,
        )

    interceptor = {
        "model": endpoint.model,
        "sampling": dict(settings.sampling),
        "record": str(folders.requests),
        "answers": str(folders.answers),
        "replay": str(folders.replay),
        "secrets": str(secrets),
        "timeout_s": settings.timeout_s,
        "attempts": settings.attempts,
        "backoff_s": settings.backoff_s,
        "breaker": max(16, 2 * settings.parallelism),
    }
    config = EvaluationConfig(
        type=EVAL_TYPE,
        output_dir=str(folders.output),
        params=ConfigParams(
            parallelism=settings.parallelism,
            task=settings.task,
            extra={"native_calling": True},
        ),
    )
    target = EvaluationTarget(
        api_endpoint=ApiEndpoint(
            url=endpoint.chat_url,
            model_id=settings.alias,
            type=EndpointType.CHAT,
            adapter_config=AdapterConfig(
                discovery=DiscoveryConfig(modules=["toolgain.evaluation.interceptor"]),
                interceptors=[InterceptorConfig(name="toolgain", config=interceptor)],
            ),
        )
    )
    return {
        "config": config.model_dump(mode="json", exclude_none=True),
        "target": target.model_dump(mode="json", exclude_none=True),
    }


@contextmanager
def _logging_untouched() -> Iterator[None]:
    """Importing nemo_evaluator replaces the handlers of the root logger; keep ours."""
    os.environ.setdefault("NEMO_EVALUATOR_LOG_LEVEL", "WARNING")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def harness_program(bfcl_env: Path) -> Path:
    """The nemo-evaluator program of the harness's environment."""
    program = bfcl_env.absolute() / "bin" / "nemo-evaluator"
    if not program.exists():
        raise UserError(f"--bfcl-env: {program} does not exist; `make setup` makes .venvs/bfcl.")
    return program


def run(
    settings: HarnessSettings,
    folders: HarnessFolders,
    endpoint: Endpoint,
    watch: Callable[[], int],
) -> str | None:
    """Generate what is missing, and score everything.

    Args:
        watch: called a few times a second; returns a number that grows with any progress.

    Returns:
        None when the harness ended by itself with its results written; else what went wrong. Its
        exit code alone proves nothing.
    """
    for path in (folders.output, folders.work / "home"):
        if shell_signs(path):
            raise UserError(
                f"evaluate: the harness cannot work in {path}: it puts the path into a shell "
                "command without quotes. Use a folder without spaces and such characters."
            )
        path.mkdir(parents=True, exist_ok=True)
    # A failed attempt would leave the results of the one before it.
    for stale in ("results.yml", ".nemo_evaluator_interrupted", ".nemo_evaluator_server_error"):
        (folders.output / stale).unlink(missing_ok=True)
    program = harness_program(settings.bfcl_env)
    if settings.container and not os.environ.get("SLURM_JOB_ID"):
        raise UserError(
            "evaluation.harness_container needs a Slurm job; use --profile slurm, or leave it out."
        )
    env = processes.scrubbed_environment(program.parent, folders.work / "home")
    env |= {
        "BFCL_DATA_DIR": str(folders.data),
        "NEMO_EVALUATOR_TELEMETRY_LEVEL": "0",
        "ADAPTER_HOST": "127.0.0.1",
        # Left to itself, the adapter of a second evaluation on this host races for the port.
        "ADAPTER_PORT": str(free_port()),
        "ADAPTER_SERVER_THREADS": str(settings.parallelism + 4),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(folders.work / "home"),
    }
    with _handing_over(endpoint, folders.work) as secrets:
        config = folders.work / "run_config.yml"
        values = run_config(settings, folders, endpoint, secrets)
        config.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        arguments = ["run_eval", "--run_config", str(config)]
        if settings.container:
            # The container keeps what the model wrote from this machine's files.
            argv = in_container(settings.container, ["nemo-evaluator", *arguments], folders.work)
        else:
            # The harness hands what the model wrote to Python's eval.
            argv = [str(program), *arguments]
            argv = sandbox.around(argv, folders.work, endpoint.base_url)
        command = Command(argv, cwd=folders.work)
        with processes.running(command, env, folders.log, folders.work) as process:
            last, since = watch(), time.monotonic()
            while process.poll() is None:
                time.sleep(0.2)
                if reason := endpoint.alive():
                    return reason
                if (count := watch()) != last:
                    last, since = count, time.monotonic()
                elif time.monotonic() - since > settings.stall_s:
                    return f"the harness made no progress for {settings.stall_s:g} s"
    if process.returncode != 0:
        return f"the harness ended with exit {process.returncode}: {processes.tail(folders.log)}"
    if not (folders.output / "results.yml").exists():
        return f"the harness ended without results: {processes.tail(folders.log)}"
    return None


def in_container(image: str, command: list[str], folder: Path) -> list[str]:
    """`command` in the harness's container: it sees `folder` and this package, nothing else."""
    from toolgain.slurm import containers

    mounts = containers.mounts([], [folder.resolve(), package.ROOT])
    return containers.in_container(
        command, containers.located_image(image) or image, mounts, folder.resolve()
    )


@contextmanager
def _handing_over(endpoint: Endpoint, folder: Path) -> Iterator[Path]:
    """Give key and proxies to the interceptor through a named pipe: they touch no disk, and are
    not in the environment of the process that evaluates what the model wrote."""
    pipe = folder / ".secrets"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe, 0o600)
    text = json.dumps({"key": endpoint.key, "proxies": dict(endpoint.proxies)})
    done = threading.Event()

    def hand_over() -> None:
        # Opening blocks until the interceptor reads; without a reader, the end of the block opens.
        with contextlib.suppress(OSError), pipe.open("w", encoding="utf-8") as end:
            if not done.is_set():
                end.write(text)

    writer = threading.Thread(target=hand_over, daemon=True)
    writer.start()
    try:
        yield pipe
    finally:
        done.set()
        if writer.is_alive():
            with contextlib.suppress(OSError):
                os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
            writer.join(timeout=5)
        pipe.unlink(missing_ok=True)


def reported_overall(output: Path) -> float | None:
    """The harness's own Overall in percent, for provenance. Its formula has four categories too
    many, which count as zero."""
    import csv

    table = output / "score" / "data_overall.csv"
    try:
        with table.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file))
        return float(row["Overall Acc"].rstrip("%"))
    except (OSError, StopIteration, KeyError, ValueError):
        return None
