"""The rehearsal of a run's environment, as lines of the page."""

from dataclasses import dataclass

from toolgain.common.progress import duration_words
from toolgain.records.rehearsal import Rehearsal, Spread
from toolgain.report.wording import of_them, percent


@dataclass(frozen=True)
class Line:
    """One thing that the rehearsal measured."""

    what: str
    found: str


@dataclass(frozen=True)
class Rehearsed:
    """What the page shows of a rehearsal."""

    trainable: bool
    lines: tuple[Line, ...]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def rehearsal_lines(record: Rehearsal | None) -> Rehearsed | None:
    """The lines of a rehearsal; None without one."""
    if record is None:
        return None
    rows = record.rows
    playable = rows.checked - rows.unplayable
    lines = [
        Line(
            "Rows that Gym can play",
            f"{playable} of {rows.checked} tried, of {of_them(rows.there, 'row')}",
        )
    ]
    if rows.reward_for_nothing is not None and rows.rewarded_for_nothing is not None:
        lines.append(
            Line(
                "Reward for calling nothing",
                f"{rows.reward_for_nothing:.2f} on average; above zero in "
                f"{percent(100 * rows.rewarded_for_nothing)} % of the rows",
            )
        )
    if record.reward_mean is not None and record.reward_std is not None:
        lines.append(
            Line(
                "Reward of the model",
                f"{record.reward_mean:.2f}, standard deviation {record.reward_std:.2f}, in "
                f"{record.rows_played} rows with {record.rollouts_per_row} rollouts each",
            )
        )
    if record.groups_without_spread is not None:
        lines.append(
            Line(
                "Rows with identical rewards, so no gradient",
                f"{percent(100 * record.groups_without_spread)} %",
            )
        )
    lines.append(Line("Rollouts that failed", _failed(record)))
    for what, spread, unit in (
        ("Answers in a rollout", record.turns, ""),
        ("Tool calls in a rollout", record.tool_calls, ""),
        ("Longest prompt of a rollout", record.prompt_tokens, " tokens"),
        ("Tokens answered in a rollout", record.answer_tokens, " tokens"),
        ("Time of a rollout", record.seconds, " s"),
    ):
        if spread is not None:
            lines.append(Line(what, _spread(spread, unit)))
    if record.step.seconds is not None:
        lines.append(
            Line(
                f"The {record.step.rollouts} rollouts of a step would take",
                f"{duration_words(record.step.seconds)} at the pace of the rehearsal",
            )
        )
    return Rehearsed(
        record.verdict == "trainable", tuple(lines), tuple(record.reasons), tuple(record.warnings)
    )


def _failed(record: Rehearsal) -> str:
    kinds = "; ".join(f"{number} times: {kind}" for kind, number in record.errors.items())
    return f"{record.failed}" + (f" ({kinds})" if kinds else "")


def _spread(spread: Spread, unit: str) -> str:
    limit = "" if spread.limit is None else f", limit {spread.limit:,.0f}"
    return f"mean {_figure(spread.mean)}, largest {_figure(spread.largest)}{limit}{unit}"


def _figure(value: float) -> str:
    """A count or a mean of counts, with a decimal only where it says something."""
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:,.1f}"
