"""`toolgain doctor`: each line is ok, or says what to do."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import made
import pytest
import yaml

from toolgain.config.sections import parse_config
from toolgain.head import doctor
from toolgain.training.nemo_rl.refs import WORKPLACE_YAML


def config(folder: Path, **changes: Any) -> dict[str, Any]:
    """A configuration with which everything is in its place."""
    root = folder / "rl"
    if not root.exists():
        made.checkout(root)
        made.model(folder / "model")
        made.data(folder / "data", train=60)
        (folder / "hf").mkdir()
    values: dict[str, Any] = {
        "model": {"path": str(folder / "model")},
        "evaluation": {"serve": {"backend": "vllm", "container": "nvcr.io#nvidia/vllm:1"}},
        "training": {
            "backend": "nemo_rl",
            "tasks": {
                "train_file": str(folder / "data/train.jsonl"),
                "validation_file": str(folder / "data/validation.jsonl"),
            },
            "nemo_rl": {
                "num_prompts_per_step": 6,
                "num_generations_per_prompt": 4,
                "val_period": 2,
                "save_period": 2,
                "tensor_parallel_size": 1,
            },
        },
        "cluster": {
            "nodes": 3,
            "container": "nvcr.io#nvidia/nemo-rl:v0.7.0",
            "nemo_rl": {"root": str(root), "hf_home": str(folder / "hf")},
        },
    }
    for dotted, value in changes.items():
        node = values
        *parents, last = dotted.split("__")
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value
    return values


def lines(folder: Path, **changes: Any) -> dict[str, doctor.CheckLine]:
    """The lines that need no Slurm, by their name without the run's."""
    by_name: dict[str, doctor.CheckLine] = {}
    for line in doctor.checks(parse_config(config(folder, **changes))):
        name = line.name.removeprefix("run grpo, ")
        before = by_name.get(name)
        said = f"{before.message} {line.message}" if before else line.message
        by_name[name] = doctor.CheckLine(name, line.ok, said)
    return by_name


NEEDS_SLURM = ("Slurm", "container option of srun", "PMIx", "account")


def test_with_everything_in_place_all_is_ok(tmp_path: Path) -> None:
    found = lines(tmp_path)
    wrong = [
        line for line in found.values() if not line.ok and not line.name.startswith(NEEDS_SLURM)
    ]
    assert wrong == []
    assert "60 training and 8 validation rows" in found["data"].message
    assert "a copy without git history" in found["NeMo RL"].message
    assert "2 weight files" in found["model"].message
    assert found["training job"].message.startswith("3 x 8 GPUs, ")
    assert found["smoke job"].message.startswith("1 x 8 GPUs, ")


@pytest.mark.parametrize(
    ("changes", "name", "text"),
    [
        ({"model__path": "/no/model"}, "model", "hf download"),
        ({"model__patch": "nemotron-nano-v2"}, "chat template", "expected once"),
        ({"model__chat_template": "/no/template"}, "chat template", "does not exist"),
        ({"cluster__container": "/no/image.sqsh"}, "container image", "does not exist"),
        ({"cluster__container": "nvcr.io#nvidia/nemo-rl:v0.5.0"}, "container image", "says v0.5.0"),
        ({"cluster__nemo_rl__root": "/no/checkout"}, "NeMo RL", "is not a NeMo RL checkout"),
        ({"cluster__nemo_rl__root": None}, "NeMo RL", "names no NeMo RL checkout"),
        ({"cluster__nemo_rl__mounts": ["here"]}, "mounts", "is not `/source:/target`"),
        ({"cluster__nemo_rl__hf_home": None}, "shared caches", "hf_home is not set"),
        ({"cluster__nemo_rl__hf_home": "/no/home"}, "shared caches", "not a writable folder"),
        ({"training__tasks__train_file": "/no/rows"}, "data", "does not exist"),
        ({"cluster__nodes": 5}, "batch", "set num_prompts_per_step to 10"),
        ({"cluster__train_time": "1h"}, "time limit", "too short for one step"),
        ({"training__nemo_rl__config": "no.yaml"}, "settings (no.yaml)", "no.yaml does not exist"),
        (
            {"training__nemo_rl__overrides": {"grpo.sead": 1}},
            "settings (grpo_workplace_assistant_nemotron_nano_v2_9b.yaml)",
            "did you mean `grpo.seed`?",
        ),
        (
            {"evaluation__serve__container": "", "evaluation__serve__program": "no-vllm"},
            "serving flags",
            "is `no-vllm` on the PATH",
        ),
        (
            {"evaluation__serve__container": "/no/vllm.sqsh"},
            "serving flags",
            "evaluation.serve.container: /no/vllm.sqsh does not exist",
        ),
        (
            {
                "evaluation__serve__container": None,
                "evaluation__serve__backend": "endpoint",
                "evaluation__serve__url": "http://127.0.0.1:1/v1",
                "evaluation__serve__api_key_env": "NO_SUCH_KEY",
            },
            "serving flags",
            "the environment variable NO_SUCH_KEY is not set",
        ),
        (
            {"evaluation__serve__tool_parser_plugin": "/no/plugin.py"},
            "serving flags",
            "nor a file that exists",
        ),
    ],
)
def test_each_thing_that_is_missing_has_a_line(
    tmp_path: Path, changes: dict[str, Any], name: str, text: str
) -> None:
    line = lines(tmp_path, **changes)[name]
    assert not line.ok
    assert text in line.message


