"""Files that are either whole or not there, JSON of one form, and digests of content.

Whatever a path names is opened by `opened`: an ordinary file of a bounded size. A pipe would be
waited for, a device read forever.
"""

import errno
import gzip
import hashlib
import io
import json
import math
import os
import stat
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TextIO

from toolgain.common.errors import UserError


def canonical_json(value: object) -> str:
    """`value` as JSON in one form: sorted keys, no spaces. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


LARGEST = 1 << 28
"""Bytes of a file that is read as a whole; a larger one was written by something else."""
LARGEST_TABLE = 1 << 30
"""Bytes of a table of items or answers: a full evaluation of a model that thinks is a third."""


def opened(path: Path, limit: int | None = LARGEST) -> io.BufferedReader:
    """Open an ordinary file for reading.

    Args:
        limit: largest size in bytes; None: any.

    Raises:
        OSError: it is not there, is a folder, a pipe, a socket or a device, or is too large.
    """
    # Without O_NONBLOCK, opening a pipe waits until somebody writes.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.EINVAL, "it is a socket, not a file", str(path)) from None
        raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
    if limit is not None and found.st_size > limit:
        os.close(handle)
        raise OSError(errno.EFBIG, f"it is larger than {limit >> 20} MiB", str(path))
    return os.fdopen(handle, "rb")


def opened_text(
    path: Path,
    limit: int | None = LARGEST_TABLE,
    newline: str | None = None,
    errors: str = "strict",
) -> TextIO:
    """Open an ordinary file of UTF-8 text; raises as `opened` does."""
    return io.TextIOWrapper(opened(path, limit), "utf-8", errors, newline)


def read_bytes(path: Path, limit: int = LARGEST) -> bytes:
    """The bytes of an ordinary file.

    Raises:
        OSError: it cannot be opened, or is larger than `limit` bytes.
    """
    with opened(path, limit) as file:
        # The kernel's own files have no size.
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit >> 20} MiB", str(path))
    return content


def read_text(path: Path, limit: int = LARGEST, errors: str = "strict") -> str:
    """The text of an ordinary UTF-8 file, with every line break as a newline.

    Raises:
        OSError: it cannot be opened, or is larger than `limit` bytes.
        UnicodeDecodeError: it is not UTF-8.
    """
    text = read_bytes(path, limit).decode("utf-8", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_gzip(path: Path, limit: int = LARGEST) -> bytes:
    """What a gzip file holds.

    Raises:
        OSError: it is not a gzip file, is cut off, or holds more than `limit` bytes.
    """
    try:
        with opened(path, limit) as file, gzip.GzipFile(fileobj=file) as unpacked:
            content = unpacked.read(limit + 1)
    except (EOFError, zlib.error) as error:
        raise OSError(errno.EINVAL, f"it is not a whole gzip file: {error}", str(path)) from None
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it holds more than {limit >> 20} MiB", str(path))
    return content


def utf8_name(path: Path) -> bool:
    """Whether a path's name can be written into a record: bytes that are not UTF-8 cannot."""
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with opened(path, limit=None) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` only when the block ends without an error."""
    if path.exists() and not path.is_file():
        # As root, a file would take the place even of /dev/null.
        raise OSError(errno.EINVAL, "it is there and is no file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        # Half a character, which a model may write, becomes its escape: in JSON that is the same.
        encoding, errors = (None, None) if "b" in mode else ("utf-8", "backslashreplace")
        with os.fdopen(handle, mode, encoding=encoding, errors=errors) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes 0600; the umask of the run decides instead.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            # A full disk does not say where it is full.
            error.filename = str(path)
        raise


ROOM = 1 << 20
"""Bytes that a disk must have free where a long piece of work begins."""


def check_room(folder: Path) -> None:
    """Make a folder, and for a moment a file of `ROOM` bytes in it.

    Called before a long piece of work, which would find out at its end.

    Raises:
        OSError: the folder is closed or on a file system that is full or read-only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(folder)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step."""
    with replacing(path) as file:
        file.write(text)


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path` in one step; floats that are not finite become null."""
    write_text(path, json.dumps(_finite(value), indent=1, sort_keys=False, allow_nan=False) + "\n")


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


DEEPEST_JSON = 64
"""Levels of nesting; records have six at most."""


def parse_json(text: str) -> Any:
    """JSON within bounds: finite numbers that fit a double, and few levels of nesting.

    Raises:
        ValueError: it is not JSON, or out of bounds; the message says which.
    """
    try:
        value = json.loads(
            text, parse_float=_finite_number, parse_int=_whole_number, parse_constant=_no_constant
        )
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEEPEST_JSON} levels") from None
    level = [value]
    for _ in range(DEEPEST_JSON):
        level = [child for node in level for child in _children(node)]
        if not level:
            return value
    raise ValueError(f"it is nested deeper than {DEEPEST_JSON} levels")


def _children(node: object) -> Iterable[object]:
    inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [child for child in inside if isinstance(child, dict | list)]


def _finite_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _whole_number(text: str) -> int:
    # Such as counts and bytes; 10^300 is one of nothing.
    if len(text) > 19:
        raise ValueError(f"the number {text[:20]}... is too large")
    return int(text)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def read_json_text(path: Path, what: str) -> str:
    """The text of a JSON file that `parse_json` takes; `what` names the file's role in the error.

    Raises:
        UserError: the file is missing or too large, is not JSON, or is out of bounds.
    """
    return _read_json(path, what)[0]


def read_json(path: Path, what: str) -> Any:
    """The JSON in `path`; `what` names the file's role in the error.

    Raises:
        UserError: the file is missing or too large, is not JSON, or is out of bounds.
    """
    return _read_json(path, what)[1]


def _read_json(path: Path, what: str) -> tuple[str, Any]:
    try:
        text = read_text(path)
        return text, parse_json(text)
    except FileNotFoundError:
        raise UserError(f"{what}: {path} does not exist.") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{what}: {path} cannot be read as JSON: {reason(error)}.") from error


def reason(error: Exception) -> str:
    """What an error says, in one line, without the number and the path of the system's form."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split())


def write_jsonl(path: Path, rows: Iterable[object]) -> None:
    """Write one JSON value per line to `path`, in one step."""
    with replacing(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_jsonl(path: Path, what: str) -> list[Any]:
    """The values of a JSON-lines file.

    Raises:
        UserError: the file is missing, or a line is not JSON (named by its number).
    """
    try:
        # Not `splitlines`: JSON text may hold other characters that end a line, such as U+2028.
        lines = read_text(path).split("\n")
    except FileNotFoundError:
        raise UserError(f"{what}: {path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what}: {path} cannot be read: {reason(error)}.") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            said = reason(error)
            raise UserError(f"{what}: {path}, line {number}, is not JSON: {said}.") from error
    return rows


def shell_characters(path: Path) -> list[str]:
    """The characters of a path that mean something else in a shell command without quotes."""
    return sorted(
        sign for sign in set(str(path)) if sign in " ,=;$&|<>()'\"`*?" or not sign.isprintable()
    )


def now() -> str:
    """The present time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit(folder: Path) -> str | None:
    """The git commit of `folder` with `+dirty` where files differ, or None outside of git."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+dirty" if dirty else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
