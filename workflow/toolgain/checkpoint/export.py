"""Export the chosen checkpoint as a Hugging Face folder that can be served in place of the base.

The folder is written beside its final name, checked, and renamed. Number type, chat template,
generation config and tokenizer are the base's, so that the two models differ in their weights
alone. What a checkpoint is (Hugging Face, Megatron, DCP) is told from its content.
"""

import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np

from toolgain.checkpoint.tensors import BLOCK, Tensor, changed_and_kept, tensors
from toolgain.common import package
from toolgain.common.amounts import in_percent
from toolgain.common.errors import StageError, UserError
from toolgain.common.files import check_room, digest, now, read_json
from toolgain.common.logs import last_line
from toolgain.config.sections import ClusterSection
from toolgain.models.base import files_of
from toolgain.models.settings import read_settings
from toolgain.records.checkpoint import ENOUGH_KEPT, Choice, Export
from toolgain.records.model import Model
from toolgain.records.record import read_record, write_record
from toolgain.slurm.accounting import of_jobs, remember_this_job
from toolgain.training.store import checkpoints

Kind = Literal["hugging_face", "consolidated", "megatron", "dcp"]

# Where all bits of the exponent are set, a number is infinite or not a number.
EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}


def export_checkpoint(
    best: Path, base: Path, out: Path, trl_env: Path, cluster: ClusterSection | None = None
) -> None:
    """Export the checkpoint of `best` (best.json) to `model` beside `out`, and write `out`.

    Raises:
        UserError: the checkpoint or the base is missing or not whole.
        StageError: a check of the exported model failed; it lies in `model.tmp` for a look.
    """
    chosen = read_record(Choice, best, "--best")
    origin = read_record(Model, base, "--base")
    checkpoint, source = Path(chosen.path), Path(origin.path)
    problem = checkpoints.problem_of(checkpoint) if checkpoint.is_dir() else "it is not there"
    if problem:
        raise UserError(
            f"export: checkpoint {checkpoint} cannot be read: {problem}. Put it back, or delete "
            f"{best}, which names it, to have the best of the others chosen."
        )
    files_of(source)
    final = out.resolve().parent / "model"
    # An export starts over after a kill, yet the jobs before have cost something for this model.
    remembered = final.with_name("export_jobs.json")
    slurm_jobs = remember_this_job(remembered)
    temporary = final.with_name("model.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    check_room(temporary.parent)
    kind = weights_kind(checkpoint)
    if kind == "hugging_face":
        checks = _from_hugging_face(checkpoint, source, temporary, trl_env)
    else:
        from toolgain.checkpoint import export_nemo_rl

        checks = export_nemo_rl.convert_checkpoint(
            checkpoint,
            source,
            temporary,
            kind=kind,
            cluster=cluster or ClusterSection(),
            trust_remote_code=origin.trust_remote_code,
        )
    checks |= compare_tensors(source, temporary)
    failed = [name for name, passed in checks.items() if passed is False]
    trained = _trained_weights(checkpoint, kind)
    if failed == ["differs_from_base"]:
        _, kept = changed_and_kept(source, temporary, trained)
        why = why_nothing_changed(trained is not None, kept)
        raise StageError(
            f"export: after step {chosen.step} every weight equals the one of {source} (not "
            f"differs_from_base), so a second evaluation could show nothing. {why}"
        )
    if failed:
        detail = checks.get("detail")
        raise StageError(
            f"export: {temporary} is not a trained copy of {source}: not {', '.join(failed)}"
            + (f" ({detail})" if detail else "")
            + "."
        )
    weights_changed, update_kept = changed_and_kept(source, temporary, trained)
    files = files_of(temporary)
    _to_disk(temporary)
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    record = Export(
        path=str(final),
        digest=digest(files),
        name=f"{origin.name or source.name} after step {chosen.step}",
        files=files,
        trust_remote_code=origin.trust_remote_code,
        base_digest=origin.digest,
        checkpoint=str(checkpoint),
        step=chosen.step,
        kind=kind,
        dtype=checks.pop("dtype", None),
        tensors=checks.pop("tensors", None),
        tensors_changed=checks.pop("tensors_changed", None),
        weights_changed=weights_changed,
        update_kept=update_kept,
        bytes=checkpoints.size_of(final),
        checks=checks,
        exported=now(),
        slurm_jobs=slurm_jobs,
        cost=of_jobs(slurm_jobs),
    )
    write_record(out, record)
    # The next export makes another model.
    remembered.unlink(missing_ok=True)
    click.echo(
        f"exported step {chosen.step} to {final}; {in_percent(weights_changed, 1)} of the "
        "weights changed"
    )
    if update_kept is not None and update_kept < ENOUGH_KEPT:
        click.echo(
            f"WARNING: {in_percent(update_kept)} of the update survives the rounding to "
            f"{record.dtype}: most of what the training changed is lost in the exported model. "
            "Train with a higher learning rate or for more steps, or from a copy of the "
            "base in float32 (model.path)."
        )


def why_nothing_changed(full_precision: bool, kept: float | None) -> str:
    """Why exported weights equal the base's, and what to do, in words.

    Args:
        full_precision: whether the weights before the rounding are there to be looked at.
        kept: the part of the update that survived the rounding; None: there was no update.
    """
    no_gradient = (
        "where all answers to a question earn the same, there is no gradient (the training's log "
        "and manifest.json show the rewards): easier tasks, longer answers or more of them per "
        "question give the model something to learn from"
    )
    if kept is not None:
        return (
            "The whole update is lost in the rounding to the base's number type: train with a "
            "higher learning rate or for more steps, or from a copy of the base in float32 "
            "(model.path)."
        )
    if full_precision:
        return f"The training changed nothing: {no_gradient}."
    return (
        "Either the checkpoint holds stale weights, or the training changed nothing: "
        f"{no_gradient}."
    )


def _trained_weights(checkpoint: Path, kind: Kind) -> Path | None:
    """The folder with the weights as they were trained, in safetensors; None: another form."""
    weights = checkpoint / "policy" / "weights"
    folders = {"hugging_face": weights, "consolidated": weights / "model" / "consolidated"}
    return folders.get(kind)


def weights_kind(checkpoint: Path) -> Kind:
    """What lies in a checkpoint's policy/weights, told from its content.

    Raises:
        UserError: none of the forms that can be exported.
    """
    weights = checkpoint / "policy" / "weights"
    if list(weights.glob("iter_*")):
        return "megatron"
    if (weights / "model" / "consolidated").is_dir():
        return "consolidated"
    if (weights / "config.json").is_file() and list(weights.glob("*.safetensors")):
        return "hugging_face"
    if (weights / ".metadata").is_file() or (weights / "model" / ".metadata").is_file():
        return "dcp"
    if list((weights / "model").glob("*.safetensors")):
        raise UserError(
            f"export: {weights}/model holds DTensor v2 shards, which upstream's converter cannot "
            "read; train with checkpointing.save_consolidated (policy_backend: dtensor_v2 sets it)."
        )
    raise UserError(
        f"export: {weights} holds none of: Hugging Face weights (config.json, *.safetensors), "
        "model/consolidated, a Megatron checkpoint (iter_*), a DCP checkpoint (.metadata)."
    )


def _from_hugging_face(
    checkpoint: Path, source: Path, temporary: Path, trl_env: Path
) -> dict[str, Any]:
    result = temporary.with_name("export_check.json")
    log = temporary.with_name("export.log")
    python = trl_env.absolute() / "bin" / "python"
    if not python.exists():
        raise UserError(f"--trl-env: {trl_env} holds no Python environment; `make setup` makes it.")
    result.unlink(missing_ok=True)
    arguments = [checkpoint, source, temporary, result]
    environment = {
        **os.environ,
        "PYTHONPATH": str(package.ROOT),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    with log.open("wb") as file:
        code = subprocess.run(
            [str(python), "-m", "toolgain.checkpoint.export_trl", *map(str, arguments)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        ).returncode
    if code != 0 or not result.is_file():
        word = last_line(log) or "no word"
        raise StageError(f"export: the program ended with exit code {code}: {word}. Log: {log}.")
    checks: dict[str, Any] = read_json(result, "export")
    result.unlink()
    return checks


def compare_tensors(base: Path, exported: Path) -> dict[str, Any]:
    """Compare the tensors of two Hugging Face folders.

    Returns:
        same_names, same_shapes, same_dtype, finite, differs_from_base (booleans), tensors,
        tensors_changed (counts), detail (the first difference in words, or None).
    """
    ours, theirs = tensors(exported), tensors(base)
    if _tied(base):
        # A tied output layer is written or left out as the writer pleases.
        names = {"lm_head.weight"} & (ours.keys() ^ theirs.keys())
        ours = {name: tensor for name, tensor in ours.items() if name not in names}
        theirs = {name: tensor for name, tensor in theirs.items() if name not in names}
    detail = None
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())
        detail = f"{len(odd)} tensors are in one of the two only, such as {odd[0]}"
    common = sorted(ours.keys() & theirs.keys())
    shapes = [name for name in common if ours[name].shape != theirs[name].shape]
    types = [name for name in common if ours[name].dtype != theirs[name].dtype]
    if shapes and not detail:
        name = shapes[0]
        detail = f"{name} is {ours[name].shape}, in the base {theirs[name].shape}"
    if types and not detail:
        name = types[0]
        detail = f"{name} is {ours[name].dtype}, in the base {theirs[name].dtype}"
    broken = [name for name in sorted(ours) if not _finite(ours[name])]
    if broken and not detail:
        detail = f"{broken[0]} holds numbers that are infinite or NaN"
    changed = [name for name in common if not _equal(ours[name], theirs[name])]
    if not changed and not detail:
        detail = "every tensor equals the base's"
    return {
        "same_names": ours.keys() == theirs.keys(),
        "same_shapes": not shapes,
        "same_dtype": not types,
        "finite": not broken,
        "differs_from_base": bool(changed),
        "tensors": len(ours),
        "tensors_changed": len(changed),
        "detail": detail,
    }


def _finite(tensor: Tensor) -> bool:
    if tensor.dtype not in EXPONENTS or not len(tensor):
        return True
    kind, exponent = EXPONENTS[tensor.dtype]
    values = tensor.blocks(kind)
    step = BLOCK // values.itemsize
    return all(
        not ((values[at : at + step] & exponent) == exponent).any()
        for at in range(0, len(values), step)
    )


def _equal(one: Tensor, other: Tensor) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    if not len(one):
        return True
    left, right = one.blocks(), other.blocks()
    parts = math.ceil(len(left) / BLOCK)
    return all(
        np.array_equal(left[part * BLOCK : (part + 1) * BLOCK], right[part * BLOCK :][:BLOCK])
        for part in range(parts)
    )


def _tied(folder: Path) -> bool:
    return bool(read_settings(folder / "config.json", "export").get("tie_word_embeddings"))


def _to_disk(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
