"""What a command sees and reaches in the sandbox, as root and as another user, layer by layer."""

import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from escapes import REFUSED
from sandboxed import (
    NO_LANDLOCK,
    NO_MOUNTS,
    NO_NAMESPACES,
    SYSTEM_PYTHON,
    Place,
    admitted,
    as_user,
    attempt,
    done,
    ways_out,
)
from slurm_programs import SlurmPrograms

from privileges import may_make_namespaces, may_mount
from toolgain.common.errors import StageError, UserError
from toolgain.config.sections import EvaluationSection
from toolgain.evaluation import harness, sandbox, sandbox_setup
from toolgain.evaluation.sandbox import Layers, Spec

ROOT = Path(__file__).parents[2]
USERS = [0, 65534] if os.geteuid() == 0 else [os.geteuid()]
ALL = sandbox_setup.layers()
WITHOUT_NAMESPACES = replace(ALL, files=False, network=False, processes=False, user_namespace=False)

needs_everything = pytest.mark.skipif(bool(ALL.open), reason=f"this kernel: {ALL.missing}")


@pytest.fixture(params=USERS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip("no Python of the system")
    if request.param and not ALL.open and not may_make_namespaces(request.param):
        pytest.skip("this machine gives no namespaces to users without rights")
    folder = Path(tempfile.mkdtemp(prefix="toolgain-sandbox-"))
    yield Place(folder, request.param)
    shutil.rmtree(folder)


@needs_everything
def test_everything_is_there_for_every_user(place: Place) -> None:
    layers = place.layers()
    assert layers.open == []
    assert place.said("print('ran')", layers) == "ran"
    assert ways_out(place, layers) == set()


@pytest.mark.slow
@needs_everything
@pytest.mark.skipif(os.geteuid() != 0, reason="only root takes other groups")
def test_a_user_of_other_groups_gets_everything_and_leaves_them(place: Place) -> None:
    """Their number is not the user's, and one of them may read a file of others."""
    place.groups = (54400, 54401, 100)
    shared = place.beside / "shared"
    shared.write_text("for the group")
    os.chown(shared, 1, 54401)
    shared.chmod(0o640)
    layers = place.layers()
    assert layers.open == []
    assert ways_out(place, layers) == set()
    assert place.said(attempt(f"open({str(shared)!r}).read()"), layers) == "FileNotFoundError"
    assert place.said("import os; print(os.getgid())", layers) == "54400"


@needs_everything
def test_it_writes_into_its_folder_alone(place: Place) -> None:
    assert place.said(attempt("pathlib.Path('mine').write_text('x')")) == "DONE"
    assert (place.box / "mine").read_text() == "x"
    folders = ("/usr", "/etc", "/", str(place.beside))
    harms = [f"os.open({folder!r}, os.O_TMPFILE | os.O_WRONLY)" for folder in folders]
    harms += ["os.open('/etc/passwd', os.O_WRONLY)", f"open({str(place.beside / 'x')!r}, 'w')"]
    assert done(place, harms) == []


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
    harms = (
        f"open({secret!r}).read()",
        f"open({secret!r}, 'w')",
        f"os.truncate({secret!r}, 0)",
        f"os.unlink({secret!r})",
        f"os.rename({secret!r}, 'taken')",
        f"os.link({secret!r}, 'linked')",
        f"os.symlink({secret!r}, 'link'); open('link').read()",
        "open('/etc/shadow').read()",
        f"os.listdir({str(place.beside)!r})",
        "open('/proc/self/cwd/../beside/secret').read()",
        f"open('/proc/{os.getpid()}/root{secret}').read()",
        f"open('/proc/{os.getpid()}/cwd/Makefile').read()",
        f"open('/proc/{os.getpid()}/fd/0')",
        *(("open('/dev/shm/toolgain-left', 'w')",) if without_namespaces else ()),
    )
    assert done(place, harms, layers) == []
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
    with sleeping(place.user) as number:
        harms = (
            f"os.kill({number}, 9)",
            f"open('/proc/{number}/environ').read()",
            f"os.listdir('/proc/{number}/root/')",
        )
        assert done(place, harms, layers) == []


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
            f"socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', {str(path)!r})",
            "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', '\\0x')",
            f"socket.socketpair(type=socket.SOCK_RAW)[0].sendto(b'x', {str(path)!r})",
            "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
            "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
            "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
        ]
        assert done(place, harms) == []
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
    harms = (
        "assert ctypes.CDLL(None).unshare(0x10000000) == 0",
        "assert ctypes.CDLL(None).unshare(0x00020000) == 0",
        "assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0",
        "assert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0",
        "assert ctypes.CDLL(None).chroot(b'/tmp') == 0",
        "os.mknod('disk', 0o60600, os.makedev(8, 0))",
        "subprocess.run(['/tmp/x'])",
    )
    assert done(place, harms) == []


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
    # 1, not 0: a program that core_pattern names gets a dump in spite of 0.
    assert said.split() == [str(sandbox.ADDRESS_SPACE), str(sandbox.FILE_SIZE), "1"]
    crash = "import os, signal; os.fork() or os.kill(os.getpid(), signal.SIGSEGV); os.wait()"
    assert place.run(crash).returncode == 0
    assert not list(place.box.glob("*core*"))