def command(folder: Path, name: str, text: str) -> None:
    """A command of Slurm that prints `text`."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    path.chmod(0o755)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's commands, of a cluster with everything that ray.sub asks for."""
    folder = tmp_path / "bin"
    partition = (
        "PartitionName=batch Default=YES MaxNodes=UNLIMITED MaxTime=1-00:00:00 State=UP "
        "TotalNodes=4"
    )
    command(folder, "scontrol", partition)
    command(folder, "sinfo", "batch|64|500000|gpu:8")
    command(folder, "srun", "--container-image=[USER@][REGISTRY#]IMAGE\npmix_v4")
    for name in ("sbatch", "squeue", "sacctmgr"):
        command(folder, name, "")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_ACCOUNT", "research")
    monkeypatch.delenv("SLURM_PARTITION", raising=False)
    monkeypatch.setattr("toolgain.slurm.preflight.folder_findings", lambda *_: iter(()))
    return folder


def test_a_cluster_with_all_that_ray_sub_asks_for_is_ok(tmp_path: Path, slurm: Path) -> None:
    found = lines(tmp_path)
    assert [line for line in found.values() if not line.ok] == []
    assert found["account for ray.sub"].message == "research"
    assert "train_run (3 x 8 GPUs, 1440 min)" in (
        found["account, partition, GPUs, shared folder"].message
    )


@pytest.mark.parametrize(
    ("name", "says", "line", "text"),
    [
        ("srun", "pmix", "container option of srun", "ask the administrator for pyxis"),
        ("srun", "--container-image", "PMIx", "shows no pmix"),
        (
            "sinfo",
            "batch|64|500000|gpu:4",
            "account, partition, GPUs, shared folder",
            "8 GPUs per node (cluster.gpus_per_node); the nodes of partition batch have 4",
        ),
        (
            "sacctmgr",
            "teaching",
            "account, partition, GPUs, shared folder",
            "Slurm knows no account 'research'",
        ),
        (
            "scontrol",
            "PartitionName=batch Default=YES AllowAccounts=teaching State=UP TotalNodes=4",
            "account, partition, GPUs, shared folder",
            "account research (SLURM_ACCOUNT or cluster.account) may not use partition batch",
        ),
    ],
)
def test_each_thing_that_the_cluster_lacks_has_a_line(
    tmp_path: Path, slurm: Path, name: str, says: str, line: str, text: str
) -> None:
    command(slurm, name, says)
    found = lines(tmp_path)[line]
    assert not found.ok
    assert text in found.message


