"""Run a command that evaluates what a model wrote, where it sees and reaches nothing else.

    python -P -I sandbox.py --probe [--image]
    python -P -I sandbox.py --spec JSON -- COMMAND [ARGUMENT ...]

The harness hands the model's calls to Python's `eval`, so they may do what the process may. Here
that is what the harness needs, and no more:

- files: a file system of its own (mount_namespaces(7), pivot_root(2)) that holds the harness's
  programs and data, read-only, one writable folder, and a private /tmp, /run, /dev and HOME. The
  same rules once more by Landlock (landlock(7)), which also works where namespaces are refused.
- network: a network of its own with an empty loopback. One listening socket on it is handed to
  the process outside that asks the model server.
- processes: a numbering of its own (pid_namespaces(7)), whose end is the end of everything in it;
  where that is refused, a process that orphans fall to ends them.
- rights: no capability, no_new_privs, no new namespace, no socket but TCP and UDP (seccomp),
  limits of memory, file size, open files and processes.

Each layer is tried in a throw-away child first (`--probe`). What is asked for and then fails ends
the run: the command is never started with less than the probe promised. Standard library only,
since it also runs outside of the package's environment, and in a container's image.
"""

import argparse
import contextlib
import ctypes
import fcntl
import glob
import importlib.util
import json
import os
import re
import resource
import select
import signal
import socket
import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NoReturn

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_NEWCGROUP = 0x02000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 1, 24, 36
PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 28, 38, 47, 4
SECBITS_NO_ROOT_FOR_EVER = 0x2F
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8

# System calls and rights of <linux/landlock.h>; the numbers are the same on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE = 1 << 13, 1 << 14
MAKE_AND_REMOVE = sum(1 << bit for bit in range(4, 13))
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1 << 0, 1 << 1
RULE_PATH_BENEATH, RULE_NET_PORT = 1, 2

SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/protocols",
    "/etc/services",
)
"""What programs of the system need; the rest of /etc is not seen."""
DEVICES = ("null", "zero", "full", "random", "urandom")
PRIVATE = ("/tmp", "/run", "/dev/shm", "/dev/ptmx", "/dev/pts")
"""What may be written besides in a file system of its own; else they are the machine's."""
MADE_UP = {
    "/etc/passwd": "user:x:{uid}:{gid}::/tmp:/bin/sh\n",
    "/etc/group": "user:x:{gid}:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "/etc/hosts": "127.0.0.1 localhost\n",
}
FORBIDDEN = """
    acct add_key bpf chroot delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick
    init_module inotify_add_watch io_uring_enter io_uring_register io_uring_setup kcmp
    kexec_file_load kexec_load keyctl lookup_dcookie migrate_pages mount mount_setattr move_mount
    move_pages mq_open msgget name_to_handle_at nfsservctl open_by_handle_at open_tree
    perf_event_open personality pidfd_getfd pivot_root process_madvise process_mrelease
    process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot request_key semget
    setdomainname sethostname setns settimeofday shmget swapoff swapon syslog umount2 unshare
    userfaultfd vhangup
"""
"""System calls that nothing here needs, with which kernels have been taken over, whose memory and
queues outlive the process, or that tell what happens in folders that cannot be read."""
OF_A_PROCESS = """
    prlimit64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
"""
"""System calls whose first argument is a process, for 0 the caller: others of the same user could
be ended by a limit, or slowed."""
NAMESPACE_FLAGS = (
    CLONE_NEWNS,
    CLONE_NEWCGROUP,
    CLONE_NEWUTS,
    CLONE_NEWIPC,
    CLONE_NEWUSER,
    CLONE_NEWPID,
    CLONE_NEWNET,
)
GIB = 1 << 30
TMP_SIZE = "1g"
ADDRESS_SPACE = 16 * GIB
FILE_SIZE = 4 * GIB
OPEN_FILES = 4096
PROCESSES = 4096
LOG_SIZE = 256 << 20
CONNECTIONS = 256
"""Connections that are handed on at a time."""
NOT_OF_AN_IMAGE = {
    "boot",
    "dev",
    "etc",
    "old",
    "proc",
    "run",
    "sys",
    "tmp",
    *(path.split("/")[1] for path in SYSTEM if path.count("/") == 1),
}
"""What of an image's root is shown otherwise, or not at all."""

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Layers:
    """What this kernel gives; for what it does not, `missing` says why."""

    files: bool = False
    network: bool = False
    processes: bool = False
    landlock: int = 0
    """Landlock's ABI version; 0: none."""
    system_calls: bool = False
    user_namespace: bool = False
    """Namespaces need a user namespace around them: the caller is not root, or a limited one."""
    image: bool = False
    """The file system around is a container's, which holds none of the user's files."""
    missing: tuple[str, ...] = ()

    @property
    def open(self) -> list[str]:
        """What stays open, one phrase each; empty when everything is shut by at least one layer."""
        left = []
        if self.image and not self.files and not self.landlock:
            left.append("the expected answers in the harness's image can be read")
        if not self.files and not self.image and self.landlock < 3:
            left.append(
                "all files of this user can be read and written"
                if not self.landlock
                else "files outside of the work folder can be truncated"
            )
        if not self.files and not self.image and self.landlock:
            left.append("modes of this user's files can be changed, and their existence is seen")
            if not self.system_calls:
                left.append("changes in this user's folders are watched")
        if not self.network:
            # Landlock knows plain TCP alone, and not a connection that the first data open.
            shut = self.landlock >= 4 and self.system_calls
            left.append("UDP is open, and TCP to one port" if shut else "the network is open")
        if not self.processes:
            left.append(
                "other processes of this user can be seen"
                if self.landlock >= 6 and self.system_calls
                else "other processes of this user can be seen and ended"
            )
        if not self.files and not self.system_calls:
            left.append("unix sockets of this user can be reached")
        return left


