"""Requests of rollouts that play side by side, answered together.

An answer is sampled only when every rollout that has not ended waits for one, and in the order of
the rollouts. So what is drawn does not depend on which server was quicker, and a batch is as large
as it can be.
"""

import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from toolgain.environments.chat_endpoint import Body, failing_answer

HttpAnswer = tuple[int, bytes]
"""HTTP status and content."""


@dataclass(eq=False)
class WaitingRequest:
    """A request of one rollout that waits for its answer."""

    rollout: str
    body: Body
    reply: "Future[HttpAnswer]" = field(default_factory=Future)


class WaitingRoom:
    """The rollouts under way and their requests."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rollouts: dict[str, deque[WaitingRequest]] = {}

    def open(self, rollouts: Iterable[str]) -> None:
        """Expect requests of these rollouts; they are answered in this order."""
        with self._changed:
            self._rollouts = {rollout: deque() for rollout in rollouts}

    def ended(self, rollout: str) -> None:
        """No request of this rollout comes any more; one that still waits gets no sample."""
        with self._changed:
            left = self._rollouts.pop(rollout, ())
            self._changed.notify_all()
        for request in left:
            request.reply.set_result(failing_answer("the rollout has ended"))

    def ask(self, rollout: str, body: Body) -> HttpAnswer | None:
        """Wait for the answer to a request; None: the rollout is not under way."""
        request = WaitingRequest(rollout, body)
        with self._changed:
            if rollout not in self._rollouts:
                return None
            self._rollouts[rollout].append(request)
            self._changed.notify_all()
        return request.reply.result()

    def next(self, timeout_s: float) -> list[WaitingRequest] | None:
        """One request of each rollout under way, once all wait; empty: none is under way.

        None: some rollout neither asked nor ended within `timeout_s`.
        """
        with self._changed:
            if not self._changed.wait_for(self._all_wait, timeout_s):
                return None
            return [requests.popleft() for requests in self._rollouts.values()]

    def _all_wait(self) -> bool:
        return all(self._rollouts.values())

    def close(self, reply: HttpAnswer) -> None:
        """Answer all that wait with `reply`, and forget the rollouts."""
        with self._changed:
            left = [request for waiting in self._rollouts.values() for request in waiting]
            self._rollouts = {}
            self._changed.notify_all()
        for request in left:
            request.reply.set_result(reply)
