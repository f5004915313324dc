"""How many requests may be in flight: fewer after a rate-limit refusal, more while answers come.

Additive increase, multiplicative decrease, as TCP does it (Chiu and Jain 1989): an endpoint with a
rate limit gets requests as fast as it allows, and not much faster.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 8.0
"""Waits after refusals that do not say for how long; a longer one would waste a minute's limit."""
GROWTH = 1.3
"""Factor from one of these waits to the next, so the last is at most this much too long."""
SHORT_WAIT_SHARE = 0.25
"""Minimum share of our own wait, where the server asks for a shorter one."""
TAKEN_AFTER_S = 1.0
"""A refusal comes sooner; a request in flight for longer has been accepted."""
REPORT_S = 30.0


class PaceRules:
    """When the next request may start, by a clock of the caller's.

    An endpoint mostly limits how often requests start, not how long they take. So a request counts
    until it is answered, refused or old enough to have been accepted; slow answers do not keep the
    next request from starting.
    """

    def __init__(self, at_once: int, between: Callable[[float, float], float]) -> None:
        """
        Args:
            at_once: maximum number of requests in flight.
            between: a random number between two.
        """
        self._most = at_once
        self._between = between
        self.limit = float(at_once)
        """Requests that may be in flight now and not be accepted yet."""
        self._starts: list[float] = []
        """Start times of the requests in flight."""
        self._resume_at = 0.0
        self._refused = 0
        self._slowed_at = float("-inf")

    def start(self, now: float) -> bool:
        """Start a request, if it has its turn."""
        if len(self._starts) >= self._most or self.wait_s(now) > 0:
            return False
        self._starts.append(now)
        return True

    def wait_s(self, now: float) -> float:
        """Seconds until a request may start; where the maximum is in flight, one of them has to end
        first."""
        young = sorted(start for start in self._starts if now - start < TAKEN_AFTER_S)
        most = max(1, int(self.limit))
        turn_at = young[-most] + TAKEN_AFTER_S if len(young) >= most else now
        return max(turn_at, self._resume_at) - now

    def end(self, started: float) -> None:
        """A request that started at `started` is no longer in flight."""
        self._starts.remove(started)

    def answered(self) -> None:
        """A request was answered: the limit rises by one after as many answers as it is high."""
        self._refused = 0
        self.limit = min(self._most, self.limit + 1 / self.limit)

    def refused(self, started: float, now: float, retry_after_s: float | None) -> None:
        """A request that started at `started` was refused by the rate limit.

        Args:
            retry_after_s: the wait that the server asked for, in seconds.
        """
        # Refusals of requests that were in flight together count once.
        if started > self._slowed_at:
            self._slowed_at = now
            self._refused += 1
            self.limit = max(1.0, self.limit / 2)
        most = min(LONGEST_WAIT_S, FIRST_WAIT_S * GROWTH ** min(self._refused - 1, 20))
        own = most * self._between(0.5, 1.0)
        # A server that asks for hardly a wait and keeps refusing gets requests less and less often.
        wait = max(retry_after_s, own * SHORT_WAIT_SHARE) if retry_after_s else own
        self._resume_at = max(self._resume_at, now + wait)


class Pace:
    """The rules, shared by the threads that send requests to one server."""

    def __init__(self, at_once: int) -> None:
        """
        Args:
            at_once: maximum number of requests in flight.
        """
        self._rules = PaceRules(at_once, random.uniform)
        self._changed = threading.Condition()

    @property
    def limit(self) -> float:
        """Requests that may be in flight now."""
        return self._rules.limit

    @contextmanager
    def turn(self) -> Iterator[float]:
        """Wait for a turn, which lasts for the block; gives the time of its start."""
        with self._changed:
            while not self._rules.start(started := time.monotonic()):
                wait = self._rules.wait_s(started)
                if wait > REPORT_S:
                    # A log that grows shows that the process is alive.
                    print(f"toolgain: the server asks to wait for {wait:.0f} s more", flush=True)
                self._changed.wait(min(wait, REPORT_S) if wait > 0 else REPORT_S)
        try:
            yield started
        finally:
            with self._changed:
                self._rules.end(started)
                self._changed.notify_all()

    def answered(self) -> None:
        """A request was answered."""
        with self._changed:
            self._rules.answered()
            self._changed.notify_all()

    def refused(self, started: float, retry_after_s: float | None) -> None:
        """As `PaceRules.refused`."""
        with self._changed:
            self._rules.refused(started, time.monotonic(), retry_after_s)
