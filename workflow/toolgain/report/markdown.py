"""The report as Markdown, for a pull request."""

import re
from collections.abc import Iterable, Sequence

from toolgain.common.screen import visible
from toolgain.report.also import AlsoLine, TablePage, also_sentence
from toolgain.report.model import ChangeRow, Page, RunPage
from toolgain.report.wording import (
    NO_VALUE,
    duration,
    interval,
    interval_name,
    p_value,
    percent,
    points,
    whole_number,
)

# Backslash escapes work for every ASCII punctuation character of CommonMark.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&@])")
# What GitHub makes a link or a mention of, whether escaped or not, unless it is code.
_ADDRESS = re.compile(r"://|www\.|mailto:|xmpp:|@", re.IGNORECASE)


def text(page: Page, also: Sequence[AlsoLine] = ()) -> str:
    """The whole document."""
    return "\n".join(_lines(page, also)).rstrip() + "\n"


def table_text(page: TablePage) -> str:
    """The document of a comparison of tables or groups."""
    lines = [f"## {escaped(page.title)}", "", f"**{escaped(page.sentence)}**", ""]
    lines += [f"- Note: {escaped(note)}" for note in page.notes]
    lines += ["", "### Where", "", *_scores("Score", page.lines), *_also(page.also)]
    return "\n".join(lines).rstrip() + "\n"


def _also(also: Sequence[AlsoLine]) -> Iterable[str]:
    if also:
        yield "### Also measured"
        yield ""
        yield escaped(also_sentence(also))
        yield ""
        yield from _scores("Benchmark", also)


def _scores(first: str, lines: Sequence[AlsoLine]) -> Iterable[str]:
    level = interval_name(lines[0].alpha if lines else 0.05)
    return table(
        [first, "Before", "After", "Change", level, "p, corrected", "Items"],
        [
            [
                escaped(line.name),
                percent(line.change.baseline),
                percent(line.change.trained),
                points(line.change.delta),
                interval(line.change.ci95),
                p_value(line.p),
                whole_number(line.change.n),
            ]
            for line in lines
        ],
    )


def escaped(value: object) -> str:
    """Text that Markdown takes literally, in one line; an address in it is code, not a link."""
    line = " ".join(visible(str(value)).split())
    return "".join(
        f"`{word}`" if _ADDRESS.search(word) else _SPECIAL.sub(r"\\\1", word)
        for word in re.split(r"([\s`|]+)", line)
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right_from: int = 1) -> list[str]:
    """A table; columns from `right_from` on are aligned to the right."""
    rule = ["---" if number < right_from else "--:" for number in range(len(head))]
    return [
        "| " + " | ".join(cells) + " |" for cells in ([*head], rule, *(list(row) for row in rows))
    ] + [""]


def _lines(page: Page, also: Sequence[AlsoLine]) -> Iterable[str]:
    yield f"## {escaped(page.title)}"
    yield ""
    yield f"**{escaped(page.sentence)}**"
    yield ""
    if page.comparable and len(page.runs) == 1 and page.runs[0].origin:
        yield escaped(page.runs[0].origin)
        yield ""
    if page.stamp:
        yield f"> {page.stamp} ({whole_number(page.n)} of {whole_number(page.population)} items)"
        yield ""
    for reason in page.reasons:
        yield f"- **{escaped(reason.message)}** {escaped(reason.advice)}"
    if page.reasons:
        yield ""
    for note in page.notes:
        yield f"- {escaped(note)}"
    for note in (*page.warnings, *page.missing):
        yield f"- Note: {escaped(note)}"
    yield ""
    if len(page.runs) > 1:
        yield from _runs(page)
    for run in page.runs:
        yield from _run(page, run)
    yield from _also(also)
    yield from _cost(page)
    yield f"<sub>{escaped(page.model)} · toolgain {page.provenance.report_version}</sub>"


def _runs(page: Page) -> Iterable[str]:
    rows = [_overall(escaped(run.name), run.overall) for run in page.runs]
    rows += [_overall(f"**{escaped(mean.overall.title)}**", mean.overall) for mean in page.means]
    yield "### Runs"
    yield ""
    yield from table(["Run", "Before", "After", "Change", page.interval, "p"], rows)


def _overall(name: str, change: ChangeRow) -> list[str]:
    return [
        name,
        percent(change.baseline),
        percent(change.trained),
        points(change.delta),
        interval(change.interval),
        p_value(change.p),
    ]


def _run(page: Page, run: RunPage) -> Iterable[str]:
    heading = f"### Where: {escaped(run.name)}" if len(page.runs) > 1 else "### Where"
    if page.comparable and run.changes:
        yield heading
        yield ""
        yield from table(
            ["", "Before", "After", "Change", f"{page.interval}, not adjusted", "p, not adjusted",
             "Items", "Gained", "Lost"],
            [_change(change) for change in run.changes],
        )  # fmt: skip
        if any(change.small for change in run.changes):
            yield "Rows in italics have too few items to tell."
            yield ""
    if run.held:
        yield f"- {escaped(run.held[:1].upper() + run.held[1:])}"
        yield ""
    training = run.training
    if training:
        yield f"### Training{': ' + escaped(run.name) if len(page.runs) > 1 else ''}"
        yield ""
        if run.joined:
            yield escaped(run.joined)
            yield ""
        for sign in training.signs:
            mark = {True: "passed", False: "**failed**", None: "cannot tell"}[sign.passed]
            yield f"- {escaped(sign.title)}: {mark} ({escaped(sign.evidence)})"
        for note in training.notes:
            yield f"- {escaped(note)}"
        yield ""
        if training.checkpoints:
            yield from table(
                ["Checkpoint", "Validation accuracy, %", "Standard error"],
                [
                    [
                        f"step {point.step}" + (" (chosen)" if point.chosen else ""),
                        percent(point.accuracy),
                        percent(point.standard_error),
                    ]
                    for point in training.checkpoints
                ],
            )


def _change(change: ChangeRow) -> list[str]:
    title = escaped(change.title)
    if change.kind != "category":
        title = f"**{title}**"
    elif change.small:
        title = f"*{title}*"
    return [
        title,
        percent(change.baseline),
        percent(change.trained),
        points(change.delta),
        interval(change.interval),
        "too small" if change.small else p_value(change.p),
        whole_number(change.n),
        whole_number(change.gained),
        whole_number(change.lost),
    ]


def _cost(page: Page) -> Iterable[str]:
    if not page.cost.stages:
        return
    yield "### Cost"
    yield ""
    rows = [
        [
            escaped(stage.title),
            duration(stage.seconds),
            whole_number(stage.nodes),
            percent(stage.gpu_hours),
        ]
        for stage in page.cost.stages
    ]
    rows.append(["**Sum**", duration(page.cost.seconds), NO_VALUE, percent(page.cost.gpu_hours)])
    yield from table(["Stage", "Wall time", "Nodes", "GPU-hours"], rows)
