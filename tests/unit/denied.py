"""Run a command on a kernel that lacks something: python denied.py CALL[=ERRNO] ... -- COMMAND

Each system call named fails with its error number (1, EPERM, where none is given), as on an older
kernel (38, ENOSYS) or where the site forbids it. By libseccomp, for this process and its children.
"""

import ctypes
import os
import sys


def deny(calls: list[str]) -> None:
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(0x7FFF0000)))
    for call in calls:
        name, _, error = call.partition("=")
        number = (
            int(name) if name.isdigit() else seccomp.seccomp_syscall_resolve_name(name.encode())
        )
        action = ctypes.c_uint32(0x00050000 | int(error or 1))
        assert seccomp.seccomp_rule_add_array(context, action, number, 0, None) == 0, call
    assert seccomp.seccomp_load(context) == 0


if __name__ == "__main__":
    at = sys.argv.index("--")
    deny(sys.argv[1:at])
    os.execvp(sys.argv[at + 1], sys.argv[at + 1 :])
