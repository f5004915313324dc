"""A trial before a long training: would an evaluation of this model count?

The smoke stage starts the server as the evaluation will, asks the canary and one item of each
category, and lets the harness score them. What would make the evaluation invalid for every item
(a template or a parser that does not fit, answers that are all empty, conversations that the server
does not take) shows with seventeen items as well as with 4441; shares of failed items do not, and
are left to the evaluation.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from toolgain.bfcl.outcomes import ItemOutcome
from toolgain.common import processes
from toolgain.common.errors import StageError, UserError
from toolgain.common.progress import results_folder
from toolgain.config.freeze import read_section
from toolgain.config.sections import EvaluationSection, Subset
from toolgain.evaluation import validity
from toolgain.evaluation.budget import Budget
from toolgain.evaluation.evaluate import ask_model
from toolgain.evaluation.job import Ledger, prepare_evaluation
from toolgain.records.summary import Canary

log = logging.getLogger(__name__)

MOST_FAILED = 0.5
"""Above this share of items without an answer, something is wrong with the server."""


def run_beside(out: Path, config: Path, weights: Path, bfcl_env: Path, trl_env: Path) -> None:
    """Ask the model of `weights` one item of each category, as the evaluation of `config` would.

    Answers are kept, so that a trial that passed costs little again, for another run of the same
    model either.

    Args:
        out: a file of the results folder.
        config: the frozen evaluation section.
        weights: model.json of the base model.
        bfcl_env: environment of the harness.
        trl_env: environment of `transformers serve`.

    Raises:
        UserError: an evaluation could not be valid; the message says why and which key to set.
        StageError: most items got no answer.
    """
    section = read_section(EvaluationSection, config)
    if not section.serve.server.ours:
        log.info("smoke: no trial evaluation: the endpoint is asked by the evaluation alone")
        return
    one_each = Subset(non_live=1, live=1, multi_turn=1)
    section = section.model_copy(update={"subset": one_each, "repeats": 1})
    folder = results_folder(out) / "work" / "smoke-evaluation"
    job = prepare_evaluation(folder, section, weights, None, None, bfcl_env, trl_env)
    log.info("smoke: a trial evaluation of %d items", job.size)
    ledger = Ledger(Budget(job.folders(0).spent, section.retry.max_hours))
    with processes.stopping_in_time():
        canary, rows, _ = ask_model(job, ledger)
    ledger.budget.close()
    if reasons := faults(canary, rows, section):
        raise UserError(
            "smoke: an evaluation of this model could not be valid, so it is not trained: "
            f"{'; '.join(reasons)}. Server log: {job.folders(0).work / 'server.log'}."
        )
    failed = validity.count_errors(rows)
    if failed.total() > MOST_FAILED * job.size:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(failed.items()))
        raise StageError(
            f"smoke: {failed.total()} of the trial evaluation's {job.size} items got no answer "
            f"({kinds}). Server log: {job.folders(0).work / 'server.log'}."
        )
    called = sum(row.calls > 0 for row in rows)
    log.info("smoke: the trial evaluation would count; %d of %d answers call", called, len(rows))


def faults(canary: Canary, rows: Sequence[ItemOutcome], section: EvaluationSection) -> list[str]:
    """Why no evaluation by this server could be valid, as far as a few items prove it."""
    key = section.serve.server.parser_key
    reasons = validity.canary_reasons(canary, rows, key, few=True)
    if canary.answered and section.canary != "stop":
        reasons = []
    return reasons + validity.answer_reasons(rows)
