"""What this machine lets a test do: mounts, and namespaces of another user."""

import os
import subprocess
from functools import cache


@cache
def may_mount() -> bool:
    """Whether this process may make a mount namespace; root in most containers may not."""
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@cache
def may_make_namespaces(user: int) -> bool:
    """Whether `user`, who has no rights, may mount in a user namespace of his own.

    Some distributions forbid it (kernel.apparmor_restrict_unprivileged_userns).
    """
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    mount = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "x", "/tmp"]
    command = mount if user == os.geteuid() else [*become, *mount]
    return subprocess.run(command, capture_output=True, cwd="/").returncode == 0