@dataclass(frozen=True)
class Spec:
    """What a command is to see."""

    read: list[str]
    """Files and folders that it may read and execute."""
    write: list[str]
    """Folders that it may read and write."""
    folder: str
    """Where it starts."""
    layers: dict[str, object]
    port: int = 0
    """Port of the one listening socket on its loopback, or of the machine's where the network is
    shared."""
    control: int = -1
    """Descriptor of the socket that the listener is sent through."""
    links: dict[str, str] = field(default_factory=dict)
    """Symbolic links to show, with where they lead."""
    hide: list[str] = field(default_factory=list)
    """Folders below those of `read` that stay unseen."""
    home: str = ""
    """HOME of the command, where the caller's environment does not come in as it is."""
    relay: bool = False
    """Connections to `port` are handed on to that port of the loopback outside: in a container,
    where no descriptor comes in."""


def probe_or_run() -> int:
    """Probe, or confine and run; returns the command's exit status."""
    parser = argparse.ArgumentParser(prog="sandbox")
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--image", action="store_true")
    parser.add_argument("--spec")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    if options.probe and options.image:
        image = {"folders": image_folders(), "answers": installed_answers()}
        print(json.dumps({"layers": asdict(replace(probe(), image=True)), **image}))
        return 0
    if options.probe:
        print(json.dumps(asdict(probe())))
        return 0
    return run_inside(Spec(**json.loads(options.spec)), options.command)


# --- what this kernel gives ---------------------------------------------------------------------


def probe() -> Layers:
    """Try each layer in a throw-away child."""
    missing: list[str] = []
    user = os.geteuid() != 0 or _fails(lambda: unshare(CLONE_NEWNS, False)) is not None
    tries: dict[str, tuple[str, Callable[[], object]]] = {
        "processes": ("no process namespace", lambda: _try_processes(user)),
        "files": ("no file system of its own", lambda: _try_files(user)),
        "network": ("no network of its own", lambda: _try_network(user)),
    }
    given = {}
    for name, (what, attempt) in tries.items():
        reason = _fails(attempt)
        given[name] = reason is None
        if reason is not None:
            missing.append(f"{what} ({reason})")
    # Each alone may work and all together not.
    if any(given.values()) and (reason := _fails(lambda: _try_together(user, given))):
        missing.append(f"no namespaces together ({reason})")
        given = dict.fromkeys(given, False)
    version = max(0, int(libc.syscall(CREATE_RULESET, None, 0, 1)))
    rules = Landlock(version, [], [], 0)
    if version and (reason := _fails(rules.apply)):
        missing.append(f"no Landlock ({reason})")
        version = 0
    elif not version:
        missing.append("no Landlock in this kernel")
    elif version < 6:
        lost = "truncation" if version < 3 else "TCP" if version < 4 else "signals"
        missing.append(f"Landlock {version} without {lost} and later parts")
    reason = _fails(forbid_system_calls)
    if reason is not None:
        missing.append(f"no filter of system calls ({reason})")
    return Layers(
        files=given["files"],
        network=given["network"],
        processes=given["processes"],
        landlock=version,
        system_calls=reason is None,
        user_namespace=user and any(given.values()),
        missing=tuple(missing),
    )


