"""What a command sees and reaches in the sandbox, as root and as another user, layer by layer."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from toolgain.common.errors import UserError
from toolgain.config.sections import EvaluationSection
from toolgain.evaluation import confinement, sandbox
from toolgain.evaluation.sandbox import Layers, Spec

SYSTEM_PYTHON = "/usr/bin/python3"
"""Readable for every user, wherever this checkout lies."""
USERS = [0, 65534] if os.geteuid() == 0 else [os.geteuid()]
ALL = confinement.layers()
WITHOUT_NAMESPACES = replace(ALL, files=False, network=False, processes=False, user_namespace=False)

needs_everything = pytest.mark.skipif(bool(ALL.missing), reason=f"this kernel: {ALL.missing}")


def as_user(user: int) -> list[str]:
    if user == os.geteuid():
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


class Place:
    """A work folder of `user`, a folder beside it, and the command line of the sandbox."""

    def __init__(self, folder: Path, user: int) -> None:
        self.user = user
        self.box, self.beside = folder / "box", folder / "beside"
        self.program, self.denied = folder / "sandbox.py", folder / "denied.py"
        self.without: tuple[str, ...] = ()
        """System calls that fail; see denied.py."""
        shutil.copy(Path(__file__).with_name("denied.py"), self.denied)
        shutil.copy(sandbox.__file__, self.program)
        for path in (self.box, self.beside):
            path.mkdir()
        (self.beside / "secret").write_text("a secret")
        made = (folder, self.box, self.beside, self.beside / "secret", self.program, self.denied)
        for path in made:
            os.chown(path, user, user)
        folder.chmod(0o755)

    @property
    def start(self) -> list[str]:
        """How a program is started as the user, on a kernel that lacks what `without` names."""
        denied = [SYSTEM_PYTHON, "-I", str(self.denied), *self.without, "--"]
        # Without a right of its own, a process may set a filter only under no_new_privs.
        rights = ["setpriv", "--no-new-privs"] if self.without and self.user else []
        return [*as_user(self.user), *rights, *(denied if self.without else ())]

    def layers(self) -> Layers:
        done = subprocess.run(
            [*self.start, SYSTEM_PYTHON, "-I", str(self.program), "--probe"],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
        return Layers(**{**json.loads(done.stdout), "missing": ()})

    def run(
        self, code: str, layers: Layers | None = None, port: int = 0
    ) -> "subprocess.CompletedProcess[str]":
        """Run Python `code` inside."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            found = layers or self.layers()
            spec = Spec(
                read=[],
                write=[str(self.box)],
                folder=str(self.box),
                layers={**asdict(found), "missing": []},
                port=port,
                control=theirs.fileno(),
            )
            command = [SYSTEM_PYTHON, "-I", str(self.program), "--spec", json.dumps(asdict(spec))]
            return subprocess.run(
                [*self.start, *command, "--", SYSTEM_PYTHON, "-I", "-c", code],
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                timeout=60,
                pass_fds=[theirs.fileno()],
            )

    def said(self, code: str, layers: Layers | None = None, port: int = 0) -> str:
        done = self.run(code, layers, port)
        return done.stdout.strip()


