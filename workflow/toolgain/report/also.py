"""Other benchmarks beside the answer, and a page of their own: tables and groups, before and after.

What is "also measured" never changes the verdict. Its p values are corrected together, by Holm, for
there being several benchmarks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.common.files import read_json
from toolgain.records.record import read_record
from toolgain.records.tables import GroupComparison, TableChange, TableComparison
from toolgain.report import wording
from toolgain.statistics.paired_tests import holm


@dataclass(frozen=True)
class AlsoLine:
    """One score before and after."""

    name: str
    kind: str
    """`overall`, `group` or `category`."""
    change: TableChange
    p: float
    """Corrected in its family."""
    alpha: float
    """Two-sided error level; the interval is of 1 - alpha."""

    @property
    def clear(self) -> str:
        """`up` or `down` where the change is clear after the correction for several tests."""
        low, high = self.change.ci95
        if self.p >= self.alpha or low <= 0 <= high:
            return ""
        return "up" if low > 0 else "down"


@dataclass(frozen=True)
class TablePage:
    """The page of a comparison of tables or groups."""

    title: str
    what: str
    verdict: str | None
    sentence: str
    baseline: str
    trained: str
    lines: tuple[AlsoLine, ...]
    also: tuple[AlsoLine, ...]
    notes: tuple[str, ...]
    unknown: tuple[str, ...]
    """Checks that the folders do not allow."""
    reach: float
    """The largest distance from zero of an interval, in points, for the drawing."""


def read_tables(path: Path) -> TableComparison | GroupComparison | None:
    """The comparison in `path`, where it is of tables or of groups."""
    content = read_json(path, "comparison")
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind == "table":
        return read_record(TableComparison, path, "comparison")
    return read_record(GroupComparison, path, "comparison") if kind == "groups" else None


def also_measured(
    files: Sequence[Path], tables: Mapping[str, TableComparison], alpha: float
) -> tuple[AlsoLine, ...]:
    """A line for each other benchmark, corrected together.

    Args:
        files: what `toolgain compare` wrote of two tables each.
        tables: two tables each that are compared now, by name.
        alpha: error level of the comparison beside which they stand.

    Raises:
        UserError: a file is not one, was made with another error level, or two have one name.
    """
    found = {name: one.overall for name, one in tables.items()}
    for path in files:
        read = read_tables(path)
        if read is None or read.overall is None:
            raise UserError(
                f"--also: {path} is not a comparison of two tables; `toolgain compare before.csv "
                "after.csv --out FILE` writes one."
            )
        if read.alpha != alpha:
            raise UserError(
                f"--also: {path} was compared with an error level of {read.alpha:g}, the "
                f"comparison that it stands beside with {alpha:g}; compare it again with the same "
                "section (--config)."
            )
        if path.stem in found:
            raise UserError(f"--also: two benchmarks are named {path.stem}; rename one file.")
        found[path.stem] = read.overall
    return _family("overall", found, alpha)


def table_page(
    path: Path, read: TableComparison | GroupComparison, also: tuple[AlsoLine, ...], title: str
) -> TablePage:
    """The page of one comparison of tables or groups."""
    alone = (
        []
        if read.overall is None
        else [AlsoLine("All items", "overall", read.overall, read.overall.p, read.alpha)]
    )
    lines = [*alone, *_family("group", read.groups, read.alpha)]
    notes = [] if isinstance(read, GroupComparison) else list(read.notes)
    unknown: list[str] = []
    if isinstance(read, GroupComparison):
        lines += _family("category", read.categories, read.alpha)
        notes = [*filter(None, [read.no_overall]), *read.warnings]
        unknown = read.checks_impossible
        lines = [_titled(line) for line in lines]
    ends = [abs(end) for line in (*lines, *also) for end in line.change.ci95]
    return TablePage(
        title=title,
        what=read.benchmark if isinstance(read, GroupComparison) else path.stem,
        verdict=read.verdict,
        sentence=read.sentence,
        baseline=read.baseline,
        trained=read.trained,
        lines=tuple(lines),
        also=also,
        notes=tuple(notes),
        unknown=tuple(unknown),
        reach=max([1.0, *ends]),
    )


def _titled(line: AlsoLine) -> AlsoLine:
    if line.kind == "overall":
        name = "Overall"
    else:
        name = wording.group(line.name) if line.kind == "group" else wording.category(line.name)
    return replace(line, name=name)


def _family(kind: str, changes: Mapping[str, TableChange], alpha: float) -> tuple[AlsoLine, ...]:
    corrected = holm([change.p for change in changes.values()])
    return tuple(
        AlsoLine(name, kind, change, p, alpha)
        for (name, change), p in zip(changes.items(), corrected, strict=True)
    )


def also_sentence(also: Sequence[AlsoLine]) -> str:
    """In a sentence, what was also measured and moved clearly."""
    moved = {
        word: [line.name for line in also if line.clear == sign]
        for word, sign in (("fell", "down"), ("rose", "up"))
    }
    said = [f"{', '.join(names)} {word} clearly" for word, names in moved.items() if names]
    many = f"{len(also)} other benchmark{'s' * (len(also) != 1)}"
    return f"Of {many}, {'; '.join(said) if said else 'none changed clearly'}."
