"""Errors written for the person who reads them, and the exit codes they end with."""

import errno
from enum import IntEnum


class ExitCode(IntEnum):
    """What a `toolgain` command says with its exit code."""

    OK = 0
    FAILED = 1
    """A stage failed."""
    BAD_INPUT = 2
    """A file, a key or an option is wrong."""
    NOT_VALID = 3
    """An evaluation is not valid, or a comparison is not possible."""
    NOT_MET = 4
    """`toolgain verdict`: the model did not do what --require asks for."""
    REGRESSED = 5
    """`toolgain verdict`: the model regressed."""
    TEMPORARY = 75
    """Stopped in time with everything saved; run the same command again to resume."""


class ToolgainError(Exception):
    """An expected failure: printed as one line, without a traceback."""

    exit_code = ExitCode.FAILED


class UserError(ToolgainError):
    """Bad input: names what, where, which value, what is allowed and what to do."""

    exit_code = ExitCode.BAD_INPUT


class StageError(ToolgainError):
    """A stage could not do its work; the message names the cause and the log."""

    exit_code = ExitCode.FAILED


class NotValidError(ToolgainError):
    """A measurement exists but must not be used as one."""

    exit_code = ExitCode.NOT_VALID


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.ENOENT),
}


def of_system(error: OSError) -> ToolgainError:
    """What the operating system refused, as a line: bad input where the path is to blame."""
    where = f"{error.filename!s}: " if error.filename is not None else ""
    said = f"{where}{error.strerror or error}"
    if error.errno in _FULL:
        return StageError(f"{said}; make room there, then run the same command again.")
    if error.errno in _REFUSED:
        return UserError(f"{said}; name another file or folder, or change its rights.")
    return StageError(f"{said}.")


class ResumeLaterError(ToolgainError):
    """The stage stopped before its end with everything saved; the next attempt resumes."""

    exit_code = ExitCode.TEMPORARY
