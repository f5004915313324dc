"""Whether the numbers may be trusted: validity of both sides, equal conditions, noise."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from toolgain.report.sources import EvaluationFolder, Json, Sources, as_dict
from toolgain.report.wording import (
    NO_VALUE,
    count,
    interval,
    limits,
    number,
    p_equals,
    percent,
    points,
    typeset,
)
from toolgain.statistics import answer, intervals

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
    comparable = comparison.get("verdict") != "not_comparable"
    runs = as_dict(comparison.get("runs"))
    return Trust(
        subjects=tuple(evaluation.subject for evaluation in evaluations),
        facts=tuple(_facts(evaluations)),
        reasons=tuple(
            f"{evaluation.subject}: {reason}"
            for evaluation in evaluations
            for reason in _list(evaluation.summary.get("reasons"))
        ),
        equal=tuple(_equal(comparison, runs)),
        impossible=tuple(str(check) for check in _list(comparison.get("checks_impossible"))),
        method=tuple(_method(comparison)),
        strict=tuple(
            (name, _strict(as_dict(entry)))
            for name, entry in runs.items()
            if comparable and as_dict(entry).get("strict_overall")
        ),
        naive=tuple(
            (name, *line)
            for name, entry in runs.items()
            if comparable
            for line in _naive(as_dict(as_dict(entry).get("pooled_items")))
        ),
        anchors=tuple(
            _anchor(entry)
            for entry in _list(comparison.get("anchors"))
            if anchors and isinstance(entry, dict)
        ),
    )


def _sandbox(record: Json) -> str:
    """What the kernel could not give to the sandbox, in words."""
    if not record:
        return NO_VALUE
    lacking = "; ".join(map(shown, _list(record.get("open")) or _list(record.get("missing"))))
    return lacking or "whole"


def _strict(entry: Json) -> str:
    strict, official = as_dict(entry.get("strict_overall")), as_dict(entry.get("overall"))
    if all(strict.get(side) == official.get(side) for side in ("baseline", "trained")):
        return "The same as the Overall: no unparsed, empty or cut answer was counted as right."
    old, new = number(strict.get("baseline")), number(strict.get("trained"))
    delta, p = number(strict.get("delta")), number(strict.get("p"))
    bounds = limits(strict.get("ci95"))
    if old is None or new is None or delta is None or p is None or bounds is None:
        return NO_VALUE
    return typeset(f"{answer.moved('The strict Overall', (old, new), delta, bounds, p)}.")


def _anchor(entry: Json) -> Anchor:
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
    valid = [summary.get("valid") for summary in summaries]
    yield Fact(
        "Valid measurement",
        "",
        tuple(_yes(v) for v in valid),
        tuple(v is False for v in valid),
    )
    yield _counts("Items", "", summaries, "n", bad=False)
    kinds = sorted({kind for s in summaries for kind in as_dict(s.get("errors"))})
    if not kinds:
        yield Fact(
            "Inference errors",
            "inference-error",
            ("0",) * len(summaries),
            (False,) * len(summaries),
        )
    errors = [as_dict(summary.get("errors")) for summary in summaries]
    for kind in kinds:
        yield _counts(f"Inference errors: {kind}", "inference-error", errors, kind, bad=True)
    flags = [as_dict(s.get("flags")) for s in summaries]
    for flag, label, term in (
        ("empty", "Empty answers", ""),
        ("truncated", "Answers cut at the token limit", "truncated"),
        ("unparsed_call", "Unparsed calls", "unparsed"),
        ("undecodable_call", "Calls that the harness could not decode", ""),
        ("history_refused", "Conversations that the server refused (wrong)", ""),
        ("forced_stop", "Forced stops in multi-turn", "forced-stop"),
        ("context_overflow", "Context overflows", "overflow"),
    ):
        yield _counts(label, term, flags, flag, bad=False, default=0)
    yield _counts("Repaired items", "repaired", summaries, "repaired", bad=False)
    yield _counts("Requests answered", "", summaries, "requests", bad=False)
    normalised = [as_dict(summary.get("normalised")) for summary in summaries]
    for kind in sorted({kind for counts in normalised for kind in counts}):
        label = f"Requests brought into another form: {kind.replace('_', ' ')}"
        yield _counts(label, "", normalised, kind, bad=False, default=0)
    yield _counts("Repeats of the evaluation", "", summaries, "repeats", bad=False)
    canaries = [as_dict(summary.get("canary")) for summary in summaries]
    yield Fact(
        "Canary",
        "canary",
        tuple(canary(record) for record in canaries),
        tuple(record.get("answered") is False or record.get("call_as_text") is True
              for record in canaries),
    )  # fmt: skip
    boxes = [as_dict(summary.get("sandbox")) for summary in summaries]
    yield Fact(
        "Sandbox of the harness",
        "",
        tuple(_sandbox(record) for record in boxes),
        tuple(bool(_list(record.get("open"))) for record in boxes),
    )
    yield Fact(
        "Sampling that the server received",
        "condition-sampling",
        tuple("; ".join(map(shown, _list(s.get("sampling_seen")))) or NO_VALUE for s in summaries),
        (False,) * len(summaries),
    )
    yield Fact(
        "Overall",
        "overall",
        tuple(percent(s.get("overall"), 2) for s in summaries),
        (False,) * len(summaries),
    )
    yield Fact(
        "Strict Overall",
        "strict",
        tuple(percent(as_dict(s.get("strict")).get("overall"), 2) for s in summaries),
        (False,) * len(summaries),
    )


def canary(record: Json) -> str:
    """What the canary requests showed, in words."""
    if not record:
        return NO_VALUE
    if record.get("answered") is False:
        return f"no answer ({record.get('failure') or 'no reason given'})"
    if record.get("call_as_text"):
        return "tool call came back as text"
    seen = [word for key, word in (("parsed_call", "parsed call"), ("text", "text answer"))
            if record.get(key)]  # fmt: skip
    return " and ".join(seen) if seen else "neither call nor text"


def _counts(
    label: str, term: str, records: list[Json], key: str, bad: bool, default: object = None
) -> Fact:
    values = [record.get(key, default) if record else None for record in records]
    return Fact(
        label,
        term,
        tuple(count(value) for value in values),
        tuple(bad and bool(number(value)) for value in values),
    )


def _equal(comparison: Json, runs: Json) -> Iterable[Equal]:
    """The conditions, with the value of every run beside the baseline's."""
    tables = [_list(as_dict(entry).get("equal")) for entry in runs.values()]
    if not any(tables):
        tables = [_list(comparison.get("equal"))]
    rows: dict[str, list[Json]] = {}
    for table in tables:
        for part in table:
            if isinstance(part, dict):
                rows.setdefault(str(part.get("what", "")), []).append(part)
    for what, parts in rows.items():
        same = [part.get("equal") for part in parts]
        yield Equal(
            what,
            what.replace("_", " "),
            (shown(parts[0].get("baseline")), *(shown(part.get("trained")) for part in parts)),
            False if False in same else True if all(s is True for s in same) else None,
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


def _method(comparison: Json) -> Iterable[tuple[str, str, str]]:
    method = as_dict(comparison.get("method"))
    small = method.get("interval") == intervals.SCORE
    for key, term, label in (
        ("interval", "small-sample" if small else "bootstrap", "Interval"),
        ("draws", "bootstrap", "Bootstrap draws"),
        ("clusters", "cluster", "Clusters"),
        ("seed", "seed", "Seed"),
        ("alpha", "error-level", "Error level, two-sided"),
        ("declared", "", "Declared before the run"),
    ):
        if method.get(key) is not None:
            yield label, term, shown(method[key])
    for name, entry in as_dict(comparison.get("runs")).items():
        of = f" ({name})" if len(as_dict(comparison.get("runs"))) > 1 else ""
        others = as_dict(as_dict(as_dict(entry).get("overall")).get("other_intervals"))
        for key, bounds in others.items():
            label = f"Interval by {_OTHER.get(key, key)}{of}"
            yield label, "other-interval", interval(bounds, 2)
    detectable = number(as_dict(comparison.get("detectable_change")).get("points"))
    if detectable is not None:
        yield "Detectable change, by the design", "detectable", f"{percent(detectable, 2)} points"
    floor = as_dict(comparison.get("noise_floor"))
    if not floor:
        yield "Noise floor", "noise-floor", "not measured (evaluation.repeats is 1)"
        return
    yield "Noise floor", "noise-floor", f"{percent(floor.get('moved'), 2)} points"
    for side, values in as_dict(floor.get("overalls")).items():
        overalls = ", ".join(percent(v, 2) for v in _list(values))
        yield f"Overall of each repeat, {side}", "overall", overalls


def _naive(record: Json) -> Iterable[tuple[str, str]]:
    """What simpler tests say about the same items."""
    if number(record.get("delta")) is not None:
        yield (
            "Pooled items",
            f"{percent(record.get('baseline'))} → {percent(record.get('trained'))}: "
            f"{points(record.get('delta'), 2)} points",
        )
    z, mcnemar = as_dict(record.get("unpaired_z")), as_dict(record.get("mcnemar"))
    if z:
        yield "Unpaired z test", p_equals(z.get("p"))
    if mcnemar:
        yield (
            "McNemar on pooled items",
            f"{p_equals(mcnemar.get('p'))} ({count(mcnemar.get('gained'))} gained, "
            f"{count(mcnemar.get('lost'))} lost)",
        )
    if record.get("sign_differs"):
        yield "Careful", "pooled items and the official Overall change in opposite directions"


def _yes(value: object) -> str:
    return MARK[value] if isinstance(value, bool) else NO_VALUE


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