def _fails(attempt: Callable[[], object]) -> str | None:
    """None when `attempt` works in a child that is thrown away; else why it does not."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            attempt()
        except BaseException as error:
            os.write(write, f" {getattr(error, 'strerror', None) or error}"[:200].encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as said:
        text = said.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if status:
        return f"the attempt was ended by {os.waitstatus_to_exitcode(status)}"
    return text.strip() or None if text else None


def _try_processes(user: bool) -> None:
    unshare(CLONE_NEWNS | CLONE_NEWPID, user)
    _in_child(lambda: mount_proc("/proc"))


def _try_files(user: bool) -> None:
    unshare(CLONE_NEWNS, user)
    own_root(Spec(read=["/usr"], write=[], folder="/", layers={}), own_proc=False)


def _try_network(user: bool) -> None:
    unshare(CLONE_NEWNET, user)
    raise_loopback()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def _try_together(user: bool, given: dict[str, bool]) -> None:
    kinds = kinds_of(given["files"], given["network"], given["processes"])
    unshare(kinds, user)
    if given["network"]:
        raise_loopback()
    spec = Spec(read=["/usr"], write=[], folder="/", layers={})

    def inside() -> None:
        if given["files"]:
            own_root(spec, own_proc=given["processes"])
        elif given["processes"]:
            mount_proc("/proc")

    _in_child(inside)


def _in_child(attempt: Callable[[], object]) -> None:
    reason = _fails(attempt)
    if reason is not None:
        raise OSError(reason)


def image_folders() -> list[str]:
    """What an image holds at its root besides what every sandbox sees or makes."""
    return sorted(str(path) for path in Path("/").iterdir() if path.name not in NOT_OF_AN_IMAGE)


def installed_answers() -> list[str]:
    """Where the harness's data with the expected answers are installed; empty: not found."""
    found = importlib.util.find_spec("bfcl")
    folders = (found.submodule_search_locations or []) if found else []
    data = [os.path.realpath(os.path.join(folder, "data")) for folder in folders]  # noqa: PTH118
    return [folder for folder in data if Path(folder).is_dir()]


# --- running ------------------------------------------------------------------------------------


def run_inside(spec: Spec, command: list[str]) -> int:
    """Run `command` inside; its output comes out through a pipe and goes to standard output."""
    layers = Layers(**{**spec.layers, "missing": ()})  # type: ignore[arg-type]
    output, inside = os.pipe()
    alive, held = os.pipe()
    ours, theirs = socket.socketpair()
    handing_on = spec.relay and layers.network
    if handing_on:
        spec = replace(spec, control=theirs.fileno())
    child = os.fork()
    if child == 0:
        os.close(output)
        os.close(held)
        ours.close()
        if layers.processes:
            enter(spec, layers, command, inside, alive)
        guard(spec, layers, command, inside, alive)
    os.close(inside)
    os.close(alive)
    theirs.close()
    if spec.control >= 0 and not handing_on:
        os.close(spec.control)

    nothing = os.open(os.devnull, os.O_RDONLY)

    def end(number: int, frame: object) -> None:
        # Without a numbering of their own, the processes are ended by who sees this pipe close.
        if layers.processes:
            os.kill(child, signal.SIGKILL)
        else:
            os.dup2(nothing, held)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    copying = threading.Thread(target=copy_output, args=(output,), daemon=True)
    copying.start()
    if handing_on:
        threading.Thread(target=hand_on_all, args=(ours, spec.port), daemon=True).start()
    _, status = os.waitpid(child, 0)
    # A process that outlived the others may hold the pipe open; nobody waits for it.
    copying.join(1.0)
    return os.waitstatus_to_exitcode(status) % 256


