"""Where the numbers come from: versions, commits, configs, digests, jobs, commands."""

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from toolgain import __version__
from toolgain.records.evaluation import EvaluationManifest
from toolgain.records.summary import Summary
from toolgain.records.training import Manifest
from toolgain.report.sources import Sources
from toolgain.report.wording import moment, percent


@dataclass(frozen=True)
class Provenance:
    """The section `Provenance`."""

    report_version: str
    facts: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """By stage: (software, version)."""
    digests: tuple[tuple[str, str], ...]
    jobs: tuple[tuple[str, str], ...]
    configs: tuple[tuple[str, str], ...]
    """(name, JSON text) of the frozen sections."""
    commands: tuple[str, ...]
    handovers: tuple[tuple[str, str], ...]
    """(run, what its last job handed to NeMo RL's ray.sub)."""
    harness: tuple[tuple[str, str], ...]
    """(subject, the harness's own Overall)."""


def provenance(sources: Sources) -> Provenance:
    """Collect it from the manifests and the frozen configs."""
    return Provenance(
        report_version=__version__,
        facts=tuple(_facts(sources)),
        versions=tuple(_versions(sources)),
        digests=tuple(_digests(sources)),
        jobs=tuple(_jobs(sources)),
        configs=tuple(
            (name, json.dumps(value, indent=2, ensure_ascii=False))
            for name, value in sources.configs.items()
            if value
        ),
        commands=tuple(_commands(sources)),
        handovers=tuple(_handovers(sources)),
        harness=tuple(
            (subject, percent(summary.harness_overall, 2))
            for subject, summary in _summaries(sources)
            if summary is not None and summary.harness_overall is not None
        ),
    )


def _stages(sources: Sources) -> Iterable[tuple[str, Manifest | EvaluationManifest]]:
    """The stages that left a manifest."""
    if sources.baseline.manifest:
        yield "Evaluation before", sources.baseline.manifest
    for name, run in sources.runs.items():
        of = f" ({name})" if len(sources.runs) > 1 else ""
        if run.manifest:
            yield f"Training{of}", run.manifest
        if run.evaluation.manifest:
            yield f"Evaluation after{of}", run.evaluation.manifest


def _summaries(sources: Sources) -> Iterable[tuple[str, Summary | None]]:
    yield "before", sources.baseline.summary
    for name, run in sources.runs.items():
        yield f"after ({name})", run.evaluation.summary


def _facts(sources: Sources) -> Iterable[tuple[str, str]]:
    commits = {manifest.commit for _, manifest in _stages(sources) if manifest.commit}
    for commit in sorted(commits):
        yield "Commit of the workflow", commit
    if len(commits) > 1:
        yield "Note", "The stages ran with different commits of the workflow."
    for title, manifest in _stages(sources):
        times = manifest.times
        if times and times.started:
            yield title, f"{moment(times.started)} to {moment(times.finished)}"


def _versions(sources: Sources) -> Iterable[tuple[str, tuple[tuple[str, str], ...]]]:
    for title, manifest in _stages(sources):
        if manifest.versions:
            yield (
                title,
                tuple((key, str(value)) for key, value in sorted(manifest.versions.items())),
            )


def _digests(sources: Sources) -> Iterable[tuple[str, str]]:
    digest = sources.baseline.manifest and sources.baseline.manifest.weights.digest
    if not digest and sources.comparison.baseline is not None:
        digest = sources.comparison.baseline.digest
    if digest:
        yield "Weights before", digest
    for name, run in sources.runs.items():
        trained = run.evaluation.manifest and run.evaluation.manifest.weights.digest
        if trained:
            yield f"Weights after ({name})", trained
        if run.export and run.export.digest != trained:
            yield f"Exported model ({name})", run.export.digest
    for title, manifest in _stages(sources):
        if manifest.config_digest:
            yield f"Config: {title}", manifest.config_digest


def _jobs(sources: Sources) -> Iterable[tuple[str, str]]:
    for title, manifest in _stages(sources):
        if manifest.slurm_jobs:
            yield title, ", ".join(manifest.slurm_jobs)


def _handovers(sources: Sources) -> Iterable[tuple[str, str]]:
    for name, run in sources.runs.items():
        if run.manifest and run.manifest.handover:
            yield name, "\n".join(run.manifest.handover.lines())


def _commands(sources: Sources) -> Iterable[str]:
    commit = next(
        (stage.commit.removesuffix("+dirty") for _, stage in _stages(sources) if stage.commit),
        None,
    )
    if commit:
        yield f"git checkout {commit}"
    yield "make setup"
    yield "snakemake --profile profiles/local all    # or --profile slurm, with your config"
    yield "# stage by stage:"
    yield (
        "toolgain evaluate --config results/config/evaluation.json "
        "--weights results/model.json --out results/evaluations/baseline"
    )
    folders = ["results/evaluations/baseline"]
    for name in sources.runs:
        run, folder = (shlex.quote(f"results/{kind}/{name}") for kind in ("runs", "evaluations"))
        yield (
            "toolgain evaluate --config results/config/evaluation.json "
            f"--weights {run}/export.json --out {folder}"
        )
        folders.append(folder)
    yield (
        f"toolgain compare {' '.join(folders)} --config results/config/comparison.json "
        "--out results/comparison.json"
    )
    yield (
        "toolgain report results/comparison.json --results results "
        "--config results/config/report.json --out results/report.html"
    )
