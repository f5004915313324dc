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
_CONSEQUENCE = re.compile(
    r"root cause above|Engine core initialization failed|EngineDeadError", re.I
)
_PROCESS = re.compile(r"^\([\w ]*pid=\d+\)")
"""With it vLLM's processes begin their lines."""
_STEP = re.compile(r"^slurmstepd\S*: error: (execve\(\): .+|pyxis: {2,}.+)")
"""What kept a program from starting in its container: Slurm's words, or enroot's log in pyxis'."""
_ANSWERED = re.compile(r'HTTP/[\d.]+" 200\b')


def first_error(log: Path, begin: int = 0) -> str | None:
    """The first line that names an error which a program did not survive.

    Of several processes the last one logs a consequence. A line that opens a traceback says
    nothing; the exception at its end counts. What a process of vLLM's logs before an answer of its
    own, it survived; what it logs after its parent has gone is a consequence too.

    Args:
        log: Of one program, or of several starts.
        begin: Where the last start begins, in bytes.
    """
    lines = [line.strip() for line in tail(log, begin=begin).splitlines()]
    processes = [_process_of(line) for line in lines]
    answered = {p: n for n, p in enumerate(processes) if p and _ANSWERED.search(lines[n])}
    pending: set[str] = set()
    orphans: set[str] = set()
    consequence = None
    for number, (process, text) in enumerate(zip(processes, lines, strict=True)):
        if "Parent process exited" in text:
            orphans.add(process)
        if number < answered.get(process, -1) or process in orphans:
            continue
        error = _error_in(text, process, pending)
        if error and not _CONSEQUENCE.search(error):
            return error[:500]
        consequence = consequence or error
    return consequence and consequence[:500]


def _process_of(line: str) -> str:
    """The process that wrote a line, where vLLM says it."""
    found = _PROCESS.match(line)
    return found[0] if found else ""


def _error_in(text: str, process: str, pending: set[str]) -> str | None:
    """The error that a line names; `pending` are the processes inside of a traceback."""
    if "Traceback (most recent call last)" in text:
        pending.add(process)
    elif process in pending:
        found = re.search(r"(?:^|\s|\] )((?:\w+\.)*\w*(?:Error|Exception)\b.*)", text)
        if found and not re.search(r'File "|^\s*raise\b|\braise ', text):
            pending.discard(process)
            return found[1]
    elif _ERROR.search(text):
        return text
    elif found := _STEP.search(text):
        return found[1]
    return None


def tail(log: Path, size: int = 200_000, begin: int = 0) -> str:
    """The end of a log file, from `begin` on at most `size` bytes."""
    try:
        with opened(log, limit=None) as file:
            file.seek(max(begin, log.stat().st_size - size))
            return file.read(size).decode(errors="replace")
    except OSError:
        return ""


def last_lines(log: Path, lines: int) -> list[str]:
    """The last lines of a log that are not empty."""
    return [line.rstrip() for line in tail(log).splitlines() if line.strip()][-lines:]


def last_line(log: Path) -> str:
    """The last line of a log that is not empty, for an error message."""
    return "".join(last_lines(log, 1)).strip()
