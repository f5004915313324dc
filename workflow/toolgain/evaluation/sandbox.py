"""Run a command that evaluates what a model wrote: no network but one server, one writable folder.

    python -m toolgain.evaluation.sandbox --write FOLDER [--reach PORT] -- COMMAND [ARGUMENT ...]

The harness hands the model's calls to Python's `eval`, so they may do what the process may. Here
that is little, where the kernel allows it:

- network: a namespace of its own (network_namespaces(7)), whose loopback has the one port
  `--reach`. Behind it this process, outside, passes bytes on to the same port of the machine's
  loopback. Without `--reach` the network stays as it is (a server on another machine).
- terminals: a set of its own, which is empty.
- files: Landlock (landlock(7)) lets it write, create and delete below the `--write` folders alone.
- processes: it can signal its own descendants alone (Landlock since Linux 6.12).

What the kernel refuses is said on standard error in a line and left out. Standard library only.
"""

import argparse
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import threading
import urllib.parse
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1

# System calls and rights of <linux/landlock.h>; the numbers are the same on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
WRITE_FILE, REFER, TRUNCATE = 1 << 1, 1 << 13, 1 << 14
MAKE_AND_REMOVE = sum(1 << bit for bit in range(4, 13))
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1 << 0, 1 << 1
RULE_PATH_BENEATH = 1

libc = ctypes.CDLL(None, use_errno=True)


def around(command: list[str], folder: Path, url: str) -> list[str]:
    """`command` confined to `folder` and to the server at `url`, if that is on this machine."""
    server = urllib.parse.urlsplit(url)
    local = server.hostname in ("127.0.0.1", "localhost") and server.port is not None
    reach = ["--reach", str(server.port)] if local else []
    module = [sys.executable, "-m", "toolgain.evaluation.sandbox"]
    return [*module, "--write", str(folder), *reach, "--", *command]


def main() -> int:
    """Confine and run; returns the command's exit status."""
    parser = argparse.ArgumentParser(prog="toolgain.evaluation.sandbox")
    parser.add_argument("--write", type=Path, action="append", required=True)
    parser.add_argument("--reach", type=int)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        here.close()
        run(options.command, options.write, options.reach, there)
    there.close()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda sent, _: os.kill(child, sent))
    if options.reach is not None:
        threading.Thread(target=relay, args=(here, options.reach), daemon=True).start()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) % 256


def run(command: list[str], writable: list[Path], port: int | None, parent: socket.socket) -> None:
    """In the child: give things up, then become `command`. Does not return."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        own_namespaces(network=port is not None)
        own_terminals()
        if port is not None:
            raise_loopback()
            listener = socket.create_server(("127.0.0.1", port), backlog=512)
            socket.send_fds(parent, [b"."], [listener.fileno()])
            listener.close()
    except OSError as error:
        note(f"network and terminals are not confined: {error}")
    parent.close()
    try:
        restrict_files(writable)
    except OSError as error:
        note(f"files are not confined: {error}")
    try:
        os.execvp(command[0], command)
    except OSError as error:
        note(f"{command[0]}: {error}")
        os._exit(127)


def own_namespaces(network: bool) -> None:
    """Enter mount and, if asked for, network namespaces of this process's own.

    Raises:
        OSError: the kernel or the site does not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    kinds = CLONE_NEWNS | (CLONE_NEWNET if network else 0) | (CLONE_NEWUSER if user else 0)
    checked(libc.unshare(kinds), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def own_terminals() -> None:
    """Put an empty set of terminals in the place of the machine's: the harness opens one, and the
    user's others must not be written to.

    Raises:
        OSError: the kernel does not allow it.
    """
    checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")
    options = b"newinstance,ptmxmode=0666,mode=0620"
    checked(libc.mount(b"devpts", b"/dev/pts", b"devpts", 0, options), "mount /dev/pts")
    if not Path("/dev/ptmx").is_symlink():
        checked(libc.mount(b"/dev/pts/ptmx", b"/dev/ptmx", None, MS_BIND, None), "mount /dev/ptmx")


def raise_loopback() -> None:
    """Switch the loopback of a new network namespace on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def restrict_files(writable: list[Path]) -> None:
    """Allow writing below `writable`, to /dev/null and to terminals alone.

    Raises:
        OSError: this kernel has no Landlock, or a folder does not exist.
    """
    version = libc.syscall(CREATE_RULESET, None, 0, 1)
    checked(version, "Landlock")
    rights = WRITE_FILE | MAKE_AND_REMOVE
    rights |= (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    scope = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if version >= 6 else 0
    attributes = struct.pack("QQQ", rights, 0, scope)[: 24 if version >= 6 else 8]
    rules = checked(libc.syscall(CREATE_RULESET, attributes, len(attributes), 0), "Landlock")
    try:
        for folder in writable:
            allow(rules, folder, rights)
        for device in (Path("/dev/null"), Path("/dev/ptmx"), Path("/dev/pts")):
            allow(rules, device, rights & (WRITE_FILE | TRUNCATE))
        checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        checked(libc.syscall(RESTRICT_SELF, rules, 0), "Landlock")
    finally:
        os.close(rules)


def allow(rules: int, path: Path, rights: int) -> None:
    """Add a rule that grants `rights` below `path`."""
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        # struct landlock_path_beneath_attr is packed: 8 bytes of rights, 4 of the descriptor.
        rule = struct.pack("=Qi", rights, handle)
        checked(libc.syscall(ADD_RULE, rules, RULE_PATH_BENEATH, rule, 0), f"Landlock for {path}")
    finally:
        os.close(handle)


def relay(channel: socket.socket, port: int) -> None:
    """Outside: accept what the command connects to its `port`, and pass it on to the machine's.

    A socket belongs to the network it was made in, so the child's listener serves from here.
    """
    _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not descriptors:
        return
    with socket.socket(fileno=descriptors[0]) as listener:
        while True:
            inside, _ = listener.accept()
            try:
                outside = socket.create_connection(("127.0.0.1", port))
            except OSError:
                inside.close()
                continue
            for source, sink in ((inside, outside), (outside, inside)):
                threading.Thread(target=pump, args=(source, sink), daemon=True).start()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy bytes until `source` ends, then end `sink`'s direction too."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def checked(result: int, what: str) -> int:
    """The result of a system call, or OSError with `what` failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def note(text: str) -> None:
    """A line on standard error."""
    os.write(2, f"confine: {text}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
