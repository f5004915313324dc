"""Whether the numbers may be trusted: validity of both sides, equal conditions, noise."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolgain.records.comparison import (
    Comparison,
    EqualCondition,
    OverallChange,
    PooledItems,
)
from toolgain.records.summary import Canary, SandboxState, Summary
from toolgain.report.sources import EvaluationFolder, Sources
from toolgain.report.wording import (
    NO_VALUE,
    interval,
    percent,
    points,
    typeset,
    whole_number,
)
from toolgain.statistics import answer, intervals
from toolgain.statistics.answer import p_equals

_OTHER = {"percentile": "percentiles", "bca": "BCa"}
MARK = {True: "yes", False: "no"}


@dataclass(frozen=True)
class Fact:
    """One line of the validity record, a value per evaluation."""

    label: str
    term: str
    values: tuple[str, ...]
    bad: tuple[bool, ...]
    """Which of the values speak against the measurement."""


@dataclass(frozen=True)
class Equal:
    """One condition that had to be equal on both sides."""

    key: str
    """Name of the condition in comparison.json."""
    what: str
    values: tuple[str, ...]
    """Of the baseline and of each run."""
    equal: bool | None
    """None: it could not be checked."""


@dataclass(frozen=True)
class Anchor:
    """A score that others published."""

    model: str
    overall: str
    conditions: str
    not_comparable: str
    """Why it cannot be compared with a score of toolgain."""
    source: str


@dataclass(frozen=True)
class Trust:
    """The section `May I trust it`."""

    subjects: tuple[str, ...]
    facts: tuple[Fact, ...]
    reasons: tuple[str, ...]
    """Why an evaluation is not valid, with its subject."""
    equal: tuple[Equal, ...]
    impossible: tuple[str, ...]
    """Checks that could not be made."""
    method: tuple[tuple[str, str, str], ...]
    """(label, key of the glossary or empty, value)"""
    strict: tuple[tuple[str, str], ...]
    """Per run: the strict Overall's change as a sentence."""
    naive: tuple[tuple[str, str, str], ...]
    """Per run: what simpler tests say (run, test, result)."""
    anchors: tuple[Anchor, ...]


def trust(sources: Sources, anchors: bool) -> Trust:
    """Collect what speaks for and against the measurement."""
    comparison = sources.comparison
    evaluations = [sources.baseline, *(run.evaluation for run in sources.runs.values())]
    comparable = comparison.verdict != "not_comparable"
    runs = comparison.runs
    return Trust(
        subjects=tuple(evaluation.subject for evaluation in evaluations),
        facts=tuple(_facts(evaluations)),
        reasons=tuple(
            typeset(f"{evaluation.subject}: {reason}")
            for evaluation in evaluations
            for reason in (evaluation.summary.reasons if evaluation.summary else ())
        ),
        equal=tuple(_equal(comparison)),
        impossible=tuple(comparison.checks_impossible),
        method=tuple(_method(comparison)),
        strict=tuple(
            (name, _strict(run.strict_overall, run.overall, comparison.alpha))
            for name, run in runs.items()
            if comparable and run.strict_overall and run.overall
        ),
        naive=tuple(
            (name, *line)
            for name, run in runs.items()
            if comparable and run.pooled_items
            for line in _naive(run.pooled_items)
        ),
        anchors=tuple(_anchor(entry) for entry in comparison.anchors if anchors),
    )


def _sandbox(state: SandboxState | None) -> str:
    """What the kernel could not give to the sandbox, in words."""
    if state is None:
        return NO_VALUE
    return "; ".join(state.open or state.missing) or "whole"


def _strict(strict: OverallChange, official: OverallChange, alpha: float) -> str:
    sides = strict.baseline, strict.trained
    if sides == (official.baseline, official.trained):
        return "The same as the Overall: no unparsed, empty or cut answer was counted as right."
    moved = answer.moved(
        "The strict Overall", sides, strict.delta, strict.ci95, strict.p, level=1 - alpha
    )
    return typeset(f"{moved}.")


