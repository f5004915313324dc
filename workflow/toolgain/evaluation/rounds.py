"""Ask all items, in retry rounds of the harness, with a server that is started again if it ends."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from toolgain.bfcl import data, outcomes, results
from toolgain.bfcl.data import Items
from toolgain.bfcl.decoder import Decoder
from toolgain.bfcl.toolcalls import own_tags
from toolgain.common import files, processes
from toolgain.common.errors import StageError, ToolgainError
from toolgain.config.sections import Retry
from toolgain.evaluation import harness, request_log, rescoring, result_files
from toolgain.evaluation.canary import ask_canaries
from toolgain.evaluation.harness import HarnessFolders, HarnessSettings
from toolgain.evaluation.job import EvaluationJob, Ledger
from toolgain.evaluation.progress import ItemProgress
from toolgain.records.record import read_record, write_record
from toolgain.records.summary import Canary
from toolgain.serving import server
from toolgain.serving.server import Endpoint

log = logging.getLogger(__name__)

STALL_MARGIN_S = 120.0
"""Scoring shows no progress for a while; only a longer silence is a stall."""
SCORINGS = 3
"""How often scoring is tried."""
STEPS = 10
"""So many times `evaluation.retry.rounds` may rounds in a row answer steps of conversations and
complete no item."""


class RetryRounds:
    """Whether the harness is run once more, and after how long.

    The first run asks everything. Retry rounds continue while they answer something, be it one step
    of a conversation; `evaluation.retry.rounds` bounds those in a row that answer nothing. Steps
    alone count for `STEPS` times as many rounds: a call of the model's may end the harness in every
    round, and is sent again in the next one.
    """

    def __init__(self, limits: Retry) -> None:
        self._limits = limits
        self.begun = 0
        """Runs of the harness, the first included."""
        self.idle = 0
        """The retry rounds in a row that answered nothing, and the one that is next."""
        self.incomplete = 0
        """The retry rounds in a row that completed no item, and the one that is next."""
        self._waiting = self._answers = 0

    def pause_s(self, waiting: int, answers: int) -> float | None:
        """Seconds to wait before the next run; None: there is none any more.

        Args:
            waiting: Items that have no answer.
            answers: Answers that the server gave so far, whatever became of their items.
        """
        completed = waiting < self._waiting
        answered = completed or answers > self._answers
        self._waiting, self._answers = waiting, answers
        if self.begun:
            self.idle = 0 if answered and self.begun > 1 else self.idle + 1
            self.incomplete = 0 if completed and self.begun > 1 else self.incomplete + 1
        if self.idle > self._limits.rounds or self.incomplete > STEPS * self._limits.rounds:
            return None
        self.begun += 1
        if self.begun == 1:
            return 0.0
        return self._limits.backoff_s * 2.0 ** max(0, self.idle - 1)


class ModelServer:
    """The model server while it is needed: started at the first call, again after its end."""

    def __init__(self, job: EvaluationJob, ledger: Ledger) -> None:
        self.job, self.ledger = job, ledger
        self._stack = ExitStack()
        self._endpoint: Endpoint | None = None

    @property
    def log_file(self) -> Path:
        """The log of a server that is started here."""
        return self.job.folders(0).work / "server.log"

    def __enter__(self) -> "ModelServer":
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
        if self._endpoint is not None and (ended := self._endpoint.alive()):
            self._let_go(ended)
        last: str | None = None
        with self.ledger.timing("server"):
            if self._endpoint is not None and wait:
                # One whose engine has died answers errors for a while before it ends.
                try:
                    last = server.wait_ready(self._endpoint)
                except ToolgainError:
                    self._let_go(self._endpoint.alive())
            if self._endpoint is None:
                self._endpoint = self._start()
                last = server.wait_ready(self._endpoint) if wait else None
        if last is None:
            if wait:
                # Kept, because a resumed evaluation may need no server any more.
                facts = server.server_facts(self._endpoint)
                if routes := server.open_routes(self._endpoint):
                    log.warning(
                        "evaluate: the model server answers other users of this machine without "
                        "its key at %s",
                        ", ".join(routes),
                    )
                if ports := server.open_ports(self._endpoint):
                    log.warning(
                        "evaluate: processes of the model server also listen at %s, which others "
                        "reach; the model does not answer there (docs/reliability.md)",
                        ", ".join(ports),
                    )
                files.write_json(self.job.folders(0).server_facts, facts)
        elif not self.job.section.serve.server.ours:
            log.warning("evaluate: the server is not ready: %s", last)
        else:
            raise StageError(
                f"evaluate: the model server was not ready after "
                f"{self._endpoint.ready_timeout_s:g} s ({last}); see {self.log_file}."
            )
        return self._endpoint

    def _let_go(self, ended: str | None) -> None:
        """Forget a server that has ended."""
        log.warning("evaluate: %s", ended)
        self._stack.close()
        self._endpoint = None

    def _start(self) -> Endpoint:
        job, serve = self.job, self.job.section.serve
        if not serve.server.ours:
            wait_s = serve.ready_timeout_s if "ready_timeout_s" in serve.model_fields_set else None
            return server.existing(serve, job.subject, job.weights.served_name, wait_s)
        folder = job.folders(0).work / "server"
        return self._stack.enter_context(
            server.serving(
                serve,
                job.weights.folder,
                job.section.alias,
                folder,
                job.trl_env,
                self.log_file,
                job.weights.trust_remote_code,
            )
        )


def ask_canary(
    job: EvaluationJob, ledger: Ledger, model_server: ModelServer, decoder: Decoder
) -> Canary:
    """Ask the canaries; the answer is kept until the evaluation is done."""
    kept = job.folders(0).work / "canary.json"
    if kept.exists():
        return read_record(Canary, kept, "canary")
    endpoint = model_server.endpoint()
    section = job.section
    with ledger.timing("canary"):
        canary = ask_canaries(
            endpoint,
            job.sampling,
            section.retry.request_timeout_s,
            decoder,
            own_tags(job.chat_template, section.serve.tool_parser),
            section.max_response_bytes,
        )
    if may_continue(job, canary):
        write_record(kept, canary)
    return canary


def may_continue(job: EvaluationJob, canary: Canary) -> bool:
    """Whether the items are asked after these canaries."""
    return canary.answered and not (canary.call_as_text and job.section.canary == "stop")


def ask_items(
    job: EvaluationJob, ledger: Ledger, model_server: ModelServer, decoder: Decoder, repeat: int
) -> tuple[list[outcomes.ItemOutcome], request_log.MatchedRequests]:
    """Ask all items once, in retry rounds until each has an answer or the rounds are used up."""
    folders = job.folders(repeat)
    # A harness that outlived its evaluation would go on to write its box and ask the server.
    claims = (folders.claim, folders.gateway / "processes.json")
    if ended := sum(map(processes.end_leftovers, claims)):
        log.warning("evaluate: ended %d processes of an attempt that was killed", ended)
    harness.collect(job.section.alias, folders, _categories(job))
    if not (folders.data / ".complete").exists():
        data.write_data_folder(data.without_paths(job.items), job.source, folders.data)
        (folders.data / ".complete").touch()
    limits = job.section.retry
    settings = HarnessSettings(
        bfcl_env=job.bfcl_env,
        container=job.section.harness_container,
        layers=job.layers,
        alias=job.section.alias,
        parallelism=job.section.requests_at_once,
        sampling=job.sampling,
        timeout_s=limits.request_timeout_s,
        attempts=limits.request_attempts,
        max_bytes=job.section.max_response_bytes,
        give_up_at=ledger.budget.give_up_at,
        stall_s=limits.request_timeout_s * limits.request_attempts + STALL_MARGIN_S,
    )

    def ask(state: result_files.ResultState) -> str | None:
        endpoint = model_server.endpoint()
        return _run_harness(job, ledger, settings, folders, endpoint, state, repeat)

    def score(state: result_files.ResultState) -> str | None:
        return _run_harness(job, ledger, settings, folders, None, state, repeat)

    state = ask_in_rounds(job, ledger, folders, ask, score)
    retried = _retried(folders)
    evidence = request_log.match_requests(
        request_log.read_lines(folders.requests), state.rows, job.items, retried
    )
    if not any(map(results.is_error, (row for rows in state.rows.values() for row in rows))):
        for spent in (folders.answers, folders.replay):
            spent.unlink(missing_ok=True)
    return _checked(job, settings, folders, state, decoder, evidence, repeat)


def ask_in_rounds(
    job: EvaluationJob,
    ledger: Ledger,
    folders: HarnessFolders,
    ask: Callable[[result_files.ResultState], str | None],
    score: Callable[[result_files.ResultState], str | None],
) -> result_files.ResultState:
    """Run the harness until every item has an answer, or there is no round left; then score.

    Args:
        ask: runs the harness once for what a state lacks; returns what went wrong, or None.
        score: has it score all rows, likewise.

    Returns:
        The result files: a row for every item, of which some may be failures.

    Raises:
        StageError: items without an answer could not be scored as failures either.
    """
    result = folders.output / "result" / job.section.alias
    limits = job.section.retry
    retried = _retried(folders)
    problem: str | None = None
    rounds = RetryRounds(limits)
    while True:
        state = result_files.heal(result, job.items, take_out_failed=False)
        waiting = result_files.unanswered(state)
        if not waiting:
            break
        if rounds.begun and ledger.budget.is_spent:
            log.warning(
                "evaluate: %d items are not answered after %g hours, the "
                "evaluation.retry.max_hours; nothing more is retried",
                waiting,
                limits.max_hours,
            )
            break
        pause = rounds.pause_s(waiting, _answers(folders))
        if pause is None:
            if rounds.idle <= limits.rounds:
                log.warning(
                    "evaluate: %d items are not answered; the last %d retry rounds completed none "
                    "of them (%d times evaluation.retry.rounds), so there is no further one",
                    waiting,
                    rounds.incomplete - 1,
                    STEPS,
                )
            break
        if rounds.begun > 1:
            ledger.rounds += 1
            log.info(
                "evaluate: %d items failed; retry round %d in %g s (the last %d answered nothing; "
                "evaluation.retry.rounds is %d)",
                waiting,
                rounds.begun - 1,
                pause,
                max(0, rounds.idle - 1),
                limits.rounds,
            )
            time.sleep(pause)
            ledger.budget.keep()
        state = result_files.heal(result, job.items, take_out_failed=True)
        if state.failed:
            retried |= result_files.item_keys(state.failed)
            files.write_json(folders.work / "retried.json", sorted(map(list, retried)))
        prepare_replay(folders, job.items, state)
        problem = ask(state)
        if problem:
            log.warning("evaluate: %s", problem)
    state = result_files.heal(result, job.items, take_out_failed=False)
    if state.missing or not is_scored(folders, state):
        # Items without a row are failures; the harness must see a row for each to pair the others.
        result_files.fill_gaps(result, state, problem or "not asked")
        score_or_fail(lambda: score(state), folders.log)
        state = result_files.heal(result, job.items, take_out_failed=False)
    return state


def score_or_fail(score: Callable[[], str | None], log_file: Path) -> None:
    """Score, again where that ended early, as it does when memory runs out: it asks nothing.

    Args:
        score: returns what went wrong, or None.
        log_file: what the harness's program wrote.

    Raises:
        StageError: `SCORINGS` times in a row something went wrong.
    """
    for _ in range(SCORINGS):
        if not (problem := score()):
            return
        log.warning("evaluate: %s", problem)
    raise StageError(f"evaluate: {problem}; see {log_file}.")


def _checked(
    job: EvaluationJob,
    settings: HarnessSettings,
    folders: HarnessFolders,
    state: result_files.ResultState,
    decoder: Decoder,
    evidence: request_log.MatchedRequests,
    repeat: int,
) -> tuple[list[outcomes.ItemOutcome], request_log.MatchedRequests]:
    """The outcomes, with the scores of a second scoring, and without rows that no request stands
    behind.

    The harness scores where it has evaluated the model's calls; see `rescoring`.
    """
    found = results.outcomes(folders.output, job.items, decoder.decode, repeat, evidence.seen)
    uneven = results.score_differences(folders.output, job.items)
    rescoring.write_harmless(state.rows, job.items, folders.again / "result" / job.section.alias)
    score_or_fail(
        lambda: harness.score_again(settings, folders, _categories(job)),
        folders.work / "rescoring.log",
    )
    again = results.outcomes(folders.again, job.items, decoder.decode, repeat, evidence.seen)
    evidence = replace(evidence, uneven=uneven, rescored=rescoring.scored_otherwise(found, again))
    truth = {row.key: row for row in again}
    found = [
        row._replace(
            valid=truth[row.key].valid,
            strict_valid=truth[row.key].strict_valid,
            error_type=truth[row.key].error_type,
            error_message=truth[row.key].error_message,
        )
        for row in found
    ]
    return [
        row._replace(valid=False, strict_valid=False, error_type="no_request")
        if row.key in evidence.unasked
        else row
        for row in found
    ], evidence


def _run_harness(
    job: EvaluationJob,
    ledger: Ledger,
    settings: HarnessSettings,
    folders: HarnessFolders,
    endpoint: Endpoint | None,
    state: result_files.ResultState,
    repeat: int,
) -> str | None:
    """Ask at the endpoint, or score where there is none."""
    total = job.size
    before = repeat * (total // job.section.repeats)
    with ItemProgress(
        job.out, job.subject, job.section.alias, total, folders, before, state.done
    ) as progress:

        def watch() -> int:
            ledger.budget.keep()
            return progress.update()

        try:
            if endpoint is None:
                return harness.score_with_harness(settings, folders, _categories(job), watch)
            return harness.ask_with_harness(settings, folders, endpoint, _categories(job), watch)
        finally:
            ledger.budget.keep(at_once=True)


def _categories(job: EvaluationJob) -> list[str]:
    return [category for category, chosen in job.items.items() if chosen]


def is_scored(folders: HarnessFolders, state: result_files.ResultState) -> bool:
    """Whether the scores were made from the result files as they are now."""
    scores = folders.output / "score"
    newest = max(
        (path.stat().st_mtime for path in folders.output.glob("result/*/*.json")), default=0.0
    )
    if not (folders.output / "results.yml").exists():
        return False
    made = [path.stat().st_mtime for path in scores.glob("*/*_score.json")]
    return len(made) == len([rows for rows in state.rows.values() if rows]) and min(made) >= newest


def _answers(folders: HarnessFolders) -> int:
    """How many answers of the server are kept."""
    return len(request_log.read_lines(folders.answers))


def _retried(folders: HarnessFolders) -> set[data.Key]:
    path = folders.work / "retried.json"
    if not path.exists():
        return set()
    return {(c, item_id, n) for c, item_id, n in files.read_json(path, "retried items")}


def prepare_replay(folders: HarnessFolders, items: Items, state: result_files.ResultState) -> None:
    """Keep the answers that were received but are in no row, for the interceptor to replay."""
    received = request_log.read_lines(folders.answers)
    folders.replay.unlink(missing_ok=True)
    if not received:
        return
    # A kill may have cut the last line, and the next would be glued to it.
    files.write_jsonl(folders.answers, received)
    requests = request_log.read_lines(folders.requests)
    files.write_jsonl(folders.requests, requests)
    used = request_log.match_requests(requests, state.rows, items, set()).used
    files.write_jsonl(
        folders.replay, (answer for answer in received if answer["number"] not in used)
    )
