"""What the answer cost: wall time, GPU-hours and nodes of each stage."""

from collections.abc import Iterable
from dataclasses import dataclass

from toolgain.records.checkpoint import Export
from toolgain.records.evaluation import EvaluationManifest
from toolgain.records.training import Manifest, Smoke
from toolgain.records.trial import Trial
from toolgain.report.sources import Sources

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
    trial = sources.benchmarks.get("trial")
    if trial is not None:
        yield _measured("Trial evaluation", "", "evaluation", trial, sources.trial)
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


def _stage(
    title: str, run: str, kind: str, manifest: Manifest | EvaluationManifest | None
) -> Iterable[StageCost]:
    if manifest is None or not (manifest.times or manifest.cost):
        return
    times, spent = manifest.times, manifest.cost
    hosts = manifest.hosts if isinstance(manifest, Manifest) else [manifest.host]
    yield StageCost(
        title,
        run,
        kind,
        times.wall_s if times else None,
        spent.nodes if spent else None,
        spent.gpus if spent else None,
        spent.gpu_hours if spent else None,
        _jobs(manifest.slurm_jobs) or ", ".join(filter(None, hosts)),
        ACCOUNTING if spent and spent.source == "sacct" else "the stage's clock",
    )


def _measured(
    title: str, run: str, kind: str, seconds: float, record: Trial | Smoke | Export | None
) -> StageCost:
    """A stage whose time Snakemake took; what it used is in its record, if Slurm counts that."""
    spent = record.cost if record else None
    return StageCost(
        title,
        run,
        kind,
        seconds,
        spent.nodes if spent else None,
        spent.gpus if spent else None,
        spent.gpu_hours if spent else None,
        _jobs(record.slurm_jobs) if record else "",
        f"Snakemake, {ACCOUNTING}" if spent else "Snakemake",
    )


def _jobs(ids: list[str]) -> str:
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
