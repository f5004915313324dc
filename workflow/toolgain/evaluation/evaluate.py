"""The evaluate stage: serve a model, ask it BFCL v3, repair, and say whether the result counts.

REQUIRED INPUTS
    --weights results/model.json or results/runs/{run}/export.json, or a model folder
    or --endpoint URL --model NAME
OUTPUTS (in --out)
    items.csv  questions.jsonl.gz  summary.json  manifest.json
UNDECLARED
    results/work/evaluations/{weights}-{evaluation}-r{repeat}/: the harness's folders; a run that
    was killed goes on from there.
"""

import logging
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import yaml

from toolgain import files
from toolgain.bfcl import data, results
from toolgain.bfcl.categories import CATEGORIES, POPULATION
from toolgain.bfcl.data import Items
from toolgain.config import EvaluationSection, parse_section
from toolgain.errors import NotValidError, StageError, UserError
from toolgain.evaluation import harness, processes, record, repair, server, validity, witness
from toolgain.evaluation.canary import Canary, ask_canaries
from toolgain.evaluation.harness import HarnessFolders, HarnessSettings
from toolgain.evaluation.identity import Weights, comparable, read_weights, work_key
from toolgain.evaluation.progress import Progress
from toolgain.evaluation.server import Endpoint
from toolgain.statistics import power

log = logging.getLogger(__name__)

STALL_MARGIN_S = 120.0
"""Scoring shows no progress for a while; only a longer silence is a stall."""


@dataclass(frozen=True)
class Job:
    """Everything that one evaluation is made from."""

    out: Path
    subject: str
    section: EvaluationSection
    weights: Weights
    items: Items
    source: Path
    """Data folder of the harness."""
    bfcl_env: Path
    trl_env: Path
    comparable: dict[str, Any]
    work: Path
    """Work folder without the number of the repeat."""

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling put into every request."""
        wanted = self.section.sampling.model_dump()
        return {name: value for name, value in wanted.items() if value is not None}

    @property
    def size(self) -> int:
        """Items to ask, over all repeats."""
        return sum(map(len, self.items.values())) * self.section.repeats

    def folders(self, repeat: int) -> HarnessFolders:
        return HarnessFolders(self.work.with_name(f"{self.work.name}-r{repeat}"))


@dataclass
class Ledger:
    """What is found out on the way."""

    problems: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    rounds: int = 0
    server: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - started
            self.times[stage] = round(self.times.get(stage, 0.0) + spent, 2)


def run(
    out: Path,
    *,
    config: Path | None = None,
    weights: Path | None = None,
    endpoint: str | None = None,
    model_name: str | None = None,
    api_key_env: str | None = None,
    subset: int | None = None,
    allow_invalid: bool = False,
    bfcl_env: Path = Path(".venvs/bfcl"),
    trl_env: Path = Path(".venvs/trl"),
) -> None:
    """Evaluate a model; see the module.

    Raises:
        UserError: bad input; nothing has been written.
        StageError: server or harness could not be run at all.
        NotValidError: the record says that the result is not a measurement, unless
            `allow_invalid`.
        GoOnLaterError: stopped by SIGTERM; the same command goes on.
    """
    section = _section(config, endpoint, api_key_env, subset)
    job = _job(out, section, weights, endpoint, model_name, bfcl_env, trl_env)
    started, clock = files.now(), time.monotonic()
    ledger = Ledger()
    log.info("evaluate: %s", power.planned(data.flat(job.items)).sentence())
    with processes.stopping_in_time():
        canary, outcomes, seen = _evaluate(job, ledger)
    verdict = _write(job, ledger, canary, outcomes, seen, started, time.monotonic() - clock)
    if not verdict.valid and not allow_invalid:
        raise NotValidError(f"evaluate: {job.subject} is not valid: {'; '.join(verdict.reasons)}.")


def _section(
    config: Path | None, endpoint: str | None, api_key_env: str | None, subset: int | None
) -> EvaluationSection:
    """The evaluation section, with the command line's values put in."""
    values: dict[str, Any] = {}
    if config is not None:
        values = _read_config(config)
    if endpoint:
        values["serve"] = {**values.get("serve", {}), "backend": "endpoint", "url": endpoint}
    if api_key_env:
        values["serve"] = {**values.get("serve", {}), "api_key_env": api_key_env}
    if subset is not None:
        values["subset"] = dict.fromkeys(("non_live", "live", "multi_turn"), subset)
    return parse_section(EvaluationSection, values, str(config or "evaluation"))