def guard(spec: Spec, layers: Layers, command: list[str], output: int, alive: int) -> NoReturn:
    """In the first child, where no namespace ends the processes: be the one that orphans fall to,
    and end all when the command has ended or the process that was started is gone, even by kill -9.
    """
    # Whoever ends its group must not end this one.
    os.setsid()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    first = os.fork()
    if first == 0:
        enter(spec, layers, command, output, alive)
    os.close(output)
    if spec.control >= 0:
        os.close(spec.control)

    def wait_for_the_end() -> None:
        select.select([alive], [], [])
        end_descendants()
        os._exit(143)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    while True:
        ended, status = os.wait()
        if ended == first:
            end_descendants()
            os._exit(os.waitstatus_to_exitcode(status) % 256)


def end_descendants() -> None:
    """Kill until none is left; the children of who was killed become ours."""
    while found := own_children():
        for number in found:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(number, 0)


def own_children() -> list[int]:
    """The children of this process, also those that have ended."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                text = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace")
                if int(text.rpartition(")")[2].split()[1]) == os.getpid():
                    found.append(int(name))
    return found


def hand_on_all(channel: socket.socket, port: int) -> None:
    """Hand each connection to the listener that comes through `channel` on to `port` outside."""
    _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not descriptors:
        return
    places = threading.Semaphore(CONNECTIONS)

    def hand_on(inner: socket.socket) -> None:
        # Nobody but the sandbox is told why; its request fails.
        with (
            places,
            contextlib.suppress(OSError),
            inner,
            socket.create_connection(("127.0.0.1", port)) as outer,
        ):
            back = threading.Thread(target=copy_stream, args=(outer, inner), daemon=True)
            back.start()
            copy_stream(inner, outer)
            back.join()

    with socket.socket(fileno=descriptors[0]) as listener:
        while True:
            with places:
                inner, _ = listener.accept()
            threading.Thread(target=hand_on, args=(inner,), daemon=True).start()


def copy_stream(source: socket.socket, target: socket.socket) -> None:
    """Copy until `source` ends; then `target` has its end too."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def copy_output(output: int) -> None:
    """Copy what is said inside to standard output, up to a size."""
    left = LOG_SIZE
    while data := os.read(output, 65536):
        if left > 0:
            with contextlib.suppress(OSError):
                os.write(1, data[:left])
        left -= len(data)


def enter(spec: Spec, layers: Layers, command: list[str], output: int, alive: int) -> NoReturn:
    """In a child: leave the machine's namespaces, then fork what runs in the new ones."""
    try:
        kinds = kinds_of(layers.files, layers.network, layers.processes)
        if kinds:
            unshare(kinds, layers.user_namespace)
        follow_parent()
        if layers.network:
            raise_loopback()
        if layers.network and spec.control >= 0:
            listener = socket.create_server(("127.0.0.1", spec.port), backlog=512)
            with socket.socket(fileno=spec.control) as control:
                socket.send_fds(control, [b"."], [listener.fileno()])
            listener.close()
        elif spec.control >= 0:
            os.close(spec.control)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        first = os.fork()
        if first == 0:
            inside(spec, layers, command, alive)
        os.close(1)
        os.close(2)
        _, status = os.waitpid(first, 0)
        os._exit(os.waitstatus_to_exitcode(status) % 256)
    except BaseException as error:
        end_unstarted(error)


def inside(spec: Spec, layers: Layers, command: list[str], alive: int) -> NoReturn:
    """In the second child, process 1 where there is a process namespace: shut everything, start
    the command, and wait for it."""
    try:
        follow_parent()
        os.set_blocking(alive, False)
        with contextlib.suppress(BlockingIOError):
            if os.read(alive, 1) == b"":
                os._exit(1)
        limit()
        os.umask(0o077)
        if layers.files:
            own_root(spec, own_proc=layers.processes)
        elif layers.processes:
            mount_proc("/proc")
        # As in every interactive shell: a terminal of the caller must not be typed into.
        with contextlib.suppress(OSError):
            os.setsid()
        os.chdir(spec.folder)
        drop_capabilities()
        if layers.landlock:
            Landlock(
                layers.landlock,
                [*SYSTEM, *spec.read, *MADE_UP, "/proc", "/sys/devices/system/cpu"],
                [*spec.write, *(PRIVATE if layers.files else ())],
                spec.port,
                spec.hide,
            ).apply()
        if layers.system_calls:
            forbid_system_calls()
        os.closerange(3, 4096)
        child = os.fork()
        if child == 0:
            os.environ.update({"HOME": spec.home} if spec.home else {})
            os.execvp(command[0], command)
        while True:
            ended, status = os.wait()
            if ended == child:
                os._exit(os.waitstatus_to_exitcode(status) % 256)
    except BaseException as error:
        end_unstarted(error)


