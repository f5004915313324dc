"""The four signs of a healthy training, each with its evidence."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from toolgain.common.amounts import in_percent
from toolgain.records.training import Sign
from toolgain.training.store.curves import ACCURACY, REWARD, Curve, accuracy_is_share

ALIKE = "train/zero_std_groups"


def signs(
    curves: dict[str, Curve],
    *,
    steps: int,
    val_period: int,
    save_period: int,
    saved: Sequence[int],
    out_of_memory: Sequence[str],
    logs: int,
    validation_items: int | None,
) -> list[Sign]:
    """The four signs that the documentation asks to look for after a training run.

    Args:
        curves: The training curves by name.
        steps: Steps planned.
        val_period: Steps between validations.
        save_period: Steps between checkpoints.
        saved: Steps of all checkpoints that were written, kept or not.
        out_of_memory: Logs that say that memory ran out.
        logs: Logs that were read.
        validation_items: Validation tasks, for the standard error.
    """
    return [
        reward_rises(curves.get(REWARD, []), curves.get(ALIKE, [])),
        accuracy_rises(curves.get(ACCURACY, []), validation_items, accuracy_is_share(curves)),
        memory_sufficed(out_of_memory, logs, curves.get("system/peak_memory_bytes", [])),
        saved_in_time(steps, val_period, save_period, saved, curves.get(ACCURACY, [])),
    ]


def reward_rises(curve: Curve, alike: Curve) -> Sign:
    """The last third's mean is above the first's by twice the error of their difference.

    A difference within twice its error cannot tell, either way.

    `alike` is the share of groups whose completions all earned the same: they give no gradient.
    """
    name, title = "reward", "The training reward rises"
    third = len(curve) // 3
    if third < 2:
        return _sign(name, title, None, f"Too few steps ({len(curve)}) to see a rise.")
    first, last = ([value for _, value in part] for part in (curve[:third], curve[-third:]))
    rise = statistics.fmean(last) - statistics.fmean(first)
    error = math.sqrt(sum(statistics.variance(part) / third for part in (first, last)))
    evidence = (
        f"Mean of the first {third} steps {statistics.fmean(first):.3f}, of the last {third} "
        f"{statistics.fmean(last):.3f}: {rise:+.3f}, standard error {error:.3f}."
    )
    if alike:
        share = statistics.fmean(value for _, value in alike)
        evidence += f" {in_percent(share)} of the groups had identical rewards, so no gradient."
    return _sign(name, title, _beyond(rise, 2 * error), evidence)


def accuracy_rises(curve: Curve, items: int | None, share: bool) -> Sign:
    """The last validation is above the one before the training, by more than its error.

    That error is known where the accuracy is a `share` of the tasks.
    """
    name, title = "accuracy", "The validation accuracy rises"
    if len(curve) < 2 or curve[0][0] != 0:
        return _sign(name, title, None, "No validation before the training, or none after it.")
    (_, before), (step, after) = curve[0], curve[-1]
    best_step, best = max(curve[1:], key=lambda point: (point[1], point[0]))
    said = (in_percent(value, 1) if share else f"{value:.3f}" for value in (before, after, best))
    evidence = "{} before, {} at step {step}, best {} at {best_step}".format(
        *said, step=step, best_step=best_step
    )
    if not share:
        evidence += ": a mean of rewards, no share of tasks; its standard error is not known."
        return _sign(name, title, None, evidence)
    error = 0.0
    if items:
        error = math.sqrt(sum(p * (1 - p) / items for p in (before, after)))
        evidence += (
            f" ({items} tasks; standard error of the difference up to {100 * error:.1f} points)"
        )
    passed = _beyond(after - before, error)
    return _sign(name, title, passed, evidence + ".")


def _beyond(change: float, error: float) -> bool | None:
    """Whether a change is a rise; None where it is within its error, or where there is none: two
    shares of 0 have an error of 0."""
    return None if abs(change) <= error else change > 0


def memory_sufficed(found: Sequence[str], logs: int, peak: Curve) -> Sign:
    """No log says that memory ran out."""
    name, title = "memory", "Memory never ran out"
    if found:
        return _sign(name, title, False, f"Out of memory in {', '.join(found)}.")
    if not logs:
        return _sign(name, title, None, "There is no log to read.")
    most = max((value for _, value in peak), default=0.0)
    held = f"; at most {most / 2**30:.1f} GiB in the first process" if most else ""
    return _sign(name, title, True, f"None of {logs} log{'s' * (logs > 1)} says so{held}.")


def saved_in_time(
    steps: int, val_period: int, save_period: int, saved: Sequence[int], accuracy: Curve
) -> Sign:
    """Every checkpoint and every validation that was asked for took place."""
    name, title = "checkpoints", "Checkpoints and validations came at the intervals asked for"
    due = _due(steps, save_period)
    missing = sorted(due - set(saved))
    asked = _due(steps, val_period) | {0}
    unseen = sorted(asked - {step for step, _ in accuracy})
    evidence = (
        f"{len(due) - len(missing)} of {len(due)} checkpoints (every {_steps(save_period)} "
        f"and the last), {len(asked) - len(unseen)} of {len(asked)} validations (every "
        f"{_steps(val_period)}, "
        "the first and the last)"
    )
    if missing:
        evidence += f"; no checkpoint at {_list(missing)}"
    if unseen:
        evidence += f"; no validation at {_list(unseen)}"
    return _sign(name, title, not missing and not unseen, evidence + ".")


def _steps(period: int) -> str:
    return "step" if period == 1 else f"{period} steps"


def _due(steps: int, period: int) -> set[int]:
    return set(range(period, steps + 1, period)) | {steps}


def _list(steps: Sequence[int]) -> str:
    return ", ".join(map(str, steps[:10])) + (", ..." if len(steps) > 10 else "")


def _sign(name: str, title: str, passed: bool | None, evidence: str) -> Sign:
    return {"name": name, "title": title, "passed": passed, "evidence": evidence}


def problems(found: Sequence[Any]) -> list[str]:
    """The signs that are missing, one line each."""
    return [f"{sign['title']}: no. {sign['evidence']}" for sign in found if sign["passed"] is False]
