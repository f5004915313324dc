"""From rollouts to numbers, and from numbers to a verdict. No I/O."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean, median, pstdev

from toolgain.common.amounts import in_percent
from toolgain.environments.play import Rollout
from toolgain.records.rehearsal import Answers, CheckedRows, Spread, UnplayableRow

MOST_FAILED = 0.05
"""Above this share of failed rollouts the measured reward is no longer the model's."""
MOST_OVERFLOWS = 0.05
MOST_TEXT_CALLS = 0.5
"""Above this share of the answers with calls, the server's parser is not the model's."""
MUCH_FOR_NOTHING = 0.25
"""Mean reward from which on doing nothing is worth learning."""
FEW_SPREADS = 0.9
EXAMPLES = 20


def checked_rows(
    places: Sequence[tuple[str, int]], rollouts: Sequence[Rollout], there: int
) -> CheckedRows:
    """What rows came to when a model that does nothing played them.

    Args:
        places: File (`train`, `validation`) and line of each row.
        rollouts: One of each row.
        there: Rows in both files.
    """
    bad = [rollout for rollout in rollouts if rollout.reward is None]
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    examples = [
        UnplayableRow.model_validate(
            {"file": places[r.row][0], "line": places[r.row][1], "reason": r.error or "unknown"}
        )
        for r in bad[:EXAMPLES]
    ]
    return CheckedRows(
        checked=len(rollouts),
        there=there,
        unplayable=len(bad),
        examples=examples,
        reward_for_nothing=fmean(rewards) if rewards else None,
        rewarded_for_nothing=fmean(reward > 0 for reward in rewards) if rewards else None,
    )


def spread(values: Iterable[float], limit: float | None = None) -> Spread | None:
    """Mean, median and largest of `values`; None of none."""
    found = list(values)
    if not found:
        return None
    return Spread(mean=fmean(found), median=median(found), largest=max(found), limit=limit)


def rollout_counts(rollouts: Sequence[Rollout]) -> Answers:
    """Counts over all rollouts."""
    calls = [rollout.calls for rollout in rollouts]
    return Answers(
        turns=sum(c.turns for c in calls),
        tool_calls=sum(c.tool_calls for c in calls),
        calls_as_text=sum(c.calls_as_text for c in calls),
        broken_arguments=sum(c.broken_arguments for c in calls),
        empty=sum(c.empty for c in calls),
        cut=sum(c.cut for c in calls),
        overflows=sum(c.overflow for c in calls),
        endless=sum(c.too_many_calls for c in calls),
    )


def kind_of_error(error: str) -> str:
    """An error without what differs from rollout to rollout, to count by."""
    text = re.sub(r"0x[0-9a-f]+|[0-9a-f]{16,}|\d{4,}", "…", error)
    return text[:160]


def errors(rollouts: Iterable[Rollout]) -> dict[str, int]:
    """Failed rollouts by kind of error, the most frequent first."""
    found = Counter(kind_of_error(rollout.error) for rollout in rollouts if rollout.error)
    return dict(found.most_common(20))


def rewards_of(rollouts: Iterable[Rollout]) -> list[float]:
    """The rewards of the rollouts that have one."""
    return [rollout.reward for rollout in rollouts if rollout.reward is not None]


def without_spread(rollouts: Iterable[Rollout]) -> float | None:
    """Share of rows whose rollouts all earned the same; None where no row has two rewards."""
    groups: dict[int, list[float]] = {}
    for rollout in rollouts:
        if rollout.reward is not None:
            groups.setdefault(rollout.row, []).append(rollout.reward)
    several = [group for group in groups.values() if len(group) > 1]
    return fmean(pstdev(group) == 0 for group in several) if several else None


def never_differs(rollouts: Iterable[Rollout]) -> bool:
    """Whether all rollouts of a row had the same answers, for every one of two rows or more."""
    rows: dict[int, list[str]] = {}
    for rollout in rollouts:
        if rollout.calls.said:
            rows.setdefault(rollout.row, []).append(rollout.calls.said)
    several = [said for said in rows.values() if len(said) > 1]
    return len(several) > 1 and all(len(set(said)) == 1 for said in several)