def _read_config(path: Path) -> dict[str, Any]:
    """An evaluation section: frozen JSON, or YAML that holds it under its name or is it."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"--config: {path} does not exist.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"--config: {path} cannot be read: {text}") from error
    if not isinstance(values, dict):
        raise UserError(f"--config: {path} holds no keys.")
    section = values.get("evaluation", values)
    if not isinstance(section, dict):
        raise UserError(f"--config: {path}: `evaluation` holds no keys.")
    return section


def _job(
    out: Path,
    section: EvaluationSection,
    weights: Path | None,
    endpoint: str | None,
    model_name: str | None,
    bfcl_env: Path,
    trl_env: Path,
) -> Job:
    """Check everything before the first process starts."""
    subject = out.name
    if section.serve.backend != "endpoint" and weights is None:
        raise UserError(
            "evaluate: name what to evaluate, with --weights FILE (a model folder, or the JSON "
            "that `toolgain model` or `toolgain export` writes) or --endpoint URL --model NAME."
        )
    if endpoint and not model_name:
        raise UserError("evaluate: --endpoint needs --model NAME, the name that the server knows.")
    harness.harness_program(bfcl_env)
    source = data.installed_data(bfcl_env)
    items = data.load_full(source)
    if section.subset is not None:
        subset = section.subset.model_dump()
        items = data.draw(items, data.sizes_of(subset), section.subset.seed)
    found = read_weights(weights, model_name or section.alias, section.serve.url)
    facts = comparable(section, items, found, bfcl_env, trl_env)
    root = _work_root(out)
    return Job(
        out=out.absolute(),
        subject=subject,
        section=section,
        weights=found,
        items=items,
        source=source,
        bfcl_env=bfcl_env.absolute(),
        trl_env=trl_env.absolute(),
        comparable=facts,
        work=root / work_key(found, facts),
    )


def _work_root(out: Path) -> Path:
    """results/work/evaluations for results/evaluations/{subject}; else a folder inside `out`."""
    out = out.absolute()
    if out.parent.name == "evaluations":
        return out.parent.parent / "work" / "evaluations"
    return out / "work"


class _Server:
    """The model server while it is needed: started at the first call, again after its end."""

    def __init__(self, job: Job, ledger: Ledger) -> None:
        self.job, self.ledger = job, ledger
        self._stack = ExitStack()
        self._endpoint: Endpoint | None = None

    @property
    def log_file(self) -> Path:
        return self.job.folders(0).work / "server.log"

    def __enter__(self) -> "_Server":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def endpoint(self, wait: bool = True) -> Endpoint:
        """The server, ready.

        An endpoint of others may not become ready in time: then it is asked all the same, and the
        failures are counted.

        Raises:
            StageError: a server of ours ended at its start, or was not ready in time.
        """
        if self._endpoint is not None and self._endpoint.alive():
            log.warning("evaluate: %s", self._endpoint.alive())
            self._stack.close()
            self._endpoint = None
        with self.ledger.timing("server"):
            if self._endpoint is None:
                self._endpoint = self._start()
            last = server.wait_ready(self._endpoint) if wait else None
        if last is None:
            self.ledger.server |= server.server_facts(self._endpoint) if wait else {}
        elif self.job.section.serve.backend == "endpoint":
            log.warning("evaluate: the server is not ready: %s", last)
        else:
            raise StageError(
                f"evaluate: the model server was not ready after "
                f"{self._endpoint.ready_timeout_s:g} s ({last}); see {self.log_file}."
            )
        return self._endpoint

    def _start(self) -> Endpoint:
        job, serve = self.job, self.job.section.serve
        if serve.backend == "endpoint":
            return server.existing(serve, job.subject, job.weights.served_name, None)
        folder = job.folders(0).work / "server"
        return self._stack.enter_context(
            server.serving(
                serve, job.weights.folder, job.section.alias, folder, job.trl_env, self.log_file
            )
        )


@dataclass(frozen=True)
class _Seen:
    """What the servers saw, over all repeats."""

    requests: int
    retried: int
    failures: dict[str, int]
    sampling: list[dict[str, Any]]


def _evaluate(
    job: Job, ledger: Ledger
) -> tuple[Canary, list[record.ItemOutcome], list[witness.Evidence]]:
    outcomes: list[record.ItemOutcome] = []
    seen: list[witness.Evidence] = []
    first = job.folders(0).work
    first.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(first / ".lock")
    try:
        lock.acquire(timeout=5)
    except filelock.Timeout:
        raise StageError(
            f"evaluate: another process evaluates the same weights in {first}; wait for it."
        ) from None
    with lock, _Server(job, ledger) as model_server:
        canary = _canary(job, ledger, model_server)
        if canary.answered and not canary.call_as_text:
            for repeat in range(job.section.repeats):
                with ledger.timing("ask"):
                    found, evidence = _repeat(job, ledger, model_server, repeat)
                outcomes += found
                seen.append(evidence)
    return canary, outcomes, seen


def _canary(job: Job, ledger: Ledger, model_server: _Server) -> Canary:
    """Ask the canaries; the answer is kept while the evaluation goes on."""
    kept = job.folders(0).work / "canary.json"
    if kept.exists():
        return Canary(**files.read_json(kept, "canary"))
    endpoint = model_server.endpoint()
    with ledger.timing("canary"):
        canary = ask_canaries(endpoint, job.sampling, job.section.repair.request_timeout_s)
    if canary.answered and not canary.call_as_text:
        files.write_json(kept, canary.record())
    return canary


def _repeat(
    job: Job, ledger: Ledger, model_server: _Server, repeat: int
) -> tuple[list[record.ItemOutcome], witness.Evidence]:
    """Ask all items once: rounds of asking what is missing, until nothing is or they are spent."""
    folders = job.folders(repeat)
    result = folders.output / "result" / job.section.alias
    if not (folders.data / ".complete").exists():
        data.write(job.items, job.source, folders.data)
        (folders.data / ".complete").touch()
    limits = job.section.repair
    settings = HarnessSettings(
        bfcl_env=job.bfcl_env,
        container=job.section.harness_container,
        alias=job.section.alias,
        task=job.section.task,
        parallelism=job.section.parallelism,
        sampling=job.sampling,
        timeout_s=limits.request_timeout_s,
        attempts=limits.request_attempts,
        stall_s=limits.request_timeout_s * limits.request_attempts + STALL_MARGIN_S,
    )
    repaired = _repaired(folders)
    problem: str | None = None
    for attempt in range(limits.rounds + 1):
        state = repair.heal(result, job.items, take_out_failed=True)
        if state.failed:
            repaired |= repair.keys_of(state.failed)
            files.write_json(folders.work / "repaired.json", sorted(map(list, repaired)))
        if not state.missing and _is_scored(folders, state):
            break
        if attempt:
            ledger.rounds += 1
            pause = limits.backoff_s * 2 ** (attempt - 1)
            log.info(
                "evaluate: %d items failed; asking them again in %g s (round %d of %d)",
                len(state.missing),
                pause,
                attempt,
                limits.rounds,
            )
            time.sleep(pause)
        _prepare_replay(folders, job.items, state)
        problem = _run_harness(job, settings, folders, model_server.endpoint(), state, repeat)
        if problem:
            log.warning("evaluate: %s", problem)
    state = repair.heal(result, job.items, take_out_failed=False)
    if state.missing or not _is_scored(folders, state):
        # Items without a row are failures; the harness must see a row for each to pair the others.
        repair.fill_gaps(result, state, problem or "not asked")
        endpoint = model_server.endpoint(wait=False)
        problem = _run_harness(job, settings, folders, endpoint, state, repeat)
        if problem:
            raise StageError(f"evaluate: {problem}; see {folders.log}.")
        state = repair.heal(result, job.items, take_out_failed=False)
    evidence = witness.match_requests(
        witness.read_lines(folders.requests), state.rows, job.items, repaired
    )
    if not any(map(results.is_error, (row for rows in state.rows.values() for row in rows))):
        for spent in (folders.answers, folders.replay):
            spent.unlink(missing_ok=True)
    return results.outcomes(folders.output, job.items, repeat, evidence.seen), evidence


def _run_harness(
    job: Job,
    settings: HarnessSettings,
    folders: HarnessFolders,
    endpoint: Endpoint,
    state: repair.State,
    repeat: int,
) -> str | None:
    total = job.size
    before = repeat * (total // job.section.repeats)
    with Progress(job.out, job.subject, total, folders, before, state.done) as progress:
        return harness.run(settings, folders, endpoint, progress.update)


def _is_scored(folders: HarnessFolders, state: repair.State) -> bool:
    """Whether the scores were made from the result files as they are now."""
    scores = folders.output / "score"
    newest = max(
        (path.stat().st_mtime for path in folders.output.glob("result/*/*.json")), default=0.0
    )
    if not (folders.output / "results.yml").exists():
        return False
    made = [path.stat().st_mtime for path in scores.glob("*/*_score.json")]
    return len(made) == len([rows for rows in state.rows.values() if rows]) and min(made) >= newest


def _repaired(folders: HarnessFolders) -> set[data.Key]:
    path = folders.work / "repaired.json"
    if not path.exists():
        return set()
    return {(c, item_id, n) for c, item_id, n in files.read_json(path, "repaired items")}


def _prepare_replay(folders: HarnessFolders, items: Items, state: repair.State) -> None:
    """Keep the answers that were received but are in no row, for the interceptor to replay."""
    received = witness.read_lines(folders.answers)
    folders.replay.unlink(missing_ok=True)
    if not received:
        return
    # A kill may have cut the last line, and the next would be glued to it.
    files.write_jsonl(folders.answers, received)
    requests = witness.read_lines(folders.requests)
    files.write_jsonl(folders.requests, requests)
    used = witness.match_requests(requests, state.rows, items, set()).used
    files.write_jsonl(
        folders.replay, (answer for answer in received if answer["number"] not in used)
    )


def _write(
    job: Job,
    ledger: Ledger,
    canary: Canary,
    outcomes: list[record.ItemOutcome],
    seen: list[witness.Evidence],
    started: str,
    wall_s: float,
) -> validity.Validity:
    section = job.section
    verdict = validity.judge(
        outcomes,
        job.size,
        canary,
        validity.Limits(section.max_error_share, section.max_overflow_share),
        _different([row for one in seen for row in one.sampling]),
        job.sampling,
        ledger.problems,
    )
    scores = results.scores(record.accuracies(outcomes))
    strict = results.scores(record.accuracies(outcomes, strict=True))
    summary = {
        "schema": 1,
        "subject": job.subject,
        "n": job.size // section.repeats,
        "overall": scores["overall"],
        "groups": scores["groups"],
        "categories": _categories(outcomes, scores["categories"]),
        "strict": {"overall": strict["overall"], "groups": strict["groups"]},
        "subset": section.subset.model_dump() if section.subset else None,
        "valid": verdict.valid,
        "reasons": verdict.reasons,
        "warnings": verdict.warnings,
        "errors": verdict.errors,
        "flags": verdict.flags,
        "repaired": verdict.flags.get(record.REPAIRED, 0),
        "rounds": ledger.rounds,
        "requests": sum(one.requests for one in seen),
        "retried_requests": sum(one.retried for one in seen),
        "failed_attempts": _summed(one.failures for one in seen),
        "sampling_seen": _different([row for one in seen for row in one.sampling]),
        "repeats": section.repeats,
        "canary": canary.record(),
        "harness_overall": harness.reported_overall(job.folders(0).output),
    }
    facts = {
        **job.comparable,
        "server_version": job.comparable["server_version"] or ledger.server.get("version"),
        "context": job.comparable["context"] or ledger.server.get("max_model_len"),
    }
    gpus = _gpus()
    manifest = {
        "schema": 1,
        "subject": job.subject,
        "weights": job.weights.record(),
        "config_digest": files.digest(section.model_dump(mode="json")),
        "comparable": facts,
        "versions": _versions(job),
        "times": {
            "started": started,
            "finished": files.now(),
            "wall_s": round(wall_s, 2),
            "stages": ledger.times,
        },
        "cost": {
            "nodes": int(os.environ.get("SLURM_JOB_NUM_NODES", "1")),
            "gpus": gpus,
            "gpu_hours": round(gpus * wall_s / 3600, 4),
            **(_used() or {}),
        },
        "slurm": _slurm(),
        "host": platform.node(),
        "work_dir": str(job.folders(0).work),
        "commit": files.commit(Path(__file__).parent),
    }
    job.out.mkdir(parents=True, exist_ok=True)
    record.write_items(job.out, outcomes)
    record.write_questions(job.out, data.question_rows(job.items))
    files.write_json(job.out / record.SUMMARY, summary)
    files.write_json(job.out / record.MANIFEST, manifest)
    overall = scores["overall"]
    log.info(
        "evaluate: %s: Overall %s on %d items, %s",
        job.subject,
        "none" if overall is None else f"{overall:.2f}",
        job.size,
        "valid" if verdict.valid else f"not valid: {'; '.join(verdict.reasons)}",
    )
    return verdict


def _categories(
    outcomes: list[record.ItemOutcome], accuracy: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    return {
        category: {
            "accuracy": accuracy[category],
            "correct": sum(row.valid for row in outcomes if row.category == category),
            "n": sum(row.category == category for row in outcomes),
            "population": POPULATION[category],
        }
        for category in CATEGORIES
        if category in accuracy
    }


def _different(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for place, row in enumerate(rows) if row not in rows[:place]]


def _summed(counts: Iterator[Mapping[str, int]] | Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for kind, n in one.items():
            total[kind] = total.get(kind, 0) + n
    return total


def _versions(job: Job) -> dict[str, str | None]:
    from toolgain import __version__

    env, trl = job.bfcl_env, job.trl_env
    return {
        "toolgain": __version__,
        "python": server.this_python(),
        "nemo-evaluator": server.python_version_of(env, "nemo-evaluator"),
        "nvidia-bfcl": server.python_version_of(env, "nvidia-bfcl"),
        "transformers": server.python_version_of(trl, "transformers"),
        "torch": server.python_version_of(trl, "torch"),
    }


def _gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return len([part for part in visible.split(",") if part.strip()])


def _used() -> dict[str, Any] | None:
    """What Slurm's accounting says of this job, or None outside of Slurm."""
    from toolgain.slurm.accounting import of_jobs

    return of_jobs([os.environ["SLURM_JOB_ID"]]) if "SLURM_JOB_ID" in os.environ else None


def _slurm() -> dict[str, str] | None:
    names = ("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_JOB_PARTITION", "SLURM_JOB_NODELIST")
    found = {
        name.removeprefix("SLURM_JOB_").lower(): os.environ[name]
        for name in names
        if name in os.environ
    }
    return found or None
