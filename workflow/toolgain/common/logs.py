"""The ends of log files, and what they say."""

import re
from pathlib import Path


def out_of_memory(text: str) -> bool:
    """Whether a log says that memory ran out."""
    return bool(
        re.search(
            r"out of memory|OutOfMemoryError|MemoryError|can't allocate memory|oom[-_ ]kill",
            text,
            re.IGNORECASE,
        )
    )


def tail(log: Path, size: int = 200_000) -> str:
    """The end of a log file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            return str(file.read().decode(errors="replace"))
    except OSError:
        return ""
