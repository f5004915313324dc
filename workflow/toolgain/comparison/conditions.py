"""The conditions of two evaluations side by side, and the reasons against comparing them."""

from typing import Any

from pydantic import ConfigDict

from toolgain.records import record as records

Condition = Any
"""A condition of an evaluation, of whatever form it has in the manifest; shown, never reckoned."""


class ComparisonPart(records.Part):
    """A part of comparison.json. A key that is not known is refused: the writer would lose it."""

    model_config = ConfigDict(extra="forbid")


class Reason(ComparisonPart):
    """Why two evaluations cannot be compared."""

    what: str
    baseline: Condition
    trained: Condition
    message: str
    advice: str


class EqualCondition(ComparisonPart):
    """A condition of both sides."""

    what: str
    baseline: Condition
    trained: Condition
    equal: bool
