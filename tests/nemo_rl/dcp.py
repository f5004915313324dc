"""A real distributed checkpoint of the demo model, its export, and whether every bit is right."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import made
import numpy as np
from safetensors.numpy import load_file, save_file

from toolgain.checkpoint import export
from toolgain.checkpoint.tensors import Tensor, tensors

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "resources/demo-model"
PYTHON = ROOT / ".venvs/trl/bin/python"
PROGRAM = Path(__file__).with_name("dcp_checkpoint.py")


def trained(
    folder: Path,
    checkout: Path | None,
    automodel: dict[str, Any] | None = None,
    python: Path = PYTHON,
) -> Path:
    """A checkpoint of one step, from two processes, by a checkout's own code or by torch's.

    Args:
        folder: Where it goes, below `checkpoints`.
        checkout: A NeMo RL checkout.
        automodel: The section `checkpointing`, for Automodel's kind of checkpoint.
        python: A Python with torch, and for that kind with nemo-automodel.
    """
    step = folder / "checkpoints/step_3"
    step.parent.mkdir()
    words = [python, "-P", PROGRAM, MODEL, step, *([checkout] if checkout else [])]
    words += [json.dumps(automodel)] if automodel else []
    around = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, env=around, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return step


def consolidated(folder: Path) -> Path:
    """A checkpoint with the demo model's weights, changed, in float32, as Automodel writes them."""
    step = folder / "checkpoints/step_3"
    weights = step / "policy/weights/model/consolidated"
    weights.mkdir(parents=True)
    state = {}
    for name, tensor in tensors(MODEL).items():
        values = (tensor.blocks("<u2").astype("<u4") << 16).view("<f4")
        state[name] = (values * np.float32(1.01)).reshape(tensor.shape)
    save_file(state, weights / "model-00001-of-00001.safetensors", {"format": "pt"})
    save_file(state, step.parent / "trained.safetensors")
    (weights / "config.json").write_bytes((MODEL / "config.json").read_bytes())
    (step / "training_info.json").write_text(json.dumps({"total_steps": 3}))
    (step / "config.yaml").write_text("{}")
    return step


def exported(folder: Path, step: Path, root: Path) -> dict[str, Any]:
    """export.json, made with the converter of the checkout `root`."""
    (folder / "best.json").write_text(json.dumps({"path": str(step), "step": 3}))
    origin = {"path": str(MODEL), "digest": "d", "name": "demo"}
    (folder / "model.json").write_text(json.dumps(origin))
    cluster = made.cluster(root, nemo_rl={"converter_python": str(PYTHON)}, gpus_per_node=0)
    out = folder / "run/export.json"
    export.export_checkpoint(
        folder / "best.json", folder / "model.json", out, Path("no-trl-env"), cluster
    )
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def unequal(found: dict[str, Any], step: Path) -> list[str]:
    """Tensors of an export that are not, bit by bit, the trained ones rounded to bfloat16."""
    kept = load_file(step.parent / "trained.safetensors")
    ours = tensors(Path(found["path"]))
    # Tied to the embedding, and in one of the two only.
    names = (kept.keys() | ours.keys()) - {"lm_head.weight"}
    assert len(names) == 46
    return [name for name in sorted(names) if not same(kept[name], ours[name])]


def same(trained: "np.ndarray[Any, np.dtype[np.float32]]", ours: Tensor) -> bool:
    """Whether a bfloat16 tensor is the float32 one, rounded to nearest, ties to even."""
    bits = trained.ravel().view("<u4")
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return ours.dtype == "BF16" and np.array_equal(rounded, ours.blocks("<u2"))
