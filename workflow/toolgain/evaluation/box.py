"""The folder that the sandbox may write: filled before the harness starts, emptied after its end.

Between two runs of the harness nothing is in it, and nothing in it is ever opened by name: files
are read below a directory descriptor without following links, must be ordinary files with one
name, and are bounded in size. What is read are result rows, scores and two small tables, line by
line; they are written again outside.
"""

import contextlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from toolgain.bfcl.results import PREFIX
from toolgain.common.files import replacing

FILE_SIZE = 1 << 30
LINE_SIZE = 64 << 20
DEPTH = 100
"""Nesting of a row. The harness's own rows have less than 20."""
MAX_ENTRIES, MAX_BYTES, MAX_DEPTH = 100_000, 8 << 30, 64
"""What the box may hold while the harness runs, which itself needs some thirty files, and for all
items less than a gigabyte."""
RESULTS, SCORES = "result", "score"
FINISHED = "results.yml"
OVERALL = "data_overall.csv"


def fill(box: Path, outside: Path, alias: str, categories: Iterable[str]) -> None:
    """Make a new box, with the result rows of `outside` in it."""
    empty(box)
    for folder in (box / "harness" / RESULTS / alias, box / "home"):
        folder.mkdir(parents=True, mode=0o700)
    for category in categories:
        name = f"{PREFIX}{category}_result.json"
        if (outside / RESULTS / alias / name).exists():
            shutil.copyfile(
                outside / RESULTS / alias / name, box / "harness" / RESULTS / alias / name
            )


def empty_box(
    box: Path, outside: Path, alias: str, categories: Iterable[str], rows: bool = True
) -> list[str]:
    """Take over from the box what the harness wrote, without its result rows where `rows` says so,
    and empty it.

    Scores of an earlier run are gone afterwards, whether the box holds new ones or not.

    Returns:
        What was refused, a phrase for each file.
    """
    refused: list[str] = []
    if not os.path.lexists(box):
        return refused
    shutil.rmtree(outside / SCORES, ignore_errors=True)
    (outside / FINISHED).unlink(missing_ok=True)
    kinds = ((RESULTS, "result"), (SCORES, "score"))
    for kind, ending in kinds if rows else kinds[1:]:
        for category in categories:
            name = f"{PREFIX}{category}_{ending}.json"
            try:
                _take_rows(box, ("harness", kind, alias, name), outside / kind / alias / name)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                refused.append(f"{name}: {getattr(error, 'strerror', None) or error}")
    for parts in ((SCORES, OVERALL), (FINISHED,)):
        try:
            with (
                opened_in_box(box, ("harness", *parts)) as file,
                replacing(outside.joinpath(*parts), "wb") as copy,
            ):
                copy.write(file.read(1 << 20))
        except OSError:
            continue
    empty(box)
    return refused


def empty(box: Path) -> None:
    """Remove the box and everything in it; links in it are removed, not followed.

    Folders are moved up into the box before they are emptied: code inside may have nested them
    deeper than a path, or the recursion of `shutil.rmtree`, reaches.
    """
    if box.is_symlink():
        box.unlink()
    if not box.exists():
        return
    # Whoever owns a folder may have forbidden himself to look into it.
    box.chmod(0o700)
    with ExitStack() as stack:
        top = _folder(stack, box, ())
        while found := os.listdir(top):  # noqa: PTH208
            for name in found:
                if _is_folder(name, top):
                    _flatten(name, top)
                else:
                    os.unlink(name, dir_fd=top)
    box.rmdir()


def _flatten(name: str, top: int) -> None:
    """Remove the folder `name` below the descriptor `top`; the folders in it move up to `top`."""
    os.chmod(name, 0o700, dir_fd=top)
    with ExitStack() as stack:
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
        stack.callback(os.close, inner)
        for child in os.listdir(inner):  # noqa: PTH208
            if _is_folder(child, inner):
                # To move a folder is to write its "..".
                os.chmod(child, 0o700, dir_fd=inner)
                os.rename(child, secrets.token_hex(16), src_dir_fd=inner, dst_dir_fd=top)
            else:
                os.unlink(child, dir_fd=inner)
    os.rmdir(name, dir_fd=top)


