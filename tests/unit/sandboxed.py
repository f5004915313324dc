"""A place to run code in the sandbox from, as root or as another user, on a kernel that lacks
something; for the tests and for the kernels of `tests/kernels`. Standard library only."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from escapes import REFUSED, RUN, outside, values_of

from toolgain.evaluation import sandbox
from toolgain.evaluation.sandbox import Layers, Spec

SYSTEM_PYTHON = "/usr/bin/python3"
"""Readable for every user, wherever this checkout lies."""
NO_LANDLOCK = ("444=38", "445=38", "446=38")
NO_NAMESPACES = ("unshare",)
NO_MOUNTS = ("mount", "move_mount", "pivot_root")


def as_user(user: int, groups: Sequence[int] = ()) -> list[str]:
    """What starts a command as `user`, who is in `groups`, of which the first is the main one."""
    if user == os.geteuid() and not groups:
        return []
    others = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    return ["setpriv", f"--reuid={user}", f"--regid={(groups or (user,))[0]}", others]


class Place:
    """A work folder of `user`, a folder beside it, and the command line of the sandbox."""

    def __init__(self, folder: Path, user: int) -> None:
        self.user = user
        self.box, self.beside = folder / "box", folder / "beside"
        self.data = folder / "data"
        """Items as the harness gets them, with answers that are hidden."""
        self.program, self.denied = folder / "sandbox.py", folder / "denied.py"
        self.groups: tuple[int, ...] = ()
        """The user's groups where they are not one of the user's number, the first above all."""
        self.without: tuple[str, ...] = ()
        """System calls that fail; see denied.py."""
        self.around: tuple[str, ...] = ()
        """What root starts everything with, such as a container's likeness."""
        shutil.copy(Path(__file__).with_name("denied.py"), self.denied)
        shutil.copy(sandbox.__file__, self.program)
        for path in (self.box, self.beside, self.data, self.answers):
            path.mkdir()
        (self.beside / "secret").write_text("a secret")
        (self.data / "items.json").write_text("{}")
        (self.answers / "items.json").write_text("an answer")
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user)
        folder.chmod(0o755)

    @property
    def answers(self) -> Path:
        return self.data / "possible_answer"

    @property
    def start(self) -> list[str]:
        """How a program is started as the user, on a kernel that lacks what `without` names."""
        denied = [SYSTEM_PYTHON, "-I", str(self.denied), *self.without, "--"]
        # Without a right of its own, a process may set a filter only under no_new_privs.
        rights = ["setpriv", "--no-new-privs"] if self.without and self.user else []
        return [
            *self.around,
            *as_user(self.user, self.groups),
            *rights,
            *(denied if self.without else ()),
        ]

    def layers(self) -> Layers:
        done = subprocess.run(
            [*self.start, SYSTEM_PYTHON, "-I", str(self.program), "--probe"],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
        return Layers(**{**(found := json.loads(done.stdout)), "missing": tuple(found["missing"])})

    def run(
        self, code: str, layers: Layers | None = None, port: int = 0, relay: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        """Run Python `code` inside."""
        with self.started(code, layers, port, relay) as process:
            stdout, stderr = process.communicate(timeout=900)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    @contextmanager
    def started(
        self, code: str, layers: Layers | None = None, port: int = 0, relay: bool = False
    ) -> "Iterator[subprocess.Popen[str]]":
        """Python `code` inside, while the block runs."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            found = layers or self.layers()
            spec = Spec(
                read=[str(self.data)],
                hide=[str(self.answers)],
                write=[str(self.box)],
                folder=str(self.box),
                layers={**asdict(found), "missing": []},
                port=port,
                control=-1 if relay else theirs.fileno(),
                relay=relay,
            )
            command = [SYSTEM_PYTHON, "-I", str(self.program), "--spec", json.dumps(asdict(spec))]
            with subprocess.Popen(
                [*self.start, *command, "--", SYSTEM_PYTHON, "-I", "-c", code],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd="/",
                pass_fds=[theirs.fileno()],
                env={**os.environ, "BFCL_DATA_DIR": str(self.data)},
            ) as process:
                try:
                    yield process
                finally:
                    process.kill()

    def said(
        self, code: str, layers: Layers | None = None, port: int = 0, relay: bool = False
    ) -> str:
        done = self.run(code, layers, port, relay)
        return done.stdout.strip()


def attempt(expression: str) -> str:
    """Code that prints DONE, or the name of the error."""
    return (
        "import os, socket, signal, ctypes, pathlib, subprocess\n"
        "try:\n"
        f"    {expression}\n"
        "    print('DONE')\n"
        "except BaseException as error:\n"
        "    print(type(error).__name__)\n"
    )


def done(place: Place, harms: Sequence[str], layers: Layers | None = None) -> list[str]:
    """Try each of `harms` inside, in a process of its own; returns those that worked."""
    code = (
        "import os, sys, socket, signal, ctypes, pathlib, subprocess\n"
        f"for number, harm in enumerate({list(harms)!r}):\n"
        "    if os.fork() == 0:\n"
        "        try: exec(harm)\n"
        "        except BaseException: os._exit(1)\n"
        "        os._exit(0)\n"
        "    print('HARM', number, os.wait()[1], flush=True)\n"
    )
    said = place.run(code, layers)
    words = [line.split() for line in said.stdout.splitlines() if line.startswith("HARM ")]
    ends = {int(number): int(status) for _, number, status in words}
    assert len(ends) == len(harms), said
    return [harm for number, harm in enumerate(harms) if ends[number] == 0]


ADMITTED = {
    "all files": {
        *("read a file", "write a file", "truncate a file", "remove a file", "a hard link"),
        *("a hard link to the data", "the expected answers"),
        *("a change of times", "an attribute", "that a file exists", "change a mode"),
        *("the programs", "the system's settings", "users and passwords", "cron"),
        *("a folder above", "the kernel's settings", "a terminal"),
        *("the root of a process", "the root of every process", "a terminal's screen"),
        *("a terminal's keyboard", "an environment", "descriptors", "foreign memory"),
        *("the root of this program's starter", "what happens in a folder", "the machine's switch"),
    },
    "modes": {"change a mode", "a change of times", "that a file exists"},
    "are watched": {"what happens in a folder"},
    "truncated": {"truncate a file"},
    "network is open": {
        *("a port", "a port by name", "a datagram", "a datagram outside", "tcp was reached"),
        *("a port with the first data", "a port with the first data of a message"),
    },
    "UDP is open": {"a datagram", "a datagram outside"},
    "can be seen": {
        *("another process", "a process by descriptor", "descriptors", "inherited descriptors"),
    },
    "and ended": {
        *("a signal", "a signal to this program's starter", "a limit of another process"),
        *("the priority of another process", "the processors of another process"),
        *("the disk priority of another process",),
    },
    "unix sockets": {
        *("a unix socket", "a descriptor through a unix socket", "a datagram by name"),
        *("a datagram of a raw socket", "an abstract socket", "an abstract datagram"),
        *("unix was reached", "unix datagram was reached"),
        *("abstract was reached", "abstract datagram was reached"),
    },
}
"""The ways out of `escapes` that a phrase of `Layers.open` admits, by a part of the phrase."""

OWN = {
    *("a System V queue that stays", "memory that stays", "semaphores that stay", "a key"),
    *("a descriptor of its starter", "foreign memory by call", "ptrace of the parent"),
    *("a ring", "page faults", "a user namespace", "a namespace by clone3"),
    *("a namespace by a call of 32 bits", "keys of the user"),
}
"""What only a filter of system calls refuses. In namespaces of its own it reaches what lies in
them; `Layers.missing` says that the filter is not there."""


def ways_out(place: Place, layers: Layers) -> set[str]:
    """Try every way out of `escapes` inside; returns those that worked, by what the code inside
    said and by what was reached outside."""
    with outside(place.user) as made:
        values = values_of(made, os.getpid(), REFUSED)
        code = f"globals().update({values!r})\n{RUN}\nprint(done)"
        said = place.run(code, layers)
        lines = [line for line in said.stdout.splitlines() if line.startswith("{")]
        assert len(lines) == 1, said
        found: dict[str, str] = json.loads(lines[0])
        assert set(REFUSED) <= set(found), said
        reached = {f"{name} was reached" for name in made.reached}
    return {name for name in REFUSED if found[name].startswith("done")} | reached


def admitted(layers: Layers) -> set[str]:
    """The ways out that `layers` says are open, or that end in namespaces of its own."""
    own = OWN if layers.processes and layers.files and not layers.system_calls else set()
    return own | {
        way
        for phrase, ways in ADMITTED.items()
        if any(phrase in text for text in layers.open)
        for way in ways
    }
