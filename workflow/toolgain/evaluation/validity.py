"""The validity record: may this evaluation be used as a measurement, and if not, why?"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from toolgain.bfcl.outcomes import (
    CONTEXT_OVERFLOW,
    DISPUTED,
    EMPTY,
    FLAGS,
    HISTORY_REFUSED,
    INFERENCE_ERROR,
    ItemOutcome,
)
from toolgain.bfcl.responses import NO_ANSWER
from toolgain.bfcl.results import error_kind
from toolgain.common.amounts import counted, in_percent
from toolgain.config.sections import SERVERS
from toolgain.records.summary import Canary

ENOUGH_CALLS = 10
"""So many calls, and none of an offered function, are not a model's weakness."""
CODE = (
    "Python code that the harness evaluates; it ran in the sandbox, and may have made the tools of "
    "its own conversation answer something else"
)
_FAILED = frozenset({INFERENCE_ERROR, CONTEXT_OVERFLOW, HISTORY_REFUSED})


@dataclass(frozen=True)
class ValidityLimits:
    """Above these shares of all items, an evaluation is not valid."""

    errors: float
    overflows: float


@dataclass(frozen=True)
class Validity:
    """The record of one evaluation."""

    valid: bool
    reasons: list[str]
    """Why it is not valid; empty when it is."""
    warnings: list[str]
    """What a reader should know though it is valid."""
    errors: dict[str, int]
    """Items without an answer, by kind of failure."""
    flags: dict[str, int]
    """Items by flag; see `outcomes.FLAGS`."""


def judge_evaluation(
    outcomes: Sequence[ItemOutcome],
    asked: int,
    canary: Canary,
    limits: ValidityLimits,
    sampling: Sequence[Mapping[str, object]],
    wanted: Mapping[str, object],
    stop_at_canary: bool = True,
    parser_key: str = SERVERS["vllm"].parser_key,
    calls: int = 0,
    foreign: int = 0,
    code: int = 0,
    never_taken: Mapping[str, int] = MappingProxyType({}),
) -> Validity:
    """Judge an evaluation.

    Args:
        outcomes: one per item and repeat; empty when the canary stopped the evaluation.
        asked: number of items and repeats that there should be.
        sampling: the different samplings that the server received.
        wanted: the sampling of the configuration.
        stop_at_canary: what the canary shows is a reason; else a warning.
        parser_key: the key that decides how this server reads tool calls.
        calls, foreign: calls in all answers, and those that name no function that was offered.
        code: calls that Python finds something of its own to run for.
        never_taken: refused conversations by what they hold of earlier answers, where the server
            took none that holds the same.
    """
    errors = count_errors(outcomes)
    if len(outcomes) < asked:
        errors["not_asked"] = asked - len(outcomes)
    flags = Counter(flag for outcome in outcomes for flag in outcome.flags)
    doubts = canary_reasons(canary, outcomes, parser_key)
    if calls == foreign >= ENOUGH_CALLS:
        doubts.append(
            f"none of {calls} calls names a function that was offered; look whether the server's "
            "chat template shows the tools and its tool parser leaves the names as they are"
        )
    reasons = doubts if stop_at_canary or not canary.answered else []
    reasons += answer_reasons(outcomes, never_taken, limits.errors)
    failed = sum(errors.values()) - errors.get(CONTEXT_OVERFLOW, 0)
    overflowed = errors.get(CONTEXT_OVERFLOW, 0)
    if asked and failed / asked > limits.errors:
        reasons.append(
            f"{failed} of {counted(asked, 'item')} ({in_percent(failed / asked, 1)}) got no answer "
            f"({_listed(errors, without=CONTEXT_OVERFLOW)}); allowed is "
            f"{in_percent(limits.errors, 1)}"
            f"{_cure(errors)}"
        )
    if asked and overflowed / asked > limits.overflows:
        reasons.append(
            f"the prompts of {overflowed} of {counted(asked, 'item')} "
            f"({in_percent(overflowed / asked, 1)}) were longer than the server's context; "
            f"allowed is {in_percent(limits.overflows, 1)}"
        )
    reasons += [
        f"the server received the sampling {dict(found)}, expected was {dict(wanted)}"
        for found in sampling
        if dict(found) != dict(wanted)
    ]
    return Validity(
        valid=not reasons,
        reasons=reasons,
        warnings=[
            *(doubt for doubt in doubts if doubt not in reasons),
            *_warnings(canary, errors, flags, asked),
            *([f"{code} of {calls} calls are {CODE}"] if code else []),
            *_credits(outcomes),
        ],
        errors=dict(sorted(errors.items())),
        flags={name: flags[name] for name in FLAGS if flags[name]},
    )


def count_errors(outcomes: Iterable[ItemOutcome]) -> Counter[str]:
    """Items without an answer, by kind of failure."""
    kinds: Counter[str] = Counter()
    for outcome in outcomes:
        if CONTEXT_OVERFLOW in outcome.flags:
            kinds[CONTEXT_OVERFLOW] += 1
        elif INFERENCE_ERROR in outcome.flags:
            kinds[error_kind(outcome.error_message)] += 1
    return kinds


