"""The evaluate stage: serve a model, ask it BFCL v3, retry, and say whether the result counts.

REQUIRED INPUTS
    --weights results/model.json or results/runs/{run}/export.json, or a model folder
    or --endpoint URL --model NAME
OUTPUTS (in --out)
    items.csv  questions.jsonl.gz  summary.json  manifest.json
UNDECLARED
    results/work/evaluations/{weights}-{evaluation}-r{repeat}/: the harness's folders; a run that
    was killed resumes from there.
"""

import logging
import time
from pathlib import Path

import click
import filelock

from toolgain.bfcl import data, outcomes
from toolgain.bfcl.decoder import decoding
from toolgain.common import files, processes
from toolgain.common.errors import NotValidError
from toolgain.common.failures import not_valid
from toolgain.common.screen import for_terminal
from toolgain.evaluation import request_log
from toolgain.evaluation.budget import Budget
from toolgain.evaluation.job import EvaluationJob, Ledger, evaluation_section, prepare_evaluation
from toolgain.evaluation.outputs import write_evaluation
from toolgain.evaluation.rounds import ModelServer, ask_canary, ask_items, may_continue
from toolgain.records.summary import Canary
from toolgain.slurm.accounting import remember_this_job
from toolgain.statistics import power

log = logging.getLogger(__name__)


def evaluate_model(
    out: Path,
    *,
    config: Path | None = None,
    weights: Path | None = None,
    endpoint: str | None = None,
    model_name: str | None = None,
    api_key_env: str | None = None,
    subset: int | None = None,
    allow_invalid: bool = False,
    trust_remote_code: bool = False,
    bfcl_env: Path,
    trl_env: Path,
) -> None:
    """Evaluate a model; see the module.

    Raises:
        UserError: bad input; nothing has been written.
        StageError: server or harness could not be run at all.
        NotValidError: the record says that the result is not a measurement, unless
            `allow_invalid`.
        ResumeLaterError: stopped by SIGTERM or Ctrl-C; the same command resumes.
    """
    section = evaluation_section(config, endpoint, api_key_env, subset)
    job = prepare_evaluation(
        out, section, weights, endpoint, model_name, bfcl_env, trl_env, trust_remote_code
    )
    # The work folder may lie elsewhere.
    files.check_room(job.out if job.out.is_dir() else job.out.parent)
    started, clock = files.now(), time.monotonic()
    ledger = Ledger(Budget(job.folders(0).spent, section.retry.max_hours))
    log.info("evaluate: %s", power.planned_power(data.flat(job.items)).sentence())
    with processes.stopping_in_time():
        canary, rows, seen = ask_model(job, ledger)
    judged = write_evaluation(job, ledger, canary, rows, seen, started, time.monotonic() - clock)
    ledger.budget.close()
    if not judged.valid and not allow_invalid:
        raise NotValidError(f"evaluate: {job.subject} is not valid: {'; '.join(judged.reasons)}.")
    if not judged.valid:
        # Its rule ends well, so that the report can say why; the person should know now.
        click.echo(for_terminal(not_valid(job.subject, judged.reasons)), err=True)


def ask_model(
    job: EvaluationJob, ledger: Ledger
) -> tuple[Canary, list[outcomes.ItemOutcome], list[request_log.MatchedRequests]]:
    """Start the server, ask the canary and, where it does not end the evaluation, all items.

    Returns:
        What the canary showed, the outcomes, and for each repeat the requests behind them.
    """
    rows: list[outcomes.ItemOutcome] = []
    seen: list[request_log.MatchedRequests] = []
    first = job.folders(0).work
    files.check_room(first)
    lock = filelock.FileLock(first / ".lock")
    try:
        lock.acquire(timeout=5)
    except filelock.Timeout:
        log.info("evaluate: another process evaluates the same weights in %s; waiting", first)
        lock.acquire()
    with lock, decoding(job.bfcl_env) as decoder, ModelServer(job, ledger) as model_server:
        ledger.budget.start()
        ledger.slurm_jobs = remember_this_job(job.folders(0).slurm_jobs)
        canary = ask_canary(job, ledger, model_server, decoder)
        if may_continue(job, canary):
            for repeat in range(job.section.repeats):
                with ledger.timing("ask"):
                    found, evidence = ask_items(job, ledger, model_server, decoder, repeat)
                rows += found
                seen.append(evidence)
    return canary, rows, seen
