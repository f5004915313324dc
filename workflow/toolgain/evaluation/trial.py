"""The trial before any training: would an evaluation of this model be valid?

It starts the server as the evaluation will, or asks the endpoint, with the canary and one item of
each category, and lets the harness score them. What would make the evaluation invalid for every
item (a template or a parser that does not fit, answers that are all empty, conversations that the
server does not take) shows with seventeen items as well as with 4441; shares of failed items do
not, and are left to the evaluation.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from toolgain.bfcl.outcomes import ItemOutcome
from toolgain.common import processes
from toolgain.common.amounts import counted
from toolgain.common.errors import StageError, UserError
from toolgain.common.files import now
from toolgain.common.progress import results_folder
from toolgain.config.freeze import read_section
from toolgain.config.sections import EvaluationSection, Subset
from toolgain.evaluation import request_log, validity
from toolgain.evaluation.budget import Budget
from toolgain.evaluation.evaluate import ask_model
from toolgain.evaluation.job import Ledger, prepare_evaluation
from toolgain.records.record import write_record
from toolgain.records.summary import Canary
from toolgain.records.trial import Trial
from toolgain.slurm.accounting import of_jobs

log = logging.getLogger(__name__)

MOST_FAILED = 0.5
"""Above this share of items without an answer, something is wrong with the server."""


def try_evaluation(
    out: Path, config: Path, weights: Path, settings: str, bfcl_env: Path, trl_env: Path
) -> None:
    """Ask the base model one item of each category, as the evaluation of `config` would.

    Answers are kept, so that an interrupted trial resumes with what was answered.

    Args:
        out: trial.json in the results folder; written last, where the trial passed.
        config: the frozen evaluation section.
        weights: model.json of the base model.
        settings: digest of the settings that are tried, for the record.
        bfcl_env: environment of the harness.
        trl_env: environment of `transformers serve`.

    Raises:
        UserError: an evaluation could not be valid; the message says why and which key to set.
        StageError: most items got no answer.
    """
    section = read_section(EvaluationSection, config)
    one_each = Subset(non_live=1, live=1, multi_turn=1)
    retry = section.retry.model_copy(update={"rounds": min(1, section.retry.rounds)})
    section = section.model_copy(update={"subset": one_each, "repeats": 1, "retry": retry})
    # Of this name is the subject whose endpoint is asked.
    folder = results_folder(out) / "work" / "trial" / "baseline"
    job = prepare_evaluation(folder, section, weights, None, None, bfcl_env, trl_env)
    log.info("trial: an evaluation of %s", counted(job.size, "item"))
    ledger = Ledger(Budget(job.folders(0).spent, section.retry.max_hours))
    with processes.stopping_in_time():
        canary, rows, seen = ask_model(job, ledger)
    ledger.budget.close()
    server_log = job.folders(0).work / "server.log"
    logged = f" Server log: {server_log}." if section.serve.server.ours else ""
    if reasons := faults(canary, rows, section, request_log.never_taken(seen)):
        raise UserError(
            "trial: an evaluation of this model could not be valid, so nothing is trained: "
            f"{'; '.join(reasons)}.{logged}"
        )
    failed = validity.count_errors(rows)
    if failed.total() > MOST_FAILED * job.size:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(failed.items()))
        raise StageError(
            f"trial: {failed.total()} of {counted(job.size, 'item')} got no answer "
            f"({kinds}).{logged}"
        )
    with_calls = sum(row.calls > 0 for row in rows)
    log.info("trial: passed; %d of %d answers hold a call", with_calls, len(rows))
    write_record(
        out,
        Trial(
            weights=job.weights.digest or job.weights.path,
            settings=settings,
            items=len(rows),
            with_calls=with_calls,
            finished=now(),
            slurm_jobs=ledger.slurm_jobs,
            cost=of_jobs(ledger.slurm_jobs),
        ),
    )


def faults(
    canary: Canary,
    rows: Sequence[ItemOutcome],
    section: EvaluationSection,
    never_taken: Mapping[str, int] = MappingProxyType({}),
) -> list[str]:
    """Why no evaluation by this server could be valid, as far as a few items prove it.

    Args:
        never_taken: refused conversations; see `validity.judge_evaluation`.
    """
    key = section.serve.server.parser_key
    reasons = validity.canary_reasons(canary, rows, key, few=True)
    if canary.answered and section.canary != "stop":
        reasons = []
    # A single conversation may have been refused for what the model wrote.
    often = {kind: number for kind, number in never_taken.items() if number > 1}
    return reasons + validity.answer_reasons(rows, often)
