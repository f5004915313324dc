"""A running NeMo Gym environment: its servers, watched, for as long as a block lasts."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from toolgain.common import processes
from toolgain.common.errors import StageError, UserError
from toolgain.common.logs import first_error, last_line
from toolgain.common.processes import Command
from toolgain.records.record import Part, read_record, write_record

MODEL = "responses_api_models/vllm_model/configs/vllm_model.yaml"
"""Gym's own model server for an OpenAI-compatible endpoint, in Gym's package."""
START_S = 900.0
"""Servers import a gigabyte of packages; from a cold disk that takes minutes."""

Value = bool | int | float | str | list[str] | None


class GymPlan(Part):
    """What `gym_servers` is asked to start."""

    folder: str = Field(description="Logs, and the files that say how it went.")
    config_paths: list[str] = Field(description="Gym's YAML files.")
    overrides: dict[str, Value] = Field(description="Dotted keys of the merged YAML.")
    base_url: str = Field(description="The model endpoint, up to /v1.")
    key: str = Field(description="Its key.", repr=False)
    model: str = Field(description="The model's name there.")
    start_timeout_s: float = Field(description="How long a server may take to answer at first.")
    health_timeout_s: float | None = Field(
        description="How long a server may then answer nothing and do nothing; null: forever."
    )
    busy_timeout_s: float | None = Field(
        description="Processor time that it may spend in one request while it answers nothing."
    )


class Server(Part):
    """One server of an environment."""

    kind: Literal["resources_servers", "responses_api_agents", "responses_api_models"]
    program: str = Field(description="Name of its folder in Gym.")
    url: str
    pid: int
    max_steps: int | None = Field(description="An agent's limit of model calls; null: none.")


class Started(Part):
    """servers.json: every server answers."""

    servers: dict[str, Server]


class Ended(Part):
    """ended.json: a server has ended, or none could be started."""

    server: str | None
    reason: str
    bad_input: bool = False
    """Whether the same configuration would end the same way again."""
    answers_nothing: bool = False
    """Whether it was ended because it ran and answered nothing; its log does not say so."""


@dataclass(frozen=True)
class Environment:
    """Servers that run."""

    servers: Mapping[str, Server]
    alive: Callable[[], str | None] = field(repr=False)
    """None while all run; else which one does not, and why."""

    @property
    def agents(self) -> dict[str, Server]:
        """The agents, by the name that rows call them by."""
        kind = "responses_api_agents"
        return {name: server for name, server in self.servers.items() if server.kind == kind}


ENDED_S = 5.0
"""How long it is looked for a server that failed a rollout: several looks of what watches them."""


def look_for_the_dead(environment: Environment, stage: str) -> None:
    """A server that has just ended fails rollouts before it is known to have ended.

    Raises:
        StageError: one has; it is named.
    """
    deadline = time.monotonic() + ENDED_S
    while processes.wait_until(deadline):
        if reason := environment.alive():
            raise StageError(f"{stage}: {reason}")


@contextmanager
def running_environment(
    *,
    environment: Path,
    config_paths: list[str],
    overrides: Mapping[str, Value],
    base_url: str,
    key: str,
    folder: Path,
    stage: str,
    health_timeout_s: float | None,
    busy_timeout_s: float | None,
    owner: str = "",
) -> Iterator[Environment]:
    """Run the servers of an environment while the block lasts; they end with it, come what may.

    Args:
        environment: The Python environment that `make setup-gym` made.
        config_paths: Gym's YAML files: paths in Gym's package, or files of one's own.
        overrides: Dotted keys of the merged YAML and their values.
        base_url: The model endpoint that Gym's model server calls, up to /v1.
        key: The key of that endpoint.
        folder: Where logs go, one file per server.
        stage: Whose servers they are, for messages.
        health_timeout_s: `training.gym.health_timeout_s`.
        busy_timeout_s: `training.gym.busy_timeout_s`.
        owner: Which of several processes they belong to, for messages.

    Raises:
        UserError: the environment is missing, or Gym refuses the configuration.
        StageError: a server ended, or does not answer in time.
    """
    python = environment.absolute() / "bin" / "python"
    if not python.exists():
        raise UserError(f"environments.gym: {python} does not exist; `make setup-gym` makes it.")
    folder.mkdir(parents=True, exist_ok=True)
    claim = folder / "processes.json"
    processes.end_leftovers(claim)
    for name in ("servers.json", "ended.json"):
        (folder / name).unlink(missing_ok=True)
    plan = folder / "plan.json"
    local = [str(Path(path).absolute()) if Path(path).is_file() else path for path in config_paths]
    models = [path for path in local if path.startswith("responses_api_models/")]
    plan.touch(mode=0o600)
    write_record(
        plan,
        GymPlan(
            folder=str(folder.absolute()),
            config_paths=local if models else [MODEL, *local],
            overrides=dict(overrides),
            base_url=base_url,
            key=key,
            model="policy",
            start_timeout_s=START_S,
            health_timeout_s=health_timeout_s,
            busy_timeout_s=busy_timeout_s,
        ),
    )
    command = Command(
        [str(python), "-P", "-m", "toolgain.environments.gym_servers", str(plan.absolute())]
    )
    env = processes.scrubbed_environment(python.parent, folder.absolute())
    env |= {
        "WANDB_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    log = folder / "gym.log"
    with processes.running(command, env, log, claim) as process:

        def alive() -> str | None:
            if process.poll() is None and not (folder / "ended.json").exists():
                return None
            return _why(folder, log, owner)

        # What starts them names the one that does not answer.
        deadline = time.monotonic() + START_S + 60
        while not (folder / "servers.json").exists():
            if reason := alive():
                error = UserError if _refused(folder) else StageError
                raise error(f"{stage}: {reason}")
            if not processes.wait_until(deadline):
                raise StageError(
                    f"{stage}: the Gym servers have not started in {START_S:.0f} s; see {folder}."
                )
        started = read_record(Started, folder / "servers.json", "Gym's servers")
        yield Environment(started.servers, alive)


def _refused(folder: Path) -> bool:
    """Whether Gym ended over the configuration, or over what was not set up for it."""
    ended = folder / "ended.json"
    return ended.exists() and read_record(Ended, ended, "Gym's servers").bad_input


def _why(folder: Path, log: Path, owner: str) -> str:
    of = f" of {owner}" if owner else ""
    ended = folder / "ended.json"
    if not ended.exists():
        return f"the Gym servers{of} ended; see {log}: {first_error(log) or last_line(log)}"
    found = read_record(Ended, ended, "Gym's servers")
    if found.server is None:
        return f"Gym refuses the configuration: {found.reason[:500]}"
    if found.bad_input:
        return f"the Gym server {found.server}: {found.reason}"
    own = folder / f"{found.server}.log"
    said = "" if found.answers_nothing else first_error(own) or last_line(own)
    return f"the Gym server {found.server}{of}: {found.reason}; see {own}" + (
        f": {said}" if said else ""
    )
