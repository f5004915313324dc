"""Running upstream's own, unmodified `ray.sub` from the batch step of a Slurm job.

ray.sub reads its whole input from the environment, prints every command (`set -x`), leaves a
worker step behind when it returns, and may return 0 while the training still runs. So the
environment is built here from nothing inherited by chance, holds no secret in COMMAND, and the
process group and its job steps are ended whatever ray.sub said.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolgain.common.errors import UserError
from toolgain.config.sections import NemoRlSite
from toolgain.slurm.allocation import Allocation
from toolgain.slurm.containers import UNSAFE, host_environment
from toolgain.slurm.queue import NoAnswerError, ask_slurm
from toolgain.training.nemo_rl.overrides import Override, shell_words
from toolgain.training.nemo_rl.refs import PROGRAM, Ref

ENDED_GRACE_S = 30.0
"""Timeout for the process group to end by itself."""


def ray_sub_environment(
    base: Mapping[str, str],
    found: Allocation,
    root: Path,
    container: str,
    mounts: Sequence[str],
    command: str,
    log_folder: Path,
    gpus_per_node: int,
    site: NemoRlSite,
    account: str | None = None,
) -> dict[str, str]:
    """The environment of ray.sub.

    Args:
        base: The environment of this process.
        found: The allocation; jobstep has taken its SLURM_* variables away.
        root: NeMo RL checkout; ray.sub's working folder on the nodes.
        container: Container image.
        mounts: `src:dst` of the container.
        command: Shell text of the training.
        log_folder: Where ray.sub makes its folder `<job>-logs`.
        gpus_per_node: GPUs of each node; ray.sub compares them with the partition's GRES.
        site: `cluster.nemo_rl`.
        account: Slurm account where Slurm itself names none.

    Raises:
        UserError: a path holds a character that ray.sub's unquoted words would break on.
    """
    for what, path in (("checkout", root), ("log folder", log_folder), ("container", container)):
        text = str(path)
        # A registry image may hold `:` and `#`, and ray.sub hands it on in one word.
        if UNSAFE.search(text if what != "container" else re.sub(r"[:#]", "", text)):
            raise UserError(
                f"the {what} {text} holds a space or one of , : $ ' \" which ray.sub does not "
                "quote; use a plain path."
            )
    kept = host_environment(base)
    slurm = found.variables()
    # Fresh log folders tell launches apart; a restart count would put the number in the name.
    slurm.pop("SLURM_RESTART_COUNT", None)
    if account:
        slurm.setdefault("SLURM_JOB_ACCOUNT", account)
    if "SLURM_JOB_ACCOUNT" not in slurm:
        raise UserError(
            f"Slurm job {found.job_id} has no account, and ray.sub passes one to srun; set "
            "cluster.account (or SLURM_ACCOUNT)."
        )
    kept.update(slurm)
    kept.update(
        SLURM_OVERLAP="1",
        SLURM_SUBMIT_DIR=str(root),
        CONTAINER=container,
        MOUNTS=",".join(mounts),
        COMMAND=command,
        GPUS_PER_NODE=str(gpus_per_node),
        CPUS_PER_WORKER=str(found.cpus_per_node),
        BASE_LOG_DIR=str(log_folder),
    )
    kept.update(site.env)
    return kept


def ray_sub_command(
    ref: Ref,
    root: Path,
    config: Path,
    overrides: Iterable[Override],
    site: NemoRlSite,
    wandb: str,
    key_file: str | None = None,
) -> str:
    """COMMAND: the shell text that ray.sub runs in the head container. It holds no secret.

    ray.sub runs it without `set -e`, so a failing line before the last would go unseen.
    """
    lines = ["set -euo pipefail", "umask 077", f"cd {shlex.quote(str(root))}"]
    exports = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray's actors import nemo_rl from the working folder; without this the driver would take
        # it from the image.
        "PYTHONPATH": str(root),
    }
    if site.hf_home:
        exports["HF_HOME"] = str(site.hf_home)
    if site.cuda_arch_list:
        exports["TORCH_CUDA_ARCH_LIST"] = str(site.cuda_arch_list)
    if wandb == "offline":
        exports["WANDB_MODE"] = "offline"
    lines += [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    if wandb == "online" and key_file:
        # Read in the container at run time: the key itself is in no text.
        lines.append(f'WANDB_API_KEY="$(cat {shlex.quote(key_file)})"; export WANDB_API_KEY')
    words = [
        *shlex.split(site.python),
        PROGRAM,
        f"--config={config}",
    ]
    arguments = [shlex.quote(word) for word in words] + shell_words(overrides)
    lines.append("exec " + " \\\n    ".join(arguments))
    return "\n".join(lines) + "\n"


def wandb_key_file(base: Mapping[str, str], ref: Ref, wandb: str) -> str | None:
    """The file that holds the W&B key, or None where the key may stay in the environment.

    Raises:
        UserError: W&B is online without a key; the file is readable by others; or the key is
            only in the environment with a version whose logs print the environment.
    """
    if wandb != "online":
        return None
    named = base.get("WANDB_API_KEY_FILE")
    if named:
        path = Path(named)
        if not path.is_file():
            raise UserError(f"WANDB_API_KEY_FILE: {named} does not exist.")
        if path.stat().st_mode & 0o077:
            raise UserError(
                f"WANDB_API_KEY_FILE: others can read {named}; run `chmod 600 {named}`."
            )
        return str(path.resolve())
    if not base.get("WANDB_API_KEY"):
        raise UserError(
            "training.nemo_rl.wandb is online, but there is neither WANDB_API_KEY nor "
            "WANDB_API_KEY_FILE; NeMo RL would crash at its start. Set one, or wandb: offline."
        )
    if ref.environment_is_logged:
        raise UserError(
            f"training.nemo_rl.wandb: ray.sub of {ref.name} prints the whole environment into "
            "ray-head.log, and with it WANDB_API_KEY; put the key into a file of mode 0600 on the "
            "shared file system and name it in WANDB_API_KEY_FILE."
        )
    return None


class RaySub:
    """One running ray.sub, in a session of its own."""

    def __init__(self, root: Path, environment: Mapping[str, str], log_folder: Path) -> None:
        self.log_folder = log_folder
        self.output = log_folder / "ray.sub.log"
        self.job_id = environment["SLURM_JOB_ID"]
        self._steps_before = set(job_steps(self.job_id))
        with self.output.open("wb") as output:
            # A pipe would stay open in the step that ray.sub leaves behind.
            self.process = subprocess.Popen(
                ["bash", str(root / "ray.sub")],
                cwd=root,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def returned(self) -> int | None:
        """Exit code of ray.sub, or None while it runs."""
        return self.process.poll()

    def log_folders(self) -> list[Path]:
        """The folders `<job>-logs` that ray.sub made."""
        return sorted(path for path in self.log_folder.glob("*-logs") if path.is_dir())

    def logs(self) -> list[Path]:
        """Every log of this launch, the driver's first."""
        found = [path for folder in self.log_folders() for path in sorted(folder.glob("*.log"))]
        found.sort(key=lambda path: path.name != "ray-driver.log")
        return [*found, self.output]

    def driver_log(self) -> Path | None:
        """The log of the training itself."""
        for folder in self.log_folders():
            if (folder / "ray-driver.log").is_file():
                return folder / "ray-driver.log"
        return None

    def steps(self) -> list[str]:
        """Job steps that this launch started and that still run."""
        return [step for step in job_steps(self.job_id) if step not in self._steps_before]

    def end(self, grace_s: float = ENDED_GRACE_S) -> list[str]:
        """End everything that belongs to this launch; the steps that outlived ray.sub."""
        for folder in self.log_folders():
            # The files' sidecars inside the containers poll for this one.
            with contextlib.suppress(OSError):
                (folder / "ENDED").touch()
        outlived = self.steps() if self.returned() is not None else []
        self._signal(signal.SIGTERM)
        _wait(lambda: not self._group_lives(), grace_s)
        self._signal(signal.SIGKILL)
        for step in self.steps():
            subprocess.run(["scancel", step], check=False, capture_output=True, timeout=60)
        _wait(lambda: not self.steps(), grace_s)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        return outlived

    def _group_lives(self) -> bool:
        self.process.poll()
        try:
            os.killpg(self.process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def job_steps(job_id: str) -> list[str]:
    """The running steps of a job that srun started (`123.0`), without its batch and extern step."""
    try:
        steps = ask_slurm(
            "squeue", "--noheader", "--steps", "--jobs", job_id, "--format", "%i"
        ).split()
    except NoAnswerError:
        return []
    return [step for step in steps if re.fullmatch(r"\d+\.\d+", step)]


def _wait(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.5)
