"""Start the servers of a NeMo Gym environment. Runs in the environment of `make setup-gym`.

    python -m toolgain.environments.gym_servers PLAN.json

The plan is a `GymPlan`. Gym's own parser reads the configuration, and each server is the program
that `gym env start` would start, with the same variables. What differs:

- nothing is installed: a server runs in Gym's environment, or in the one that `make setup-gym`
  made for it;
- the configuration, which holds the key of the model endpoint, goes through the environment, not
  through a command line that every user of the machine can read;
- Ray is started only for servers whose code uses it: it takes a gigabyte, half a minute, and
  listens on every interface (with a token);
- the end of any server ends all of them at once, and `ended.json` names it; so does a server that
  runs and answers nothing (`toolgain.environments.health`).
"""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from nemo_gym import PARENT_DIR
from nemo_gym.global_config import GlobalConfigDictParser
from omegaconf import OmegaConf

from toolgain.common.files import read_text
from toolgain.common.logs import tail
from toolgain.common.signals import end_with_parent
from toolgain.environments.health import HealthCheck, Limits, is_answering

USES_RAY = re.compile(r"^\s*(import ray|from ray)\b", re.MULTILINE)

RUN = Path(__file__).with_name("gym_server.py")
STACK_S = 5.0
"""How long a server that loops may take to say where."""
FRAME = re.compile(r'^  File "(.+)", line (\d+) in (\S+)', re.MULTILINE)
"""Where a thread is, as Python's faulthandler writes it: the innermost call first."""


class Servers:
    """The processes of one environment."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.folder = Path(plan["folder"])
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.programs: dict[str, Path] = {}
        self.checks: dict[str, HealthCheck] = {}

    def start(self) -> None:
        """Start every server of the configuration, and write servers.json once all answer."""
        parser = GlobalConfigDictParser()
        asked = OmegaConf.create(
            {
                "config_paths": self.plan["config_paths"],
                "policy_base_url": self.plan["base_url"],
                "policy_api_key": self.plan["key"],
                "policy_model_name": self.plan["model"],
                "use_absolute_ip": False,
                "default_host": "127.0.0.1",
                "head_server": {"host": "127.0.0.1", "port": unused_port()},
                "uv_cache_dir": str(self.folder / "uv"),
            }
        )
        for key, value in self.plan["overrides"].items():
            OmegaConf.update(asked, key, value, force_add=True)
        config = parser.parse_no_environment(asked)
        instances = parser.filter_for_server_instance_configs(config)
        places = [(instance.name, *server_folder(config, instance.name)) for instance in instances]
        if any(uses_ray(directory) for _, directory, _ in places):
            config["ray_head_node_address"] = ray_address(self.folder)
        text = OmegaConf.to_yaml(config)
        record: dict[str, dict[str, Any]] = {}
        for name, directory, kind in places:
            settings = next(iter(config[name][kind].values()))
            self.processes[name] = self.launch(name, directory, str(settings.entrypoint), text)
            record[name] = {
                "kind": kind,
                "program": directory.name,
                "url": f"http://{settings.host}:{settings.port}",
                "pid": self.processes[name].pid,
                "max_steps": settings.get("max_steps"),
            }
        self.wait({name: server["url"] + "/" for name, server in record.items()})
        if idle_s := self.plan["health_timeout_s"]:
            limits = Limits(idle_s, self.plan["busy_timeout_s"])
            self.checks = {
                name: HealthCheck(
                    server["url"] + "/", server["pid"], limits, partial(self.requests, name)
                )
                for name, server in record.items()
            }
        write_file(self.folder / "servers.json", {"servers": record})

    def launch(
        self, name: str, directory: Path, entrypoint: str, config: str
    ) -> "subprocess.Popen[bytes]":
        """Start the server `name`, whose program lies in `directory`; its log is named after it."""
        self.programs[name] = directory / entrypoint
        relative = Path(*directory.parts[-2:])
        own = Path(sys.prefix) / "servers" / relative / "bin" / "python"
        needs = directory / "requirements.txt"
        if not own.exists() and needs.is_file() and own_requirements(read_text(needs)):
            reason = f"it needs packages of its own: make setup-gym GYM_SERVERS={relative}"
            self.fail(name, reason, bad_input=True)
        python = str(own) if own.exists() else sys.executable
        count = str(self.count_file(name))
        program = [entrypoint] if uses_ray(directory) else ["-P", str(RUN), count, entrypoint]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [python, *program],
                cwd=directory,
                env={
                    **os.environ,
                    "NEMO_GYM_CONFIG_DICT": config,
                    "NEMO_GYM_CONFIG_PATH": name,
                    "PYTHONPATH": f"{directory}:{PARENT_DIR}",
                    # So that SIGABRT says where a server is.
                    "PYTHONFAULTHANDLER": "1",
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def count_file(self, name: str) -> Path:
        """Where the server `name` counts its requests."""
        return self.folder / f"{name}.requests"

    def requests(self, name: str) -> int:
        """How many requests a server has begun and ended; 0: it does not count them."""
        try:
            return int(read_text(self.count_file(name)))
        except (OSError, ValueError):
            return 0

    def wait(self, pages: dict[str, str]) -> None:
        """Wait until every server answers at its page, whatever it says."""
        deadline = time.monotonic() + self.plan["start_timeout_s"]
        waiting = sorted(pages)
        while waiting:
            self.check()
            if time.monotonic() > deadline:
                self.fail(
                    waiting[0], f"no answer {self.plan['start_timeout_s']:.0f} s after its start"
                )
            waiting = [name for name in waiting if not is_answering(pages[name], 5.0)]
            time.sleep(0.2)

    def check(self) -> None:
        """End everything where one server has ended, or is taken for dead."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                self.fail(name, f"it ended (exit {process.returncode})")
        for name, health in self.checks.items():
            if health.reason:
                place = self.place(name) if health.loops else ""
                self.fail(name, health.reason + place, answers_nothing=True)

    def place(self, name: str) -> str:
        """Where in its code a server is that computes; ends it."""
        log = self.folder / f"{name}.log"
        begin = log.stat().st_size
        self.processes[name].send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.processes[name].wait(STACK_S)
        frames = FRAME.findall(tail(log, begin=begin))
        # Its own code says more than a library that it happened to be in.
        own = [frame for frame in frames if Path(frame[0]).parent == self.programs[name].parent]
        for file, line, function in (own or frames)[:1]:
            return f", in {function} ({file}, line {line})"
        return ""

    def fail(
        self, name: str, reason: str, *, bad_input: bool = False, answers_nothing: bool = False
    ) -> None:
        """Write ended.json (`toolgain.environments.gym.Ended`), and end this process and every
        server."""
        ended = {
            "server": name,
            "reason": reason,
            "bad_input": bad_input,
            "answers_nothing": answers_nothing,
        }
        write_file(self.folder / "ended.json", ended)
        for process in self.processes.values():
            process.kill()
        sys.exit(1)


