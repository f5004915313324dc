"""What the person who ran it may do next, with the command and what it would cost."""

from collections.abc import Iterable
from dataclasses import dataclass

from toolgain.config.sections import TRAINERS
from toolgain.report.cost import CostTable, StageCost
from toolgain.report.sources import Sources
from toolgain.report.wording import duration, percent, whole_number


@dataclass(frozen=True)
class NextStep:
    """One next step."""

    title: str
    edit: str
    """What to change in the configuration before."""
    command: str
    cost: str
    place: str = ""
    """Where in the configuration, when the edit does not say so itself."""


def next_steps(sources: Sources, cost: CostTable, population: int) -> tuple[NextStep, ...]:
    """More seeds, more items, more steps; each with the cost of this run as the measure."""
    return tuple(_steps(sources, cost, population))


def _steps(sources: Sources, cost: CostTable, population: int) -> Iterable[NextStep]:
    runs = list(sources.runs)
    if not runs:
        return
    slurm = any(stage.where.startswith("job ") for stage in cost.stages)
    command = f"snakemake --profile {'slurm' if slurm else 'profiles/local'} "
    evaluations = [stage for stage in cost.stages if stage.kind == "evaluation"]
    if sources.comparison.verdict == "not_comparable":
        # More of what cannot be compared would tell no more.
        yield NextStep(
            "The evaluations again, once what makes them not comparable is mended",
            "",
            command + "all",
            _amount(evaluations, 1, "by this run"),
        )
    else:
        yield from _more(sources, cost, population, command, evaluations)
    yield NextStep(
        "An interrupted run: the same command resumes it",
        "",
        command + "all",
        "what was left",
    )


def _more(
    sources: Sources,
    cost: CostTable,
    population: int,
    command: str,
    evaluations: list[StageCost],
) -> Iterable[NextStep]:
    runs = list(sources.runs)
    first = runs[0]
    of_run = [stage for stage in cost.stages if stage.run == first or _is_after(stage)]
    if len(runs) == 1:
        yield NextStep(
            "Two more seeds: how much of the change is due to the training, how much to chance",
            "seed2: {seed: 2}, seed3: {seed: 3}",
            command + "all",
            _amount(of_run, 2, "for both, by this run"),
            f"among the runs, beside {first} and with the same overrides",
        )
    asked = sources.comparison.n
    if sources.comparison.subset and asked:
        yield NextStep(
            f"All {whole_number(population)} items in place of {whole_number(asked)}: smaller "
            "changes can be detected",
            "evaluation: {subset: null}",
            command + "all",
            _amount(evaluations, population / asked, "by the items asked here; nothing is trained"),
        )
    manifest = sources.runs[first].manifest
    if manifest and manifest.total_steps and sources.comparison.verdict != "regressed":
        key, steps = TRAINERS[manifest.backend].STEPS_KEY, 2 * manifest.total_steps
        of_both = [stage for stage in of_run if stage.kind in ("training", "evaluation")]
        yield NextStep(
            "Twice the steps, if the curves still rise at their end (a new training run)",
            f"training: {{{manifest.backend}: {{{key}: {steps}}}}}",
            command + "all",
            _amount(of_both, 2, "at most, by this run"),
        )


def _is_after(stage: StageCost) -> bool:
    return stage.kind == "evaluation" and stage.title.startswith("Evaluation after")


def _amount(stages: list[StageCost], times: float, basis: str) -> str:
    """Time and GPU-hours of the stages, multiplied."""
    seconds = sum(stage.seconds or 0.0 for stage in stages)
    hours = sum(stage.gpu_hours or 0.0 for stage in stages)
    if not seconds and not hours:
        return "not known: nothing recorded its time"
    gpu = f" and {percent(hours * times)} GPU-hours" if hours else ""
    return f"about {duration(seconds * times)}{gpu} ({basis})"
