"""Upstream's own, unmodified ray.sub with real Ray over three hosts of the test cluster.

The checkout that it runs in is made here: ray.sub from NEMO_RL_ROOT, the GRPO program and the YAML
of tests/nemo_rl. The container options are accepted by the test cluster and do nothing.
"""

import os
import shutil
from pathlib import Path

import pytest
from test_contract import Run, ray

from slurm import cluster as machine

__all__ = ["ray"]

# It waits for what happens, however long a busy machine takes: the limits below are for a hang.
HANG_S = 7200
pytestmark = [
    pytest.mark.upstream,
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(HANG_S + 600),
]


def test_the_real_ray_sub_brings_up_ray_and_trains(
    cluster: None, tmp_path: Path, ray: Path
) -> None:
    named = os.environ.get("NEMO_RL_ROOT")
    if not named:
        pytest.skip("NEMO_RL_ROOT names no NeMo RL checkout")
    environment = {
        "PATH": f"{ray}/bin:{os.environ['PATH']}",
        "TEST_RAY": str(ray),
        "RAY_memory_usage_threshold": "0.99",
        # Ray's dashboard takes more than its own patience on a small machine.
        "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": str(HANG_S),
        "RAY_raylet_start_wait_time_s": str(HANG_S),
    }
    site = {"env": environment, "setup_minutes": HANG_S / 120}
    run = Run(tmp_path, limit="240", site=site)
    shutil.copy(Path(named) / "ray.sub", run.root / "ray.sub")
    run.fail(step_seconds=1)
    code, log = run.launch(seconds=HANG_S)
    pattern = "results/work/training/*/launches/*/*-logs/ray-driver.log"
    drivers = [path.read_text() for path in run.folder.glob(pattern)]
    assert code == 0 and drivers, log + "".join(drivers)[-2000:]
    driver = drivers[0]
    assert f"Ray has (hosts, worker_units): 3 {3 * machine.GPUS}" in driver
    assert run.manifest()["total_steps"] == 10
    run.until(lambda: not run.steps(), "the job's steps to be gone")
