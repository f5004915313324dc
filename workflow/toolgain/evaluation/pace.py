"""How many requests may be under way: fewer after a refusal for haste, more while answers come.

Additive increase, multiplicative decrease, as TCP does it (Chiu and Jain 1989): an endpoint that
allows so many requests a minute is asked as fast as it allows, and not much faster.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 8.0
"""Waits after refusals that do not say for how long; a longer one would waste a minute's limit."""
GROWTH = 1.3
"""Of these waits. The last of them is mostly too long, by so much at most."""
SHORT_WAIT_SHARE = 0.25
"""Of our own wait, at least, where the server asks for a shorter one."""
TAKEN_AFTER_S = 1.0
"""A refusal comes sooner; who is still under way then has been taken."""
REPORT_S = 30.0


class PaceRules:
    """When the next request may start, by a clock of the caller's.

    What an endpoint limits is mostly how often requests start, and not how long they take. So a
    request counts until it is answered, refused or old enough to have been taken; slow answers keep
    nobody from starting the next request.
    """

    def __init__(self, at_once: int, between: Callable[[float, float], float]) -> None:
        """
        Args:
            at_once: requests under way that are never exceeded.
            between: a random number between two.
        """
        self._most = at_once
        self._between = between
        self.limit = float(at_once)
        """Requests that may be under way now and not be taken yet."""
        self._starts: list[float] = []
        """Of the requests under way."""
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
        """Seconds until there may be a turn, if nothing else happens; where all are under way, it
        is their end that has to happen."""
        young = sorted(start for start in self._starts if now - start < TAKEN_AFTER_S)
        most = max(1, int(self.limit))
        turn_at = young[-most] + TAKEN_AFTER_S if len(young) >= most else now
        return max(turn_at, self._resume_at) - now

    def end(self, started: float) -> None:
        """A request that started at `started` is not under way any more."""
        self._starts.remove(started)

    def answered(self) -> None:
        """A request was answered: one more at once after as many answers."""
        self._refused = 0
        self.limit = min(self._most, self.limit + 1 / self.limit)

    def refused(self, started: float, now: float, retry_after_s: float | None) -> None:
        """A request that started at `started` was refused for haste.

        Args:
            retry_after_s: the wait that the server asked for, in seconds.
        """
        # The others that were under way at the same time are the same news.
        if started > self._slowed_at:
            self._slowed_at = now
            self._refused += 1
            self.limit = max(1.0, self.limit / 2)
        most = min(LONGEST_WAIT_S, FIRST_WAIT_S * GROWTH ** min(self._refused - 1, 20))
        own = most * self._between(0.5, 1.0)
        # Who asks for hardly a wait, and goes on to refuse, is asked less and less often.
        wait = max(retry_after_s, own * SHORT_WAIT_SHARE) if retry_after_s else own
        self._resume_at = max(self._resume_at, now + wait)


class Pace:
    """The rules, shared by the threads that ask one server."""

    def __init__(self, at_once: int) -> None:
        """
        Args:
            at_once: requests under way that are never exceeded.
        """
        self._rules = PaceRules(at_once, random.uniform)
        self._changed = threading.Condition()

    @property
    def limit(self) -> float:
        """Requests that may be under way now."""
        return self._rules.limit

    @contextmanager
    def turn(self) -> Iterator[float]:
        """Wait for a turn, which lasts for the block; gives the time of its start."""
        with self._changed:
            while not self._rules.start(started := time.monotonic()):
                wait = self._rules.wait_s(started)
                if wait > REPORT_S:
                    # A log that grows says that somebody is alive.
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
        """A request that started at `started` was refused for haste, with the wait asked for."""
        with self._changed:
            self._rules.refused(started, time.monotonic(), retry_after_s)