def canary_reasons(
    canary: Canary,
    outcomes: Sequence[ItemOutcome],
    parser_key: str = SERVERS["vllm"].parser_key,
    few: bool = False,
) -> list[str]:
    """What the canary says against the server; answers of the evaluation can stand in for it.

    With `few` items, calls in all answers may be the model's doing, and are no reason.
    """
    if not canary.answered:
        return [f"canary: the server did not answer a plain question ({canary.failure})"]
    reasons = []
    if canary.call_as_text:
        reasons.append(
            f"canary: tool calls come back as text: a whole call after {canary.markup}, and no "
            "answer was parsed; the server's tool parser is missing or does not fit the model "
            f"({parser_key}); `evaluation.canary: warn` evaluates all the same"
        )
    elif outcomes and not canary.parsed_call and not any(row.calls for row in outcomes):
        reasons.append(
            "canary: no tool call in any answer that the harness could decode, so nothing shows "
            "that the server parses tool calls; where the model has yet to learn to call, set "
            "`evaluation.canary: warn`"
        )
    if outcomes and not few and not canary.text and not any(_is_text(row) for row in outcomes):
        reasons.append(
            "canary: no answer was text, so the server seems to force a tool call on each question"
        )
    return reasons


def _is_text(outcome: ItemOutcome) -> bool:
    """Whether the server let the model write text, be it a call that nobody can read."""
    return outcome.calls == 0 and not (_FAILED | {EMPTY}) & set(outcome.flags)


def answer_reasons(
    outcomes: Sequence[ItemOutcome],
    never_taken: Mapping[str, int] = MappingProxyType({}),
    most: float = 0.0,
) -> list[str]:
    """What the answers, all together, say against the server."""
    reasons = []
    answered = [row for row in outcomes if not _FAILED & set(row.flags)]
    if answered and all(EMPTY in row.flags for row in answered):
        reasons.append(
            f"all {len(answered)} answers were empty; look at the server's chat template, "
            "reasoning parser and log"
        )
    disputed = [row for row in outcomes if DISPUTED in row.flags]
    if disputed:
        reasons.append(
            f"the harness's score, its decoder and the record of the requests do not agree on "
            f"{counted(len(disputed), 'item')} (such as {disputed[0].id})"
        )
    refused = sum(HISTORY_REFUSED in row.flags for row in outcomes)
    if refused and sum(never_taken.values()) > most * len(outcomes):
        kinds = " or ".join(kind or "nothing" for kind in never_taken)
        reasons.append(
            f"the server refused {refused} conversations and took none that holds the same of "
            f"earlier answers ({kinds}), so it is not the model's fault; look at the server's chat "
            "template and log"
        )
    return reasons


def _cure(errors: Mapping[str, int]) -> str:
    """What to do about the most frequent failure, where that is known."""
    kinds = sorted(set(errors) & set(NO_ANSWER), key=lambda kind: -errors[kind])
    return f"; {kinds[0]}: {NO_ANSWER[kinds[0]]}" if kinds else ""


def _warnings(
    canary: Canary, errors: Mapping[str, int], flags: Mapping[str, int], asked: int
) -> list[str]:
    warnings = []
    if canary.answered and not canary.parsed_call and not canary.call_as_text:
        warnings.append("canary: the model made no tool call where it should")
    if canary.answered and not canary.text:
        warnings.append("canary: the model called a tool where it should not")
    if canary.unanswered:
        warnings.append(f"canary: {canary.unanswered} responses held no answer")
    if errors:
        warnings.append(
            f"{sum(errors.values())} of {counted(asked, 'item')} got no answer: {_listed(errors)}"
        )
    for flag, what in (
        ("unparsed_call", "tool calls reached us as text"),
        ("undecodable_call", "the model wrote calls whose arguments are not a JSON object"),
        (
            "history_refused",
            "the server refused to continue after what the model wrote; counted as wrong",
        ),
        ("truncated", "answers were cut at the token limit"),
        ("empty", "answers were empty"),
        ("forced_stop", "multi-turn items were stopped by the harness after 20 steps"),
    ):
        if flags.get(flag):
            warnings.append(f"{flags[flag]} of {asked}: {what}")
    return warnings


def _credits(outcomes: Sequence[ItemOutcome]) -> list[str]:
    """What the harness counts as right though a call was there, or nothing."""
    credited = [row for row in outcomes if row.valid and not row.strict_valid]
    if not credited:
        return []
    return [
        f"{len(credited)} of {counted(len(outcomes), 'item')} count as right in the official "
        "score though a call that could not be read, a cut answer or none was there; the strict "
        "score leaves them out"
    ]


def _listed(counts: Mapping[str, int], without: str = "") -> str:
    return ", ".join(f"{kind} {n}" for kind, n in sorted(counts.items()) if kind != without)
