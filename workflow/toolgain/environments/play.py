"""Play rows through the agents of a running environment."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass

import httpx

from toolgain.common.errors import StageError
from toolgain.environments.gym import Environment
from toolgain.environments.relay import MARK, Calls, Relay

LOOK_S = 1.0
"""How often it is looked whether the servers are alive."""

Row = Mapping[str, object]


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
        timeout_s: Gym itself waits for ever; after this a rollout has failed.
        sampling: What goes into `responses_create_params`: temperature, max_output_tokens.
        prefix: Tells these rollouts from others at the same relay.

    Raises:
        StageError: a server has ended; it is named.
    """
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="rollout")
    client = httpx.Client(
        timeout=httpx.Timeout(timeout_s, pool=None),
        trust_env=False,
        limits=httpx.Limits(max_connections=at_once),
    )
    try:
        waiting: list[Future[Rollout]] = [
            pool.submit(
                _one, environment, relay, client, row, number, f"{prefix}-{number}-{turn}", sampling
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
        return [future.result() for future in waiting]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        client.close()


def _one(
    environment: Environment,
    relay: Relay,
    client: httpx.Client,
    row: Row,
    number: int,
    mark: str,
    sampling: Mapping[str, object],
) -> Rollout:
    started = time.monotonic()
    reward, error = _reward(environment, client, row, mark, sampling)
    calls = relay.rollouts.get(mark, Calls())
    # What the model server said is nearer to the cause than what Gym made of it.
    error = error and (calls.error or error)
    agent = None if unplayable(environment, row) else _agent(row)
    return Rollout(number, reward, error, time.monotonic() - started, calls, agent)


def _agent(row: Row) -> str:
    reference = row["agent_ref"]
    assert isinstance(reference, Mapping)
    return str(reference["name"])


def _reward(
    environment: Environment,
    client: httpx.Client,
    row: Row,
    mark: str,
    sampling: Mapping[str, object],
) -> tuple[float | None, str | None]:
    if error := unplayable(environment, row):
        return None, error
    asked = row["responses_create_params"]
    assert isinstance(asked, Mapping)
    given = asked.get("metadata")
    metadata = {**(given if isinstance(given, Mapping) else {}), MARK: mark}
    body = {**row, "responses_create_params": {**asked, **sampling, "metadata": metadata}}
    agent = environment.agents[_agent(row)]
    try:
        response = client.post(f"{agent.url}/run", json=body)
    except httpx.TimeoutException:
        return None, f"no reward after {client.timeout.read:.0f} s"
    except httpx.HTTPError as error:
        return None, f"{type(error).__name__} from the agent"
    if response.status_code != 200:
        said = " ".join(response.text.split())
        return None, f"HTTP {response.status_code} from Gym: {said[:300]}"
    try:
        reward = response.json()["reward"]
    except (ValueError, KeyError, TypeError):
        return None, "Gym's answer holds no reward"
    return float(reward), None


def unplayable(environment: Environment, row: Row) -> str | None:
    """Why no agent of the environment can be given this row; None where one can."""
    reference = row.get("agent_ref")
    name = reference.get("name") if isinstance(reference, Mapping) else None
    if not isinstance(name, str):
        return "it has no agent_ref.name: Gym's preparation adds it (gym dataset collate)"
    if name not in environment.agents:
        there = ", ".join(sorted(environment.agents)) or "none"
        return f"agent_ref names {name!r}, which the configuration does not have; it has: {there}"
    if not isinstance(row.get("responses_create_params"), Mapping):
        return "it has no responses_create_params"
    return None
