"""Whether the numbers may be trusted: validity of both sides, equal conditions, noise."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from toolgain.report.sources import Evaluation, Json, Sources
from toolgain.report.wording import (
    NO_VALUE,
    change_sentence,
    count,
    interval,
    number,
    p_equals,
    percent,
    points,
)

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

    what: str
    baseline: str
    trained: str
    equal: bool | None
    """None: it could not be checked."""
    run: str


@dataclass(frozen=True)
class Trust:
    """The section `May I trust it`."""

    subjects: tuple[str, ...]
    facts: tuple[Fact, ...]
    reasons: tuple[str, ...]
    """Why an evaluation is not valid, with its subject."""
    equal: tuple[Equal, ...]
    method: tuple[tuple[str, str], ...]
    strict: tuple[tuple[str, str], ...]
    """Per run: the strict Overall's change as a sentence."""
    naive: tuple[tuple[str, str, str], ...]
    """Per run: what simpler tests say (run, test, result)."""
    anchors: tuple[Json, ...]


def trust(sources: Sources, anchors: bool) -> Trust:
    """Collect what speaks for and against the measurement."""
    comparison = sources.comparison
    evaluations = [sources.baseline, *(run.evaluation for run in sources.runs.values())]
    comparable = comparison.get("verdict") != "not_comparable"
    runs = _dict(comparison.get("runs"))
    return Trust(
        subjects=tuple(evaluation.subject for evaluation in evaluations),
        facts=tuple(_facts(evaluations)),
        reasons=tuple(
            f"{evaluation.subject}: {reason}"
            for evaluation in evaluations
            for reason in _list(evaluation.summary.get("reasons"))
        ),
        equal=tuple(_equal(comparison)),
        method=tuple(_method(comparison)),
        strict=tuple(
            (name, change_sentence(_dict(_dict(entry).get("strict_overall"))))
            for name, entry in runs.items()
            if comparable and _dict(entry).get("strict_overall")
        ),
        naive=tuple(
            (name, *line)
            for name, entry in runs.items()
            if comparable
            for line in _naive(_dict(_dict(entry).get("pooled_items")))
        ),
        anchors=tuple(
            entry for entry in _list(comparison.get("anchors")) if anchors and isinstance(entry, dict)
        ),
    )


def _facts(evaluations: list[Evaluation]) -> Iterable[Fact]:
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
    kinds = sorted({kind for s in summaries for kind in _dict(s.get("errors"))})
    if not kinds:
        yield Fact("Inference errors", "", ("0",) * len(summaries), (False,) * len(summaries))
    for kind in kinds:
        yield _counts(f"Inference errors: {kind}", "", [_dict(s.get("errors")) for s in summaries],
                      kind, bad=True)  # fmt: skip
    flags = [_dict(s.get("flags")) for s in summaries]
    for flag, label, term in (
        ("empty", "Empty answers", ""),
        ("truncated", "Answers cut at the token limit", "truncated"),
        ("unparsed_call", "Unparsed calls", "unparsed"),
        ("forced_stop", "Forced stops in multi-turn", "forced-stop"),
        ("context_overflow", "Context overflows", "overflow"),
    ):
        yield _counts(label, term, flags, flag, bad=False, default=0)
    yield _counts("Repaired items", "repaired", summaries, "repaired", bad=False)
    yield _counts("Requests answered", "", summaries, "requests", bad=False)
    yield _counts("Repeats of the evaluation", "", summaries, "repeats", bad=False)
    canaries = [canary(_dict(summary.get("canary"))) for summary in summaries]
    yield Fact(
        "Canary",
        "canary",
        tuple({True: "passed", False: "failed", None: NO_VALUE}[c] for c in canaries),
        tuple(c is False for c in canaries),
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
        tuple(percent(_dict(s.get("strict")).get("overall"), 2) for s in summaries),
        (False,) * len(summaries),
    )


def canary(record: Json) -> bool | None:
    """Whether every part of a canary's record passed; None where there is none."""
    found = [
        part if isinstance(part, bool) else part.get("passed", part.get("ok"))
        for part in record.values()
        if isinstance(part, bool) or (isinstance(part, dict) and ("passed" in part or "ok" in part))
    ]
    return all(found) if found else None


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


def _equal(comparison: Json) -> Iterable[Equal]:
    for part in _list(comparison.get("equal")):
        if isinstance(part, dict):
            same = part.get("equal")
            yield Equal(
                str(part.get("what", "")).replace("_", " "),
                shown(part.get("baseline")),
                shown(part.get("trained")),
                same if isinstance(same, bool) else None,
                str(part.get("run") or ""),
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


def _method(comparison: Json) -> Iterable[tuple[str, str]]:
    method = _dict(comparison.get("method"))
    names = {
        "draws": "Bootstrap draws",
        "seed": "Seed of the bootstrap",
        "interval": "Kind of interval",
        "alpha": "Error level, two-sided",
        "clusters": "Clusters",
        "margin": "Non-inferiority margin, points",
    }
    for key, value in method.items():
        yield names.get(key, key.replace("_", " ").capitalize()), shown(value)
    detectable = _dict(comparison.get("detectable_change"))
    for key, value in detectable.items():
        x = number(value)
        text = shown(value) if x is None or isinstance(value, int) else percent(x, 2)
        yield f"Detectable change: {key.replace('_', ' ')}", text
    floor = comparison.get("noise_floor")
    if not floor:
        yield "Noise floor", "not measured (evaluation.repeats is 1)"
    elif isinstance(floor, dict):
        for key, value in floor.items():
            x = number(value)
            text = shown(value) if x is None or isinstance(value, int) else percent(x, 2)
            yield f"Noise floor: {key.replace('_', ' ')}", text
    else:
        yield "Noise floor", percent(floor, 2)


def _naive(record: Json) -> Iterable[tuple[str, str]]:
    """Simpler tests on the same items, in words; nested records are one test each."""
    for key, value in record.items():
        title = key.replace("_", " ").capitalize()
        if isinstance(value, dict):
            yield title, _test(value)
        elif number(value) is not None and not isinstance(value, bool):
            yield title, p_equals(value) if key.startswith("p") else points(value, 2)
        else:
            yield title, shown(value)


def _test(value: Json) -> str:
    parts = []
    if number(value.get("delta")) is not None:
        parts.append(f"{points(value['delta'], 2)} points")
    if "ci95" in value:
        parts.append(f"95 % interval {interval(value['ci95'], 2)}")
    if "p" in value:
        parts.append(p_equals(value["p"]))
    parts += [
        f"{key.replace('_', ' ')} {shown(part)}"
        for key, part in value.items()
        if key not in ("delta", "ci95", "p")
    ]
    return ", ".join(parts)


def _yes(value: object) -> str:
    return MARK[value] if isinstance(value, bool) else NO_VALUE


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
