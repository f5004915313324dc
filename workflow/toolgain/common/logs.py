"""The ends of log files, and what they say."""

import re
from pathlib import Path

from toolgain.common.files import opened


def out_of_memory(text: str) -> bool:
    """Whether a log says that memory ran out."""
    return bool(
        re.search(
            r"out of memory|OutOfMemoryError|MemoryError|can't allocate memory|oom[-_ ]kill",
            text,
            re.IGNORECASE,
        )
    )


_ERROR = re.compile(r"^(\w+\.)*\w*(Error|Exception): |\b(ERROR|FATAL)\b.*(Error|Exception): ")
_CONSEQUENCE = re.compile(r"root cause above|Engine core initialization failed", re.I)


def first_error(log: Path) -> str | None:
    """The first line that names an error: of several processes, the last one is a consequence.

    A line that opens a traceback says nothing; the exception at its end counts.
    """
    pending = False
    for line in tail(log).splitlines():
        text = line.strip()
        if "Traceback (most recent call last)" in text:
            pending = True
        elif pending:
            found = re.search(r"(?:^|\s|\] )((?:\w+\.)*\w*(?:Error|Exception)\b.*)", text)
            if found and not re.search(r'File "|^\s*raise\b|\braise ', text):
                if not _CONSEQUENCE.search(text):
                    return found[1][:500]
                pending = False
        elif _ERROR.search(text) and not _CONSEQUENCE.search(text):
            return text[:500]
    return None


def tail(log: Path, size: int = 200_000) -> str:
    """The end of a log file."""
    try:
        with opened(log, limit=None) as file:
            file.seek(max(0, log.stat().st_size - size))
            return file.read(size).decode(errors="replace")
    except OSError:
        return ""


def last_lines(log: Path, lines: int) -> list[str]:
    """The last lines of a log that are not empty."""
    return [line.rstrip() for line in tail(log).splitlines() if line.strip()][-lines:]


def last_line(log: Path) -> str:
    """The last line of a log that is not empty, for an error message."""
    return "".join(last_lines(log, 1)).strip()
