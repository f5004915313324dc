"""The training of one run: curves, resumes, signs of a good run, checkpoints."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from toolgain.records.checkpoint import ENOUGH_KEPT
from toolgain.report.sources import Json, RunFolder, as_dict
from toolgain.report.wording import (
    NO_VALUE,
    count,
    moment,
    number,
    of_them,
    percent,
    points,
    share,
    typeset,
)

REWARD = "train/reward"
ACCURACY = "validation/accuracy"

Curve = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class HealthLine:
    """One sign of a good run."""

    title: str
    passed: bool | None
    """None: what was measured cannot tell."""
    evidence: str


@dataclass(frozen=True)
class CheckpointLine:
    """A candidate for the evaluation."""

    step: int
    accuracy: float | None
    """Validation accuracy in percent."""
    standard_error: float | None
    """Of the accuracy, in percent points."""
    chosen: bool


@dataclass(frozen=True)
class Measure:
    """One measure of the model before and after the training."""

    label: str
    term: str
    """Key of the glossary."""
    asked: str
    before: str
    after: str
    change: str


@dataclass(frozen=True)
class SegmentLine:
    """One launch of the training."""

    steps: str
    started: str
    where: str
    end: str


@dataclass(frozen=True)
class Training:
    """What is known of a run's training."""

    backend: str
    seed: str
    steps: str
    reward: Curve
    accuracy: Curve
    resumes: tuple[int, ...]
    """First step of each segment after the first."""
    segments: tuple[SegmentLine, ...]
    signs: tuple[HealthLine, ...]
    checkpoints: tuple[CheckpointLine, ...]
    passed_over: tuple[tuple[str, str], ...]
    """(path, reason)"""
    chosen_step: int | None
    initial_accuracy: float | None
    """Validation accuracy before the training, in percent."""
    notes: tuple[str, ...]
    validation_items: int | None
    tracker: str

    @property
    def window(self) -> int:
        """Steps of the moving mean of the reward; 1: every step is drawn as it is."""
        return max(1, round(len(self.reward) / 24))

    def chart(self) -> Json:
        """Plain data for the curves; accuracies as shares."""
        return {
            "reward": [list(point) for point in self.reward],
            "accuracy": [list(point) for point in self.accuracy],
            "resumes": list(self.resumes),
            "window": self.window,
            "chosen": self.chosen_step,
            "validationItems": self.validation_items,
        }


def training(run: RunFolder) -> Training | None:
    """The training of `run`; None when nothing of it is recorded."""
    manifest, best = run.manifest, run.best
    if not manifest and not best:
        return None
    curves = as_dict(manifest.get("curves"))
    items = _int(manifest.get("validation_items"))
    segments = [part for part in _list(manifest.get("segments")) if isinstance(part, dict)]
    chosen, initial = _int(best.get("step")), number(best.get("initial_accuracy"))
    checkpoints = tuple(_checkpoints(manifest, best, items, chosen))
    reward, accuracy = _curve(curves.get(REWARD)), _curve(curves.get(ACCURACY))
    return Training(
        backend={"nemo_rl": "NeMo RL", "trl": "TRL"}.get(
            str(manifest.get("backend")), str(manifest.get("backend") or "not recorded")
        ),
        seed=str(manifest.get("seed", "not recorded")),
        steps=_steps(manifest),
        reward=reward,
        accuracy=accuracy,
        resumes=tuple(
            step for part in segments[1:] if (step := _int(part.get("first_step"))) is not None
        ),
        segments=tuple(_segment(part) for part in segments),
        signs=(*_signs(manifest), *_kept_sign(run.export)),
        checkpoints=checkpoints,
        passed_over=tuple(
            (str(part.get("path", "")), str(part.get("reason", "")))
            for part in _list(best.get("passed_over"))
            if isinstance(part, dict)
        ),
        chosen_step=chosen,
        initial_accuracy=None if initial is None else 100 * initial,
        notes=tuple(_notes(manifest, best, checkpoints, bool(reward), bool(accuracy))),
        validation_items=items,
        tracker=str(manifest.get("wandb_url") or ""),
    )