def end_unstarted(error: BaseException) -> NoReturn:
    """Say why nothing was started, and end."""
    with contextlib.suppress(OSError):
        os.write(2, f"sandbox: {error}\n".encode())
    os._exit(125)


def kinds_of(files: bool, network: bool, processes: bool) -> int:
    """The flags of unshare(2) for these layers."""
    kinds = CLONE_NEWNS if files or processes else 0
    kinds |= CLONE_NEWNET if network else 0
    kinds |= CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS if processes else 0
    return kinds


def unshare(kinds: int, user: bool) -> None:
    """Enter namespaces of this process's own, inside a user namespace where `user` says so.

    Raises:
        OSError: the kernel or the site does not allow it.
    """
    uid, gid = os.geteuid(), os.getegid()
    succeeded(libc.unshare(kinds | (CLONE_NEWUSER if user else 0)), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    if kinds & CLONE_NEWNS:
        succeeded(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")


def follow_parent() -> None:
    """End when the parent ends. A change of credentials forgets this, so it is asked for late."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def raise_loopback() -> None:
    """Switch the loopback of a new network namespace on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


# --- files --------------------------------------------------------------------------------------


def mount_proc(path: str) -> None:
    """Show the processes of this namespace alone, read-only: as root, one may write the kernel's
    settings (core_pattern) there without any capability."""
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    succeeded(libc.mount(b"proc", path.encode(), b"proc", flags, None), "mount /proc")
    limit_numbers(Path(path))
    attributes(path, MOUNT_ATTR_RDONLY, recursive=False)


def limit_numbers(proc: Path) -> None:
    """Limit the processes of a new namespace, which RLIMIT_NPROC does not do for root.

    The kernel counts by namespace since 6.14; before, the number is that of the whole machine.
    """
    version = [int(part) for part in re.findall(r"\d+", os.uname().release)[:2]]
    if version >= [6, 14] and os.geteuid() == 0:
        with contextlib.suppress(OSError):
            (proc / "sys/kernel/pid_max").write_text(str(PROCESSES))


def own_root(spec: Spec, own_proc: bool) -> None:
    """Put a file system in the place of the machine's that holds what `spec` names.

    Raises:
        OSError: the kernel does not allow it, or a folder does not exist.
    """
    # Mounted over /tmp for a moment; once it is the root, the machine's /tmp is there again.
    tmpfs("/tmp", "mode=755,size=16m")
    os.mkdir("/tmp/old")  # noqa: PTH102
    os.mkdir("/tmp/new")  # noqa: PTH102
    succeeded(libc.mount(b"/tmp/new", b"/tmp/new", None, MS_BIND, None), "bind")
    pivot("/tmp", "/tmp/old")
    for path in (*SYSTEM, *spec.read):
        show(path, writable=False)
    for path, text in MADE_UP.items():
        target = Path("/new" + path)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text.format(uid=os.geteuid(), gid=os.getegid()))
    for path, size in (("/tmp", TMP_SIZE), ("/run", "16m"), ("/dev", "1m"), ("/dev/shm", "256m")):
        if not any(Path(path).is_relative_to(one) for one in spec.write):
            mount_point(path)
            tmpfs("/new" + path, f"mode=755,size={size}", 0 if path == "/dev" else MS_NODEV)
    # What lies below /tmp, /run or /dev/shm is shown after these have become private.
    for path in spec.read:
        if any(Path(path).is_relative_to(one) for one in ("/tmp", "/run", "/dev")):
            show(path, writable=False)
    for path in spec.write:
        show(path, writable=True)
    for path in spec.hide:
        if Path("/new" + path).is_dir():
            tmpfs("/new" + path, "mode=755,size=4k", MS_RDONLY | MS_NODEV)
    for path, leads_to in spec.links.items():
        link = Path("/new" + path)
        if not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(leads_to)
    devices()
    os.makedirs("/new/proc", exist_ok=True)  # noqa: PTH103
    if own_proc:
        mount_proc("/new/proc")
    else:
        succeeded(
            libc.mount(b"/old/proc", b"/new/proc", None, MS_BIND | MS_REC, None), "bind /proc"
        )
        attributes("/new/proc", MOUNT_ATTR_RDONLY, recursive=True)
    cpus = "/sys/devices/system/cpu"
    if Path("/old" + cpus).is_dir():
        show(cpus, writable=False)
    os.makedirs("/new/old", exist_ok=True)  # noqa: PTH103
    os.chdir("/new")
    succeeded(libc.umount2(b"/old", MNT_DETACH), "umount")
    os.rmdir("/new/old")  # noqa: PTH106
    # The root over itself, so that nothing of the place where it was made is left.
    succeeded(libc.syscall(PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    succeeded(libc.umount2(b".", MNT_DETACH), "umount")
    os.chdir("/")
    attributes("/", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, recursive=False)


PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "ppc64le": 203, "riscv64": 41, "s390x": 217}


def pivot(root: str, old: str) -> None:
    """Make `root` the root, with the one before it at `old`."""
    number = PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(f"pivot_root is not known on {os.uname().machine}")
    succeeded(libc.syscall(number, root.encode(), old.encode()), "pivot_root")
    os.chdir("/")


def tmpfs(path: str, options: str, flags: int = MS_NODEV) -> None:
    """Mount an empty file system in memory."""
    succeeded(
        libc.mount(b"tmpfs", path.encode(), b"tmpfs", MS_NOSUID | flags, options.encode()),
        f"mount {path}",
    )


def mount_point(path: str, folder: bool = True) -> Path:
    """A place for a mount at `path` in the new root."""
    target = Path("/new" + path)
    if folder:
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    return target


def show(path: str, writable: bool) -> None:
    """Show a file or folder of the machine at its own path; a link is shown as a link, with what
    it leads to."""
    source, target = Path("/old" + path), Path("/new" + path)
    if source.is_symlink():
        if not (target.is_symlink() or target.exists()):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.readlink(source))  # noqa: PTH115
        return
    if not source.exists():
        if writable:
            raise OSError(f"{path} does not exist")
        return
    mount_point(path, folder=source.is_dir())
    succeeded(
        libc.mount(bytes(source), bytes(target), None, MS_BIND | MS_REC, None), f"bind {path}"
    )
    change = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
    change |= MOUNT_ATTR_NOEXEC if writable else MOUNT_ATTR_RDONLY
    attributes(str(target), change, recursive=True)


def attributes(path: str, change: int, recursive: bool) -> None:
    """Add attributes to a mount and, where the kernel can (5.12), to those below it."""
    words = struct.pack("QQQQ", change, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    if libc.syscall(MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, words, len(words)) == 0:
        return
    # Flags that the mount has already must be named again; the numbers of both calls differ.
    now = os.statvfs(path).f_flag
    kept = MS_BIND | MS_REMOUNT
    for attribute, known, flag in (
        (MOUNT_ATTR_RDONLY, os.ST_RDONLY, MS_RDONLY),
        (MOUNT_ATTR_NOSUID, os.ST_NOSUID, MS_NOSUID),
        (MOUNT_ATTR_NODEV, os.ST_NODEV, MS_NODEV),
        (MOUNT_ATTR_NOEXEC, os.ST_NOEXEC, MS_NOEXEC),
    ):
        kept |= flag if change & attribute or now & known else 0
    succeeded(libc.mount(b"none", path.encode(), None, kept, None), f"remount {path}")


def devices() -> None:
    """The harmless devices, and a set of terminals of its own."""
    for name in DEVICES:
        target = mount_point(f"/dev/{name}", folder=False)
        succeeded(
            libc.mount(f"/old/dev/{name}".encode(), bytes(target), None, MS_BIND, None),
            f"bind /dev/{name}",
        )
    mount_point("/dev/pts")
    options = b"newinstance,ptmxmode=0666,mode=0620"
    succeeded(
        libc.mount(b"devpts", b"/new/dev/pts", b"devpts", MS_NOSUID | MS_NOEXEC, options),
        "mount /dev/pts",
    )
    for name, leads_to in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        Path(f"/new/dev/{name}").symlink_to(leads_to)


@dataclass(frozen=True)
class Landlock:
    """Rules for files, and where the kernel knows them for TCP ports, signals and sockets."""

    version: int
    read: list[str]
    write: list[str]
    port: int
    """The one port that may be connected to."""
    hide: list[str] = field(default_factory=list)
    """Folders below those of `read` whose files may not be read."""

    def apply(self) -> None:
        """Restrict this process and its children for good.

        Raises:
            OSError: this kernel has no Landlock.
        """
        reading = EXECUTE | READ_FILE | READ_DIR
        writing = WRITE_FILE | MAKE_AND_REMOVE
        writing |= (REFER if self.version >= 2 else 0) | (TRUNCATE if self.version >= 3 else 0)
        network = BIND_TCP | CONNECT_TCP if self.version >= 4 else 0
        scope = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if self.version >= 6 else 0
        size = 24 if self.version >= 6 else 16 if self.version >= 4 else 8
        words = struct.pack("QQQ", reading | writing, network, scope)[:size]
        rules = succeeded(libc.syscall(CREATE_RULESET, words, len(words), 0), "Landlock")
        try:
            for path in self.read:
                # A rule holds for all that lies below, so that what is hidden is left out by rules
                # for everything beside it; the folders above it can still be listed.
                self._allow(rules, path, READ_DIR)
                for part in unhidden(os.path.realpath(path), self.hide):
                    self._allow(rules, part, reading)
            for path in self.write:
                self._allow(rules, path, reading & ~EXECUTE | writing)
            for name in DEVICES:
                self._allow(rules, f"/dev/{name}", READ_FILE | WRITE_FILE | writing & TRUNCATE)
            if network and self.port:
                rule = struct.pack("=QQ", CONNECT_TCP, self.port)
                succeeded(libc.syscall(ADD_RULE, rules, RULE_NET_PORT, rule, 0), "Landlock for TCP")
            succeeded(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
            succeeded(libc.syscall(RESTRICT_SELF, rules, 0), "Landlock")
        finally:
            os.close(rules)

    @staticmethod
    def _allow(rules: int, path: str, rights: int) -> None:
        """Add a rule that grants `rights` below `path`; a path that is not there needs none."""
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if not stat.S_ISDIR(os.fstat(handle).st_mode):
                rights &= EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE
            if not rights:
                return
            # struct landlock_path_beneath_attr is packed: 8 bytes of rights, 4 of the descriptor.
            rule = struct.pack("=Qi", rights, handle)
            succeeded(
                libc.syscall(ADD_RULE, rules, RULE_PATH_BENEATH, rule, 0), f"Landlock: {path}"
            )
        finally:
            os.close(handle)


def unhidden(path: str, hidden: list[str]) -> Iterator[str]:
    """`path` itself, or where hidden folders lie below it, everything in it that is not hidden.

    Links are left out: where they lead has a rule of its own, or is hidden.
    """
    if path in hidden:
        return
    if not any(one.startswith(path.rstrip("/") + "/") for one in hidden):
        yield path
        return
    with os.scandir(path) as found:
        for entry in found:
            if not entry.is_symlink():
                yield from unhidden(entry.path, hidden)


# --- rights -------------------------------------------------------------------------------------


def limit() -> None:
    """Limits of this process and its children; for root's number of processes see
    `limit_numbers`."""
    # Python 3.11's Path.glob raises where a process ends meanwhile.
    running = len(glob.glob("/proc/[0-9]*/task/[0-9]*"))  # noqa: PTH207
    for kind, most in (
        # Not 0: a program that core_pattern names would get the dump all the same (core(5)).
        (resource.RLIMIT_CORE, 1),
        (resource.RLIMIT_AS, ADDRESS_SPACE),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_MSGQUEUE, 0),
        # Before Linux 5.14 the limit counts all processes of the user.
        (resource.RLIMIT_NPROC, running + PROCESSES),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    # Where memory runs out, this goes first.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def drop_capabilities() -> None:
    """Give up every capability, also for programs that root starts, and the way to gain any."""
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    libc.prctl(PR_SET_SECUREBITS, SECBITS_NO_ROOT_FOR_EVER, 0, 0, 0)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    none = (ctypes.c_uint32 * 6)()
    succeeded(libc.capset(header, none), "capset")
    succeeded(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


class ArgumentComparison(ctypes.Structure):
    """struct scmp_arg_cmp of <seccomp.h>."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


NOT_EQUAL, EQUAL, AT_LEAST, MASKED_EQUAL = 1, 4, 5, 7
SOCK_TYPE_MASK, MSG_FASTOPEN = 0xF, 0x20000000
ALLOW, FAIL = 0x7FFF0000, 0x00050000
EPERM, ENOSYS = 1, 38


def forbid_system_calls() -> None:
    """Refuse system calls that nothing here needs, by libseccomp's filter.

    Raises:
        OSError: the library or the kernel's part is missing.
    """
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ALLOW)))
    if not context.value:
        raise OSError("seccomp_init failed")

    def forbid(name: str, error: int = EPERM, *when: ArgumentComparison) -> None:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            # Not a call of this architecture, or one that the library does not know.
            return
        each = (ArgumentComparison * max(1, len(when)))(*when)
        action = ctypes.c_uint32(FAIL | error)
        result = seccomp.seccomp_rule_add_array(context, action, number, len(when), each)
        if result < 0:
            raise OSError(-result, f"seccomp: {name}: {os.strerror(-result)}")

    for name in FORBIDDEN.split():
        forbid(name)
    for name in OF_A_PROCESS.split():
        forbid(name, EPERM, ArgumentComparison(0, NOT_EQUAL, 0, 0))
    # (kind, number, value); the kinds of one process are 0 and 1, the others are groups and users.
    for name, of_a_process in (("setpriority", 0), ("ioprio_set", 1)):
        forbid(name, EPERM, ArgumentComparison(0, NOT_EQUAL, of_a_process, 0))
        forbid(name, EPERM, ArgumentComparison(1, NOT_EQUAL, 0, 0))
    for flag in NAMESPACE_FLAGS:
        forbid("clone", EPERM, ArgumentComparison(0, MASKED_EQUAL, flag, flag))
    # Its flags lie in memory, where a filter cannot look; C libraries then use `clone`.
    forbid("clone3", ENOSYS)
    # Only IPv4 (2) and IPv6 (10): no unix sockets, no netlink, no packets, no virtual machines.
    for family in (1, 3, 4, 5, 6, 7, 8, 9):
        forbid("socket", EPERM, ArgumentComparison(0, EQUAL, family, 0))
    forbid("socket", EPERM, ArgumentComparison(0, AT_LEAST, 11, 0))
    # Of their protocols only TCP, UDP and the default. Landlock has no rule for multipath TCP and
    # others, nor for a connection that is opened by its first data (TCP Fast Open).
    for protocol in set(range(1, 18)) - {socket.IPPROTO_TCP, socket.IPPROTO_UDP}:
        forbid("socket", EPERM, ArgumentComparison(2, EQUAL, protocol, 0))
    forbid("socket", EPERM, ArgumentComparison(2, AT_LEAST, 18, 0))
    for name, flags in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        forbid(name, EPERM, ArgumentComparison(flags, MASKED_EQUAL, MSG_FASTOPEN, MSG_FASTOPEN))
    # A pair of datagram sockets can send to any unix socket by name; a pair of streams cannot.
    # Among unix sockets, a raw one is the same as a datagram.
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        forbid("socketpair", EPERM, ArgumentComparison(1, MASKED_EQUAL, SOCK_TYPE_MASK, kind))
    result = seccomp.seccomp_load(context)
    seccomp.seccomp_release(context)
    if result < 0:
        raise OSError(-result, f"seccomp: {os.strerror(-result)}")


def succeeded(result: int, what: str) -> int:
    """The result of a system call, or OSError with `what` failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


if __name__ == "__main__":
    sys.exit(probe_or_run())