@needs_everything
def test_number_of_processes_is_limited_for_every_user(place: Place) -> None:
    code = (
        "import os, resource\n"
        "print(min(int(open('/proc/sys/kernel/pid_max').read()), "
        "resource.getrlimit(resource.RLIMIT_NPROC)[0] if os.getuid() else 1 << 30))"
    )
    most = int(place.said(code))
    release = [int(part) for part in re.findall(r"\d+", os.uname().release)[:2]]
    if (place.user and release >= [5, 14]) or release >= [6, 14]:
        assert sandbox.PROCESSES <= most < sandbox.PROCESSES + 32768
    assert Path("/proc/sys/kernel/pid_max").read_text().strip() != str(sandbox.PROCESSES)


@needs_everything
def test_no_descriptor_is_inherited_but_the_standard_ones(place: Place) -> None:
    """Above all no unix socket, through which others could be sent in or out."""
    code = (
        "import os\n"
        "def kind(n):\n"
        "    try: return oct(os.fstat(n).st_mode)[:-3]\n"
        "    except OSError: return None\n"
        "print([(n, kind(n)) for n in range(5000) if kind(n)])"
    )
    assert place.said(code) == "[(0, '0o20'), (1, '0o10'), (2, '0o10')]"


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


@pytest.mark.slow
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
    place.without = without
    layers = place.layers()
    assert {name: getattr(layers, name) for name in given} == given
    everything_is_as_said(place, layers)


LIKENESSES = {
    "root without CAP_SYS_ADMIN": (
        ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"),
        {"files": True, "network": True, "processes": True, "system_calls": True},
    ),
    "root of a user namespace": (
        ("unshare", "--user", "--map-root-user"),
        {"files": True, "network": True, "processes": True, "system_calls": True},
    ),
    "a changed root": (
        ("unshare", "--mount", "sh", "-c", 'mount --rbind / "$0" && exec chroot "$0" "$@"', "ROOT"),
        {"files": True, "network": True, "processes": True, "system_calls": True},
    ),
    "no libseccomp": (
        (
            *("unshare", "--mount", "sh", "-c"),
            "for lib in /usr/lib/*/libseccomp.so.2* /usr/lib64/libseccomp.so.2*; do "
            'test ! -f "$lib" || mount --bind /dev/null "$lib"; done && exec "$@"',
            "sh",
        ),
        {"files": True, "network": True, "processes": True, "system_calls": False},
    ),
}
"""Places that are like a container in one respect, with what they give."""


@needs_everything
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes these places")
@pytest.mark.skipif(not may_mount(), reason="a root that may not mount, as in most containers")
@pytest.mark.parametrize("likeness", LIKENESSES)
def test_in_a_container_that_lacks_something_the_rest_holds(
    place: Place, likeness: str, tmp_path: Path
) -> None:
    around, given = LIKENESSES[likeness]
    if place.user and "user namespace" in likeness:
        # Another user makes it himself.
        place.around, place.user = (*as_user(place.user), *around), 0
    else:
        place.around = tuple(str(tmp_path) if word == "ROOT" else word for word in around)
    if place.user and likeness == "a changed root":
        # Who is not root may make no user namespace there.
        given = {"files": False, "system_calls": True}
    layers = place.layers()
    assert {name: getattr(layers, name) for name in given} == given
    everything_is_as_said(place, layers)


def everything_is_as_said(place: Place, layers: Layers) -> None:
    """What is not called open is shut; what is called open is not claimed to be shut."""
    secret, other = str(place.beside / "secret"), place.beside / "other"
    other.write_text("whole")
    os.chown(other, place.user, place.user)

    def is_open(phrase: str) -> bool:
        return any(phrase in text for text in layers.open)

    files = is_open("all files")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        unix_sockets(place) as ways_to_sockets,
        sleeping(place.user) as number,
    ):
        port = listener.getsockname()[1]
        ways = {
            f"open({secret!r}).read()": files,
            f"open({secret!r}, 'r+')": files,
            f"os.truncate({str(other)!r}, 0)": files or is_open("truncated"),
            # The kernel's own settings are files of root's, for which no capability is needed.
            "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)": files and place.user == 0,
            f"socket.create_connection(('127.0.0.1', {port}), 3)": is_open("the network is open"),
            f"os.kill({number}, 9)": is_open("seen and ended"),
        }
        worked = done(place, [*ways, *ways_to_sockets], layers)
    assert {way: way in worked for way in ways} == ways
    assert is_open("unix sockets") or not set(worked) & set(ways_to_sockets)
    assert ways_out(place, layers) <= admitted(layers)


