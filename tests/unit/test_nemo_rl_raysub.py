"""What ray.sub is given: nothing by chance, no secret, every path mounted."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import pytest

from toolgain.common.errors import UserError
from toolgain.slurm import containers
from toolgain.slurm.allocation import Allocation
from toolgain.training.nemo_rl import raysub
from toolgain.training.nemo_rl.overrides import Override
from toolgain.training.nemo_rl.refs import REFS

FOUND = Allocation(
    job_id="77",
    nodes=("n1", "n2", "n3"),
    cpus=24,
    gpus=24,
    end=None,
    restarts=1,
    account="research",
    partition="batch",
)
SITE = made.cluster(Path("/rl")).nemo_rl
INHERITED = {
    "PATH": "/bin",
    "HOME": "/home/me",
    "PORT": "8888",
    "SETUP_COMMAND": "rm -rf /",
    "SANDBOX_COMMAND": "x",
    "SANDBOX_CONTAINER": "y",
    "COMMAND": "from jupyter",
    "OMP_NUM_THREADS": "1",
    "TMPDIR": "/scratch",
    "PYTHONPATH": "/here",
    "SLURM_JOB_ID": "77",
    "SLURM_CPUS_PER_TASK": "1",
    "SRUN_CPUS_PER_TASK": "1",
    "HF_TOKEN": "hf_marked",
    "WANDB_API_KEY": "marked",
    "MY_PASSWORD": "marked",
}


def environment(**changes: Any) -> dict[str, str]:
    arguments: dict[str, Any] = {
        "base": INHERITED,
        "found": FOUND,
        "root": Path("/rl"),
        "container": "nvcr.io#nvidia/nemo-rl:v0.7.0",
        "mounts": ["/rl:/rl", "/work:/work"],
        "command": "set -e\npython x",
        "log_folder": Path("/work/logs"),
        "gpus_per_node": 8,
        "site": SITE,
    }
    return raysub.ray_sub_environment(**{**arguments, **changes})


def test_every_variable_of_the_contract_is_set_and_nothing_comes_by_chance() -> None:
    found = environment()
    assert found["CONTAINER"] == "nvcr.io#nvidia/nemo-rl:v0.7.0"
    assert found["MOUNTS"] == "/rl:/rl,/work:/work"
    assert found["COMMAND"] == "set -e\npython x"
    assert found["GPUS_PER_NODE"] == "8"
    assert found["CPUS_PER_WORKER"] == "8"
    assert found["BASE_LOG_DIR"] == "/work/logs"
    assert found["SLURM_SUBMIT_DIR"] == "/rl"
    assert found["SLURM_OVERLAP"] == "1"
    assert found["SLURM_JOB_NODELIST"] == "n1,n2,n3"
    assert found["SLURM_JOB_NUM_NODES"] == "3"
    assert found["SLURM_JOB_ACCOUNT"] == "research"
    assert found["SLURM_JOB_PARTITION"] == "batch"
    for name in ("PORT", "SETUP_COMMAND", "SANDBOX_COMMAND", "SANDBOX_CONTAINER", "TMPDIR"):
        assert name not in found
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "SRUN_CPUS_PER_TASK", "PYTHONPATH"):
        assert name not in found
    assert found["PATH"] == "/bin"


def test_no_secret_goes_in() -> None:
    assert not any("marked" in value for value in environment().values())


def test_an_account_that_slurm_does_not_name_is_asked_for() -> None:
    nameless = replace(FOUND, account=None)
    assert environment(found=nameless, account="mine")["SLURM_JOB_ACCOUNT"] == "mine"
    with pytest.raises(UserError, match=r"set cluster\.account"):
        environment(found=nameless)


@pytest.mark.parametrize("path", ["/a b", "/a,b", "/a$b", "/a'b"])
def test_a_path_that_ray_sub_would_break_on_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="does not quote; use a plain path"):
        environment(root=Path(path))


def command(ref: str = "v0.7.0", wandb: str = "off", key_file: str | None = None) -> str:
    found = [Override("policy.model_name", "/models/with=sign"), Override("a", delete=True)]
    config = Path("/rl/some.yaml")
    return raysub.ray_sub_command(REFS[ref], Path("/rl"), config, found, SITE, wandb, key_file)


def test_the_command_stops_at_the_first_failure_and_ends_in_the_program() -> None:
    lines = command().splitlines()
    assert lines[:3] == ["set -euo pipefail", "umask 077", "cd /rl"]
    assert "export HF_HUB_OFFLINE=1" in lines
    last = " ".join(line.rstrip("\\").strip() for line in lines[lines.index("cd /rl") :])
    words = shlex.split(last.split("exec ")[1])
    assert words[1:] == [
        "examples/nemo_gym/run_grpo_nemo_gym.py",
        "--config=/rl/some.yaml",
        "++policy.model_name='/models/with=sign'",
        "~a",
    ]


def test_the_wandb_key_is_read_in_the_container_from_its_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("marked")
    key.chmod(0o600)
    given = {"WANDB_API_KEY_FILE": str(key)}
    named = raysub.wandb_key_file(given, REFS["v0.5.0"], "online")
    assert named == str(key)
    text = command(wandb="online", key_file=named)
    assert f'WANDB_API_KEY="$(cat {key})"' in text
    assert "marked" not in text


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("marked")
    key.chmod(0o644)
    with pytest.raises(UserError, match="others can read"):
        raysub.wandb_key_file({"WANDB_API_KEY_FILE": str(key)}, REFS["v0.7.0"], "online")


def test_an_old_ray_sub_would_print_the_key() -> None:
    given = {"WANDB_API_KEY": "marked"}
    assert raysub.wandb_key_file(given, REFS["v0.7.0"], "online") is None
    with pytest.raises(UserError, match=r"prints the whole environment .* WANDB_API_KEY_FILE"):
        raysub.wandb_key_file(given, REFS["v0.6.0"], "online")


def test_wandb_online_without_a_key_is_refused() -> None:
    with pytest.raises(UserError, match="neither WANDB_API_KEY nor"):
        raysub.wandb_key_file({}, REFS["v0.7.0"], "online")
    assert raysub.wandb_key_file({}, REFS["v0.7.0"], "offline") is None
    assert "export WANDB_MODE=offline" in command(wandb="offline")


def test_mounts_cover_each_folder_once() -> None:
    needed = [Path("/rl"), Path("/work/a"), Path("/work/a/b"), Path("/lustre/x")]
    found = containers.mounts(["/lustre:/lustre", "/tmp/a:/b"], needed)
    assert found == ["/lustre:/lustre", "/tmp/a:/b", "/rl:/rl", "/work/a:/work/a"]


@pytest.mark.parametrize("mount", ["rl:/rl", "/rl", "/a b:/c", "/a:/b,/c:/d"])
def test_a_mount_that_is_none_is_refused(mount: str) -> None:
    with pytest.raises(UserError, match="is not `/source:/target`"):
        containers.mounts([mount], [])


def test_a_folder_with_a_comma_cannot_be_mounted() -> None:
    with pytest.raises(UserError, match="cannot be mounted"):
        containers.mounts([], [Path("/a,b")])
