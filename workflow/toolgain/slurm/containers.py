"""Commands in a container of a Slurm job: image, mounts, and the environment that reaches it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from toolgain.common.errors import UserError


def is_file_image(container: str) -> bool:
    """Whether a container image is named by a file, not by a registry."""
    return container.startswith(("/", "./", "../")) or container.endswith(".sqsh")


def located_image(container: str | None) -> str | None:
    """A container image, with its path absolute where it is a file."""
    if container and is_file_image(container):
        return str(Path(container).resolve())
    return container


# ray.sub takes these generic names from whatever the shell that started Snakemake had set.
TAKEN_BY_CHANCE = frozenset(
    {
        "CONTAINER", "MOUNTS", "COMMAND", "SETUP_COMMAND", "GPUS_PER_NODE", "CPUS_PER_WORKER",
        "BASE_LOG_DIR", "DEDICATED_RAY_HEAD", "NRL_DEDICATED_RAY_HEAD", "PORT", "DASHBOARD_PORT",
        "NODE_MANAGER_PORT",
        "OBJECT_MANAGER_PORT", "RUNTIME_ENV_AGENT_PORT", "DASHBOARD_AGENT_GRPC_PORT",
        "DASHBOARD_AGENT_LISTEN_PORT", "METRICS_EXPORT_PORT", "RAY_CLIENT_SERVER_PORT",
        "MIN_WORKER_PORT", "MAX_WORKER_PORT", "RAY_DEBUG", "RAY_SUB_DEBUG_ENV", "RAY_ADDRESS",
        "RAY_LOG_SYNC_FREQUENCY", "NEMO_SKILLS_SANDBOX_PORT", "UV_CACHE_DIR_OVERRIDE",
    }
)  # fmt: skip


# Set by Snakemake, conda or a virtual environment for this machine, wrong inside the container.
HOST_ONLY = frozenset(
    {
        "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS", "GOTO_NUM_THREADS", "TMPDIR", "TMP", "TEMP", "PYTHONPATH",
        "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "BASH_ENV", "ENV",
    }
)  # fmt: skip


# UV_*: the host's index, Python and environment are not the image's.
_STRIPPED = re.compile(r"^(SLURM|SRUN|SBATCH|SANDBOX|PMI|PMIX|OMPI|UV)_")


_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|API_KEY|APIKEY|CREDENTIAL|PRIVATE_KEY)", re.I)


UNSAFE = re.compile(r"[\s,:$\"'`\\;&|<>*?(){}\[\]!#]")


def is_secret(name: str) -> bool:
    """Whether an environment variable of this name is one that no log may show."""
    return bool(_SECRET.search(name))


def host_environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base` without secrets, without what ray.sub takes by chance, and without old SLURM_*.

    The job's id stays: srun needs it. What uv or anything else needs inside the container goes into
    `cluster.nemo_rl.env`.
    """
    return {
        name: value
        for name, value in base.items()
        if name in ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CONF")
        or (
            name not in TAKEN_BY_CHANCE
            and name not in HOST_ONLY
            and not _STRIPPED.match(name)
            and not is_secret(name)
        )
    }


def mounts(wanted: Sequence[str], needed: Iterable[Path]) -> list[str]:
    """The container's mounts: those configured, and every needed folder that they do not cover.

    Raises:
        UserError: a mount is not `src:dst`, or a path cannot be one.
    """
    result = []
    for mount in wanted:
        if not re.fullmatch(r"/[^:,\s]*:/[^:,\s]*(:[a-z+]+)?", mount):
            raise UserError(
                f"cluster.nemo_rl.mounts: {mount!r} is not `/source:/target`; give absolute paths "
                "without spaces, commas or colons."
            )
        result.append(mount)
    covered = [Path(dst) for src, dst in (m.split(":")[:2] for m in result) if src == dst]
    for path in sorted(set(needed)):
        if UNSAFE.search(str(path)):
            raise UserError(f"{path} cannot be mounted: it holds a space, comma or colon.")
        if not any(path.is_relative_to(folder) for folder in covered):
            result.append(f"{path}:{path}")
            covered.append(path)
    return result


def folders_behind(model: Path) -> list[Path]:
    """The model's folder and those that its links lead to; the container needs them all."""
    targets = {path.resolve().parent for path in model.iterdir()} if model.is_dir() else set()
    return [model.resolve(), *sorted(targets)]


def in_container(
    command: Sequence[str],
    container: str,
    mounts: Sequence[str],
    workdir: Path,
    gpus: int | None = None,
) -> list[str]:
    """`command` in a container on this node, as a step of the present job (pyxis).

    pyxis hands on the environment, so a key in it stays out of the argument list.
    """
    step = ["srun", "--overlap", "--nodes=1", "--ntasks=1", "--no-container-mount-home"]
    step += [f"--container-image={container}", f"--container-mounts={','.join(mounts)}"]
    step += [f"--container-workdir={workdir}"]
    if gpus is not None:
        step.append(f"--gres=gpu:{gpus}" if gpus else "--gres=none")
    return [*step, *command]
