"""Choose the best checkpoint, on validation accuracy alone.

The highest finite `val:accuracy` wins, ties go to the higher step, and without any there is an
error: the latest checkpoint is never taken instead. The result lists every candidate, everything
that was passed over and why, and says whether the best is better than the model before the
training and how sure that is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.records.checkpoint import Best, Candidate, Passed
from toolgain.records.record import read_record, write_record
from toolgain.records.training import Trained
from toolgain.training.store import checkpoints, curves
from toolgain.training.store.checkpoints import METRIC, Checkpoint, PassedOver


@dataclass(frozen=True)
class CheckpointFolder:
    """Where the checkpoints lie, and what is known about their validation."""

    folder: Path
    initial_accuracy: float | None
    """Validation accuracy of the model before the training (step 0)."""
    validation_items: int | None
    kept: Mapping[int, float | None] = field(default_factory=dict)
    """Accuracy of the checkpoints that were there at the end of the training, by step."""


def select_checkpoint(source: Path, out: Path) -> None:
    """Write the choice among the checkpoints of a checkpoint folder or of a run's manifest."""
    write_record(out, choose(read_source(source)))


def read_source(path: Path) -> CheckpointFolder:
    """Understand a checkpoint folder, or the manifest of a run.

    Raises:
        UserError: there is no such folder, or the manifest names none.
    """
    if path.is_dir():
        return CheckpointFolder(path.resolve(), _initial(path), None)
    manifest = read_record(Trained, path, "select: CHECKPOINTS, a folder or a run's manifest")
    folder = Path(manifest.checkpoint_dir)
    if not folder.is_dir():
        raise UserError(
            f"select: the checkpoints named by {path} are gone: {folder} is not a folder. "
            "Train again, or name the folder they were moved to."
        )
    initial = curves.at(manifest.curves.get(curves.ACCURACY, []), 0)
    kept = {saved.step: saved.accuracy for saved in manifest.checkpoints if saved.kept}
    return CheckpointFolder(folder, initial, manifest.validation_items, kept)


def choose(source: CheckpointFolder) -> Best:
    """The content of best.json.

    Raises:
        UserError: no checkpoint has a finite validation accuracy, or a better one is gone and what
            is left is no better than the model before the training.
    """
    whole, passed_over = checkpoints.scan(source.folder)
    candidates = [item for item in whole if item.accuracy is not None]
    passed_over += [
        PassedOver(item.path, _no_metric(item)) for item in whole if item.accuracy is None
    ]
    if not candidates:
        raise UserError(_nothing(source, whole, passed_over))
    ranked = sorted(candidates, key=lambda item: (item.accuracy or 0.0, item.step), reverse=True)
    best = ranked[0]
    accuracy = _accuracy(best)
    items = source.validation_items or best.info.get("validation_items")
    initial = source.initial_accuracy
    gone = sorted(set(source.kept) - {item.step for item in whole})
    passed_over += [
        PassedOver(source.folder / f"step_{step}", "it was there after the training and is gone")
        for step in gone
    ]
    better = [step for step in gone if (source.kept[step] or 0.0) > accuracy]
    if better and initial is not None and accuracy <= initial:
        raise UserError(_not_worth_exporting(source, best, better))
    return Best(
        step=best.step,
        path=str(best.path),
        accuracy=accuracy,
        standard_error=standard_error(accuracy, items),
        initial_accuracy=initial,
        beats_initial=None if initial is None else accuracy > initial,
        within_noise=_within_noise(ranked, items),
        validation_items=items,
        candidates=[
            Candidate(
                step=item.step,
                path=str(item.path),
                accuracy=_accuracy(item),
                standard_error=standard_error(_accuracy(item), items),
            )
            for item in sorted(candidates, key=lambda item: item.step)
        ],
        passed_over=[Passed(path=str(item.path), reason=item.reason) for item in passed_over],
    )


def standard_error(accuracy: float, items: int | None) -> float | None:
    """Standard error sqrt(p (1 - p) / n) of a share p of n validation items; None if n is unknown
    or the accuracy is not a share."""
    if not items or not 0 <= accuracy <= 1:
        return None
    return math.sqrt(accuracy * (1 - accuracy) / items)


def _within_noise(ranked: list[Checkpoint], items: int | None) -> bool | None:
    """Whether the two best differ by less than one standard error of their difference, taken as
    independent, which is cautious: both were asked the same items."""
    if len(ranked) < 2:
        return None
    errors = [standard_error(_accuracy(item), items) for item in ranked[:2]]
    if errors[0] is None or errors[1] is None:
        return None
    return _accuracy(ranked[0]) - _accuracy(ranked[1]) <= math.hypot(errors[0], errors[1])


def _accuracy(item: Checkpoint) -> float:
    assert item.accuracy is not None
    return item.accuracy


def _initial(folder: Path) -> float | None:
    """Validation accuracy at step 0 from the logs that lie in a checkpoint folder."""
    logs = folder / "logs"
    return (
        curves.at(curves.read_curves(logs).get(curves.ACCURACY, []), 0) if logs.is_dir() else None
    )


def _no_metric(item: Checkpoint) -> str:
    if METRIC in item.info:
        return f'"{METRIC}" is {item.info[METRIC]}, which is not a finite number'
    return f'training_info.json has no "{METRIC}": this step was not validated'


def _not_worth_exporting(source: CheckpointFolder, best: Checkpoint, better: list[int]) -> str:
    lost = max(better, key=lambda step: (source.kept[step] or 0.0, step))
    return (
        f"select: the best checkpoint (step {lost}, {METRIC} {source.kept[lost]:.3f}) is gone from "
        f"{source.folder}, and the best that is left (step {best.step}, {_accuracy(best):.3f}) is "
        f"no better than the model before the training ({source.initial_accuracy:.3f}). Put the "
        f"folder step_{lost} back, or train again: delete {source.folder} and the run's "
        "manifest.json."
    )


def _nothing(
    source: CheckpointFolder, whole: list[Checkpoint], passed_over: list[PassedOver]
) -> str:
    folder = source.folder
    if not passed_over and source.kept:
        names = ", ".join(f"step_{step}" for step in sorted(source.kept))
        return (
            f"select: {folder} holds no checkpoint, and after the training it held {names}. Put "
            f"them back, or train again: delete {folder} and the run's manifest.json."
        )
    if not passed_over:
        return f"select: {folder} holds no checkpoint (step_N)."
    reasons = "; ".join(f"{item.path.name}: {item.reason}" for item in passed_over)
    if not whole:
        return (
            f"select: no checkpoint in {folder} is whole, so none can be chosen ({reasons}). Copy "
            "the step_N folders from where they were trained, with all that is in them, or resume "
            "the training."
        )
    return (
        f"select: no whole checkpoint in {folder} has a finite {METRIC}, so none can be chosen "
        f"({reasons}). Set save_period to a multiple of val_period and train again."
    )
