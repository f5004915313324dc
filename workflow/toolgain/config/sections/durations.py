"""Lengths of time as people write them: `90m`, `4h`, `2d`, or Slurm's `4:00:00` and `1-12`."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from toolgain.common.amounts import two_readings

DURATION = re.compile(
    r"(?P<count>[1-9]\d*)(?P<unit>m|h|d)"
    r"|(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]\d):00"
    r"|(?P<only_days>\d+)-(?P<day_hours>\d+)(?::(?P<day_minutes>[0-5]\d))?"
)
SHAPE = "^([1-9][0-9]*(m|h|d)|([0-9]+-)?[0-9]+:[0-5][0-9]:00|[0-9]+-[0-9]+(:[0-5][0-9])?)$"
UNITS = {"m": 1, "h": 60, "d": 1440}


def minutes(duration: str) -> int:
    """A duration such as `90m`, `4h`, `2d`, `4:00:00`, `1-12:00:00` or `1-12` in minutes."""
    match = DURATION.fullmatch(duration)
    if match is None:
        raise ValueError(f"is not a duration; {_ways(duration)}")
    if match["unit"]:
        return int(match["count"]) * UNITS[match["unit"]]
    days, hours, rest = (
        match[name] or match[other] or 0
        for name, other in (
            ("days", "only_days"),
            ("hours", "day_hours"),
            ("minutes", "day_minutes"),
        )
    )
    return int(days) * 24 * 60 + int(hours) * 60 + int(rest)


def _ways(text: str) -> str:
    """How to say what `text` may have meant."""
    if two := re.fullmatch(r"(\d+):([0-5]\d)", text):
        return two_readings(*map(int, two.groups()))
    if re.fullmatch(r"\d+", text):
        return f"it has no unit: say {text}m for minutes (as Slurm would take it) or {text}h"
    return "say 90m, 4h, 2d, or as in Slurm 4:00:00 or 1-12:00:00"


def _duration(value: Any) -> Any:
    # YAML itself makes seconds of an unquoted 4:00:00.
    if isinstance(value, int) and not isinstance(value, bool) and value >= 3600 and not value % 60:
        return f"{value // 60}m"
    text = str(value)
    try:
        minutes_given = minutes(text)
    except ValueError as error:
        raise ValueError(f"{text!r} {error}") from None
    if minutes_given < 1:
        raise ValueError(f"{text!r} is too short; the minimum is 1m")
    return text


Duration = Annotated[str, BeforeValidator(_duration), Field(json_schema_extra={"pattern": SHAPE})]
"""A length of time, such as `90m`, `4h`, `2d` or `4:00:00`."""
