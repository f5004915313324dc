"""Say in one line whether this Python's environment holds a setuptools with known vulnerabilities;
exit code 1 where it does. `make audit` runs it in every environment, none of which needs one."""

import re
import sys
from importlib import metadata

SAFE = (78, 1, 1)
"""CVE-2025-47273 is mended in this version, CVE-2024-6345 in 70.0."""


def main() -> int:
    """Returns the exit code."""
    try:
        found = metadata.version("setuptools")
    except metadata.PackageNotFoundError:
        print(f"{sys.prefix}: no setuptools")
        return 0
    old = tuple(map(int, re.findall(r"\d+", found)[:3])) < SAFE
    print(f"{sys.prefix}: setuptools {found}{', which has known vulnerabilities' if old else ''}")
    return int(old)


if __name__ == "__main__":
    sys.exit(main())