def judge_rehearsal(
    rows: CheckedRows,
    rollouts: Sequence[Rollout],
    agents: dict[str, int | None],
    max_turns: int,
    ends_rollouts: bool,
) -> tuple[list[str], list[str]]:
    """Why a training run on this would not work, and what else to look at.

    Args:
        ends_rollouts: Whether the trainer ends a rollout after `max_turns` answers, so that none
            needs a limit of the agent's own.
    """
    reasons: list[str] = []
    warnings: list[str] = []
    if rows.unplayable:
        kinds: dict[str, str] = {}
        for example in rows.examples:
            where = f"line {example.line} of the {example.file} file: {example.reason}"
            kinds.setdefault(kind_of_error(example.reason), where)
        reasons.append(
            f"Gym cannot play {rows.unplayable} of {rows.checked} rows, such as "
            + " | ".join(list(kinds.values())[:3])
        )
    nothing = rows.reward_for_nothing or 0.0
    if nothing >= MUCH_FOR_NOTHING:
        warnings.append(
            f"a model that calls nothing earns {nothing:.2f} on average: the model may learn that"
        )
    if not rollouts:
        return reasons, warnings
    failed = [rollout for rollout in rollouts if rollout.reward is None]
    said = rollout_counts(rollouts)
    _judge_endless(said.endless, len(rollouts), max_turns, ends_rollouts, reasons, warnings)
    _judge_failures(rollouts, failed, said, reasons, warnings)
    if never_differs(rollouts):
        reasons.append(
            "all rollouts of a row had the same answers, word for word, for every row: the model "
            "server does not sample"
        )
    rewards = rewards_of(rollouts)
    if rewards and not 0 <= min(rewards) <= max(rewards) <= 1:
        warnings.append(
            f"rewards reach from {min(rewards):g} to {max(rewards):g}: the validation accuracy "
            "will be their mean, no share of tasks"
        )
    if rewards and without_spread(rollouts) is not None:
        _judge_rewards(rewards, without_spread(rollouts) or 0.0, reasons, warnings)
    unlimited = sorted(name for name, steps in agents.items() if steps is None)
    ends = ends_rollouts or said.endless
    if unlimited and not ends and any(rollout.calls.turns > 1 for rollout in rollouts):
        warnings.append(
            f"the agent {unlimited[0]} has no max_steps: nothing but the context ends a rollout "
            "that keeps calling (set it with training.gym.overrides, and for NeMo RL in its YAML)"
        )
    return reasons, warnings


def _judge_failures(
    rollouts: Sequence[Rollout],
    failed: Sequence[Rollout],
    said: Answers,
    reasons: list[str],
    warnings: list[str],
) -> None:
    total = len(rollouts)
    if failed:
        kind, number = next(iter(errors(failed).items()))
        text = f"{len(failed)} of {total} rollouts failed; {number} of them: {kind}"
        (reasons if len(failed) > MOST_FAILED * total else warnings).append(text)
    if said.overflows:
        text = (
            f"the prompt of {said.overflows} of {total} rollouts did not fit into the context of "
            "the model server: Gym makes an empty answer of that, and a reward of its own"
        )
        (reasons if said.overflows > MOST_OVERFLOWS * total else warnings).append(text)
    if said.calls_as_text:
        with_calls = said.calls_as_text + said.tool_calls
        text = (
            f"{said.calls_as_text} answers hold a tool call as text, {said.tool_calls} calls were "
            "read: the tool parser of the model server is not the model's, or the model breaks "
            "its format"
        )
        (reasons if said.calls_as_text > MOST_TEXT_CALLS * with_calls else warnings).append(text)
    if said.empty:
        warnings.append(f"{said.empty} of {said.turns} answers were empty")
    if said.cut:
        warnings.append(f"{said.cut} of {said.turns} answers were cut at the token limit")


def _judge_endless(
    ended: int,
    total: int,
    max_turns: int,
    ends_rollouts: bool,
    reasons: list[str],
    warnings: list[str],
) -> None:
    if ended and not ends_rollouts:
        reasons.append(
            f"{ended} of {total} rollouts were ended after {max_turns} answers: the agent has no "
            "limit of its own (max_steps)"
        )
    # Where one answer is the whole rollout, that is what was asked for.
    elif ended and max_turns > 1:
        warnings.append(
            f"{ended} of {total} rollouts were ended with answer {max_turns}, whose calls were not "
            "executed (training.gym.max_turns)"
        )


def _judge_rewards(
    rewards: Sequence[float], same: float, reasons: list[str], warnings: list[str]
) -> None:
    if same == 1.0 and max(rewards) == min(rewards):
        level = "too easy for it" if max(rewards) > 0 else "too hard for it, or its calls are lost"
        reasons.append(f"every rollout earned {rewards[0]:g}: no gradient; the rows are {level}")
    elif same == 1.0:
        reasons.append("all rollouts of a row earned the same, for every row: no gradient")
    elif same >= FEW_SPREADS:
        warnings.append(
            f"{in_percent(same)} of the rows gave the same reward in every rollout: no gradient"
        )