@contextmanager
def unix_sockets(place: Place) -> Iterator[list[str]]:
    """One of each kind outside, with code that reaches it: a pair of datagram sockets can send to
    a third by its name."""
    stream, datagrams = str(place.beside / "stream"), str(place.beside / "datagrams")
    with (
        socket.socket(socket.AF_UNIX) as one,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
    ):
        for listener, path in ((one, stream), (other, datagrams)):
            listener.bind(path)
            os.chmod(path, 0o777)  # noqa: PTH101
        one.listen()
        yield [
            f"socket.socket(socket.AF_UNIX).connect({stream!r})",
            f"socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', {datagrams!r})",
        ]


@contextmanager
def sleeping(user: int) -> Iterator[int]:
    """A process of the user's."""
    process = subprocess.Popen([*as_user(user), "sleep", "600"])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


LOW_NUMBERS = """
import json, os, sys
from pathlib import Path
from escapes import REFUSED, RUN, outside, values_of
from sandboxed import Place

many = "import os, time\\nfor _ in range(100):\\n    os.fork() or time.sleep(600)\\n"
with outside(int(sys.argv[2])) as made:
    taken = {"there is one": "os.kill(victim, 0), os.kill(pytest, 0)"}
    values = values_of(made, os.getpid(), REFUSED | taken)
    place = Place(Path(sys.argv[1]), int(sys.argv[2]))
    said = place.run(f"{many}globals().update({values!r})\\n{RUN}\\nprint(done)")
print([line for line in said.stdout.splitlines() if line.startswith('{')][0])
"""


@needs_everything
@pytest.mark.skipif(os.geteuid() != 0, reason="only root begins to count processes anew")
@pytest.mark.skipif(not may_mount(), reason="a root that may not mount, as in most containers")
def test_process_inside_with_the_number_of_one_outside_is_no_way_out(place: Place) -> None:
    """As in a container or on a node where numbers are low: those inside begin at 1 too."""
    folder = place.box / "low"
    folder.mkdir()
    done = subprocess.run(
        [
            *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, "-c", LOW_NUMBERS, folder, str(place.user)),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    found: dict[str, str] = json.loads(done.stdout)
    assert found.pop("there is one").startswith("done"), "the numbers differ"
    assert {way for way in found if found[way].startswith("done")} == set()


@needs_everything
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6])
def test_older_landlock_alone_shuts_what_it_is_said_to_shut(place: Place, version: int) -> None:
    """With the rules of an older version, as an older kernel knows them."""
    if ALL.landlock < version:
        pytest.skip(f"this kernel has Landlock {ALL.landlock}")
    layers = replace(WITHOUT_NAMESPACES, landlock=version, missing=())
    everything_is_as_said(place, layers)


@needs_everything
def test_more_ways_out_that_lead_nowhere(place: Place) -> None:
    """Descriptors, foreign memory, rings, keys, programs from memory, namespaces of clone3."""
    call = "assert ctypes.CDLL(None, use_errno=True).syscall"
    harms = (
        "os.write(3, b'x')",
        f"os.listdir('/proc/{os.getpid()}/root')",
        "os.open('/proc/1/mem', os.O_RDWR)",
        "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)",
        "open('/proc/self/uid_map', 'w').write('0 0 1')",
        "os.open('/sys/kernel/uevent_helper', os.O_WRONLY)",
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
        "os.open('/usr/lib/python3', os.O_TMPFILE | os.O_WRONLY)",
        "os.open('/etc', os.O_TMPFILE | os.O_WRONLY)",
        "os.setpriority(os.PRIO_PROCESS, 0, -20)",
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    )
    assert done(place, harms) == []


