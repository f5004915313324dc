"""Where the numbers come from: versions, commits, configs, digests, jobs, commands."""

import contextlib
import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from toolgain import __version__
from toolgain.records.training import Handover
from toolgain.report.sources import Json, Sources, as_dict
from toolgain.report.wording import moment, percent
from toolgain.slurm.accounting import jobs_of


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
            (subject, percent(own, 2))
            for subject, summary in _summaries(sources)
            if (own := summary.get("harness_overall")) is not None
        ),
    )


def _stages(sources: Sources) -> Iterable[tuple[str, Json]]:
    yield "Evaluation before", sources.baseline.manifest
    for name, run in sources.runs.items():
        of = f" ({name})" if len(sources.runs) > 1 else ""
        yield f"Training{of}", run.manifest
        yield f"Evaluation after{of}", run.evaluation.manifest


def _summaries(sources: Sources) -> Iterable[tuple[str, Json]]:
    yield "before", sources.baseline.summary
    for name, run in sources.runs.items():
        yield f"after ({name})", run.evaluation.summary


def _facts(sources: Sources) -> Iterable[tuple[str, str]]:
    commits = {
        str(manifest["commit"]) for _, manifest in _stages(sources) if manifest.get("commit")
    }
    for commit in sorted(commits):
        yield "Commit of the workflow", commit
    if len(commits) > 1:
        yield "Note", "The stages ran with different commits of the workflow."
    for title, manifest in _stages(sources):
        times = as_dict(manifest.get("times"))
        if times.get("started"):
            yield title, f"{moment(times['started'])} to {moment(times.get('finished'))}"


def _versions(sources: Sources) -> Iterable[tuple[str, tuple[tuple[str, str], ...]]]:
    for title, manifest in _stages(sources):
        versions = as_dict(manifest.get("versions"))
        if versions:
            yield title, tuple((str(key), str(value)) for key, value in sorted(versions.items()))


def _digests(sources: Sources) -> Iterable[tuple[str, str]]:
    weights = as_dict(sources.baseline.manifest.get("weights"))
    digest = weights.get("digest")
    if not digest and sources.comparison.baseline is not None:
        digest = sources.comparison.baseline.digest
    if digest:
        yield "Weights before", str(digest)
    for name, run in sources.runs.items():
        trained = as_dict(run.evaluation.manifest.get("weights")).get("digest")
        if trained:
            yield f"Weights after ({name})", str(trained)
        exported = run.export.get("digest")
        if exported and exported != trained:
            yield f"Exported model ({name})", str(exported)
    for title, manifest in _stages(sources):
        if manifest.get("config_digest"):
            yield f"Config: {title}", str(manifest["config_digest"])


def _jobs(sources: Sources) -> Iterable[tuple[str, str]]:
    for title, manifest in _stages(sources):
        if jobs := jobs_of(manifest):
            yield title, ", ".join(jobs)


def _handovers(sources: Sources) -> Iterable[tuple[str, str]]:
    for name, run in sources.runs.items():
        with contextlib.suppress(ValidationError):
            yield name, "\n".join(Handover.model_validate(run.manifest.get("handover")).lines())


def _commands(sources: Sources) -> Iterable[str]:
    commit = next(
        (str(m["commit"]).removesuffix("+dirty") for _, m in _stages(sources) if m.get("commit")),
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
