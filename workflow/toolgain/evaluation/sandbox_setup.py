"""How the harness is put into its sandbox: what it may see, and what this kernel can give."""

import json
import logging
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from toolgain.common.errors import StageError, UserError
from toolgain.config.sections import EvaluationSection
from toolgain.evaluation import sandbox
from toolgain.evaluation.sandbox import Layers, Spec

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-I", sandbox.__file__)
"""Isolated from the working folder, the environment and the user's packages."""

IN_IMAGE = (
    *("sh", "-c"),
    'read -r first < "$(command -v bfcl)"; python=${first#"#!"}; '
    'case $python in *sh | "") python=python3 ;; esac; exec $python -I "$0" "$@"',
    sandbox.__file__,
)
"""The same in a container, by the Python of its harness, which may be older than -P."""


@dataclass(frozen=True)
class Image:
    """What was found in the image of `evaluation.harness_container`."""

    layers: Layers
    folders: tuple[str, ...]
    """What lies at its root and is shown to the harness."""
    answers: tuple[str, ...]
    """Where its expected answers lie; empty where they were not found."""


@cache
def layers() -> Layers:
    """What this kernel gives, tried once."""
    done = subprocess.run(
        [*COMMAND, "--probe"], capture_output=True, text=True, timeout=120, check=False, cwd="/"
    )
    if done.returncode != 0:
        raise StageError(f"evaluate: the sandbox cannot be tried: {done.stderr.strip()[-300:]}")
    found = json.loads(done.stdout)
    return Layers(**{**found, "missing": tuple(found["missing"])})


def in_image(
    container: str, command: Sequence[str], folders: Sequence[Path], box: Path | None
) -> list[str]:
    """`command` in the harness's container, which sees `folders` and this sandbox, read-only, and
    the `box`."""
    from toolgain.slurm import containers

    if not os.environ.get("SLURM_JOB_ID"):
        raise UserError(
            "evaluation.harness_container needs a Slurm job; use --profile slurm, or leave it out."
        )
    seen = [*(path.resolve() for path in folders), Path(sandbox.__file__)]
    mounts = [f"{mount}:ro" for mount in containers.mounts([], seen)]
    mounts += containers.mounts([], [box.resolve()] if box else [])
    image = containers.located_image(container) or container
    return containers.in_container(command, image, mounts, box.resolve() if box else Path("/"))


@cache
def image(container: str) -> Image:
    """What the kernel gives in the container, and what the image holds; tried once.

    Raises:
        StageError: the container does not start, or has no harness.
    """
    command = in_image(container, [*IN_IMAGE, "--probe", "--image"], [], None)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
        known = {**found["layers"], "missing": tuple(found["layers"]["missing"])}
        return Image(Layers(**known), tuple(found["folders"]), tuple(found["answers"]))
    except (IndexError, KeyError, TypeError, ValueError):
        raise StageError(
            f"evaluate: evaluation.harness_container: the sandbox cannot be tried in {container} "
            f"(exit {done.returncode}; the image needs bfcl, and Python 3.10 or newer): "
            f"{done.stderr.strip()[-300:]}"
        ) from None


def _layers_in(container: str) -> Layers:
    found = image(container)
    if found.answers:
        return found.layers
    unknown = "the installed expected answers were not found in the image, and may be read"
    return replace(found.layers, missing=(*found.layers.missing, unknown))


def checked_layers(section: EvaluationSection) -> Layers:
    """What this kernel gives; says in a line what it does not.

    Raises:
        UserError: something stays open, and the configuration requires that nothing does.
    """
    container = section.harness_container
    found = _layers_in(container) if container else layers()
    if found.open and section.sandbox == "require":
        raise UserError(
            f"evaluation.sandbox is `require`, and on this kernel {'; '.join(found.open)} "
            f"({'; '.join(found.missing)}). Evaluate on another machine, or allow it with "
            "`best_effort`."
        )
    if found.open:
        log.warning(
            "evaluate: the sandbox is not whole: %s (%s)",
            "; ".join(found.open),
            "; ".join(found.missing),
        )
    elif found.missing:
        log.warning("evaluate: the sandbox lacks a second layer: %s", "; ".join(found.missing))
    return found


def spec_of(
    program: Path,
    box: Path,
    read: list[Path],
    port: int,
    control: int,
    found: Layers,
    hide: Iterable[Path] = (),
) -> str:
    """What the harness is to see, for `sandbox --spec`."""
    folders, links = programs_of(program.parent.parent)
    return json.dumps(
        asdict(
            Spec(
                read=[*folders, *(str(path.resolve()) for path in read)],
                write=[str(box.resolve())],
                links={**links, **{str(p): str(p.resolve()) for p in read if p != p.resolve()}},
                hide=[str(path.resolve()) for path in hide],
                folder=str(box.resolve()),
                layers={**asdict(found), "missing": []},
                port=port,
                control=control,
            )
        )
    )


def image_spec_of(
    found: Image,
    box: Path,
    read: list[Path],
    port: int,
    hide: Iterable[Path] = (),
) -> str:
    """The same in a container: it sees the image, without the `hide` of the work folder."""
    return json.dumps(
        asdict(
            Spec(
                read=[*found.folders, *(str(path.resolve()) for path in read)],
                write=[str(box.resolve())],
                hide=[str(path.resolve()) for path in hide],
                folder=str(box.resolve()),
                home=str(box.resolve() / "home"),
                layers={**asdict(found.layers), "missing": []},
                port=port,
                relay=bool(port),
            )
        )
    )


def programs_of(env: Path) -> tuple[list[str], dict[str, str]]:
    """The folders of an environment: itself, the Python that it was made from, and libraries that
    the site names; and the links by which its programs call it."""
    seen = {env.resolve()}
    links = {str(env): str(env.resolve())} if env != env.resolve() else {}
    python = env / "bin" / "python"
    while python.is_symlink():
        target = python.parent / python.readlink()
        if python.parent.parent.resolve() != python.parent.parent:
            links[str(python.parent.parent)] = str(python.parent.parent.resolve())
        python = target
        seen.add(python.parent.parent.resolve())
    for script in (env / "bin" / "bfcl", env / "bin" / "nemo-evaluator"):
        first = script.read_bytes()[:1024].split(b"\n")[0].decode(errors="replace")
        called = Path(first.removeprefix("#!").split(" ")[0]).parent.parent
        if first.startswith("#!/") and called != called.resolve():
            links[str(called)] = str(called.resolve())
        if first.startswith("#!/") and called.name not in ("usr", ""):
            seen.add(called.resolve())
    home = Path.home()
    for named in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        folder = Path(named).resolve() if named else home
        if folder.is_dir() and not home.is_relative_to(folder):
            seen.add(folder)
    return sorted(str(p) for p in seen if not p.is_relative_to("/usr") and p != Path("/")), links


def received(channel: socket.socket, timeout_s: float = 60.0) -> socket.socket | None:
    """The listening socket that the sandbox sends, or None when it ended without."""
    readable, _, _ = select.select([channel], [], [], timeout_s)
    if not readable:
        return None
    _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    return socket.socket(fileno=descriptors[0]) if descriptors else None