@pytest.fixture(params=USERS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip("no Python of the system")
    folder = Path(tempfile.mkdtemp(prefix="toolgain-sandbox-"))
    yield Place(folder, request.param)
    shutil.rmtree(folder)


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


@needs_everything
def test_everything_is_there_for_every_user(place: Place) -> None:
    assert place.layers().open == []
    assert place.said("print('ran')") == "ran"


@needs_everything
def test_it_writes_into_its_folder_alone(place: Place) -> None:
    assert place.said(attempt("pathlib.Path('mine').write_text('x')")) == "DONE"
    assert (place.box / "mine").read_text() == "x"
    for target in ("/usr/x", "/etc/passwd", "/x", str(place.beside / "x")):
        assert place.said(attempt(f"open({target!r}, 'w')")) != "DONE", target


@needs_everything
def test_nothing_else_of_the_machine_is_seen(place: Place) -> None:
    seen = place.said("import os; print(sorted(os.listdir('/')))")
    assert "home" not in seen and "root" not in seen and "var" not in seen
    assert str(place.beside) not in place.said(
        "import os; print([os.path.join(f, n) for f, d, ns in os.walk('/tmp') for n in d + ns])"
    )
    assert place.said("import os; print(os.listdir('/run'))") == "[]"
    assert place.said(attempt("os.listdir('/etc/ssh')")) == "FileNotFoundError"


@needs_everything
def test_temporary_files_are_gone_afterwards(place: Place) -> None:
    name = f"toolgain-{os.getpid()}-left"
    assert place.said(attempt(f"open('/tmp/{name}', 'w')")) == "DONE"
    assert not Path(f"/tmp/{name}").exists()


@pytest.mark.parametrize("without_namespaces", [False, True])
def test_file_of_the_user_is_neither_read_nor_written_nor_linked(
    place: Place, without_namespaces: bool
) -> None:
    """Also by Landlock alone, where a kernel has no namespaces to give."""
    layers = replace(WITHOUT_NAMESPACES, missing=()) if without_namespaces else None
    if ALL.landlock < 3:
        pytest.skip("no Landlock that knows truncation")
    secret = str(place.beside / "secret")
    for harm in (
        f"open({secret!r}).read()",
        f"open({secret!r}, 'w')",
        f"os.truncate({secret!r}, 0)",
        f"os.unlink({secret!r})",
        f"os.rename({secret!r}, 'taken')",
        f"os.link({secret!r}, 'linked')",
        f"os.symlink({secret!r}, 'link'); open('link').read()",
        "open('/etc/shadow').read()",
        f"os.listdir({str(place.beside)!r})",
    ):
        assert place.said(attempt(harm), layers) not in ("DONE", ""), harm
    assert (place.beside / "secret").read_text() == "a secret"


@needs_everything
def test_no_other_process_is_seen_or_ended(place: Place) -> None:
    numbers = place.said("import os; print([n for n in os.listdir('/proc') if n.isdigit()])")
    assert str(os.getpid()) not in numbers
    assert place.said(attempt(f"os.kill({os.getpid()}, 0)")) == "ProcessLookupError"


def test_without_namespaces_no_process_is_ended_and_no_environment_read(place: Place) -> None:
    if ALL.landlock < 6:
        pytest.skip("no Landlock that knows signals")
    layers = replace(WITHOUT_NAMESPACES, missing=())
    process = subprocess.Popen([*as_user(place.user), "sleep", "600"])
    try:
        for harm in (
            f"os.kill({process.pid}, 9)",
            f"open('/proc/{process.pid}/environ').read()",
            f"os.listdir('/proc/{process.pid}/root/')",
        ):
            assert place.said(attempt(harm), layers) not in ("DONE", ""), harm
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@needs_everything
def test_no_port_no_socket_no_address_is_reached(place: Place) -> None:
    path = Path(tempfile.mkdtemp()) / "socket"
    path.parent.chmod(0o755)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(str(path))
        path.chmod(0o777)
        unix.listen()
        port = listener.getsockname()[1]
        harms = [
            f"socket.create_connection(('127.0.0.1', {port}), 3)",
            f"socket.create_connection(('::1', {port}), 3)",
            "socket.create_connection(('192.0.2.1', 80), 3)",
            f"socket.socket(socket.AF_UNIX).connect({str(path)!r})",
            f"socket.socket(socket.AF_UNIX).connect({chr(0) + 'x'!r})",
            "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
            "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
            "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
        ]
        for harm in harms:
            assert place.said(attempt(harm)) not in ("DONE", ""), harm
    shutil.rmtree(path.parent)


@needs_everything
def test_there_is_no_capability_and_no_way_to_one(place: Place) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in place.said("print(open('/proc/self/status').read())").splitlines()
        if ":\t" in line
    )
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    for harm in (
        "assert ctypes.CDLL(None).unshare(0x10000000) == 0",
        "assert ctypes.CDLL(None).unshare(0x00020000) == 0",
        "assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0",
        "assert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0",
        "assert ctypes.CDLL(None).chroot(b'/tmp') == 0",
        "os.mknod('disk', 0o60600, os.makedev(8, 0))",
        "subprocess.run(['/tmp/x'])",
    ):
        assert place.said(attempt(harm)) not in ("DONE", ""), harm