def _is_folder(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def overfull(box: Path) -> str | None:
    """What the box holds too much of; None where it holds no more than it may.

    Looks no further than the limits, so a folder of a million files costs no more than the limit.
    """
    left = [MAX_ENTRIES, MAX_BYTES]
    with ExitStack() as stack:
        try:
            top = _folder(stack, box, ())
        except OSError:
            return None
        return _spent(top, left, MAX_DEPTH)


def _spent(folder: int, left: list[int], levels: int) -> str | None:
    """Take what lies in `folder` from `left`, entries and bytes; says what was used up."""
    if levels == 0:
        return f"folders nested {MAX_DEPTH} deep"
    with os.scandir(folder) as found:
        for entry in found:
            # Code inside may remove or swap what was found a moment ago.
            with contextlib.suppress(OSError):
                state = entry.stat(follow_symlinks=False)
                left[0] -= 1
                left[1] -= state.st_blocks * 512
                if left[0] < 0:
                    return f"more than {MAX_ENTRIES} files"
                if left[1] < 0:
                    return f"more than {MAX_BYTES >> 30} GiB"
                if stat.S_ISDIR(state.st_mode):
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    try:
                        inner = os.open(entry.name, flags, dir_fd=folder)
                    except PermissionError:
                        return "a folder that nobody may look into"
                    try:
                        reason = _spent(inner, left, levels - 1)
                    finally:
                        os.close(inner)
                    if reason:
                        return reason
    return None


def rows_written(box: Path, alias: str, offsets: dict[str, int]) -> int:
    """How many lines the result files have got since `offsets`, which are moved on."""
    found = 0
    for name in names(box, ("harness", RESULTS, alias)):
        try:
            with opened_in_box(box, ("harness", RESULTS, alias, name)) as file:
                file.seek(offsets.get(name, 0))
                block = file.read(LINE_SIZE)
                offsets[name] = file.tell()
        except OSError:
            continue
        found += block.count(b"\n")
    return found


def names(box: Path, parts: tuple[str, ...]) -> list[str]:
    """The names in a folder of the box; none where there is no such folder."""
    try:
        with ExitStack() as stack:
            return os.listdir(_folder(stack, box, parts))
    except OSError:
        return []


@contextmanager
def opened_in_box(box: Path, parts: tuple[str, ...]) -> Iterator[BinaryIO]:
    """Open an ordinary file below the box for reading.

    Raises:
        OSError: it is not there, or is a link, a pipe, a device, too large, or has a second name.
    """
    with ExitStack() as stack:
        folder = _folder(stack, box, parts[:-1])
        # Opening a pipe without a writer would wait forever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = stack.enter_context(os.fdopen(os.open(parts[-1], flags, dir_fd=folder), "rb"))
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise OSError("is not an ordinary file")
        if found.st_size > FILE_SIZE:
            raise OSError(f"is larger than {FILE_SIZE} bytes")
        yield file


def _folder(stack: ExitStack, box: Path, parts: tuple[str, ...]) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(box, flags)
    stack.callback(os.close, handle)
    for part in parts:
        handle = os.open(part, flags, dir_fd=handle)
        stack.callback(os.close, handle)
    return handle


def _take_rows(box: Path, parts: tuple[str, ...], target: Path) -> None:
    """Copy the lines that are JSON objects; a line that is none is left out, as a cut one is.

    What lies deeper than harmless is left out of a row, never the row: an item that a score file
    does not list counts as right.
    """
    with opened_in_box(box, parts) as file, replacing(target, "wb") as copy:
        while line := file.readline(LINE_SIZE + 1):
            if len(line) > LINE_SIZE:
                raise ValueError(f"a line is longer than {LINE_SIZE} bytes")
            if row := as_row(line):
                copy.write(row)


def as_row(line: bytes) -> bytes:
    """A line that is a JSON object, of harmless depth and with its end; empty where it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return b""
    if not isinstance(row, dict):
        return b""
    if _cut(row):
        return json.dumps(row).encode() + b"\n"
    # The harness ends its score files without a line break.
    return line if line.endswith(b"\n") else line + b"\n"


def _cut(row: dict[str, object]) -> bool:
    """Put null in place of what lies deeper than `DEPTH`; says whether anything did."""
    level: list[dict[str, object] | list[object]] = [row]
    for _ in range(DEPTH):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
    for one in level:
        one.clear()
    return bool(level)
