"""The time that an evaluation may take, over all its attempts.

`evaluation.retry.max_hours` belongs to the evaluation, from its first start to its written record.
So the time spent is kept in the work folder while it runs: an attempt that was killed or stopped
resumes with what is left, and the next evaluation has all of it again.
"""

import time
from pathlib import Path
from typing import Annotated

from pydantic import Field

from toolgain.evaluation.harness import NEVER
from toolgain.records.record import Record, read_record, write_record

KEEP_EVERY_S = 10.0
"""A kill forgets so much at most."""


class Spent(Record):
    """The time that an evaluation has taken so far."""

    hours: Annotated[float, Field(ge=0)]


class Budget:
    """Counts the time of an evaluation; use it from one thread."""

    def __init__(self, file: Path, max_hours: float | None) -> None:
        """
        Args:
            file: where the time spent is kept.
            max_hours: null for no limit.
        """
        self._file, self._max_hours = file, max_hours
        self._before_s = 0.0
        self._started = self._kept = time.monotonic()

    def start(self) -> None:
        """Resume counting where the last attempt ended.

        Raises:
            UserError: the file is not a record of ours.
        """
        if self._file.exists():
            self._before_s = 3600 * read_record(Spent, self._file, "evaluate: time spent").hours
        self._started = self._kept = time.monotonic()

    @property
    def spent_s(self) -> float:
        """Seconds spent, over all attempts."""
        return self._before_s + time.monotonic() - self._started

    @property
    def give_up_at(self) -> float:
        """Unix time after which nothing is retried."""
        if self._max_hours is None:
            return NEVER
        return time.time() + 3600 * self._max_hours - self.spent_s

    @property
    def is_spent(self) -> bool:
        """Whether evaluation.retry.max_hours have passed; without a limit, never."""
        return self._max_hours is not None and self.spent_s >= 3600 * self._max_hours

    def keep(self, at_once: bool = False) -> None:
        """Keep the time spent, now and then or at once."""
        if at_once or time.monotonic() - self._kept > KEEP_EVERY_S:
            self._kept = time.monotonic()
            write_record(self._file, Spent.model_validate({"hours": self.spent_s / 3600}))

    def close(self) -> None:
        """The evaluation has its record: the next one has all the time again."""
        self._file.unlink(missing_ok=True)
