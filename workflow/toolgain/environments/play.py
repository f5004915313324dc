"""Play rows through the agents of a running environment."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass

from toolgain.common.errors import StageError
from toolgain.environments.gym import Environment, look_for_the_dead
from toolgain.environments.relay import Calls, Relay
from toolgain.environments.rollouts import NO_ANSWER, Row, agent_of, run_row, unplayable

LOOK_S = 1.0
"""How often it is looked whether the servers are alive."""


@dataclass(frozen=True)
class Rollout:
    """One row, played once."""

    row: int
    """Its place in the rows that were given."""
    reward: float | None
    """By Gym's own verifier; None: it failed."""
    error: str | None
    """Why it failed."""
    seconds: float
    calls: Calls
    agent: str | None = None
    """Name of the agent that played it; None: none could."""


def play(
    environment: Environment,
    relay: Relay,
    rows: Sequence[Row],
    *,
    times: int,
    at_once: int,
    timeout_s: float,
    sampling: Mapping[str, object],
    prefix: str,
) -> list[Rollout]:
    """Play each row `times` times, at most `at_once` together; rollouts of a row side by side.

    Args:
        timeout_s: Gym itself waits forever; after this a rollout has failed.
        sampling: What goes into `responses_create_params`: temperature, max_output_tokens.
        prefix: Tells these rollouts from others at the same relay.

    Raises:
        StageError: a server has ended; it is named.
    """
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="rollout")
    try:
        waiting: list[Future[Rollout]] = [
            pool.submit(
                _one,
                environment,
                relay,
                row,
                number,
                f"{prefix}-{number}-{turn}",
                sampling,
                timeout_s,
            )
            for number, row in enumerate(rows)
            for turn in range(times)
        ]
        left: set[Future[Rollout]] = set(waiting)
        while left:
            _, left = wait_for(left, timeout=LOOK_S)
            reason = environment.alive() or (relay.endpoint and relay.endpoint.alive())
            if reason:
                raise StageError(f"rehearse: {reason}")
        played = [future.result() for future in waiting]
        if any(rollout.error and rollout.error.endswith(NO_ANSWER) for rollout in played):
            look_for_the_dead(environment, "rehearse")
        return played
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _one(
    environment: Environment,
    relay: Relay,
    row: Row,
    number: int,
    mark: str,
    sampling: Mapping[str, object],
    timeout_s: float,
) -> Rollout:
    started = time.monotonic()
    outcome = run_row(environment, row, mark, sampling, timeout_s)
    calls = relay.rollouts.get(mark, Calls())
    # What the model server said is nearer to the cause than what Gym made of it.
    error = outcome.error and (calls.error or outcome.error)
    agent = None if unplayable(environment, row) else agent_of(row)
    return Rollout(number, outcome.reward, error, time.monotonic() - started, calls, agent)
