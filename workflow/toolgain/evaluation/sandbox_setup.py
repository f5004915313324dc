"""How the harness is put into its sandbox: what it may see, and what this kernel can give."""

import json
import logging
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path

from toolgain.common.errors import StageError, UserError
from toolgain.config.sections import EvaluationSection
from toolgain.evaluation import sandbox
from toolgain.evaluation.sandbox import Layers, Spec

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-I", sandbox.__file__)
"""Isolated from the working folder, the environment and the user's packages."""

IN_CONTAINER = (
    "the harness runs in a container: its network is the machine's, and the expected answers in "
    "its image can be read"
)


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


def checked_layers(section: EvaluationSection) -> Layers:
    """What this kernel gives; says in a line what it does not.

    Raises:
        UserError: something stays open, and the configuration requires that nothing does.
    """
    if section.harness_container:
        if section.sandbox == "require":
            raise UserError(
                "evaluation.sandbox is `require`, and evaluation.harness_container runs the "
                "harness in a container whose network is the machine's; leave out one of them."
            )
        log.warning("evaluate: %s", IN_CONTAINER)
        # Its file system is the image's, so that none of the user's files is there.
        return Layers(files=True, missing=(IN_CONTAINER,))
    found = layers()
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
