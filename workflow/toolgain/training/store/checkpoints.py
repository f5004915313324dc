"""Checkpoints in NeMo RL's layout: what is complete, what is kept, what a run resumes from.

    <checkpoint folder>/
        tmp_step_N/                 being written, or left behind by a killed job
        step_N/
            training_info.json      total_steps, and "val:accuracy" where step N was validated
            config.yaml             what the step was trained with
            policy/weights/         the weights
            policy/tokenizer/       tokenizer and chat template
            policy/optimizer/       what a resumed training needs besides the weights

Only the standard library is needed, so that the training programs can use it too.
"""

import json
import math
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolgain.common.files import read_text
from toolgain.models.weights import safetensors_problem

METRIC = "val:accuracy"
"""The literal key of the validation accuracy in training_info.json."""

_STEP = re.compile(r"step_(\d+)")
_UNFINISHED = re.compile(r"(tmp|old)_step_(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint."""

    step: int
    path: Path
    accuracy: float | None
    """Validation accuracy from 0 to 1; None when this step was not validated."""
    info: dict[str, Any]


@dataclass(frozen=True)
class PassedOver:
    """A folder that looks like a checkpoint and is not taken for one."""

    path: Path
    reason: str


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies once it is whole."""
    return folder / f"step_{step}"


def scan(folder: Path) -> tuple[list[Checkpoint], list[PassedOver]]:
    """The whole checkpoints of `folder` by rising step, and what was passed over and why."""
    whole: list[Checkpoint] = []
    passed_over: list[PassedOver] = []
    for path in sorted(folder.iterdir(), key=lambda path: _natural(path.name)):
        if not path.is_dir():
            continue
        match = _STEP.fullmatch(path.name)
        if match is None:
            reason = _name_reason(path.name)
            if reason:
                passed_over.append(PassedOver(path, reason))
            continue
        problem = problem_of(path)
        if problem:
            passed_over.append(PassedOver(path, problem))
            continue
        info = read_info(path)
        whole.append(Checkpoint(int(match[1]), path, accuracy_of(info), info))
    return whole, passed_over


def read_info(checkpoint: Path) -> dict[str, Any]:
    """training_info.json of a checkpoint; `NaN`, which upstream's writer allows, is read as such.

    Raises:
        ValueError: the file is missing, unreadable or not a JSON object.
    """
    path = checkpoint / "training_info.json"
    try:
        info = json.loads(read_text(path))
    except FileNotFoundError:
        raise ValueError("training_info.json is missing") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"training_info.json cannot be read: {error}") from error
    if not isinstance(info, dict):
        raise ValueError("training_info.json holds no JSON object")
    return info


def accuracy_of(info: dict[str, Any]) -> float | None:
    """The finite validation accuracy in `info`, or None."""
    value = info.get(METRIC)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def problem_of(checkpoint: Path) -> str | None:
    """Why `checkpoint` is not whole, or None."""
    try:
        info = read_info(checkpoint)
    except ValueError as error:
        return str(error)
    match = _STEP.fullmatch(checkpoint.name)
    # Asynchronous GRPO leaves total_steps at 0 and counts in current_step alone.
    key = "total_steps" if info.get("total_steps") else "current_step"
    step = info.get(key)
    if match and step is not None and step != int(match[1]):
        return (
            f"training_info.json says {key} {step!r}, and the folder's name says {match[1]}; one "
            "of them was changed by hand, so copy the checkpoint again"
        )
    if not (checkpoint / "config.yaml").is_file():
        return "config.yaml is missing"
    weights = checkpoint / "policy" / "weights"
    if not weights.is_dir():
        return "policy/weights is missing"
    files = [path for path in weights.rglob("*") if path.is_file()]
    if not files:
        return "policy/weights is empty"
    for path in files:
        if path.suffix == ".safetensors":
            problem = safetensors_problem(path)
            if problem:
                return f"{path.relative_to(checkpoint)} {problem}"
    return None


def resume_problem(checkpoint: Path) -> str | None:
    """Why a TRL training cannot resume from `checkpoint`, or None."""
    problem = problem_of(checkpoint)
    if problem:
        return problem
    folder = checkpoint / "policy" / "optimizer"
    for name in ("optimizer.pt", "scheduler.pt"):
        # torch.save writes a zip file, whose directory is at its end: a cut-off one has none.
        if not zipfile.is_zipfile(folder / name):
            return f"policy/optimizer/{name} is missing or cut off"
    try:
        json.loads(read_text(folder / "trainer_state.json"))
    except (OSError, ValueError):
        return "policy/optimizer/trainer_state.json is missing or cut off"
    return None


def latest_step(folder: Path) -> int:
    """The last step with a whole checkpoint; 0 without any."""
    return max((item.step for item in scan(folder)[0]), default=0)


def latest_resumable(folder: Path) -> tuple[Checkpoint | None, list[PassedOver]]:
    """The latest checkpoint that a TRL training can resume from, and those later ones it cannot."""
    whole, _ = scan(folder)
    unusable: list[PassedOver] = []
    broken = [path for path in _steps(folder) if path not in {item.path for item in whole}]
    for path in sorted([*broken, *(item.path for item in whole)], key=_step_of, reverse=True):
        problem = resume_problem(path)
        if problem is None:
            return next(item for item in whole if item.path == path), unusable
        unusable.append(PassedOver(path, problem))
    return None, unusable


def expendable(checkpoints: list[Checkpoint], keep_top_k: int) -> list[Checkpoint]:
    """Those that are neither the latest nor among the `keep_top_k` best; ties: the higher step."""
    if not checkpoints:
        return []
    ranked = sorted(
        (item for item in checkpoints if item.accuracy is not None),
        key=lambda item: (item.accuracy, item.step),
        reverse=True,
    )
    kept = {item.step for item in ranked[:keep_top_k]} | {max(item.step for item in checkpoints)}
    return [item for item in checkpoints if item.step not in kept]


def prune(folder: Path, keep_top_k: int) -> list[int]:
    """Delete what is expendable and what a killed writer left; the steps that were deleted."""
    whole, _ = scan(folder)
    gone = expendable(whole, keep_top_k)
    for item in gone:
        # Renamed first: a killed deletion must not leave half a checkpoint under its own name.
        doomed = item.path.with_name(f"old_{item.path.name}")
        shutil.rmtree(doomed, ignore_errors=True)
        item.path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    return [item.step for item in gone]


def discard_unfinished(folder: Path) -> None:
    """Remove what a killed writer or deletion left behind. Call it with the lease held."""
    for path in list(folder.iterdir()):
        if path.is_dir() and _UNFINISHED.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def settle(temporary: Path, final: Path) -> None:
    """Give a written checkpoint its final name once every byte of it is on the disk."""
    for path in _files(temporary):
        _sync(path)
    for path in [temporary, *(path for path in temporary.rglob("*") if path.is_dir())]:
        _sync(path)
    if final.exists():
        shutil.rmtree(final)
    temporary.rename(final)
    _sync(final.parent)


def size_of(folder: Path) -> int:
    """Bytes in the files of `folder`."""
    return sum(path.stat().st_size for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _steps(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and _STEP.fullmatch(path.name)]


def _step_of(path: Path) -> int:
    match = _STEP.fullmatch(path.name)
    return int(match[1]) if match else -1


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _name_reason(name: str) -> str | None:
    if name.startswith("tmp_step_"):
        return "not finished: it was being written when the training stopped"
    if name.startswith("old_step_"):
        return "being deleted or overwritten when the training stopped"
    if name.startswith("step_"):
        return "not a checkpoint's name (step_N)"
    return None


def _natural(name: str) -> tuple[str, int]:
    match = re.search(r"(\d+)", name)
    return (name[: match.start()], int(match[1])) if match else (name, -1)