def _anchor(entry: Mapping[str, object]) -> Anchor:
    return Anchor(
        shown(entry.get("model")),
        percent(entry.get("overall")),
        shown(entry.get("conditions")),
        "; ".join(map(shown, _list(entry.get("not_comparable")))) or NO_VALUE,
        shown(entry.get("source")),
    )


def _facts(evaluations: list[EvaluationFolder]) -> Iterable[Fact]:
    summaries = [evaluation.summary for evaluation in evaluations]
    if not any(summaries):
        return

    def fact(
        label: str,
        term: str,
        said: Callable[[Summary], str],
        bad: Callable[[Summary], bool] = lambda _: False,
    ) -> Fact:
        return Fact(
            label,
            term,
            tuple(NO_VALUE if summary is None else said(summary) for summary in summaries),
            tuple(summary is not None and bad(summary) for summary in summaries),
        )

    def counted(
        label: str, term: str, of: Callable[[Summary], Mapping[str, int]], kind: str, bad: bool
    ) -> Fact:
        return fact(
            label,
            term,
            lambda s: whole_number(of(s).get(kind, 0)),
            lambda s: bad and of(s).get(kind, 0) > 0,
        )

    yield fact("Valid measurement", "", lambda s: MARK[s.valid], lambda s: not s.valid)
    yield fact("Items", "", lambda s: whole_number(s.n))
    kinds = sorted({kind for s in summaries if s for kind in s.errors})
    if not kinds:
        yield fact("Inference errors", "inference-error", lambda _: "0")
    for kind in kinds:
        label = f"Inference errors: {kind}"
        yield counted(label, "inference-error", lambda s: s.errors, kind, bad=True)
    for flag, label, term in (
        ("empty", "Empty answers", ""),
        ("truncated", "Answers cut at the token limit", "truncated"),
        ("unparsed_call", "Unparsed calls", "unparsed"),
        ("undecodable_call", "Calls that the harness could not decode", ""),
        ("history_refused", "Conversations that the server refused (wrong)", ""),
        ("forced_stop", "Forced stops in multi-turn", "forced-stop"),
        ("context_overflow", "Context overflows", "overflow"),
        ("disputed", "Disputed: score, decoder and record differ", "disputed"),
    ):
        yield counted(label, term, lambda s: s.flags, flag, bad=flag == "disputed")
    yield fact("Retried items", "retried", lambda s: whole_number(s.retried))
    yield fact("Requests answered", "", lambda s: whole_number(s.requests))
    yield fact(
        "Model that the server names",
        "named-model",
        lambda s: (
            "; ".join(f"{name} ({whole_number(n)})" for name, n in s.models.items()) or NO_VALUE
        ),
        lambda s: len(s.models) > 1,
    )
    for kind in sorted({kind for s in summaries if s for kind in s.normalised}):
        label = f"Requests brought into another form: {kind.replace('_', ' ')}"
        yield counted(label, "", lambda s: s.normalised, kind, bad=False)
    yield fact("Repeats of the evaluation", "", lambda s: whole_number(s.repeats))
    yield fact(
        "Canary",
        "canary",
        lambda s: canary(s.canary),
        lambda s: s.canary is not None and (not s.canary.answered or s.canary.call_as_text),
    )
    yield fact(
        "Sandbox of the harness",
        "",
        lambda s: _sandbox(s.sandbox),
        lambda s: s.sandbox is not None and bool(s.sandbox.open),
    )
    yield fact(
        "Sampling that the server received",
        "condition-sampling",
        lambda s: "; ".join(map(shown, s.sampling_seen)) or NO_VALUE,
    )
    yield fact("Overall", "overall", lambda s: percent(s.overall, 2))
    yield fact("Strict Overall", "strict", lambda s: percent(s.strict and s.strict.overall, 2))


