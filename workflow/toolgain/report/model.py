"""Everything that the page shows, as plain data made from a comparison and its results folder.

The templates and the Markdown only place what is here. Missing parts are None or empty, and the
page says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolgain.bfcl.categories import CATEGORIES, GROUPS, group_of
from toolgain.report import wording
from toolgain.report.behaviour import Behaviour, behaviour
from toolgain.report.cost import Cost, cost
from toolgain.report.items import Flips, Matrix, flips, migration
from toolgain.report.provenance import Provenance, provenance
from toolgain.report.sources import Evaluation, Json, Run, Sources
from toolgain.report.training import Training, training
from toolgain.report.trust import Trust, trust
from toolgain.report.wording import limits, number

TONES = {"improved": "good", "regressed": "bad", "not_comparable": "stop"}


@dataclass(frozen=True)
class Change:
    """One row of the table: the Overall, a group or a category."""

    kind: str
    """`overall`, `group` or `category`."""
    name: str
    title: str
    baseline: float | None
    trained: float | None
    delta: float | None
    interval: tuple[float, float] | None
    p: float | None
    """Adjusted for several tests in groups and categories."""
    n: int | None
    gained: int | None
    lost: int | None
    small: bool
    """Too few items to tell."""

    @property
    def clear(self) -> str:
        """`up` or `down` where the adjusted test is significant at 5 %, else empty."""
        if self.small or self.p is None or self.delta is None or self.p >= 0.05:
            return ""
        return "up" if self.delta > 0 else "down"


@dataclass(frozen=True)
class RunPage:
    """The parts of the page that belong to one run."""

    name: str
    verdict: str
    tone: str
    sentence: str
    overall: Change
    changes: tuple[Change, ...]
    """Overall, then each group followed by its categories."""
    flips: Flips | None
    matrix: Matrix | None
    training: Training | None
    behaviour: Behaviour | None
    held: tuple[str, ...]
    """Non-inferiority in words, a sentence per group."""


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    verdict: str
    verdict_title: str
    tone: str
    sentence: str
    notes: tuple[str, ...]
    """Sentences below the answer: noise floor, detectable change."""
    reasons: tuple[Json, ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...]
    stamp: str | None
    subset: Json | None
    n: int | None
    model: str
    runs: tuple[RunPage, ...]
    pooled: Change | None
    pooled_note: str
    noise_floor: float | None
    cost: Cost
    trust: Trust
    provenance: Provenance
    tasks: tuple[tuple[str, Json], ...]

    @property
    def comparable(self) -> bool:
        """Whether the two sides may be compared."""
        return self.verdict != "not_comparable"

    @property
    def primary(self) -> RunPage | None:
        """The run that the page opens with."""
        return self.runs[0] if self.runs else None


def page(sources: Sources, title: str, anchors: bool) -> Page:
    """The page of a comparison and what lies around it."""
    comparison = sources.comparison
    verdict = str(comparison.get("verdict", "unknown"))
    runs = tuple(_run(name, sources) for name in sources.runs)
    pooled = _dict(comparison.get("pooled"))
    pooled_change = _change("overall", "overall", "Pooled", _overall(pooled)) if pooled else None
    subset = comparison.get("subset")
    floor = _noise_floor(comparison)
    return Page(
        title=title,
        verdict=verdict,
        verdict_title=wording.verdict(verdict),
        tone=TONES.get(verdict, "neutral"),
        sentence=_sentence(verdict, comparison, pooled),
        notes=tuple(_notes(comparison, pooled, runs, floor)),
        reasons=tuple(_dict(reason) for reason in _list(comparison.get("reasons"))),
        warnings=tuple(_text(warning) for warning in _list(comparison.get("warnings"))),
        missing=sources.missing,
        stamp="subset, not comparable with published scores" if subset else None,
        subset=subset if isinstance(subset, dict) else None,
        n=_int(comparison.get("n")),
        model=_model_name(sources),
        runs=runs,
        pooled=pooled_change,
        pooled_note=_text(pooled.get("note") or pooled.get("method") or ""),
        noise_floor=floor,
        cost=cost(sources),
        trust=trust(sources, anchors),
        provenance=provenance(sources),
        tasks=tuple((run.name, run.tasks) for run in sources.runs.values() if run.tasks),
    )


def _run(name: str, sources: Sources) -> RunPage:
    entry = _dict(_dict(sources.comparison.get("runs")).get(name))
    run = sources.runs[name]
    verdict = str(entry.get("verdict") or sources.comparison.get("verdict") or "unknown")
    before, after = sources.baseline, run.evaluation
    both = bool(before.outcomes and after.outcomes)
    overall = _change("overall", "overall", "Overall", _overall(entry))
    return RunPage(
        name=name,
        verdict=verdict,
        tone=TONES.get(verdict, "neutral"),
        sentence=wording.headline(verdict, _overall(entry)),
        overall=overall,
        changes=tuple(_changes(entry, overall)),
        flips=flips(before.outcomes, after.outcomes) if both else None,
        matrix=migration(before.outcomes, after.outcomes) if both else None,
        training=training(run),
        behaviour=_behaviour(before, after) if both else None,
        held=tuple(_held(entry)),
    )


def _behaviour(before: Evaluation, after: Evaluation) -> Behaviour:
    paired = [key for key in before.outcomes if key in after.outcomes]
    return behaviour(
        (before.outcomes[key] for key in paired), (after.outcomes[key] for key in paired)
    )


def _overall(entry: Mapping[str, Any]) -> Json:
    return _dict(entry.get("overall"))


def _changes(entry: Json, overall: Change) -> Iterable[Change]:
    groups, categories = _dict(entry.get("groups")), _dict(entry.get("categories"))
    if overall.delta is not None or overall.baseline is not None:
        yield overall
    for group in GROUPS:
        if group in groups:
            yield _change("group", group, wording.group(group), _dict(groups[group]))
        members = [name for name in CATEGORIES if group_of(name) == group and name in categories]
        for name in members:
            yield _change("category", name, wording.category(name), _dict(categories[name]))
    for name in sorted(set(categories) - set(CATEGORIES)):
        yield _change("category", name, name, _dict(categories[name]))


def _change(kind: str, name: str, title: str, entry: Json) -> Change:
    adjusted = entry.get("p_holm", entry.get("p"))
    return Change(
        kind=kind,
        name=name,
        title=title,
        baseline=number(entry.get("baseline")),
        trained=number(entry.get("trained")),
        delta=number(entry.get("delta")),
        interval=limits(entry.get("ci95")),
        p=number(adjusted),
        n=_int(entry.get("n")),
        gained=_int(entry.get("gained")),
        lost=_int(entry.get("lost")),
        small=bool(entry.get("small")),
    )


def _sentence(verdict: str, comparison: Json, pooled: Json) -> str:
    if verdict == "not_comparable":
        return wording.headline(verdict, {})
    if pooled:
        return wording.headline(verdict, _overall(pooled))
    for entry in _dict(comparison.get("runs")).values():
        return wording.headline(verdict, _overall(_dict(entry)))
    return "The comparison holds no run."


def _notes(
    comparison: Json, pooled: Json, runs: tuple[RunPage, ...], floor: float | None
) -> Iterable[str]:
    if comparison.get("verdict") == "not_comparable":
        return
    overall = _overall(pooled) if pooled else None
    delta = (
        number(overall.get("delta"))
        if overall is not None
        else runs[0].overall.delta
        if runs
        else None
    )
    if floor is not None and delta is not None:
        moved = f"The same weights, evaluated again, moved by {wording.percent(floor)} points"
        times = f"; the change is {abs(delta) / floor:.1f} times that" if floor > 0 else ""
        yield f"{moved}{times}."
    detectable = detectable_change(comparison)
    if detectable is not None:
        yield (
            f"This comparison detects a change of {wording.percent(detectable)} points or more "
            "in 80 of 100 cases."
        )


def detectable_change(comparison: Json) -> float | None:
    """The smallest change of the Overall that the design detects with 80 % power, in points."""
    entry = _dict(comparison.get("detectable_change"))
    for name in ("overall", "points", "delta", "measured", "assumed"):
        value = number(entry.get(name))
        if value is not None:
            return value
    return None


def _noise_floor(comparison: Json) -> float | None:
    """Half width of the band around zero that the same weights move in, in points."""
    entry = comparison.get("noise_floor")
    value = number(entry)
    if value is None:
        entry = _dict(entry)
        value = next(
            (x for name in ("overall", "points", "delta") if (x := number(entry.get(name)))), None
        )
    return abs(value) if value is not None else None


def _held(entry: Json) -> Iterable[str]:
    for name, raw in _dict(entry.get("noninferiority")).items():
        found = _dict(raw)
        answer = found.get("verdict", found.get("held"))
        margin = wording.percent(found.get("margin"), 0)
        words = {
            True: "yes", False: "no", None: "cannot tell", "cannot_tell": "cannot tell",
        }.get(answer, str(answer))  # fmt: skip
        yield f"{wording.group(name)} held within {margin} point: {words}"


def _model_name(sources: Sources) -> str:
    weights = _dict(sources.baseline.manifest.get("weights"))
    return _text(weights.get("name") or sources.model.get("name") or "")


def chart_data(page: Page) -> Json:
    """What the charts need, by run. Numbers only; titles come from the harness's categories."""
    return {
        "noiseFloor": page.noise_floor,
        "comparable": page.comparable,
        "pooled": _dot(page.pooled) if page.pooled else None,
        "runs": {
            run.name: {
                "tone": run.tone,
                "changes": [_dot(change) for change in run.changes],
                "training": run.training.chart() if run.training else None,
                "calls": [list(bar) for bar in run.behaviour.calls] if run.behaviour else [],
            }
            for run in page.runs
        },
        "stages": [
            {"stage": stage.title, "seconds": stage.seconds, "gpuHours": stage.gpu_hours}
            for stage in page.cost.stages
        ],
    }


def _dot(change: Change) -> Json:
    return {
        "kind": change.kind,
        "name": change.name,
        "title": change.title,
        "delta": change.delta,
        "low": change.interval[0] if change.interval else None,
        "high": change.interval[1] if change.interval else None,
        "small": change.small,
    }


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _int(value: object) -> int | None:
    x = number(value)
    return None if x is None else round(x)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return str(value.get("message") or value.get("what") or value)
    return "" if value is None else str(value)


__all__ = ["Change", "Page", "Run", "RunPage", "chart_data", "page"]
