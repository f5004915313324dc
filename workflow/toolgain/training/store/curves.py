"""Training curves from TensorBoard files, merged over the launches of one training.

Every launch writes its own folder, `exp_001`, `exp_002`, ...; where two have a value for one step,
the later launch wins. Names and steps are NeMo RL's: `train/reward` from step 1,
`validation/accuracy` with the model before the training at step 0.
"""

import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

REWARD = "train/reward"
ACCURACY = "validation/accuracy"
LOWEST, HIGHEST = "validation/accuracy_lowest", "validation/accuracy_highest"
"""Of single validation tasks; TRL training runs alone have them."""

Curve = list[tuple[int, float]]

_LAUNCH = re.compile(r"exp_(\d+)")


def accuracy_is_share(curves: Mapping[str, Curve]) -> bool:
    """Whether the validation accuracy is a share of tasks, as far as is known.

    A mean of rewards that reach beyond 0 and 1 is none, wherever it lies itself.
    """
    names = (ACCURACY, LOWEST, HIGHEST)
    return all(0 <= value <= 1 for name in names for _, value in curves.get(name, []))


def launches(logs: Path) -> list[Path]:
    """The launch folders in `logs`, first to last."""
    if not logs.is_dir():
        return []
    numbered = [(_LAUNCH.fullmatch(path.name), path) for path in logs.iterdir() if path.is_dir()]
    return [path for _, path in sorted((int(match[1]), path) for match, path in numbered if match)]


def next_launch(logs: Path) -> Path:
    """The folder that the next launch writes into."""
    done = launches(logs)
    number = int(done[-1].name.removeprefix("exp_")) + 1 if done else 1
    return logs / f"exp_{number:03d}"


def read_curves(logs: Path) -> dict[str, Curve]:
    """All curves below `logs` by name, each by rising step; only finite values.

    `logs` holds launch folders; without any, its own event files are one launch. A file that was
    cut off by a kill gives what is before the cut.
    """
    merged: dict[str, dict[int, float]] = {}
    for folder in launches(logs) or [logs]:
        for name, step, value in _events(folder):
            merged.setdefault(name, {})[step] = value
    return {name: sorted(curve.items()) for name, curve in sorted(merged.items())}


def _events(folder: Path) -> Iterable[tuple[str, int, float]]:
    files = sorted(folder.rglob("*tfevents*"), key=lambda path: (path.stat().st_mtime, path.name))
    for path in files:
        for written in EventFile(path).new():
            if math.isfinite(written.value):
                yield written.tag, written.step, written.value


class Written(NamedTuple):
    """A number in an event file."""

    tag: str
    step: int
    wall: float
    """Seconds since the epoch."""
    value: float


class EventFile:
    """The numbers in one TensorBoard file, which may still grow."""

    def __init__(self, path: Path) -> None:
        # Imported here: it takes most of a second, which a caller without curves should not wait.
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        logging.getLogger("tensorboard").setLevel(logging.ERROR)
        self._loader = EventFileLoader(str(path))

    def new(self) -> Iterator[Written]:
        """What was added since the last time."""
        for event in self._loader.Load():
            for value in event.summary.value:
                number = scalar(value)
                if number is not None:
                    yield Written(value.tag, int(event.step), event.wall_time, number)


def scalar(value: Any) -> float | None:
    """The number of a TensorBoard summary value, in the old form or as a tensor of one element."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind == "tensor":
        from tensorboard.util import tensor_util

        array = tensor_util.make_ndarray(value.tensor)
        return float(array.item()) if array.size == 1 and array.dtype.kind in "fiu" else None
    return None


def at(curve: Curve, step: int) -> float | None:
    """The value at a step, or None."""
    return dict(curve).get(step)
