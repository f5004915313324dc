"""The memory of programs that compute with large tensors on a processor."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of mallopt(3)."""


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for what is asked for next.

    Large tensors are made and freed at every step; to get zeroed pages for them from the system
    each time costs up to an eighth of a training step. Does nothing where there is no mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 2**28)):
            mallopt(parameter, value)
