"""One row, played once by the agent that it names."""

import http.client
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from toolgain.environments.chat_endpoint import MARK
from toolgain.environments.gym import Environment

Row = Mapping[str, object]
Item = Mapping[str, object]
"""What a rollout consists of, in OpenAI's Responses API: a message, a call, what a tool said."""

NO_ANSWER = "from the agent"
"""How the error of a rollout ends whose agent ended, or closed the connection."""


@dataclass(frozen=True)
class Outcome:
    """How a rollout ended."""

    reward: float | None
    """By Gym's own verifier; None: it failed."""
    error: str | None
    """Why it failed."""
    output: tuple[Item, ...] = ()
    """What came after the row's input."""


def run_row(
    environment: Environment,
    row: Row,
    mark: str,
    sampling: Mapping[str, object],
    timeout_s: float,
) -> Outcome:
    """Play `row`; its requests at the model endpoint carry `mark`.

    Args:
        sampling: What goes into `responses_create_params`: temperature, max_output_tokens.
        timeout_s: Gym itself waits forever; after this the rollout has failed.
    """
    if why := unplayable(environment, row):
        return Outcome(None, why)
    asked = row["responses_create_params"]
    assert isinstance(asked, Mapping)
    given = asked.get("metadata")
    metadata = {**(given if isinstance(given, Mapping) else {}), MARK: mark}
    body = {**row, "responses_create_params": {**asked, **sampling, "metadata": metadata}}
    address = urlsplit(environment.agents[agent_of(row)].url)
    connection = http.client.HTTPConnection(
        address.hostname or "127.0.0.1", address.port, timeout=timeout_s
    )
    try:
        headers = {"content-type": "application/json"}
        connection.request("POST", "/run", json.dumps(body).encode(), headers)
        response = connection.getresponse()
        status, content = response.status, response.read()
    except TimeoutError:
        return Outcome(None, f"no reward after {timeout_s:.0f} s")
    except (OSError, http.client.HTTPException) as error:
        return Outcome(None, f"{type(error).__name__} {NO_ANSWER}")
    finally:
        connection.close()
    if status != 200:
        return Outcome(
            None, f"HTTP {status} from Gym: {gym_reason(content.decode(errors='replace'))}"
        )
    return _outcome(content)


FIELD = re.compile(r'"loc":\[([^\]]*)\],"msg":"([^"]*)"')
"""A field that Gym refuses, as pydantic says it; several servers may have quoted it on its way."""


def gym_reason(text: str) -> str:
    """Why Gym refuses a row, without the row, which it quotes: the fields where it names some."""
    fields = FIELD.findall(text.replace("\\", ""))
    named = [".".join(re.findall(r"[\w-]+", place)) + f": {said}" for place, said in fields]
    first = list(dict.fromkeys(named))[:3]
    return "; ".join(first) or " ".join(text.split())[:300]


def _outcome(content: bytes) -> Outcome:
    try:
        found = json.loads(content)
        reward = float(found["reward"])
    except (ValueError, KeyError, TypeError):
        return Outcome(None, "Gym's answer holds no reward")
    if not math.isfinite(reward):
        return Outcome(None, f"Gym's reward is not a finite number: {reward}")
    response = found.get("response")
    output = response.get("output") if isinstance(response, Mapping) else None
    items = output if isinstance(output, list) else []
    return Outcome(reward, None, tuple(item for item in items if isinstance(item, Mapping)))


def agent_of(row: Row) -> str:
    """Name of the agent that plays a row."""
    reference = row["agent_ref"]
    assert isinstance(reference, Mapping)
    return str(reference["name"])


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
