"""What the answer cost: wall time, GPU-hours and nodes of each stage."""

from collections.abc import Iterable
from dataclasses import dataclass

from toolgain.report.sources import Json, Sources, as_dict
from toolgain.report.wording import number
from toolgain.slurm.accounting import jobs_of

ACCOUNTING = "Slurm's accounting"


@dataclass(frozen=True)
class StageCost:
    """One stage of the chain."""

    title: str
    run: str
    """Name of the run, or empty for what all runs share."""
    kind: str
    """`evaluation`, `training` or another rule's name."""
    seconds: float | None
    nodes: float | None
    gpus: float | None
    gpu_hours: float | None
    where: str
    """Host or job, as far as recorded."""
    source: str
    """Who measured: Slurm's accounting, the stage itself or Snakemake."""


@dataclass(frozen=True)
class CostTable:
    """All stages, their sums, and the price of a point by run."""

    stages: tuple[StageCost, ...]
    seconds: float | None
    gpu_hours: float | None
    points_per_gpu_hour: tuple[tuple[str, float], ...]


def cost(sources: Sources) -> CostTable:
    """The cost of every stage that left a record."""
    stages = tuple(_stages(sources))
    times = [stage.seconds for stage in stages if stage.seconds is not None]
    hours = [stage.gpu_hours for stage in stages if stage.gpu_hours is not None]
    return CostTable(
        stages,
        sum(times) if times else None,
        sum(hours) if hours else None,
        tuple(_prices(sources, stages)),
    )


def _stages(sources: Sources) -> Iterable[StageCost]:
    several = len(sources.runs) > 1
    yield from _stage("Evaluation before", "", "evaluation", sources.baseline.manifest)
    for name, run in sources.runs.items():
        of = f" ({name})" if several else ""
        smoke = sources.benchmarks.get(f"smoke/{name}")
        if smoke is not None:
            yield _measured(f"Smoke training{of}", name, "smoke", smoke, run.smoke)
        yield from _stage(f"Training{of}", name, "training", run.manifest)
        export = sources.benchmarks.get(f"export/{name}")
        if export is not None:
            yield _measured(f"Export{of}", name, "export", export, run.export)
        yield from _stage(f"Evaluation after{of}", name, "evaluation", run.evaluation.manifest)


def _stage(title: str, run: str, kind: str, manifest: Json) -> Iterable[StageCost]:
    times, spent = as_dict(manifest.get("times")), as_dict(manifest.get("cost"))
    if not times and not spent:
        return
    hosts = manifest.get("hosts") or [manifest.get("host")]
    where = _jobs(manifest) or ", ".join(filter(None, hosts))
    measured = {"sacct": ACCOUNTING}.get(str(spent.get("source")), spent.get("source"))
    yield StageCost(
        title,
        run,
        kind,
        number(times.get("wall_s")),
        number(spent.get("nodes")),
        number(spent.get("gpus")),
        number(spent.get("gpu_hours")),
        where,
        str(measured or "the stage's clock"),
    )


def _measured(title: str, run: str, kind: str, seconds: float, record: Json) -> StageCost:
    """A stage whose time Snakemake took; what it used is in its record, if Slurm counts that."""
    spent = as_dict(record.get("cost"))
    return StageCost(
        title,
        run,
        kind,
        seconds,
        number(spent.get("nodes")),
        number(spent.get("gpus")),
        number(spent.get("gpu_hours")),
        _jobs(record),
        f"Snakemake, {ACCOUNTING}" if spent else "Snakemake",
    )


def _jobs(record: Json) -> str:
    ids = jobs_of(record)
    return f"job {', '.join(ids)}" if ids else ""


def _prices(sources: Sources, stages: tuple[StageCost, ...]) -> Iterable[tuple[str, float]]:
    for name, run in sources.comparison.runs.items():
        hours = sum(
            stage.gpu_hours or 0
            for stage in stages
            if stage.run == name and stage.kind == "training"
        )
        if run.overall is not None and hours > 0:
            yield name, run.overall.delta / hours