def test_no_way_out_that_is_tried_changes_a_file_that_the_test_did_not_make() -> None:
    """On no kernel, whatever it leaves open: a machine's own file is opened, never created, emptied
    or written."""
    paths = r"'/(?!proc/self/|dev/tty)|sys\.prefix"
    changing = rf"\bopen\((?:{paths})[^)]*, '[^r]|O_(?:CREAT|TRUNC)[^)]*\((?:{paths})"
    ways = {name: code for name, code in REFUSED.items() if re.search(changing, code)}
    assert ways == {}
    # Those of this file, in its own text.
    harms = re.findall(r'^\s+"(.*)",?$', Path(__file__).read_text(), re.M)
    assert [code for code in harms if re.search(changing, code)] == []


@needs_everything
def test_stopping_or_filling_what_is_outside_is_not_possible(place: Place) -> None:
    """A stopped parent, a fork bomb and a huge file end with the command, or before."""
    assert place.said(attempt("os.kill(os.getppid(), signal.SIGSTOP)")) in (
        "DONE",
        "PermissionError",
    )
    huge = "os.truncate(os.open('huge', os.O_CREAT | os.O_RDWR), 5 << 30)"
    assert place.run(attempt(huge)).stdout.strip() != "DONE"


@needs_everything
def test_fork_bomb_ends_at_the_limit_and_with_the_command(place: Place) -> None:
    """With a small limit in place of the real one; before the kernels named in `limit` and
    `limit_numbers` there is none."""
    release = [int(part) for part in re.findall(r"\d+", os.uname().release)[:2]]
    if release < ([5, 14] if place.user else [6, 14]):
        pytest.skip("this kernel does not count processes by namespace")
    text = place.program.read_text()
    place.program.write_text(text.replace(f"PROCESSES = {sandbox.PROCESSES}", "PROCESSES = 400"))
    # Not by pathlib, which fails where a process ends meanwhile.
    running = len(glob.glob("/proc/[0-9]*/task/[0-9]*"))  # noqa: PTH207
    bomb = (
        "import os, signal\n"
        "for number in range(100_000):\n"
        "    try:\n"
        "        if os.fork() == 0: os.setsid(); signal.pause()\n"
        "    except OSError as error:\n"
        "        print(number, error.strerror); break\n"
    )
    number, _, error = place.said(bomb).partition(" ")
    assert error == "Resource temporarily unavailable"
    assert 300 < int(number) <= 400 + (2 * running if place.user else 0)
    assert place.said("print('ran')") == "ran"


@pytest.mark.parametrize(
    ("layers", "phrase"),
    [
        (Layers(), "all files of this user can be read and written"),
        (Layers(landlock=2), "can be truncated"),
        (Layers(landlock=3), "the network is open"),
        (Layers(landlock=7), "the network is open"),
        (Layers(landlock=4, system_calls=True), "UDP is open"),
        (Layers(landlock=7), "modes of this user's files can be changed"),
        (Layers(landlock=6, network=True), "other processes of this user can be seen"),
        (Layers(landlock=3, network=True), "other processes of this user can be seen and ended"),
        (Layers(landlock=3, processes=True, network=True), "unix sockets"),
    ],
)
def test_what_stays_open_is_said(layers: Layers, phrase: str) -> None:
    assert any(phrase in text for text in layers.open)


def test_require_refuses_what_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    partial = Layers(landlock=2, missing=("no network of its own (Operation not permitted)",))
    monkeypatch.setattr(sandbox_setup, "layers", lambda: partial)
    assert sandbox_setup.checked_layers(EvaluationSection()) == partial
    with pytest.raises(UserError, match=r"evaluation\.sandbox is `require`.*network is open"):
        sandbox_setup.checked_layers(EvaluationSection(sandbox="require"))


# -- in the harness's container