def test_ray_sub_wants_an_account(
    tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_ACCOUNT")
    assert "set cluster.account or SLURM_ACCOUNT" in lines(tmp_path)["account for ray.sub"].message


def test_a_full_disk_is_said_with_the_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolgain.head.doctor.shutil.disk_usage", lambda _: Usage(10, 9, 1))
    found = lines(tmp_path)["disk space"]
    assert not found.ok
    assert "5 more checkpoints x" in found.message and "lower keep_top_k" in found.message


class Usage(NamedTuple):
    """What shutil.disk_usage gives."""

    total: int
    used: int
    free: int


# srun as it is, but that every node is this one, and none has a container.
SRUN = """#!/bin/bash
for word in "$@"; do
    case $word in --nodes=*) nodes=${word#*=} ;; esac
done
while [ "$1" != bash ]; do shift; done
for number in $(seq "$nodes"); do NODE=n$number "$@"; done
"""
HOSTNAME = "#!/bin/sh\necho $NODE\n"
UV = """#!/bin/sh
[ "$1" = --version ] && { echo uv 0.11; exit; }
[ "$1" = run ] && { shift 2; exec "$@"; }
[ "$NODE" = n2 ] && { echo no route to the index >&2; exit 2; }
exit 0
"""


@pytest.fixture
def nodes(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three nodes on which the probe itself runs; the second reaches no package index."""
    for name, text in (("srun", SRUN), ("hostname", HOSTNAME), ("uv", UV)):
        path = slurm / name
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("NEMO_GYM_VENV_DIR", str(tmp_path / "gym_venvs"))
    return slurm


def in_containers(folder: Path, **changes: Any) -> dict[str, doctor.CheckLine]:
    python = f"uv run -- {sys.executable}"
    site = {
        "cluster__nemo_rl__python": python,
        "cluster__nemo_rl__converter_python": sys.executable,
        "cluster__nemo_rl__vllm_python": "/no/python",
    }
    found = doctor.container_lines(parse_config(config(folder, **site, **changes)))
    return {line.name.partition("container job: ")[2]: line for line in found}


def test_the_container_job_asks_every_node_and_continues_after_a_failure(
    tmp_path: Path, nodes: Path
) -> None:
    found = in_containers(tmp_path)
    assert "starts on n1, n2, n3" in found["start"].message
    assert found["uv"].message == "uv 0.11 (3 nodes)"
    assert found["training Python"].ok
    assert not found["vLLM"].ok and "cluster.nemo_rl.vllm_python" in found["vLLM"].message
    assert not found["converters' Python"].ok
    assert found["writable root"].ok
    # n1 and n3 reach an index and can make the environments; n2 cannot.
    gym = found["Gym's environments"]
    assert not gym.ok
    assert gym.message.startswith("n2: 0 in ") and "n1" not in gym.message
    assert found["package index"].message == "answers on 2 of 3 nodes"


def test_environments_in_the_image_need_no_index(tmp_path: Path, nodes: Path) -> None:
    folder = tmp_path / "gym_venvs" / "simple_agent"
    folder.mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    assert in_containers(tmp_path)["Gym's environments"].ok


def test_a_read_only_root_is_named(
    tmp_path: Path, nodes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/no/home")
    line = in_containers(tmp_path)["writable root"]
    assert not line.ok
    assert "n1, n2, n3: /no/home cannot be written" in line.message
    assert "ENROOT_ROOTFS_WRITABLE" in line.message


def test_an_image_with_another_vllm_is_refused(tmp_path: Path, nodes: Path) -> None:
    command(tmp_path / "own", "python", "0.11.2")
    found = in_containers(tmp_path)
    assert not found["vLLM"].ok
    values = config(tmp_path, cluster__nemo_rl__vllm_python=str(tmp_path / "own/python"))
    lines = {line.name: line for line in doctor.container_lines(parse_config(values))}
    line = lines["run grpo, container job: vLLM"]
    assert "the image has vLLM 0.11.2, but NeMo RL v0.7.0 comes with" in line.message


def test_nodes_that_do_not_answer_are_counted(tmp_path: Path, slurm: Path) -> None:
    command(slurm, "srun", "error: cannot open the image")
    (line,) = doctor.container_lines(parse_config(config(tmp_path)))
    assert not line.ok
    assert "0 of 3 nodes answered" in line.message
    assert "cannot open the image" in line.message


def test_without_an_image_there_is_no_container_job(tmp_path: Path) -> None:
    values = config(tmp_path, cluster__container=None)
    (line,) = doctor.container_lines(parse_config(values))
    assert (line.ok, line.message) == (False, "cluster.container names no image.")


def test_after_a_missing_image_and_model_all_else_is_still_checked(tmp_path: Path) -> None:
    found = lines(tmp_path, cluster__container="/no/image.sqsh", model__path="/no/model")
    for name in ("model", "container image", "disk space"):
        assert not found[name].ok, name
    for name in ("NeMo RL", "NeMo Gym", "mounts", "data", "batch", "required keys", "time limit"):
        assert found[name].ok, name
    # What no weights are there to tell is not known, and not fine.
    assert "must be fixed first" in found["disk space"].message
    without = lines(tmp_path, cluster__nemo_rl__root=None, cluster__container=None)
    assert not without["NeMo RL"].ok and not without["container image"].ok
    assert without["data"].ok


def test_a_model_that_is_not_wholly_downloaded_is_named(tmp_path: Path) -> None:
    config(tmp_path)
    (tmp_path / "model" / "model-00002-of-00002.safetensors").unlink()
    assert "is missing; finish the download" in lines(tmp_path)["model"].message


def test_rows_without_an_agent_are_named(tmp_path: Path) -> None:
    config(tmp_path)
    rows = json.dumps(made.row(0, prepared=False)) + "\n"
    (tmp_path / "data/validation.jsonl").write_text(rows)
    assert "has no agent_ref.name" in lines(tmp_path)["data"].message


def test_nemotron_s_own_template_wants_the_patch(tmp_path: Path) -> None:
    config(tmp_path)
    text = "{%- set ns = namespace(enable_thinking = true) -%}<TOOLCALL>"
    (tmp_path / "model/tokenizer_config.json").write_text(json.dumps({"chat_template": text}))
    assert "set model.patch to nemotron-nano-v2" in lines(tmp_path)["chat template"].message


def test_the_shipped_periods_are_found_before_submission(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    config(tmp_path)
    shipped = yaml.safe_load((tmp_path / "rl" / WORKPLACE_YAML).read_text())
    shipped["policy"]["megatron_cfg"]["tensor_model_parallel_size"] = 5
    path.write_text(yaml.safe_dump(shipped))
    values = config(
        tmp_path, training__nemo_rl__config=str(path), training__nemo_rl__tensor_parallel_size=None
    )
    found = [line for line in doctor.checks(parse_config(values), []) if not line.ok]
    assert len(found) == 2
    assert "24 is not a multiple of tensor 5" in " ".join(line.message for line in found)


def test_the_verb_exits_with_2_when_something_is_to_be_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nothing")
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config(tmp_path)))
    assert doctor.print_checks([file], container_job=False) == 2
    text = capsys.readouterr().out
    assert "FIX  Slurm: no Slurm here: sbatch is not on the PATH" in text
    assert "ok   run grpo, batch: global batch 24 = 1 x 24" in text
