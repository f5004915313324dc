"""GRPO of a tiny model in NVIDIA's environment xlam_fc: real agent, real verifier."""

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from test_trainings import saved, wait_for, weights
from training_place import Place, new_place

from gym_env import GYM, needs_gym
from toolgain.serving.server import python_version_of

XLAM = "resources_servers/xlam_fc/configs/xlam_fc.yaml"

pytestmark = [
    pytest.mark.slow,
    needs_gym,
]


def gym_place(folder: Path, model: Path) -> Place:
    # Two answers: the first call is answered by a server that knows no such tool.
    return new_place(
        folder,
        model,
        environment="nemo_gym",
        gym={"config_paths": [XLAM], "max_turns": 2, "health_timeout_s": 10},
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Place:
    place = gym_place(tmp_path_factory.mktemp("gym"), tiny_model)
    done = place.train()
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def test_a_training_in_gym_leaves_what_every_training_leaves(undisturbed: Place) -> None:
    manifest = undisturbed.read()
    assert manifest["total_steps"] == 12
    assert manifest["versions"]["nemo-gym"] == python_version_of(GYM, "nemo-gym")
    curves = manifest["curves"]
    assert [step for step, _ in curves["train/reward"]] == list(range(1, 13))
    assert [step for step, _ in curves["validation/accuracy"]] == [0, 4, 8, 12]
    # Gym's verifier gives all or nothing.
    rewards = {reward * 16 for _, reward in curves["train/reward"]}
    assert all(reward == round(reward) for reward in rewards) and len(rewards) > 1
    assert any(value > 0 for _, value in curves["train/grad_norm"])
    assert all(1 <= turns <= 2 for _, turns in curves["train/turns"])
    assert any(turns > 1 for _, turns in curves["train/turns"])
    # One task is answered rightly or not; their mean is a share.
    single = {
        value
        for name in ("lowest", "highest")
        for _, value in curves[f"validation/accuracy_{name}"]
    }
    assert single <= {0.0, 1.0} and manifest["validation_items"] == 12
    info = json.loads((undisturbed.checkpoints / "step_12" / "training_info.json").read_text())
    assert info["val:accuracy"] == dict(curves["validation/accuracy"])[12]


def server_of(place: Place, name: str, rank: int = 0) -> psutil.Process:
    """A Gym server of the launch that runs."""
    found = max(place.checkpoints.glob(f"logs/exp_*/gym-{rank}/servers.json"))
    return psutil.Process(json.loads(found.read_text())["servers"][name]["pid"])


def equal(place: Place, measure: Place, last: int) -> None:
    """Whether two trainings came out the same."""
    mine, other = place.read()["curves"], measure.read()["curves"]
    for name in ("train/reward", "train/loss", "train/turns", "validation/accuracy"):
        np.testing.assert_allclose(mine[name], other[name], rtol=1e-5, atol=1e-6)
    step = f"step_{last}"
    assert weights(place.checkpoints / step) == weights(measure.checkpoints / step)


def test_servers_that_are_killed_are_named_and_the_training_comes_out_the_same(
    tmp_path: Path, tiny_model: Path, undisturbed: Place
) -> None:
    """The verifier's server is killed, then the trainer; it resumes each time."""
    place = gym_place(tmp_path, tiny_model)
    process = place.start()
    wait_for(lambda: saved(place, 4), process, 600)
    server_of(place, "xlam_fc").kill()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "the Gym server xlam_fc: it ended (exit -9)" in output.splitlines()[-1]

    process = place.start()
    wait_for(goes_on(place, 2), process, 600)
    wait_for(lambda: saved(place, 8), process, 600)
    servers = [server_of(place, name) for name in ("xlam_fc", "xlam_fc_simple_agent")]
    process.kill()
    process.wait()
    psutil.wait_procs(servers, timeout=300)
    assert not any(server.is_running() for server in servers)

    done = place.train()
    assert done.returncode == 0, done.stdout + done.stderr
    assert [part["end"] for part in place.read()["segments"]] == ["failed", "killed", "finished"]
    equal(place, undisturbed, 12)


def test_two_processes_have_servers_of_their_own_and_resume_alike(
    tmp_path: Path, tiny_model: Path
) -> None:
    """The second process's agent is stopped, which answers nothing and does not end."""
    places = [gym_place(tmp_path / name, tiny_model) for name in ("undisturbed", "stopped")]
    for place in places:
        place.configure(processes=2)
    undisturbed, place = places
    done = undisturbed.train()
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = undisturbed.read()
    assert manifest["world_size"] == 2
    assert [step for step, _ in manifest["curves"]["validation/accuracy"]] == [0, 4, 8, 12]
    started = undisturbed.checkpoints.glob("logs/exp_001/gym-*/servers.json")
    assert {path.parent.name for path in started} == {"gym-0", "gym-1"}

    process = place.start()
    wait_for(lambda: saved(place, 4), process, 600)
    server_of(place, "xlam_fc_simple_agent", rank=1).send_signal(signal.SIGSTOP)
    output, _ = process.communicate(timeout=300)
    last = output.splitlines()[-1]
    named = f"the Gym server xlam_fc_simple_agent of process 1 on {socket.gethostname()}: "
    assert f"{named}it has answered nothing for 10 s, and a signal has stopped it" in last

    done = place.train()
    assert done.returncode == 0, done.stdout + done.stderr
    equal(place, undisturbed, 12)


def goes_on(place: Place, launch: int) -> Callable[[], bool]:
    """Whether the servers of this launch answer."""
    return lambda: any(place.checkpoints.glob(f"logs/exp_{launch:03d}/gym-0/servers.json"))
