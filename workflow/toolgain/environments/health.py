"""Whether a server still answers: a health check that tells a busy server from a hung one.

Gym waits forever for a server that is stopped or hangs. A server that computes (a verifier whose
code blocks its event loop, a machine under load) does not answer in time either, and is healthy.
What tells them apart is the processor: a server is taken for dead where it answers nothing and its
processes do nothing, for as long as the limit says. One that computes is taken for dead where it
has spent too much processor time within one request: a verifier that loops. A queue of requests
does not look like that, however long it is, since each of them begins and ends. Runs in Gym's
environment too.
"""

import contextlib
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil

CHECK_S = 10.0
"""How long one check waits for an answer."""
PAUSE_S = 5.0
"""Between a check that was answered and the next one."""
BUSY_SHARE = 0.01
"""A server works that uses this share of one core; an idle event loop uses far less."""
WAITING = {psutil.STATUS_SLEEPING, psutil.STATUS_IDLE, psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
"""States of a process that waits. Any other (it computes, or waits for a disk) is work."""


@dataclass(frozen=True)
class Activity:
    """What the processes of a server have done so far."""

    processor_s: float
    """Processor time of all of them; children that ended count as long as their parent lives."""
    own_s: float
    """That of the server's own process."""
    waiting: bool
    """Whether every one of them waits now."""
    stopped: bool
    """Whether a signal has stopped the server's own process."""


def activity(pid: int) -> Activity:
    """The activity of a process and all below it; that of a process that is gone is none."""
    used, own, states = 0.0, 0.0, []
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            if process.pid == pid:
                own = times.user + times.system
            used += times.user + times.system + times.children_user + times.children_system
            states.append(process.status())
    return Activity(used, own, set(states) <= WAITING, states[:1] == [psutil.STATUS_STOPPED])


def _tree(pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        yield process
        yield from process.children(recursive=True)


def is_answering(url: str, timeout_s: float) -> bool:
    """Whether a server answers a request within the time, whatever it says."""
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=timeout_s)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Limits:
    """How long a server may answer nothing."""

    idle_s: float
    """While its processes do nothing."""
    busy_s: float | None = None
    """Processor time of its own within one request; None: any."""


class HealthCheck:
    """Checks one server again and again, in a thread of its own, until it is taken for dead."""

    def __init__(
        self, url: str, pid: int, limits: Limits, requests: Callable[[], int] = lambda: 0
    ) -> None:
        """Begin to check.

        Args:
            url: Any page of the server.
            pid: Its process.
            limits: How long it may answer nothing.
            requests: How many requests it has begun and ended so far; 0: that is not known.
        """
        self.url, self.pid, self.limits, self.requests = url, pid, limits, requests
        self.check_s = min(CHECK_S, limits.idle_s / 2, (limits.busy_s or CHECK_S) / 2)
        self.reason: str | None = None
        """Why it is taken for dead; None: it is not."""
        self.loops = False
        """Whether it is taken for dead while it computes."""
        threading.Thread(target=self._run, daemon=True, name=f"health of {pid}").start()

    def _run(self) -> None:
        idle_s, busy_s, now = 0.0, 0.0, activity(self.pid)
        while idle_s < self.limits.idle_s and not self._too_busy(busy_s):
            before, requests, began = activity(self.pid), self.requests(), time.monotonic()
            if is_answering(self.url, self.check_s):
                idle_s = busy_s = 0.0
                time.sleep(min(PAUSE_S, self.check_s / 2))
                continue
            # A connection may be refused at once.
            time.sleep(max(0.0, began + self.check_s - time.monotonic()))
            now = activity(self.pid)
            used = now.processor_s - before.processor_s
            works = not now.waiting or used >= BUSY_SHARE * self.check_s
            # Time that has passed counts per check: a machine that slept tells nothing of a server.
            idle_s = idle_s + self.check_s if now.stopped or not works else 0.0
            if requests == 0 or requests != self.requests():
                busy_s = 0.0
            else:
                # Processor time, not time: a loaded machine makes nobody look like a loop.
                busy_s += now.own_s - before.own_s
        self.loops = self._too_busy(busy_s)
        if self.loops:
            self.reason = (
                f"it has computed for {busy_s:.0f} s at one request and answered nothing meanwhile"
            )
        else:
            state = "a signal has stopped it" if now.stopped else "it uses no processor"
            self.reason = f"it has answered nothing for {idle_s:.0f} s, and {state}"

    def _too_busy(self, busy_s: float) -> bool:
        return self.limits.busy_s is not None and busy_s >= self.limits.busy_s
