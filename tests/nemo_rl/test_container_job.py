"""`toolgain doctor --container-job` as a real Slurm job over three hosts of the test cluster.

There is no pyxis: the cluster's srun takes the container options and runs the program on the host.
What the image would hold are stand-ins: a Python that calls itself vLLM's, a folder with one of
Gym's environments. Slurm, its job, its steps and the program that asks are real.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_nemo_rl_chain import configuration

from slurm import cluster as machine

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TOOLGAIN = Path(sys.executable).with_name("toolgain")
TRL = Path(__file__).parents[2] / ".venvs/trl/bin/python"


def image(folder: Path, version: str = "0.20.0", lacking: str = "") -> dict[str, Any]:
    """Stand-ins for what an image holds; the training's Python is not on the host `lacking`."""
    packages = folder / "vllm-packages"
    metadata = packages / f"vllm-{version}.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    vllm = program(folder / "vllm-python", f'PYTHONPATH={packages} exec {sys.executable} "$@"')
    python = program(
        folder / "training-python",
        f'[ "$(hostname)" != "{lacking}" ] && exec {sys.executable} "$@"',
    )
    (folder / "gym_venvs/one").mkdir(parents=True)
    (folder / "gym_venvs/one/pyvenv.cfg").touch()
    return {
        "python": str(python),
        "converter_python": str(TRL),
        "vllm_python": str(vllm),
        "env": {"NEMO_GYM_VENV_DIR": str(folder / "gym_venvs")},
    }


def program(path: Path, line: str) -> Path:
    path.write_text(f"#!/bin/bash\n{line}\n")
    path.chmod(0o755)
    return path


def asked(folder: Path, **changes: str) -> dict[str, str]:
    """What `doctor --container-job` says, by the name of its line."""
    values = configuration(folder)
    values["cluster"]["nemo_rl"] |= image(folder, **changes)
    # Its checkpoints need torch alone, and no Megatron.
    values["training"]["nemo_rl"]["policy_backend"] = "dtensor"
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return job_lines(folder)


def job_lines(folder: Path) -> dict[str, str]:
    """What the job says with the config.yaml of a folder, by the name of its line."""
    done = subprocess.run(
        [TOOLGAIN, "doctor", "--container-job", "--config", folder / "config.yaml"],
        cwd=folder,
        env=os.environ | {"SLURM_ACCOUNT": machine.ACCOUNT, "SLURM_PARTITION": machine.PARTITION},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if "container job: " in line]
    assert lines, done.stdout + done.stderr
    found = {}
    for line in lines:
        verdict, _, rest = line.partition("run grpo, container job: ")
        name, _, said = rest.partition(": ")
        found[name] = f"{verdict.strip()}: {said}"
    return found


def test_every_host_is_asked_in_one_job(cluster: None, tmp_path: Path) -> None:
    said = asked(tmp_path)
    assert said["start"].startswith("ok: the image starts on n1, n2, n3"), said
    assert said["vLLM"] == "ok: 0.20.0 (3 nodes)"
    assert said["converters' Python"].endswith("(3 nodes)")
    assert said["training Python"].endswith("(3 nodes)")
    assert said["Gym's environments"].startswith("ok: 1 in ")
    assert not [line for line in said.values() if not line.startswith("ok")], said


def test_what_one_host_lacks_is_named_with_that_host(cluster: None, tmp_path: Path) -> None:
    said = asked(tmp_path, version="0.11.2", lacking="n2")
    assert said["start"].startswith("ok: "), said
    assert said["training Python"].startswith("FIX: n2: ")
    assert "n1" not in said["training Python"] and "n3" not in said["training Python"]
    assert "the image has vLLM 0.11.2, but NeMo RL v0.7.0 comes with 0.20.0" in said["vLLM"]
