"""Everything that the page shows, as plain data made from a comparison and its results folder.

The templates and the Markdown only place what is here. Missing parts are None or empty, and the
page says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from toolgain.bfcl.categories import CATEGORIES, GROUPS, POPULATION, group_of
from toolgain.records.comparison import (
    CategoryChange,
    Comparison,
    FamilyChange,
    OverallChange,
    Reason,
    RecipeComparison,
    RunComparison,
)
from toolgain.records.tasks import Tasks
from toolgain.report import origin, wording
from toolgain.report.behaviour import BehaviourTables, behaviour
from toolgain.report.cost import CostTable, cost
from toolgain.report.items import ItemFlips, Matrix, flips, migration
from toolgain.report.next_steps import NextStep, next_steps
from toolgain.report.provenance import Provenance, provenance
from toolgain.report.rehearsal import Rehearsed, rehearsal_lines
from toolgain.report.sources import Sources
from toolgain.report.training import Measure, Training, beside, training
from toolgain.report.trust import Trust, shown, trust

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
    subset: bool
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
    interval: str
    """What an interval is called, with its level: `95 % interval`."""
    cost: CostTable
    next_steps: tuple[NextStep, ...]
    trust: Trust
    provenance: Provenance
    tasks: tuple[tuple[str, Tasks], ...]

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
    verdict, primary, recipes = comparison.verdict, comparison.primary, comparison.recipes
    runs = tuple(_run(name, sources) for name in sources.runs)
    floor = comparison.noise_floor.moved if comparison.noise_floor else None
    population = comparison.population or sum(POPULATION.values())
    spent = cost(sources)
    return Page(
        title=title,
        verdict=verdict,
        verdict_title=wording.verdict_title(verdict),
        tone=TONES.get(verdict, "neutral"),
        sentence=wording.typeset(comparison.sentence),
        notes=tuple(_notes(comparison, floor)),
        reasons=tuple(map(_reason, comparison.reasons)),
        warnings=tuple(_warnings(comparison)),
        missing=sources.missing,
        stamp="subset, not comparable with published scores" if comparison.subset else None,
        subset=comparison.subset is not None,
        n=comparison.n,
        population=population,
        model=_model_name(sources),
        runs=runs,
        means=tuple(
            _mean(name, recipe, len(sources.runs))
            # The one that is the answer first.
            for name, recipe in sorted(recipes.items(), key=lambda one: one[0] != primary)
        ),
        means_note=_means_note(primary, list(sources.runs), recipes),
        noise_floor=floor,
        interval=wording.interval_name(comparison.alpha),
        cost=spent,
        next_steps=next_steps(sources, spent, population),
        trust=trust(sources, anchors),
        provenance=provenance(sources),
        tasks=tuple((run.name, run.tasks) for run in sources.runs.values() if run.tasks),
    )


def _warnings(comparison: Comparison) -> Iterable[str]:
    for warning in comparison.warnings:
        # The stamp at the top of the page says this already.
        if not (comparison.subset and warning.startswith("Subset of ")):
            yield wording.typeset(warning)


def _reason(reason: Reason) -> ReasonRow:
    return ReasonRow(
        wording.typeset(reason.message or reason.what),
        shown(reason.baseline),
        shown(reason.trained),
        wording.typeset(reason.advice),
    )


def _mean(name: str, recipe: RecipeComparison, runs: int) -> Mean:
    title = f"Mean of {'the runs' if recipe.runs == runs else name}"
    return Mean(
        _overall(title, recipe.overall),
        recipe.verdict,
        TONES.get(recipe.verdict, "neutral"),
    )


def _means_note(primary: str, runs: list[str], recipes: Mapping[str, RecipeComparison]) -> str:
    """Whose answer is the headline, and what the interval of a mean speaks of."""
    alone = [recipe.ci95_these_runs for recipe in recipes.values()]
    said = []
    if primary in runs and len(runs) > 1:
        said.append(f"The answer above is that of {primary}.")
    elif primary in recipes and len(recipes) > 1:
        said.append(f"The answer above is the mean of {primary}.")
    if len(alone) == 1 and alone[0] is not None:
        said.append(
            "The mean treats the runs as one recipe; its interval covers a further run of it. "
            f"For these runs alone it is {wording.interval(alone[0])}."
        )
    elif any(alone):
        said.append("The interval of a recipe's mean covers a further run of that recipe.")
    return " ".join(said)


def _run(name: str, sources: Sources) -> RunPage:
    compared, run = sources.comparison.runs[name], sources.runs[name]
    verdict, baseline = compared.verdict, sources.comparison.baseline
    overall = _overall("Overall", compared.overall)
    trained = training(run)
    return RunPage(
        name=name,
        verdict=verdict,
        tone=TONES.get(verdict, "neutral"),
        sentence=wording.typeset(compared.sentence),
        overall=overall,
        changes=tuple(_changes(compared, overall)),
        flips=flips(compared),
        matrix=migration(compared.error_migration),
        training=trained,
        rehearsal=rehearsal_lines(run.rehearsal) if run else None,
        beside=beside(trained, _sides(verdict, overall)) if trained else (),
        behaviour=behaviour(baseline.behaviour if baseline else None, compared.trained.behaviour),
        origin=origin.origin_sentence(compared) if verdict != "not_comparable" else "",
        joined=origin.beside_the_signs(verdict, trained),
        held=compared.noninferiority.sentence if compared.noninferiority else "",
        same_weights=compared.aa,
    )


def _sides(verdict: str, overall: ChangeRow) -> tuple[float, float] | None:
    if verdict == "not_comparable" or overall.baseline is None or overall.trained is None:
        return None
    return overall.baseline, overall.trained


def _changes(run: RunComparison, overall: ChangeRow) -> Iterable[ChangeRow]:
    if run.overall is not None:
        yield overall
    for group in GROUPS:
        if group in run.groups:
            yield _family_row("group", group, wording.group(group), run.groups[group])
        for name in CATEGORIES:
            if group_of(name) == group and name in run.categories:
                title = wording.category(name)
                yield _family_row("category", name, title, run.categories[name])


def _overall(title: str, change: OverallChange | None) -> ChangeRow:
    """The row of an Overall, which is judged by its interval alone."""
    return ChangeRow(
        kind="overall",
        name="overall",
        title=title,
        baseline=change.baseline if change else None,
        trained=change.trained if change else None,
        delta=change.delta if change else None,
        interval=change.ci95 if change else None,
        p=change.p if change else None,
        n=None,
        gained=None,
        lost=None,
        small=False,
        clear=_side_of_zero(change.ci95) if change else "",
    )


def _family_row(kind: str, name: str, title: str, change: FamilyChange) -> ChangeRow:
    """The row of a group or category, which carries its word; a small category only where the
    exact test is so sure that it is no longer a matter of few items."""
    few = isinstance(change, CategoryChange) and change.small
    small = few and not (change.p_holm < SURE and _side_of_zero(change.ci95))
    word = {"improved": "up", "regressed": "down"}.get(change.word or "", "")
    return ChangeRow(
        kind=kind,
        name=name,
        title=title,
        baseline=change.baseline,
        trained=change.trained,
        delta=change.delta,
        interval=change.ci95,
        p=change.p,
        n=change.n,
        gained=change.gained,
        lost=change.lost,
        small=small,
        clear="" if small else _side_of_zero(change.ci95) if few else word,
    )


def _side_of_zero(bounds: tuple[float, float]) -> str:
    return "up" if bounds[0] > 0 else "down" if bounds[1] < 0 else ""


def _notes(comparison: Comparison, floor: float | None) -> Iterable[str]:
    if comparison.verdict == "not_comparable" or comparison.headline is None:
        return
    if floor is not None:
        moved = f"The same weights, evaluated again, moved by {wording.percent(floor)} points"
        times = abs(comparison.headline.delta) / floor if floor > 0 else None
        yield f"{moved}{f'; the change is {times:.1f} times that' if times is not None else ''}."
    planned = comparison.detectable_change
    if planned is not None and planned.points is None:
        yield (
            "A single run of this design has too few items to detect any true change, however "
            "large, in 80 of 100 cases."
        )
    elif planned is not None:
        yield (
            "A single run of this design detects a true change of "
            f"{wording.percent(planned.points)} points or more in 80 of 100 cases, by what was "
            "assumed before the run."
        )


def _model_name(sources: Sources) -> str:
    manifest, model = sources.baseline.manifest, sources.model
    return (manifest and manifest.weights.name) or (model and model.name) or ""


def chart_data(page: Page) -> dict[str, object]:
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


def _dot(change: ChangeRow) -> dict[str, object]:
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


def _text(value: object) -> str:
    if isinstance(value, dict):
        return str(value.get("message") or value.get("what") or value)
    return "" if value is None else str(value)


__all__ = ["ChangeRow", "Page", "RunPage", "chart_data", "page"]
