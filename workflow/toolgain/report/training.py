"""The training of one run: curves, resumes, signs of a good run, checkpoints."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from toolgain.config.sections import TRAINERS
from toolgain.records import training as records
from toolgain.records.checkpoint import ENOUGH_KEPT, Best, Candidate, Export
from toolgain.records.tasks import Tasks
from toolgain.report.sources import RunFolder
from toolgain.report.wording import (
    NO_VALUE,
    moment,
    of_them,
    percent,
    points,
    share,
    typeset,
    whole_number,
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

    def chart(self) -> dict[str, object]:
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
    if manifest is None and best is None:
        return None
    segments = manifest.segments if manifest else []
    initial = best.initial_accuracy if best else None
    checkpoints = tuple(_checkpoints(manifest, best))
    reward, accuracy = _curve(manifest, REWARD), _curve(manifest, ACCURACY)
    return Training(
        backend=TRAINERS[manifest.backend].TITLE if manifest else "not recorded",
        seed=str(manifest.seed) if manifest else "not recorded",
        steps=_steps(manifest) if manifest else "not recorded",
        reward=reward,
        accuracy=accuracy,
        resumes=tuple(part.first_step for part in segments[1:] if part.first_step is not None),
        segments=tuple(_segment(part) for part in segments),
        signs=(*_signs(manifest), *_kept_sign(run.export)),
        checkpoints=checkpoints,
        passed_over=tuple((part.path, part.reason) for part in (best.passed_over if best else ())),
        chosen_step=best.step if best else None,
        initial_accuracy=None if initial is None else 100 * initial,
        notes=tuple(_notes(manifest, best, checkpoints, bool(reward), bool(accuracy))),
        validation_items=manifest.validation_items if manifest else None,
        tracker=(manifest and manifest.wandb_url) or "",
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


def _segment(part: records.Segment) -> SegmentLine:
    return SegmentLine(
        f"{whole_number(part.first_step)} to {whole_number(part.last_step)}",
        moment(part.started),
        ", ".join(filter(None, (part.host, part.slurm_job_id))) or NO_VALUE,
        part.end.replace("_", " "),
    )


def _steps(manifest: records.Manifest) -> str:
    total, planned = manifest.total_steps, manifest.planned_steps
    if total == planned:
        return of_them(total, "step")
    return f"{whole_number(total)} of {whole_number(planned)} planned steps"


def _curve(manifest: records.Manifest | None, name: str) -> Curve:
    return tuple(sorted(manifest.curves.get(name, ()))) if manifest else ()


def _signs(manifest: records.Manifest | None) -> Iterable[HealthLine]:
    for sign in manifest.health if manifest else ():
        yield HealthLine(sign["title"], sign["passed"], typeset(sign["evidence"]))


def _kept_sign(export: Export | None) -> Iterable[HealthLine]:
    """Whether the exported model is the one that was trained, where its number type is shorter."""
    if export is None or export.weights_changed is None or export.update_kept is None:
        return
    changed, kept = export.weights_changed, export.update_kept
    dtype = export.dtype or "the base's number type"
    yield HealthLine(
        "The exported model keeps what was learned",
        kept >= ENOUGH_KEPT,
        typeset(
            f"{100 * kept:.0f}% of the update survives the rounding to {dtype}; "
            f"{100 * changed:.1f}% of the weights differ from the base's."
        ),
    )


def _checkpoints(manifest: records.Manifest | None, best: Best | None) -> Iterable[CheckpointLine]:
    """The candidates; where none was chosen, every checkpoint that was written."""
    saved = manifest.checkpoints if manifest else []
    items = manifest.validation_items if manifest else None
    found = []
    for part in (best.candidates if best else None) or saved:
        error = part.standard_error if isinstance(part, Candidate) else None
        # A mean of rewards beyond 0 and 1 is no share of tasks.
        if error is None and items and part.accuracy is not None and 0 <= part.accuracy <= 1:
            error = math.sqrt(part.accuracy * (1 - part.accuracy) / items)
        found.append(
            CheckpointLine(
                part.step,
                None if part.accuracy is None else 100 * part.accuracy,
                None if error is None else 100 * error,
                best is not None and part.step == best.step,
            )
        )
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def _notes(
    manifest: records.Manifest | None,
    best: Best | None,
    checkpoints: tuple[CheckpointLine, ...],
    reward: bool,
    accuracy: bool,
) -> Iterable[str]:
    if manifest is None:
        yield "The training's manifest is missing: the training may have failed before its end."
    elif not reward or not accuracy:
        gone = [
            name for name, there in (("reward", reward), ("validation accuracy", accuracy))
            if not there
        ]  # fmt: skip
        yield f"The training left no curve of {' and none of '.join(gone)}."
    if best is None:
        yield "No checkpoint was chosen (best.json is missing)."
        return
    if best.initial_accuracy is not None:
        word = "beats" if best.beats_initial else "does not beat"
        yield (
            f"The chosen checkpoint (step {best.step}, {percent(100 * best.accuracy)} %) {word} "
            f"the model before the training ({percent(100 * best.initial_accuracy)} %)."
        )
    if best.within_noise and len(checkpoints) > 1:
        yield (
            "The best two checkpoints are within noise of each other: the choice between them is "
            "as good as chance."
        )


def contamination(tasks: Tasks) -> Iterable[tuple[str, str]]:
    """The figures of the check of training tasks against BFCL's items, as (label, value)."""
    found = tasks.contamination
    if found is None:
        return
    compared = whole_number(found.compared_items)
    limit = share(found.limit, 1)
    for overlap, label in (
        (found.name_overlap, "Tasks with a function name of BFCL"),
        (found.ngram_overlap, "Tasks that share a word sequence with BFCL"),
    ):
        yield label, f"{share(overlap, 1)} (limit {limit}; compared with {compared} items)"
