"""Run a command in a network of its own, which holds nothing but a loopback.

    python -P -I own_network.py COMMAND [ARGUMENT ...]

A model server listens on a unix socket, which lies in the file system and is reached all the same.
The ports through which its processes talk to each other are then nobody else's: torch.distributed
opens one on all addresses (TCPStore), which asks for no key. Where the kernel or the site refuses a
network namespace, the command runs as it is, after a line that says so. Standard library only,
since it also runs in a container's image.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import NoReturn

CLONE_NEWUSER, CLONE_NEWNET, PR_SET_PDEATHSIG = 0x10000000, 0x40000000, 1
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1

libc = ctypes.CDLL(None, use_errno=True)


def start(command: list[str]) -> NoReturn:
    """Become `command`, in a network of its own where that is given."""
    reason = refused(user=False)
    if reason and not refused(user=True):
        enter_network(user=True)
    elif reason:
        print(
            f"own_network: the server shares the machine's network ({reason}): ports that its "
            "processes open among themselves can be reached by others",
            file=sys.stderr,
            flush=True,
        )
    else:
        enter_network(user=False)
    os.execvp(command[0], command)


def refused(user: bool) -> str | None:
    """Why a network namespace cannot be had, found out in a child; None where it can."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            enter_network(user)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                socket.create_connection(listener.getsockname(), timeout=5).close()
        except BaseException as error:
            os.write(
                write, (getattr(error, "strerror", None) or str(error) or "error")[:200].encode()
            )
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as said:
        text = said.read().decode(errors="replace")
    os.waitpid(child, 0)
    return text or None


def enter_network(user: bool) -> None:
    """Leave the machine's network for a new one, inside a user namespace where `user` says so.

    Raises:
        OSError: the kernel or the site does not allow it.
    """
    uid, gid, parent = os.geteuid(), os.getegid(), os.getppid()
    if libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if user else 0)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    # New rights make the kernel forget that this ends with its parent.
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        with contextlib.suppress(OSError):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    start(sys.argv[1:])
