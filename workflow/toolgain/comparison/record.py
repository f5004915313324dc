"""comparison.json: its writer and its reader; its type is `toolgain.records.comparison`."""

from pathlib import Path

from toolgain.common.files import read_json, write_json
from toolgain.records.comparison import Comparison, read_comparison
from toolgain.records.record import read_record
from toolgain.records.tables import GroupComparison, TableComparison


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write comparison.json in one step; what a run does not have is left out."""
    write_json(path, comparison.model_dump(by_alias=True, exclude_unset=True))


def read_any(path: Path) -> Comparison | GroupComparison | TableComparison:
    """Read what `toolgain compare` wrote, of whichever kind; errors as in `read_comparison`."""
    content = read_json(path, "comparison")
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind == "table":
        return read_record(TableComparison, path, "comparison")
    if kind == "groups":
        return read_record(GroupComparison, path, "comparison")
    return read_comparison(path)
