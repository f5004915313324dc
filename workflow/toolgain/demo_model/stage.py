"""The `demo-model` verb: rebuild the shipped model from its seed, in the trl environment.

Output: a Hugging Face folder (bfloat16 safetensors, tokenizer, chat template, generation config).
The state of the pre-training lies in `<out>/../work/demo-model-<seed>`; the same command resumes
from it. The whole budget of 500 million tokens is for a GPU (tools/pretrain_demo_model.sh); on CPU
cores, which see some thousands of tokens a second, give a smaller one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from toolgain.common import package
from toolgain.common.errors import StageError, UserError
from toolgain.common.files import check_room
from toolgain.common.logs import last_line

ALLOCATOR = {
    # Large tensors are made and freed at every step; giving their memory back to the system each
    # time costs more than the arithmetic on some virtual machines.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
    # Waiting threads give way to whatever else the machine runs.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
}


def pretrain_demo_model(
    out: Path,
    seed: int,
    trl_env: Path,
    settings: Sequence[str] = (),
    threads: int = 2,
    workers: int = 0,
    device: str = "cpu",
) -> None:
    """Pre-train the demo model into `out`.

    Args:
        out: folder of the finished model; replaced as a whole when the model is ready.
        seed: seed of the text, the tokenizer and the weights.
        trl_env: environment with torch and transformers.
        settings: changes of `pretrain.PretrainRecipe`, each `key=value`.
        threads: CPU threads of the training.
        workers: processes that make the text beside it; 0: none.
        device: cpu or cuda.

    Raises:
        UserError: the environment is missing.
        StageError: the pre-training failed.
    """
    python = trl_env / "bin" / "python"
    if not python.exists():
        raise UserError(f"{trl_env}: no Python environment with torch there; run `make setup`")
    work = out.parent / "work" / f"demo-model-{seed}"
    fresh = out.with_name(f".{out.name}.new")
    check_room(out.parent)
    check_room(work)
    shutil.rmtree(fresh, ignore_errors=True)
    command = [
        str(python), "-m", "toolgain.demo_model.pretrain", "--out", str(fresh), "--work", str(work),
        "--seed", str(seed), "--threads", str(threads), "--workers", str(workers),
        "--device", device,
    ]  # fmt: skip
    for setting in settings:
        command += ["--set", setting]
    environment = {
        **os.environ, **ALLOCATOR, "PYTHONPATH": str(package.ROOT), "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    log = work / "pretrain.log"
    with log.open("wb") as errors:
        done = subprocess.run(
            command,
            env=environment,
            stdout=sys.stdout.fileno() if _has_fd() else None,
            stderr=errors,
        )
    if done.returncode != 0:
        raise StageError(
            f"pre-training of the demo model ended with code {done.returncode}: "
            f"{last_line(log) or 'no word'}. Log: {log}; the state lies beside it, run the same "
            "command again to resume."
        )
    shutil.rmtree(out, ignore_errors=True)
    fresh.replace(out)


def _has_fd() -> bool:
    try:
        sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True
