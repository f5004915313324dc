"""How many requests may be under way: fewer after a refusal for haste, more while answers come.

Additive increase, multiplicative decrease, as TCP does it (Chiu and Jain 1989): an endpoint that
allows so many requests a minute is asked as fast as it allows, and not much faster.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 8.0
"""Waits after refusals that do not say for how long; a longer one would waste a minute's limit."""
NO_WAIT_SHARE = 0.1
"""Of our own wait, where the server asks for none or for a shorter one."""
REPORT_S = 30.0


class Pace:
    """Shared by the threads that ask one server."""

    def __init__(self, at_once: int) -> None:
        """
        Args:
            at_once: requests under way that are never exceeded.
        """
        self._most = float(at_once)
        self._limit = float(at_once)
        self._under_way = 0
        self._resume_at = 0.0
        self._refused = 0
        self._slowed_at = float("-inf")
        self._changed = threading.Condition()

    @property
    def limit(self) -> float:
        """Requests that may be under way now."""
        return self._limit

    @contextmanager
    def turn(self) -> Iterator[float]:
        """Wait for a turn, which lasts for the block; gives the time of its start."""
        with self._changed:
            while True:
                wait = self._resume_at - time.monotonic()
                if wait <= 0 and self._under_way < max(1, int(self._limit)):
                    break
                if wait > REPORT_S:
                    # A log that grows says that somebody is alive.
                    print(f"toolgain: the server asks to wait for {wait:.0f} s more", flush=True)
                self._changed.wait(min(wait, REPORT_S) if wait > 0 else REPORT_S)
            self._under_way += 1
            started = time.monotonic()
        try:
            yield started
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def answered(self) -> None:
        """A request was answered: one more at once after as many answers."""
        with self._changed:
            self._refused = 0
            self._limit = min(self._most, self._limit + 1 / self._limit)
            self._changed.notify_all()

    def refused(self, started: float, retry_after_s: float | None) -> None:
        """A request that started at `started` was refused for haste.

        Args:
            retry_after_s: the wait that the server asked for, in seconds.
        """
        with self._changed:
            now = time.monotonic()
            # The others that were under way at the same time are the same news.
            if started > self._slowed_at:
                self._slowed_at = now
                self._refused += 1
                self._limit = max(1.0, self._limit / 2)
            most = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._refused - 1, 10))
            own = most * random.uniform(0.5, 1.0)
            # Who asks for no wait at all, and goes on to refuse, is asked less and less often.
            wait = own if retry_after_s is None else max(retry_after_s, own * NO_WAIT_SHARE)
            self._resume_at = max(self._resume_at, now + wait)