def server_folder(config: Any, name: str) -> tuple[Path, str]:
    """Folder of a server's program, and what kind of server it is."""
    kind = next(key for key in config[name] if key.startswith(("resources_", "responses_api_")))
    return PARENT_DIR / kind / next(iter(config[name][kind])), kind


def own_requirements(text: str) -> bool:
    """Whether a requirements.txt names more than Gym itself."""
    lines = [line.strip() for line in text.splitlines()]
    return any(line and not line.startswith("#") and "../.." not in line for line in lines)


def uses_ray(directory: Path) -> bool:
    """Whether the code of a server, its tests left out, imports Ray."""
    return any(
        USES_RAY.search(read_text(path, errors="replace"))
        for path in directory.rglob("*.py")
        if "tests" not in path.relative_to(directory).parts
    )


def ray_address(folder: Path) -> str:
    """The address of a Ray of our own, which ends with this process."""
    import ray

    ray.init(include_dashboard=False, _node_ip_address="127.0.0.1", configure_logging=False)
    return str(ray.get_runtime_context().gcs_address)


def unused_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_file(path: Path, value: object) -> None:
    """Write JSON, whole at once: it is looked for at any moment."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)


def serve_gym(plan_file: Path) -> None:
    """Run the servers of a plan (`toolgain.environments.gym.GymPlan`) until one ends."""
    end_with_parent()
    # A server that is asked where it is leaves no core file behind.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    plan = json.loads(read_text(plan_file))
    # It holds the key of the model endpoint.
    plan_file.unlink()
    servers = Servers(plan)
    try:
        servers.start()
    except Exception as error:
        # Gym's parser says what is wrong with a configuration in several lines.
        ended = {"server": None, "reason": " ".join(str(error).split()), "bad_input": True}
        write_file(servers.folder / "ended.json", ended)
        raise
    while True:
        servers.check()
        time.sleep(1)


if __name__ == "__main__":
    serve_gym(Path(sys.argv[1]))
