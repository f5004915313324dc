"""Everything that the page shows, as plain data made from a comparison and its results folder.

The templates and the Markdown only place what is here. Missing parts are None or empty, and the
page says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolgain.bfcl.categories import CATEGORIES, GROUPS, POPULATION, group_of
from toolgain.report import origin, wording
from toolgain.report.behaviour import BehaviourTables, behaviour
from toolgain.report.cost import CostTable, cost
from toolgain.report.items import ItemFlips, Matrix, flips, migration
from toolgain.report.next_steps import NextStep, next_steps
from toolgain.report.provenance import Provenance, provenance
from toolgain.report.rehearsal import Rehearsed, rehearsed
from toolgain.report.sources import Json, Sources, as_dict
from toolgain.report.training import Measure, Training, beside, training
from toolgain.report.trust import Trust, shown, trust
from toolgain.report.wording import limits, number

SURE = 0.001
"""An adjusted p below this speaks for itself in a category of few items too."""
TONES = {"improved": "good", "regressed": "bad", "not_comparable": "stop"}


@dataclass(frozen=True)
class ChangeRow:
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

    clear: str
    """`up` or `down` where the change is clear after the correction for several tests."""


@dataclass(frozen=True)
class ReasonRow:
    """Why the two sides cannot be compared."""

    message: str
    baseline: str
    trained: str
    advice: str


@dataclass(frozen=True)
class RunPage:
    """The parts of the page that belong to one run."""

    name: str
    verdict: str
    tone: str
    sentence: str
    overall: ChangeRow
    changes: tuple[ChangeRow, ...]
    """Overall, then each group followed by its categories."""
    flips: ItemFlips | None
    matrix: Matrix | None
    training: Training | None
    rehearsal: Rehearsed | None
    """Where rows of a Gym environment were played before the training."""
    beside: tuple[Measure, ...]
    """Reward and validation accuracy beside the benchmark."""
    behaviour: BehaviourTables | None
    origin: str
    """Where the change comes from, when it comes from few categories."""
    joined: str
    """How verdict and signs of the training go together, where they seem not to."""
    held: str
    """Non-inferiority of the single-turn groups in a sentence."""
    same_weights: bool


@dataclass(frozen=True)
class Mean:
    """The mean over the runs of a recipe."""

    overall: ChangeRow
    verdict: str
    tone: str


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
    reasons: tuple[ReasonRow, ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...]
    stamp: str | None
    subset: Json | None
    n: int | None
    population: int
    """Items of the whole benchmark."""
    model: str
    runs: tuple[RunPage, ...]
    """The primary run first."""
    means: tuple[Mean, ...]
    """Of each recipe with several runs."""
    means_note: str
    noise_floor: float | None
    cost: CostTable
    next_steps: tuple[NextStep, ...]
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
    primary = comparison.get("primary")
    recipes = {
        str(name): as_dict(recipe) for name, recipe in as_dict(comparison.get("recipes")).items()
    }
    head = _headline(comparison)
    subset = comparison.get("subset")
    floor = _noise_floor(comparison)
    population = _int(comparison.get("population")) or sum(POPULATION.values())
    spent = cost(sources)
    return Page(
        title=title,
        verdict=verdict,
        verdict_title=wording.verdict(verdict),
        tone=TONES.get(verdict, "neutral"),
        sentence=wording.typeset(_text(comparison.get("sentence"))),
        notes=tuple(_notes(comparison, number(head.get("delta")), floor)),
        reasons=tuple(_reason(as_dict(part)) for part in _list(comparison.get("reasons"))),
        warnings=tuple(_warnings(comparison)),
        missing=sources.missing,
        stamp="subset, not comparable with published scores" if subset else None,
        subset=subset if isinstance(subset, dict) else None,
        n=_int(comparison.get("n")),
        population=population,
        model=_model_name(sources),
        runs=runs,
        means=tuple(
            _mean(name, recipe, len(sources.runs))
            # The one that is the answer first.
            for name, recipe in sorted(recipes.items(), key=lambda one: one[0] != primary)
        ),
        means_note=_means_note(str(primary), list(sources.runs), recipes),
        noise_floor=floor,
        cost=spent,
        next_steps=next_steps(sources, spent, population),
        trust=trust(sources, anchors),
        provenance=provenance(sources),
        tasks=tuple((run.name, run.tasks) for run in sources.runs.values() if run.tasks),
    )


def _warnings(comparison: Json) -> Iterable[str]:
    for warning in map(_text, _list(comparison.get("warnings"))):
        # The stamp at the top of the page says this already.
        if not (comparison.get("subset") and warning.startswith("Subset of ")):
            yield warning


def _reason(part: Json) -> ReasonRow:
    return ReasonRow(
        _text(part.get("message") or part.get("what")) or "No reason is recorded.",
        shown(part.get("baseline")),
        shown(part.get("trained")),
        _text(part.get("advice")),
    )


def _mean(name: str, recipe: Json, runs: int) -> Mean:
    verdict = str(recipe.get("verdict", "unknown"))
    title = f"Mean of {'the runs' if recipe.get('runs') == runs else name}"
    return Mean(
        _change("overall", "overall", title, _overall(recipe)),
        verdict,
        TONES.get(verdict, "neutral"),
    )


def _means_note(primary: str, runs: list[str], recipes: Mapping[str, Json]) -> str:
    """Whose answer is the headline, and what the interval of a mean speaks of."""
    alone = [limits(recipe.get("ci95_these_runs")) for recipe in recipes.values()]
    said = []
    if primary in runs and len(runs) > 1:
        said.append(f"The answer above is that of {primary}.")
    elif primary in recipes and len(recipes) > 1:
        said.append(f"The answer above is the mean of {primary}.")
    if len(alone) == 1 and alone[0] is not None:
        said.append(
            "The mean takes the runs for one recipe; its interval speaks of a further run of it. "
            f"For these runs alone it is {wording.interval(alone[0])}."
        )
    elif any(alone):
        said.append("The interval of a recipe's mean speaks of a further run of that recipe.")
    return " ".join(said)


def _run(name: str, sources: Sources) -> RunPage:
    entry = as_dict(as_dict(sources.comparison.get("runs")).get(name))
    run = sources.runs[name]
    verdict = str(entry.get("verdict") or sources.comparison.get("verdict") or "unknown")
    overall = _change("overall", "overall", "Overall", _overall(entry))
    trained = training(run)
    return RunPage(
        name=name,
        verdict=verdict,
        tone=TONES.get(verdict, "neutral"),
        sentence=wording.typeset(_text(entry.get("sentence"))),
        overall=overall,
        changes=tuple(_changes(entry, overall)),
        flips=flips(entry),
        matrix=migration(entry.get("error_migration")),
        training=trained,
        rehearsal=rehearsed(run.rehearsal) if run else None,
        beside=beside(trained, _sides(verdict, overall)) if trained else (),
        behaviour=behaviour(
            _behaviour(sources.comparison.get("baseline")), _behaviour(entry.get("trained"))
        ),
        origin=origin.sentence(entry) if verdict != "not_comparable" else "",
        joined=origin.beside_the_signs(verdict, trained),
        held=_text(as_dict(entry.get("noninferiority")).get("sentence")),
        same_weights=entry.get("aa") is True,
    )


def _sides(verdict: str, overall: ChangeRow) -> tuple[float, float] | None:
    if verdict == "not_comparable" or overall.baseline is None or overall.trained is None:
        return None
    return overall.baseline, overall.trained


def _behaviour(side: object) -> Json:
    return as_dict(as_dict(side).get("behaviour"))


def _overall(entry: Mapping[str, Any]) -> Json:
    return as_dict(entry.get("overall"))


def _changes(entry: Json, overall: ChangeRow) -> Iterable[ChangeRow]:
    groups, categories = as_dict(entry.get("groups")), as_dict(entry.get("categories"))
    if overall.delta is not None or overall.baseline is not None:
        yield overall
    for group in GROUPS:
        if group in groups:
            yield _change("group", group, wording.group(group), as_dict(groups[group]))
        members = [name for name in CATEGORIES if group_of(name) == group and name in categories]
        for name in members:
            yield _change("category", name, wording.category(name), as_dict(categories[name]))
    for name in sorted(set(categories) - set(CATEGORIES)):
        yield _change("category", name, name, as_dict(categories[name]))


def _change(kind: str, name: str, title: str, entry: Json) -> ChangeRow:
    bounds = limits(entry.get("ci95"))
    adjusted = number(entry.get("p_holm"))
    # What the exact test is this sure of is no longer a matter of few items.
    sure = adjusted is not None and adjusted < SURE and _leaves_zero_out(bounds)
    small = bool(entry.get("small")) and not sure
    return ChangeRow(
        kind=kind,
        name=name,
        title=title,
        baseline=number(entry.get("baseline")),
        trained=number(entry.get("trained")),
        delta=number(entry.get("delta")),
        interval=bounds,
        p=number(entry.get("p")),
        n=_int(entry.get("n")),
        gained=_int(entry.get("gained")),
        lost=_int(entry.get("lost")),
        small=small,
        clear="" if small else _clear(kind, entry, bounds),
    )


def _leaves_zero_out(bounds: tuple[float, float] | None) -> bool:
    return bounds is not None and not bounds[0] <= 0 <= bounds[1]


def _clear(kind: str, entry: Json, bounds: tuple[float, float] | None) -> str:
    """The Overall is judged by its interval alone; groups and categories carry their word, small
    categories only where they are sure."""
    if kind != "overall" and not entry.get("small"):
        return {"improved": "up", "regressed": "down"}.get(str(entry.get("word")), "")
    if bounds is None:
        return ""
    return "up" if bounds[0] > 0 else "down" if bounds[1] < 0 else ""


def _headline(comparison: Json) -> Json:
    """The Overall that the verdict speaks of."""
    for entry in (
        comparison.get("headline"),
        *(_overall(as_dict(run)) for run in as_dict(comparison.get("runs")).values()),
    ):
        if isinstance(entry, dict) and entry:
            return entry
    return {}


def _notes(comparison: Json, delta: float | None, floor: float | None) -> Iterable[str]:
    if comparison.get("verdict") == "not_comparable":
        return
    if floor is not None and delta is not None:
        moved = f"The same weights, evaluated again, moved by {wording.percent(floor)} points"
        times = f"; the change is {abs(delta) / floor:.1f} times that" if floor > 0 else ""
        yield f"{moved}{times}."
    detectable = detectable_change(comparison)
    if detectable is None and comparison.get("detectable_change"):
        yield (
            "A single run of this design has too few items to detect any true change, however "
            "large, in 80 of 100 cases."
        )
    if detectable is not None:
        yield (
            f"A single run of this design detects a true change of {wording.percent(detectable)} "
            "points or more in 80 of 100 cases, by what was assumed before the run."
        )


def detectable_change(comparison: Json) -> float | None:
    """The smallest change of the Overall that the design detects with 80 % power, in points."""
    return number(as_dict(comparison.get("detectable_change")).get("points"))


def _noise_floor(comparison: Json) -> float | None:
    """How far the same weights move between two evaluations, in points."""
    return number(as_dict(comparison.get("noise_floor")).get("moved"))


def _model_name(sources: Sources) -> str:
    weights = as_dict(sources.baseline.manifest.get("weights"))
    return _text(weights.get("name") or sources.model.get("name") or "")


def chart_data(page: Page) -> Json:
    """What the charts need, by run. Numbers only; titles come from the harness's categories."""
    return {
        "noiseFloor": page.noise_floor,
        "comparable": page.comparable,
        "means": [_dot(mean.overall) for mean in page.means],
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


def _dot(change: ChangeRow) -> Json:
    return {
        "kind": change.kind,
        "name": change.name,
        "title": change.title,
        "delta": change.delta,
        "low": change.interval[0] if change.interval else None,
        "high": change.interval[1] if change.interval else None,
        "small": change.small,
        "clear": change.clear,
    }


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _int(value: object) -> int | None:
    x = number(value)
    return None if x is None else round(x)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return str(value.get("message") or value.get("what") or value)
    return "" if value is None else str(value)


__all__ = ["ChangeRow", "Page", "RunPage", "chart_data", "page"]