def canary(record: Canary | None) -> str:
    """What the canary requests showed, in words."""
    if record is None:
        return NO_VALUE
    if not record.answered:
        return f"no answer ({record.failure or 'no reason given'})"
    if record.call_as_text:
        return "tool call came back as text"
    seen = [
        word
        for there, word in ((record.parsed_call, "parsed call"), (record.text, "text answer"))
        if there
    ]
    return " and ".join(seen) if seen else "neither call nor text"


def _equal(comparison: Comparison) -> Iterable[Equal]:
    """The conditions, with the value of every run beside the baseline's."""
    tables = [run.equal for run in comparison.runs.values()]
    if not any(tables):
        tables = [comparison.equal]
    rows: dict[str, list[EqualCondition]] = {}
    for table in tables:
        for condition in table:
            rows.setdefault(condition.what, []).append(condition)
    for what, found in rows.items():
        yield Equal(
            what,
            what.replace("_", " "),
            (shown(found[0].baseline), *(shown(condition.trained) for condition in found)),
            all(condition.equal for condition in found),
        )


def shown(value: object) -> str:
    """A recorded condition as text: digests shortened, objects as `key value`."""
    if value is None:
        return NO_VALUE
    if isinstance(value, bool):
        return MARK[value]
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(part)}" for key, part in value.items()) or NO_VALUE
    if isinstance(value, list):
        return ", ".join(shown(part) for part in value) or NO_VALUE
    text = str(value)
    is_digest = len(text) in (40, 64) and all(c in "0123456789abcdef" for c in text)
    return text[:12] if is_digest else text


def _method(comparison: Comparison) -> Iterable[tuple[str, str, str]]:
    method = comparison.method
    if method is not None:
        small = method.interval == intervals.SCORE
        for value, term, label in (
            (method.interval, "small-sample" if small else "bootstrap", "Interval"),
            (method.draws, "bootstrap", "Bootstrap draws"),
            (method.clusters, "cluster", "Clusters"),
            (method.seed, "seed", "Seed"),
            (method.alpha, "error-level", "Error level, two-sided"),
            (method.declared, "", "Declared before the run"),
        ):
            if value is not None:
                yield label, term, shown(value)
    for name, run in comparison.runs.items():
        of = f" ({name})" if len(comparison.runs) > 1 else ""
        for key, bounds in run.overall.other_intervals.items() if run.overall else ():
            label = f"Interval by {_OTHER.get(key, key)}{of}"
            yield label, "other-interval", interval(bounds, 2)
    planned = comparison.detectable_change
    if planned is not None and planned.points is not None:
        found = f"{percent(planned.points, 2)} points"
        yield "Detectable change, by the design", "detectable", found
    floor = comparison.noise_floor
    if floor is None:
        yield "Noise floor", "noise-floor", "not measured (evaluation.repeats is 1)"
        return
    yield "Noise floor", "noise-floor", f"{percent(floor.moved, 2)} points"
    for side, values in floor.overalls.items():
        overalls = ", ".join(percent(value, 2) for value in values)
        yield f"Overall of each repeat, {side}", "overall", overalls


def _naive(pooled: PooledItems) -> Iterable[tuple[str, str]]:
    """What simpler tests say about the same items."""
    yield (
        "Pooled items",
        f"{percent(pooled.baseline)} → {percent(pooled.trained)}: {points(pooled.delta, 2)} points",
    )
    yield "Unpaired z test", p_equals(pooled.unpaired_z.p)
    yield (
        "McNemar on pooled items",
        f"{p_equals(pooled.mcnemar.p)} ({whole_number(pooled.mcnemar.gained)} gained, "
        f"{whole_number(pooled.mcnemar.lost)} lost)",
    )
    if pooled.sign_differs:
        yield "Careful", "pooled items and the official Overall change in opposite directions"


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
