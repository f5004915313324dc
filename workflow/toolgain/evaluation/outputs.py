"""Write the evaluation folder: items, questions, summary with the validity record, manifest."""

import logging
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from toolgain.bfcl import data, outcomes, results
from toolgain.bfcl.categories import CATEGORIES, POPULATION
from toolgain.common import files
from toolgain.evaluation import harness, request_log, validity
from toolgain.evaluation.job import EvaluationJob, Ledger
from toolgain.records.evaluation import EvaluationManifest, EvaluationTimes
from toolgain.records.record import write_record
from toolgain.records.summary import Canary, CategoryScore, SandboxState, StrictScore, Summary
from toolgain.records.training import Cost
from toolgain.serving import server
from toolgain.slurm.accounting import of_jobs

log = logging.getLogger(__name__)


def write_evaluation(
    job: EvaluationJob,
    ledger: Ledger,
    canary: Canary,
    rows: list[outcomes.ItemOutcome],
    seen: list[request_log.MatchedRequests],
    started: str,
    wall_s: float,
) -> validity.Validity:
    """Judge the evaluation and write its folder."""
    section = job.section
    judged = validity.judge_evaluation(
        rows,
        job.size,
        canary,
        validity.ValidityLimits(section.max_error_share, section.max_overflow_share),
        _different([row for one in seen for row in one.sampling]),
        job.sampling,
        stop_at_canary=section.canary == "stop",
        parser_key=section.serve.server.parser_key,
        calls=sum(one.calls for one in seen),
        foreign=sum(one.foreign for one in seen),
        code=sum(one.code for one in seen),
        never_taken=request_log.never_taken(seen),
    )
    if against := [*request_log.forgeries(seen), *request_log.contradictions(seen)]:
        judged = replace(judged, valid=False, reasons=[*judged.reasons, *against])
    models = _summed(one.models for one in seen)
    asked_for = {job.weights.served_name or section.alias}
    if not section.serve.server.ours and (other := set(models) - asked_for):
        judged.warnings.append(f"the server calls its model {', '.join(sorted(other))}")
    scores = results.scores(outcomes.accuracies(rows))
    strict = results.scores(outcomes.accuracies(rows, strict=True))
    summary = Summary(
        subject=job.subject,
        n=job.size // section.repeats,
        overall=scores["overall"],
        groups=scores["groups"],
        categories=_categories(rows, scores["categories"]),
        strict=StrictScore(overall=strict["overall"], groups=strict["groups"]),
        subset=section.subset,
        valid=judged.valid,
        reasons=judged.reasons,
        warnings=judged.warnings,
        errors=judged.errors,
        flags=judged.flags,
        retried=judged.flags.get(outcomes.RETRIED, 0),
        rounds=ledger.rounds,
        requests=sum(one.requests for one in seen),
        retried_requests=sum(one.retried for one in seen),
        failed_attempts=_summed(one.failures for one in seen),
        normalised=_summed(one.normalised for one in seen),
        models=models,
        sampling_seen=_different([row for one in seen for row in one.sampling]),
        repeats=section.repeats,
        sandbox=SandboxState(open=job.layers.open, missing=list(job.layers.missing)),
        canary=canary,
        harness_overall=harness.reported_overall(job.folders(0).output),
    )
    said = job.folders(0).server_facts
    server_said = files.read_json(said, "server facts") if said.exists() else {}
    facts = {
        **job.comparable,
        "server_version": job.comparable["server_version"] or server_said.get("version"),
        "context": job.comparable["context"] or server_said.get("max_model_len"),
    }
    gpus = _gpus()
    manifest = EvaluationManifest(
        subject=job.subject,
        weights=job.weights.record(),
        config_digest=files.digest(section.model_dump(mode="json")),
        comparable=facts,
        versions=_versions(job),
        times=EvaluationTimes(
            started=started, finished=files.now(), wall_s=round(wall_s, 2), stages=ledger.times
        ),
        cost=of_jobs(ledger.slurm_jobs) or _own_cost(gpus, wall_s),
        slurm=_slurm(),
        slurm_jobs=ledger.slurm_jobs,
        host=platform.node(),
        work_dir=str(job.folders(0).work),
        commit=files.commit(Path(__file__).parent),
    )
    job.out.mkdir(parents=True, exist_ok=True)
    outcomes.write_items(job.out, rows)
    outcomes.write_questions(job.out, data.question_rows(job.items))
    write_record(job.out / outcomes.SUMMARY, summary)
    write_record(job.out / outcomes.MANIFEST, manifest)
    overall = scores["overall"]
    log.info(
        "evaluate: %s: Overall %s%s on %d items, %s",
        job.subject,
        "none" if overall is None else f"{overall:.2f}",
        "" if overall == strict["overall"] else f" (strict {strict['overall']:.2f})",
        job.size,
        "valid" if judged.valid else f"not valid: {'; '.join(judged.reasons)}",
    )
    return judged


def _categories(
    rows: list[outcomes.ItemOutcome], accuracy: Mapping[str, float]
) -> dict[str, CategoryScore]:
    return {
        category: CategoryScore(
            accuracy=accuracy[category],
            correct=sum(row.valid for row in rows if row.category == category),
            n=sum(row.category == category for row in rows),
            population=POPULATION[category],
        )
        for category in CATEGORIES
        if category in accuracy
    }


def _different(rows: list[dict[str, JsonValue]]) -> list[dict[str, JsonValue]]:
    return [row for place, row in enumerate(rows) if row not in rows[:place]]


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for kind, n in one.items():
            total[kind] = total.get(kind, 0) + n
    return total


def _versions(job: EvaluationJob) -> dict[str, str | None]:
    from toolgain import __version__

    env = job.bfcl_env
    serving = server.serving_environment(job.section.serve, job.trl_env)
    return {
        "toolgain": __version__,
        "python": server.this_python(),
        "nemo-evaluator": server.python_version_of(env, "nemo-evaluator"),
        "nvidia-bfcl": server.python_version_of(env, "nvidia-bfcl"),
    } | {
        name: version
        for name in ("vllm", "transformers", "torch")
        # Of what served, where it can be seen from here.
        if serving and (version := server.python_version_of(serving, name))
    }


def _gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return len([part for part in visible.split(",") if part.strip()])


def _own_cost(gpus: int, wall_s: float) -> Cost:
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
    return Cost(nodes=nodes, gpus=gpus, gpu_hours=round(gpus * wall_s / 3600, 4))


def _slurm() -> dict[str, str] | None:
    names = ("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_JOB_PARTITION", "SLURM_JOB_NODELIST")
    found = {
        name.removeprefix("SLURM_JOB_").lower(): os.environ[name]
        for name in names
        if name in os.environ
    }
    return found or None
