"""Train a model for one step over two processes, and save it as NeMo RL's DTensor workers do.

    python dcp_checkpoint.py MODEL STEP_FOLDER [CHECKOUT [SETTINGS]]

With a checkout its own `save_checkpoint` and `CheckpointManager` write; without one torch's
distributed checkpoint, which they call. With settings (the section `checkpointing` as JSON) its
`AutomodelCheckpointManager` writes, which wants the package nemo-automodel. The float32 weights as
they were trained go into `trained.safetensors` beside the folder. It runs under a Python with torch
and transformers, on the CPU (gloo).
"""

import inspect
import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import yaml
from safetensors.torch import save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM, AutoTokenizer

PROCESSES = 2


def main(
    rank: int,
    meeting: str,
    base: Path,
    step: Path,
    checkout: Path | None = None,
    automodel: dict[str, Any] | None = None,
) -> None:
    dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=PROCESSES)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    # Automodel's own way to load a model notes these before it shards.
    model._pre_shard_hf_state_dict_keys = list(model.state_dict())
    mesh = init_device_mesh("cpu", (PROCESSES, 1), mesh_dim_names=("dp", "tp"))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh["dp"])
    fully_shard(model, mesh=mesh["dp"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(0, model.config.vocab_size, (1, 64))
    model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer.step()
    config = {"policy": {"model_name": str(base), "tokenizer": {"name": str(base)}}}
    if checkout is None:
        save_with_torch(rank, model, base, step, config)
    else:
        sys.path.insert(0, str(checkout))
        saver = automodel_saver(mesh, base, automodel) if automodel else dtensor_saver()
        save_with_upstream(rank, model, optimizer, base, step, config, saver)
    whole = get_model_state_dict(
        model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    if rank == 0:
        kept = {name: value.contiguous().clone() for name, value in whole.items()}
        save_file(kept, step.parent / "trained.safetensors")
    dist.barrier()
    dist.destroy_process_group()


def info_of(step: Path) -> dict[str, Any]:
    return {"total_steps": int(step.name.rpartition("_")[2]), "val:accuracy": 0.5}


def save_with_torch(
    rank: int, model: torch.nn.Module, base: Path, step: Path, config: dict[str, Any]
) -> None:
    """The folder `step`: training_info.json, config.yaml, weights, tokenizer."""
    policy = step / "policy"
    if rank == 0:
        policy.mkdir(parents=True)
        (step / "training_info.json").write_text(json.dumps(info_of(step)))
        (step / "config.yaml").write_text(yaml.safe_dump(config))
        AutoTokenizer.from_pretrained(base).save_pretrained(policy / "tokenizer")
    dist.barrier()
    state = {"model": get_model_state_dict(model, options=StateDictOptions(cpu_offload=True))}
    torch.distributed.checkpoint.save(state, checkpoint_id=policy / "weights")


Saver = Callable[..., None]
"""Takes model, optimizer, tokenizer and their paths, as the workers call it."""


def save_with_upstream(
    rank: int,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    base: Path,
    step: Path,
    config: dict[str, Any],
    saver: Saver,
) -> None:
    """The same, and the optimizer, in an unfinished folder that is renamed at the end."""
    manager, unfinished = None, step.with_name(f"tmp_{step.name}")
    if rank == 0:
        manager, unfinished = begun(step.parent, info_of(step), config)
    dist.barrier()
    policy = unfinished / "policy"
    with_tokenizer = rank == 0 or one_of_all_writes()
    saver(
        model=model,
        weights_path=str(policy / "weights"),
        optimizer=optimizer,
        optimizer_path=str(policy / "optimizer"),
        tokenizer=AutoTokenizer.from_pretrained(base) if with_tokenizer else None,
        tokenizer_path=str(policy / "tokenizer"),
    )
    dist.barrier()
    if manager:
        manager.finalize_checkpoint(unfinished)


def one_of_all_writes() -> bool:
    """Whether upstream has one worker write the tokenizer while all others wait for it.

    It does after v0.7.0, so that a worker without one keeps the others waiting forever. Before that
    each wrote the same files; here one does.
    """
    from nemo_rl.utils import native_checkpoint

    return hasattr(native_checkpoint, "save_tokenizer_on_rank0")


def dtensor_saver() -> Saver:
    from nemo_rl.utils.native_checkpoint import save_checkpoint  # type: ignore[import-not-found]

    return partial(save_checkpoint)


def automodel_saver(mesh: DeviceMesh, base: Path, settings: dict[str, Any]) -> Saver:
    """The manager, made as the worker of v0.7.0 makes it."""
    from nemo_rl.models.automodel.checkpoint import (  # type: ignore[import-not-found]
        AutomodelCheckpointManager,
    )

    manager = AutomodelCheckpointManager(dp_mesh=mesh["dp"], tp_mesh=mesh["tp"])
    manager.init_checkpointer({"model_repo_id": str(base), "is_peft": False, "is_async": True})
    return partial(manager.save_checkpoint, checkpointing_cfg=settings)


def begun(folder: Path, info: dict[str, Any], config: dict[str, Any]) -> tuple[Any, Path]:
    """Upstream's manager of checkpoints, and the unfinished folder that it has made."""
    from nemo_rl.utils.checkpoint import CheckpointManager  # type: ignore[import-not-found]
    from pydantic import BaseModel

    class Settings(BaseModel, extra="allow"):
        pass

    manager = CheckpointManager(
        {
            "enabled": True,
            "checkpoint_dir": str(folder),
            "metric_name": "val:accuracy",
            "higher_is_better": True,
            "keep_top_k": 3,
            "save_period": 1,
            "save_optimizer": True,
        }
    )
    # A mapping until pydantic came.
    wanted = inspect.signature(manager.init_tmp_checkpoint).parameters["run_config"].annotation
    given = Settings(**config) if "BaseModel" in str(wanted) else config
    return manager, Path(manager.init_tmp_checkpoint(info["total_steps"], info, given))


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    paths = [Path(name).resolve() for name in sys.argv[1:4]]
    settings = [json.loads(text) for text in sys.argv[4:]]
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(main, (f"{folder}/meeting", *paths, *settings), PROCESSES)
