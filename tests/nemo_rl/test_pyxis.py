"""Training and `doctor --container-job` in real containers: enroot and pyxis on the test cluster.

TOOLGAIN_PYXIS names a folder with both (docs/nemo-rl.md says how they are built), and
TOOLGAIN_PYXIS_IMAGE a .sqsh file that holds bash, this Python at its path and a folder
/opt/gym_venvs. The repository and its environments are mounted.
"""

import os
import sys
from pathlib import Path

import pytest
import yaml
from test_container_job import image, job_lines, program
from test_contract import Run
from test_nemo_rl_chain import configuration

IMAGE = os.environ.get("TOOLGAIN_PYXIS_IMAGE", "")
ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        not IMAGE or "TOOLGAIN_PYXIS" not in os.environ,
        reason="TOOLGAIN_PYXIS and TOOLGAIN_PYXIS_IMAGE name no pyxis and no image",
    ),
]

MOUNTS = [f"{path}:{path}" for path in (ROOT, (ROOT / ".venvs").resolve())]


def python_in_the_image(folder: Path, host_only: Path) -> str:
    """This Python, which refuses to start where a folder of the host can be seen."""
    line = f'[ ! -e {host_only} ] && exec {sys.executable} "$@"'
    return str(program(folder / "python-in-the-image", line))


def test_the_container_job_looks_into_the_image_on_every_host(
    cluster: None, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = configuration(tmp_path)
    site = values["cluster"]["nemo_rl"]
    site |= image(tmp_path)
    site["python"] = python_in_the_image(tmp_path, tmp_path_factory.mktemp("host"))
    site["mounts"] = [*MOUNTS, f"{tmp_path}:{tmp_path}"]
    values["cluster"]["container"] = IMAGE
    values["training"]["nemo_rl"]["policy_backend"] = "dtensor"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    said = job_lines(tmp_path)
    assert said["start"].startswith("ok: the image starts on n1, n2, n3"), said
    assert said["training Python"].endswith("(3 nodes)")
    assert said["converters' Python"] == "ok: there (3 nodes)"
    # enroot's root is read-only as it comes.
    assert "/root cannot be written" in said["writable root"]
    site["env"]["ENROOT_ROOTFS_WRITABLE"] = "yes"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    said = job_lines(tmp_path)
    assert not [line for line in said.values() if not line.startswith("ok")], said


def test_a_training_run_over_two_hosts_runs_in_the_image(
    cluster: None, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    host_only = tmp_path_factory.mktemp("host")
    run = Run(
        tmp_path,
        nodes=2,
        limit="60",
        settings={"num_prompts_per_step": 8},
        site={"mounts": MOUNTS, "setup_minutes": 20, "env": {"ENROOT_ROOTFS_WRITABLE": "yes"}},
        container=IMAGE,
    )
    run.site["python"] = python_in_the_image(run.folder, host_only)
    code, log = run.launch(seconds=3000)
    assert code == 0, log
    assert run.manifest()["total_steps"] == run.manifest()["planned_steps"]
    assert run.manifest()["handover"]["mounts"][:2] == MOUNTS
    run.until(lambda: not run.steps(), "the job's steps to be gone")