SRUN = 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"'
"""srun as it is, but that there is no container: its image is this machine."""
IMAGE = "/images/bfcl.sqsh"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmPrograms]:
    """A job on a machine where srun starts a container that looks like the machine."""
    programs = SlurmPrograms(tmp_path / "slurm", monkeypatch)
    programs.does("srun", SRUN)
    monkeypatch.setenv("PATH", f"{programs.folder}:{ROOT / '.venvs/bfcl/bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    sandbox_setup.image.cache_clear()
    yield programs
    sandbox_setup.image.cache_clear()


@needs_everything
def test_the_kernel_is_tried_in_the_harness_s_container(slurm: SlurmPrograms) -> None:
    found = sandbox_setup.checked_layers(EvaluationSection(harness_container=IMAGE))
    assert found == replace(ALL, image=True)
    image = sandbox_setup.image(IMAGE)
    assert not {"/usr", "/etc", "/proc", "/tmp"} & set(image.folders)
    (answers,) = image.answers
    assert Path(answers, "possible_answer").is_dir()


def test_the_harness_s_container_sees_its_box_and_its_input_alone(
    slurm: SlurmPrograms, tmp_path: Path
) -> None:
    """Keys, requests and answers lie beside them, out of its sight; what is read is not written."""
    folders = harness.HarnessFolders(tmp_path / "work")
    folders.box.mkdir(parents=True)
    folders.data.mkdir()
    folders.run_config.touch()
    seen = [folders.data, folders.run_config]
    words = harness.harness_in_container(IMAGE, ["nemo-evaluator", "run_eval"], folders, seen)
    assert f"--container-image={IMAGE}" in words
    mounts = next(word for word in words if word.startswith("--container-mounts=")).split("=")[1]
    read_only = (*seen, Path(sandbox.__file__))
    expected = {f"{path}:{path}:ro" for path in read_only} | {f"{folders.box}:{folders.box}"}
    assert set(mounts.split(",")) == expected
    assert words[-2:] == ["nemo-evaluator", "run_eval"]


def test_a_container_without_the_harness_is_named_with_what_it_said(slurm: SlurmPrograms) -> None:
    slurm.fails("srun", "slurmstepd: error: pyxis: no such image")
    with pytest.raises(StageError, match=r"harness_container.*bfcl\.sqsh.*no such image"):
        sandbox_setup.checked_layers(EvaluationSection(harness_container=IMAGE))


def test_a_container_needs_a_slurm_job(
    slurm: SlurmPrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(UserError, match="needs a Slurm job"):
        sandbox_setup.checked_layers(EvaluationSection(harness_container=IMAGE))


@pytest.mark.parametrize(
    ("layers", "phrases"),
    [
        (Layers(image=True, files=True, network=True, processes=True, system_calls=True), []),
        (Layers(image=True, landlock=7, system_calls=True), ["UDP is open", "can be seen"]),
        (Layers(image=True), ["expected answers", "network", "seen and ended", "unix sockets"]),
    ],
)
def test_files_of_the_user_are_not_in_an_image(layers: Layers, phrases: list[str]) -> None:
    assert len(layers.open) == len(phrases)
    for phrase, text in zip(phrases, layers.open, strict=True):
        assert phrase in text


ECHO = """
import socket
with socket.create_connection(('127.0.0.1', {port}), 5) as one:
    one.sendall(b'asked ' * 10000)
    one.shutdown(socket.SHUT_WR)
    print(len(b''.join(iter(lambda: one.recv(65536), b''))))
try:
    socket.create_connection(('127.0.0.1', {other}), 5)
except OSError as error:
    print(type(error).__name__)
"""


@needs_everything
def test_connections_to_the_gateway_alone_are_handed_on_out_of_a_container(place: Place) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as gateway,
        socket.create_server(("127.0.0.1", 0)) as other,
        ThreadPoolExecutor() as pool,
    ):

        def answer() -> None:
            with gateway.accept()[0] as one:
                asked = b"".join(iter(lambda: one.recv(65536), b""))
                one.sendall(asked * 2)

        answering = pool.submit(answer)
        port = gateway.getsockname()[1]
        code = ECHO.format(port=port, other=other.getsockname()[1])
        said = place.said(code, replace(place.layers(), image=True), port, relay=True)
        assert said.split() == ["120000", "PermissionError"]
        answering.result(5)


STAYING = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    os.closerange(0, 99)
    for number in range(1, 32):
        if number not in (9, 19): signal.signal(number, signal.SIG_IGN)
    while True:
        os.fork() or os._exit(0)
        open('beat', 'a').write('x')
        time.sleep(0.01)
while not os.path.exists('beat'): time.sleep(0.01)
"""


@needs_everything
@pytest.mark.parametrize("end", ["command", signal.SIGTERM, signal.SIGKILL])
def test_without_a_process_namespace_all_processes_end_too(
    place: Place, end: str | signal.Signals
) -> None:
    """With the command, with its starter, and when the starter is gone by kill -9."""
    layers, beat = replace(WITHOUT_NAMESPACES, missing=()), place.box / "beat"
    if end == "command":
        assert place.run(STAYING, layers).returncode == 0
    else:
        assert isinstance(end, signal.Signals)
        with place.started(f"{STAYING}\ntime.sleep(600)", layers) as process:
            until(lambda: beat.exists() and beat.stat().st_size > 10)
            process.send_signal(end)
            process.wait(60)
    until(lambda: not processes_in(place.box))
    size = beat.stat().st_size
    subprocess.run(["sleep", "0.3"], check=True)
    assert beat.stat().st_size == size


def processes_in(folder: Path) -> list[psutil.Process]:
    """Those that work in a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += [process] if process.cwd() == str(folder) else []
    return found


def until(condition: Callable[[], bool]) -> None:
    """Wait for it, for a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
