"""Export of NeMo RL checkpoints of each layout, with a converter that has upstream's habits."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dcp
import made
import pytest

from toolgain.checkpoint import export, export_nemo_rl
from toolgain.common.errors import StageError, UserError
from toolgain.config.sections import ClusterSection
from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.nemo_rl import plan
from toolgain.training.nemo_rl.refs import PROGRAM, REFS, WORKPLACE_YAML

ROOT = Path(__file__).parents[2]
TORCH = ROOT / ".venvs/trl/bin/python"


def trained(folder: Path, backend: str, ref: str = "v0.7.0") -> tuple[Path, Path, Path]:
    """A checkout, a base model and the last checkpoint of a training run on it."""
    root = made.checkout(folder / "rl", ref)
    base = made.model(folder / "base")
    train, validation = made.data(folder / "data", train=12)
    section = made.training(policy_backend=backend).nemo_rl
    yaml = ov.load_yaml(root / WORKPLACE_YAML)
    place = plan.Place(base, train, validation, folder / "ckpt", 1, 8, "grpo")
    words = [item.render() for item in plan.overrides(section, 1, REFS[ref], yaml, place, 12)]
    command = [sys.executable, str(root / PROGRAM), f"--config={root / WORKPLACE_YAML}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return root, base, folder / "ckpt" / "step_2"


def exported(
    folder: Path, root: Path, base: Path, step: Path, python: Path | None = None, gpus: int = 8
) -> dict[str, Any]:
    """The content of export.json."""
    best, origin = folder / "best.json", folder / "model.json"
    best.write_text(json.dumps({"path": str(step), "step": 2}))
    origin.write_text(json.dumps({"path": str(base), "digest": "d", "name": "base"}))
    site = {"converter_python": str(python)} if python else {}
    cluster = made.cluster(root, nemo_rl=site, gpus_per_node=gpus)
    out = folder / "run" / "export.json"
    export.export_checkpoint(best, origin, out, Path("no-trl-env"), cluster)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.mark.parametrize("ref", ["v0.5.0", "v0.7.0"])
def test_a_megatron_checkpoint_is_converted_and_made_like_the_base(
    tmp_path: Path, ref: str
) -> None:
    root, base, step = trained(tmp_path, "megatron", ref)
    if ref == "v0.5.0":
        # The converter of v0.5.0 knows no such option; the name comes from the config then.
        program = root / export_nemo_rl.MEGATRON
        text = program.read_text().replace('parser.add_argument("--hf-model-name")\n', "")
        program.write_text(text.replace("arguments.hf_model_name or ", ""))
    # The base model was moved since the training.
    moved = base.rename(tmp_path / "moved")
    found = exported(tmp_path, root, moved, step)
    folder = Path(found["path"])
    assert found["kind"] == "megatron"
    assert (found["tensors"], found["tensors_changed"], found["dtype"]) == (2, 1, None)
    assert found["checks"]["architecture"] and found["checks"]["shards_complete"]
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        assert (folder / name).read_bytes() == (moved / name).read_bytes()
    assert not list(folder.parent.glob("*.tmp"))


def test_a_consolidated_checkpoint_is_copied(tmp_path: Path) -> None:
    root, base, step = trained(tmp_path, "dtensor_v2")
    assert exported(tmp_path, root, base, step)["kind"] == "consolidated"


@pytest.mark.slow
@pytest.mark.skipif(not TORCH.exists(), reason="needs torch: make setup")
def test_fp32_weights_are_rounded_to_the_base_s_type(tmp_path: Path) -> None:
    root, base, step = trained(tmp_path, "dtensor")
    found = exported(tmp_path, root, base, step, TORCH)
    assert found["kind"] == "dcp"
    assert found["checks"]["rounded_exactly"] and found["checks"]["nothing_left_out"]
    folder = Path(found["path"])
    assert not list(folder.glob("*.bin"))
    assert {p.name for p in folder.glob("*.safetensors")} == {
        p.name for p in base.glob("*.safetensors")
    }


@pytest.mark.slow
@pytest.mark.skipif(not TORCH.exists(), reason="needs torch: make setup")
def test_a_distributed_checkpoint_of_torch_s_is_exported_bit_by_bit(tmp_path: Path) -> None:
    step = dcp.trained(tmp_path, None)
    found = dcp.exported(tmp_path, step, made.checkout(tmp_path / "rl"))
    assert found["checks"]["rounded_exactly"] and found["checks"]["nothing_left_out"]
    assert dcp.unequal(found, step) == []


@pytest.mark.slow
@pytest.mark.skipif(not TORCH.exists(), reason="needs torch: make setup")
def test_consolidated_fp32_weights_are_rounded_to_the_base_s_type(tmp_path: Path) -> None:
    step = dcp.consolidated(tmp_path)
    found = dcp.exported(tmp_path, step, made.checkout(tmp_path / "rl"))
    assert found["kind"] == "consolidated"
    assert found["checks"]["rounded_exactly"] and found["checks"]["nothing_left_out"]
    assert dcp.unequal(found, step) == []


def test_weights_that_equal_the_base_are_refused(tmp_path: Path) -> None:
    root, base, step = trained(tmp_path, "megatron")
    # Stale weights, as asynchronous saves wrote them (NeMo RL issue 3312).
    first = sorted(base.glob("*.safetensors"))[0]
    shutil.copy(first, step / "policy/weights/iter_0000000/__0_0.distcp")
    with pytest.raises(StageError, match="not differs_from_base"):
        exported(tmp_path, root, base, step)


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    root, base, step = trained(tmp_path, "megatron")
    program = root / export_nemo_rl.MEGATRON
    program.write_text(
        program.read_text() + "\n(out / 'model-00002-of-00002.safetensors').unlink()\n"
    )
    with pytest.raises(StageError, match="shards_complete"):
        exported(tmp_path, root, base, step)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    root, base, step = trained(tmp_path, "megatron")
    program = root / export_nemo_rl.MEGATRON
    other = '(out / "config.json").write_text(\'{"architectures": ["Other"]}\')'
    program.write_text(program.read_text() + f"\n{other}\n")
    with pytest.raises(StageError, match="not architecture"):
        exported(tmp_path, root, base, step)


def test_a_failing_converter_says_its_last_line(tmp_path: Path) -> None:
    root, base, step = trained(tmp_path, "megatron")
    (root / export_nemo_rl.MEGATRON).write_text("raise RuntimeError('mcore is not installed')\n")
    with pytest.raises(StageError, match=r"exit code 1: RuntimeError: mcore is not installed Log:"):
        exported(tmp_path, root, base, step)


def test_without_a_checkout_it_says_what_is_missing(tmp_path: Path) -> None:
    _, base, step = trained(tmp_path, "megatron")
    with pytest.raises(UserError, match=r"set cluster\.nemo_rl\.root"):
        export_nemo_rl.convert_checkpoint(
            step, base, tmp_path / "out", kind="megatron", cluster=ClusterSection()
        )


def test_in_a_job_the_converter_runs_in_the_container_with_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = made.checkout(tmp_path / "rl")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    words = export_nemo_rl.in_job(["python", "x"], root, made.cluster(root), [tmp_path], gpus=1)
    assert words[0] == "srun" and "--gres=gpu:1" in words
    assert "--container-image=nvcr.io#nvidia/nemo-rl:v0.7.0" in words
    assert words[-2:] == ["python", "x"]


@pytest.mark.parametrize(
    ("program", "checks"),
    [
        (
            """print('{"greedy_answers_equal": true, "prompts_compared": 3}')""",
            {"greedy_answers_equal": True, "prompts_compared": 3},
        ),
        (
            """print('{"parity": "not checked, no GPU"}')""",
            {"parity": "not checked, no GPU"},
        ),
        (
            "raise MemoryError('too large')",
            {
                "parity": "not checked, the program ended with exit code 1: MemoryError: too large",
            },
        ),
    ],
)
def test_what_the_parity_program_says_is_in_the_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, checks: dict[str, Any]
) -> None:
    root, base, step = trained(tmp_path, "megatron")
    (tmp_path / "says.py").write_text(program)
    monkeypatch.setattr(export_nemo_rl, "PACKAGE", tmp_path)
    monkeypatch.setattr(export_nemo_rl, "PARITY", "says")
    found = exported(tmp_path, root, base, step)["checks"]
    assert {key: found.get(key) for key in checks} == checks


def test_other_answers_than_the_converter_s_folder_gives_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, base, step = trained(tmp_path, "megatron")
    (tmp_path / "says.py").write_text("""print('{"greedy_answers_equal": false}')""")
    monkeypatch.setattr(export_nemo_rl, "PACKAGE", tmp_path)
    monkeypatch.setattr(export_nemo_rl, "PARITY", "says")
    with pytest.raises(StageError, match="not greedy_answers_equal"):
        exported(tmp_path, root, base, step)


def test_parity_is_not_claimed_without_a_gpu_or_a_python(tmp_path: Path) -> None:
    root, base, step = trained(tmp_path, "dtensor_v2")
    found = exported(tmp_path, root, base, step, gpus=0)
    assert found["checks"]["parity"] == "not checked, no GPU"
    found = exported(tmp_path, root, base, step, Path("/no/python"))
    assert found["checks"]["parity"].startswith("not checked, no Python for it: ")


@pytest.mark.slow
@pytest.mark.skipif(not TORCH.exists(), reason="needs torch: make setup")
def test_the_parity_program_tells_other_weights_apart(tmp_path: Path) -> None:
    text = """
import sys, pathlib, torch
from transformers import AutoModelForCausalLM
from toolgain.checkpoint.parity import compare_answers
base, other = map(pathlib.Path, sys.argv[1:])
print(compare_answers(base, base, "cpu", False))
model = AutoModelForCausalLM.from_pretrained(base)
with torch.no_grad():
    model.get_output_embeddings().weight.neg_()
model.save_pretrained(other)
print(compare_answers(other, base, "cpu", False))
"""
    done = subprocess.run(
        [TORCH, "-c", text, ROOT / "resources/demo-model", tmp_path / "other"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "workflow"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line for line in done.stdout.splitlines() if line.startswith("{")] == [
        "{'greedy_answers_equal': True, 'prompts_compared': 3}",
        "{'greedy_answers_equal': False, 'prompts_compared': 3}",
    ]