@needs_everything
def test_no_process_outlives_the_command(place: Place) -> None:
    beat = place.box / "beat"
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        f"    while True: open({str(beat)!r}, 'a').write('x'); time.sleep(0.01)\n"
        f"while not os.path.exists({str(beat)!r}): time.sleep(0.01)\n"
    )
    assert place.run(code).returncode == 0
    size = beat.stat().st_size
    subprocess.run(["sleep", "0.5"], check=True)
    assert beat.stat().st_size == size


@needs_everything
def test_limits_are_set(place: Place) -> None:
    said = place.said(
        "import resource as r\n"
        "print(r.getrlimit(r.RLIMIT_AS)[1], r.getrlimit(r.RLIMIT_FSIZE)[1],"
        " r.getrlimit(r.RLIMIT_CORE)[1])"
    )
    assert said.split() == [str(sandbox.ADDRESS_SPACE), str(sandbox.FILE_SIZE), "0"]


def test_the_exit_status_is_passed_on(place: Place) -> None:
    assert place.run("raise SystemExit(7)").returncode == 7


def test_layer_that_fails_after_its_promise_ends_the_run(place: Place) -> None:
    """Never less than what was promised: the command is not started."""
    missing = replace(place.layers(), landlock=99, system_calls=True)
    code = "open('ran', 'w')"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        spec = Spec(
            read=[],
            write=[str(place.box / "not-there")],
            folder=str(place.box),
            layers={**asdict(missing), "files": True, "missing": []},
            control=theirs.fileno(),
        )
        command = [sys.executable, "-I", str(place.program), "--spec", json.dumps(asdict(spec))]
        done = subprocess.run(
            [*command, "--", sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            pass_fds=[theirs.fileno()],
        )
    assert done.returncode != 0
    assert not (place.box / "ran").exists()


NO_LANDLOCK = ("444=38", "445=38", "446=38")
NO_NAMESPACES = ("unshare",)
NO_MOUNTS = ("mount", "move_mount", "pivot_root")
NO_FILTER = ("seccomp=38", "prctl=22")


@needs_everything
@pytest.mark.parametrize(
    ("without", "given"),
    [
        (NO_LANDLOCK, {"landlock": 0, "files": True, "network": True, "processes": True}),
        (NO_NAMESPACES, {"files": False, "network": False, "processes": False}),
        (NO_MOUNTS, {"files": False, "network": True, "processes": False}),
        ((*NO_LANDLOCK, *NO_NAMESPACES), {"landlock": 0, "files": False, "network": False}),
    ],
    ids=["no Landlock", "no namespaces", "no mounts", "neither"],
)
def test_what_a_lesser_kernel_gives_is_found_said_and_holds(
    place: Place, without: tuple[str, ...], given: dict[str, object]
) -> None:
    """What is not called open is shut; what is called open is not claimed to be shut."""
    place.without = without
    layers = place.layers()
    assert {name: getattr(layers, name) for name in given} == given
    assert place.said("print('ran')", layers) == "ran"
    secret = str(place.beside / "secret")
    files_open = any("all files" in text for text in layers.open)
    said = place.said(attempt(f"open({secret!r}).read()"), layers)
    assert (said == "DONE") == files_open
    network_and_processes_are_as_said(place, layers)


def network_and_processes_are_as_said(place: Place, layers: Layers) -> None:
    """A port and a process are reached exactly where the layers say so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        said = place.said(attempt(f"socket.create_connection(('127.0.0.1', {port}), 3)"), layers)
    assert (said == "DONE") == any("the network is open" in text for text in layers.open)
    process = subprocess.Popen([*as_user(place.user), "sleep", "600"])
    try:
        said = place.said(attempt(f"os.kill({process.pid}, 9)"), layers)
        assert (said == "DONE") == any("seen and ended" in text for text in layers.open)
    finally:
        process.kill()
        process.wait()


@needs_everything
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6])
def test_older_landlock_alone_shuts_what_it_is_said_to_shut(place: Place, version: int) -> None:
    """With the rules of an older version, as an older kernel knows them."""
    layers = replace(WITHOUT_NAMESPACES, landlock=version, missing=())
    secret, other = str(place.beside / "secret"), place.beside / "other"
    other.write_text("whole")
    os.chown(other, place.user, place.user)
    assert place.said(attempt(f"open({secret!r}).read()"), layers) == "PermissionError"
    assert place.said(attempt(f"open({secret!r}, 'r+')"), layers) == "PermissionError"
    said = place.said(attempt(f"os.truncate({str(other)!r}, 0)"), layers)
    assert (said == "DONE") == any("truncated" in text for text in layers.open)
    network_and_processes_are_as_said(place, layers)


@needs_everything
def test_more_ways_out_that_lead_nowhere(place: Place) -> None:
    """Descriptors, foreign memory, rings, keys, programs from memory, namespaces of clone3."""
    call = "assert ctypes.CDLL(None, use_errno=True).syscall"
    for harm in (
        "os.write(3, b'x')",
        "assert len(os.listdir('/proc/self/fd')) > 4",
        f"os.listdir('/proc/{os.getpid()}/root')",
        "open('/proc/1/mem', 'r+b').write(b'x')",
        "open('/proc/sys/kernel/core_pattern', 'w')",
        "open('/proc/self/uid_map', 'w').write('0 0 1')",
        "open('/sys/kernel/uevent_helper', 'w')",
        "socket.socket(socket.AF_UNIX)",
        "socket.socket(40, socket.SOCK_STREAM)",
        f"{call}(425, 8, ctypes.create_string_buffer(120)) >= 0",
        f"{call}(323, 0) >= 0",
        f"{call}(248, b'user', b'x', b'y', 1, -2) >= 0",
        f"{call}(435, ctypes.create_string_buffer(bytes.fromhex('0000001000000000'), 88), 88) >= 0",
        f"{call}(310, 1, None, 0, None, 0, 0) >= 0",
        f"{call}(438, 3, 0, 0) >= 0",
        "subprocess.run(['su', '-c', 'id'], check=True) if os.geteuid() else os.setuid(65534)",
        "os.chown('/usr/bin/env', 0, 0)",
        "os.link('/usr/bin/env', 'env')",
        "open('/usr/lib/python3/dist-packages/x.pth', 'w')",
        "open('/etc/ld.so.preload', 'w')",
        "os.setpriority(os.PRIO_PROCESS, 0, -20)",
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    ):
        reached = place.said(attempt(harm)) in ("DONE", "")
        assert not reached, harm


@needs_everything
def test_stopping_or_filling_what_is_outside_is_not_possible(place: Place) -> None:
    """A stopped parent, a fork bomb and a huge file end with the command, or before."""
    assert place.said(attempt("os.kill(os.getppid(), signal.SIGSTOP)")) in (
        "DONE",
        "PermissionError",
    )
    huge = "os.truncate(os.open('huge', os.O_CREAT | os.O_RDWR), 5 << 30)"
    assert place.run(attempt(huge)).stdout.strip() != "DONE"
    bomb = (
        "import os, time\n"
        "for _ in range(300):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid(); time.sleep(3600); os._exit(0)\n"
        "print('DONE')\n"
    )
    assert place.said(bomb) == "DONE"


@pytest.mark.parametrize(
    ("layers", "phrase"),
    [
        (Layers(), "all files of this user can be read and written"),
        (Layers(landlock=2), "can be truncated"),
        (Layers(landlock=3), "the network is open"),
        (Layers(landlock=4), "UDP is open"),
        (Layers(landlock=6, network=True), "other processes of this user can be seen"),
        (Layers(landlock=3, network=True), "other processes of this user can be seen and ended"),
        (Layers(landlock=3, processes=True, network=True), "unix sockets"),
    ],
)
def test_what_stays_open_is_said(layers: Layers, phrase: str) -> None:
    assert any(phrase in text for text in layers.open)


def test_require_refuses_what_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    partial = Layers(landlock=2, missing=("no network of its own (Operation not permitted)",))
    monkeypatch.setattr(confinement, "layers", lambda: partial)
    assert confinement.checked(EvaluationSection()) == partial
    with pytest.raises(UserError, match=r"evaluation\.sandbox is `require`.*network is open"):
        confinement.checked(EvaluationSection(sandbox="require"))