def beside(training: Training, overall: tuple[float, float] | None) -> tuple[Measure, ...]:
    """Reward and validation accuracy beside the benchmark: whether what was learned carries over.

    Args:
        training: The training of the run.
        overall: The Overall before and after; None where the two may not be compared.
    """
    found = []
    if training.reward:
        rewards = [value for _, value in training.reward]
        # The same thirds as in the sign of a rising reward.
        third = max(1, len(rewards) // 3)
        old, new = fmean(rewards[:third]), fmean(rewards[-third:])
        found.append(
            Measure(
                "Reward",
                "reward",
                "training tasks; means of the first and the last third of the steps",
                percent(old, 3),
                percent(new, 3),
                points(new - old, 3),
            )
        )
    chosen = next((c.accuracy for c in training.checkpoints if c.chosen), None)
    if training.initial_accuracy is not None and chosen is not None:
        found.append(
            Measure(
                "Validation accuracy, %",
                "validation",
                f"training tasks held out; before step 1 and at step {training.chosen_step}",
                percent(training.initial_accuracy),
                percent(chosen),
                points(chosen - training.initial_accuracy),
            )
        )
    if not found:
        return ()
    if overall is None:
        sides = (NO_VALUE, NO_VALUE, "not comparable")
    else:
        old, new = overall
        sides = (percent(old), percent(new), points(new - old))
    return (*found, Measure("BFCL Overall, %", "overall", "the benchmark", *sides))


def _segment(part: Json) -> SegmentLine:
    where = [str(part[key]) for key in ("host", "slurm_job_id") if part.get(key)]
    return SegmentLine(
        f"{count(part.get('first_step'))} to {count(part.get('last_step'))}",
        moment(part.get("started")),
        ", ".join(where) or NO_VALUE,
        str(part.get("end") or NO_VALUE).replace("_", " "),
    )


def _steps(manifest: Json) -> str:
    total, planned = manifest.get("total_steps"), manifest.get("planned_steps")
    if number(total) is None:
        return "not recorded"
    if number(planned) is None or total == planned:
        return of_them(total, "step")
    return f"{count(total)} of {count(planned)} planned steps"


def _curve(points: Any) -> Curve:
    found = []
    for point in _list(points):
        if not isinstance(point, list | tuple) or len(point) != 2:
            continue
        step, value = number(point[0]), number(point[1])
        if step is not None and value is not None:
            found.append((round(step), value))
    return tuple(sorted(found))


def _signs(manifest: Json) -> Iterable[HealthLine]:
    for part in _list(manifest.get("health")):
        if isinstance(part, dict):
            passed = part.get("passed")
            yield HealthLine(
                str(part.get("title") or part.get("name") or ""),
                passed if isinstance(passed, bool) else None,
                typeset(str(part.get("evidence") or "")),
            )


def _kept_sign(export: Json) -> Iterable[HealthLine]:
    """Whether the exported model is the one that was trained, where its number type is shorter."""
    changed, kept = number(export.get("weights_changed")), number(export.get("update_kept"))
    if changed is None or kept is None:
        return
    dtype = str(export.get("dtype") or "the base's number type")
    yield HealthLine(
        "The exported model keeps what was learned",
        kept >= ENOUGH_KEPT,
        typeset(
            f"{100 * kept:.0f}% of the update survives the rounding to {dtype}; "
            f"{100 * changed:.1f}% of the weights differ from the base's."
        ),
    )


def _checkpoints(
    manifest: Json, best: Json, items: int | None, chosen: int | None
) -> Iterable[CheckpointLine]:
    candidates = _list(best.get("candidates")) or _list(manifest.get("checkpoints"))
    found = []
    for part in candidates:
        step = _int(part.get("step")) if isinstance(part, dict) else None
        if step is None:
            continue
        accuracy = number(part.get("accuracy"))
        error = number(part.get("standard_error"))
        if error is None and accuracy is not None and items:
            error = math.sqrt(max(0.0, accuracy * (1 - accuracy)) / items)
        found.append(
            CheckpointLine(
                step,
                None if accuracy is None else 100 * accuracy,
                None if error is None else 100 * error,
                step == chosen,
            )
        )
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def _notes(
    manifest: Json,
    best: Json,
    checkpoints: tuple[CheckpointLine, ...],
    reward: bool,
    accuracy: bool,
) -> Iterable[str]:
    if not manifest:
        yield "The training's manifest is missing: the training may have failed half-way."
    elif not reward or not accuracy:
        gone = [
            name for name, there in (("reward", reward), ("validation accuracy", accuracy))
            if not there
        ]  # fmt: skip
        yield f"The training left no curve of {' and none of '.join(gone)}."
    if not best:
        yield "No checkpoint was chosen (best.json is missing)."
        return
    initial, chosen = number(best.get("initial_accuracy")), number(best.get("accuracy"))
    if initial is not None and chosen is not None:
        word = "beats" if best.get("beats_initial") else "does not beat"
        yield (
            f"The chosen checkpoint (step {best.get('step')}, {percent(100 * chosen)} %) {word} "
            f"the model before the training ({percent(100 * initial)} %)."
        )
    if best.get("within_noise") and len(checkpoints) > 1:
        yield (
            "The best two checkpoints are within noise of each other: the choice between them is "
            "as good as chance."
        )


def contamination(tasks: Json) -> Iterable[tuple[str, str]]:
    """The figures of the check of training tasks against BFCL's items, as (label, value)."""
    found = as_dict(tasks.get("contamination"))
    if not found:
        return
    compared = count(found.get("compared_items"))
    limit = share(found.get("limit"), 1)
    for key, label in (
        ("name_overlap", "Tasks with a function name of BFCL"),
        ("ngram_overlap", "Tasks that share a word sequence with BFCL"),
    ):
        if key in found:
            yield (
                label,
                f"{share(found.get(key), 1)} (limit {limit}; compared with {compared} items)",
            )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _int(value: object) -> int | None:
    x = number(value)
    return None if x is None else round(x)
