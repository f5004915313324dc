"""Whether the model server of a rehearsal still answers, as its requests and health checks show.

A server that answers one request at a time cannot answer a health check while it works, and is
healthy. So silence means something only of a server whose processes are seen to do nothing, or that
has answered a health check while a request was waiting before.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx

from toolgain.environments.health import BUSY_SHARE, CHECK_S, PAUSE_S, activity
from toolgain.environments.relay import Relay
from toolgain.serving.server import Endpoint


class ModelHealth:
    """Checks a model server again and again, in a thread of its own, until it is taken for dead."""

    def __init__(self, endpoint: Endpoint, relay: Relay, limit_s: float) -> None:
        """Begin to check.

        Args:
            relay: What sends it the requests of the rollouts.
            limit_s: How long it may answer neither these nor a health check.
        """
        self.endpoint, self.relay, self.limit_s = endpoint, relay, limit_s
        self.check_s = min(CHECK_S, limit_s / 2)
        self.reason: str | None = None
        """Why it is taken for dead; None: it is not."""
        self.answers_at_work = False
        """Whether it has answered a health check while a request was waiting."""
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="health of the model server").start()

    def stop(self) -> None:
        """Check no more."""
        self._over.set()

    def _run(self) -> None:
        silent_s = 0.0
        while silent_s < self.limit_s:
            waiting, answered = self.relay.waiting, self.relay.answered
            processor_s, began = self._processor_s(), time.monotonic()
            if self._answers():
                silent_s = 0.0
                at_work = waiting and self.relay.waiting and answered == self.relay.answered
                self.answers_at_work = self.answers_at_work or bool(at_work)
                if self._over.wait(min(PAUSE_S, self.check_s / 2)):
                    return
                continue
            # A connection may be refused at once.
            if self._over.wait(max(0.0, began + self.check_s - time.monotonic())):
                return
            means_something = answered == self.relay.answered and (
                self._processor_s() - processor_s < BUSY_SHARE * self.check_s
                if self.endpoint.pid
                else self.answers_at_work
            )
            # Time that has passed counts per check: a machine that slept tells nothing of a server.
            silent_s = silent_s + self.check_s if means_something else 0.0
        does = ", and its processes do nothing" if self.endpoint.pid else ""
        self.reason = (
            f"the model server has answered no request and no health check for {silent_s:.0f} s"
            f"{does} (training.gym.health_timeout_s)"
        )

    def _answers(self) -> bool:
        """Whether it answers a health check in time, whatever it says."""
        try:
            with self.endpoint.client(self.check_s) as client:
                client.get(self.endpoint.health_url)
        except httpx.HTTPError:
            return False
        return True

    def _processor_s(self) -> float:
        return activity(self.endpoint.pid).processor_s if self.endpoint.pid else 0.0


@contextlib.contextmanager
def watched(endpoint: Endpoint, relay: Relay, limit_s: float | None) -> Iterator[Endpoint]:
    """The endpoint, whose `alive` also says that it answers nothing, while the block lasts.

    Args:
        limit_s: `training.gym.health_timeout_s`; None: it is not checked.
    """
    if limit_s is None:
        yield endpoint
        return
    health = ModelHealth(endpoint, relay, limit_s)
    try:
        yield replace(endpoint, alive=lambda: endpoint.alive() or health.reason)
    finally:
        health.stop()
