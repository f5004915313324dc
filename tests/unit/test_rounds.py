"""What a round of an evaluation rests on: the server, the canaries, answers kept for a replay."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Handler, Request, no_fault
from harness_folders import answered, decoder, failed, item, write
from hypothesis import given
from hypothesis import strategies as st
from test_evaluation_request_log import request

from toolgain.bfcl.results import result_file
from toolgain.common.errors import StageError
from toolgain.common.files import write_jsonl
from toolgain.config.sections import Retry
from toolgain.evaluation.budget import Budget
from toolgain.evaluation.harness import HarnessFolders
from toolgain.evaluation.job import EvaluationJob, Ledger, evaluation_section, prepare_evaluation
from toolgain.evaluation.result_files import ResultState, unanswered
from toolgain.evaluation.rounds import (
    SCORINGS,
    STEPS,
    ModelServer,
    RetryRounds,
    ask_canary,
    ask_in_rounds,
    is_scored,
    may_continue,
    prepare_replay,
    score_or_fail,
)
from toolgain.records.summary import Canary
from toolgain.serving.server import Endpoint

ROOT = Path(__file__).parents[2]


def job_of(folder: Path, url: str, **section: Any) -> EvaluationJob:
    """The evaluation of an endpoint."""
    config = folder / "evaluation.json"
    config.write_text(json.dumps(section))
    read = evaluation_section(config, url, None, 1)
    envs = ROOT / ".venvs/bfcl", ROOT / ".venvs/trl"
    return prepare_evaluation(folder / "baseline", read, None, url, "policy", *envs)


def ledger_of(folder: Path) -> Ledger:
    return Ledger(Budget(folder / "spent.json", None))


# -- the server and the canaries


def test_the_canaries_are_asked_once_for_all_attempts(tmp_path: Path) -> None:
    with FaultServer() as server:
        job, ledger = job_of(tmp_path, server.url), ledger_of(tmp_path)
        with ModelServer(job, ledger) as model_server:
            first = ask_canary(job, ledger, model_server, decoder())
        asked = len(server.bodies)
        with ModelServer(job, ledger) as model_server:
            second = ask_canary(job, ledger, model_server, decoder())
        assert len(server.bodies) == asked
    assert (first.answered, first.parsed_call, first.text) == (True, True, True)
    assert second == first
    assert set(ledger.times) == {"server", "canary"}


def test_canaries_that_end_the_evaluation_are_asked_again_by_the_next(tmp_path: Path) -> None:
    def unknown_model(request: Request, handler: Handler) -> bool:
        handler.answer(404, {"error": "The model `policy` does not exist."})
        return True

    with FaultServer(unknown_model) as server:
        job, ledger = job_of(tmp_path, server.url), ledger_of(tmp_path)
        with ModelServer(job, ledger) as model_server:
            failed = ask_canary(job, ledger, model_server, decoder())
            assert not failed.answered
            assert "does not exist" in failed.failure
            server.fault = no_fault
            assert ask_canary(job, ledger, model_server, decoder()).answered


def test_calls_as_text_end_an_evaluation_unless_it_is_told_to_continue(tmp_path: Path) -> None:
    as_text = Canary(answered=True, call_as_text=True)
    assert not may_continue(job_of(tmp_path, "http://h/v1"), as_text)
    assert may_continue(job_of(tmp_path, "http://h/v1", canary="warn"), as_text)
    assert not may_continue(job_of(tmp_path, "http://h/v1"), Canary(answered=False))


def test_an_endpoint_that_is_not_ready_is_asked_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultServer(up=False) as server:
        job = job_of(tmp_path, server.url, serve={"ready_timeout_s": 1})
        with ModelServer(job, ledger_of(tmp_path)) as model_server:
            assert model_server.endpoint().base_url == server.url
    assert "the server is not ready" in caplog.text


def test_a_server_that_ends_while_it_is_waited_for_is_started_again(tmp_path: Path) -> None:
    with FaultServer() as fault:
        job = job_of(tmp_path, fault.url)
        # It serves, still runs when the next round begins, and then ends: its engine was dead.
        said = iter([None, None, *["the model server ended (exit 0)"] * 9])
        endpoints = iter(
            [
                Endpoint(fault.url, "policy", None, 5.0, alive=lambda: next(said)),
                Endpoint(fault.url, "policy", None, 5.0),
                Endpoint(fault.url, "policy", None, 5.0, alive=lambda: "ended at its start"),
            ]
        )

        class Restarted(ModelServer):
            def _start(self) -> Endpoint:
                return next(endpoints)

        with Restarted(job, ledger_of(tmp_path)) as model_server:
            first = model_server.endpoint()
            second = model_server.endpoint()
            assert second is not first
            assert model_server.endpoint() is second
        # One that ends at its start is not tried for ever.
        with (
            Restarted(job, ledger_of(tmp_path)) as model_server,
            pytest.raises(StageError, match="ended at its start"),
        ):
            model_server.endpoint()


# -- how long the harness is run again


def pauses(*after_each_run: tuple[int, int], rounds: int = 3) -> list[float | None]:
    """The pause before each run of the harness on 10 items; a run leaves (items, answers)."""
    retries = RetryRounds(Retry(rounds=rounds, backoff_s=20))
    return [retries.pause_s(*state) for state in ((10, 0), *after_each_run)]


def test_the_pause_doubles_with_each_round_that_answers_nothing_until_there_are_no_more() -> None:
    assert pauses((4, 6), (4, 6), (4, 6), (4, 6)) == [0, 20, 40, 80, None]


def test_a_round_that_answers_something_is_followed_by_another_at_once() -> None:
    assert pauses((4, 6), (4, 6), (3, 7), (3, 7)) == [0, 20, 40, 20, 20]


def test_one_step_of_a_conversation_counts_as_an_answer_though_its_item_has_none() -> None:
    assert pauses((4, 6), (4, 7), (4, 8), (4, 8), rounds=1) == [0, 20, 20, 20, 20]
    assert pauses((4, 6), (4, 7), (4, 7), (4, 7), rounds=1) == [0, 20, 20, 20, None]


def test_rounds_that_complete_no_item_are_bounded_though_the_server_answers_in_each() -> None:
    """As where a call of the model ends the harness in every round."""
    found = pauses(*((4, 6 + number) for number in range(100)), rounds=2)
    assert found.index(None) == 2 * STEPS + 1
    # An item that is answered begins the count again.
    states = [(4 - number // 15, 6 + number) for number in range(40)]
    assert None not in pauses(*states, rounds=2)


def test_without_retry_rounds_what_failed_stays_failed() -> None:
    assert pauses((4, 6), rounds=0) == [0, None]


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 3)), max_size=30), st.integers(0, 4))
def test_rounds_end_only_after_so_many_in_a_row_that_answered_nothing(
    runs: list[tuple[int, int]], rounds: int
) -> None:
    waiting, answers, states = 10, 0, []
    for least, more in runs:
        waiting, answers = min(waiting, least), answers + more
        states.append((waiting, answers))
    found = pauses(*states, rounds=rounds)
    if None in found:
        end = found.index(None)
        seen = [(10, 0), *states]
        idle = seen[max(1, end - rounds) : end + 1]
        incomplete = seen[max(1, end - STEPS * rounds) : end + 1]
        assert len(set(idle)) == 1 or (rounds and len({waiting for waiting, _ in incomplete}) == 1)
        assert end >= rounds + 1


# -- the loop of retry rounds; tests/evaluation runs it with the real harness


class Rounds:
    """The loop over four items, with a function in the harness's place that answers the first
    `answers[n]` of what run n is asked, and fails the others."""

    def __init__(self, folder: Path, *answers: int, **retry: Any) -> None:
        settings = {"rounds": 2, "backoff_s": 0, **retry}
        job = job_of(folder, "http://h/v1", alias="policy", retry=settings)
        self.job = replace(job, items={"simple": [item("simple", number) for number in range(4)]})
        hours = self.job.section.retry.max_hours
        self.ledger = Ledger(Budget(folder / "spent.json", hours))
        self.folders = self.job.folders(0)
        self.answers = list(answers)
        self.asked: list[int] = []
        self.failure = failed

    def ask(self) -> ResultState:
        return ask_in_rounds(self.job, self.ledger, self.folders, self.answer, self.score)

    def answer(self, state: ResultState) -> str | None:
        """What the harness does when it asks: a row for each item that has none."""
        chosen, rows = self.job.items["simple"], {row["id"]: row for row in state.rows["simple"]}
        lacking = [one for one in chosen if one.id not in rows]
        self.asked.append(len(lacking))
        count = self.answers.pop(0) if self.answers else 0
        for number, one in enumerate(lacking):
            rows[one.id] = answered(one, [{"f": "{}"}]) if number < count else self.failure(one)
        write(self.folders.output, "simple", [rows[one.id] for one in chosen])
        return None

    def score(self, state: ResultState) -> str | None:
        """What it does when it scores: a score file."""
        write(self.folders.output, "simple", state.rows["simple"], [])
        (self.folders.output / "results.yml").touch()
        return None

    @property
    def retried(self) -> int:
        path = self.folders.work / "retried.json"
        return len(json.loads(path.read_text())) if path.exists() else 0


def test_when_all_is_answered_the_harness_ran_once_and_the_next_attempt_asks_nothing(
    tmp_path: Path,
) -> None:
    rounds = Rounds(tmp_path, 4)
    assert rounds.ask().done == 4
    assert (rounds.asked, rounds.ledger.rounds, rounds.retried) == ([4], 0, 0)
    rounds.ask()
    assert rounds.asked == [4]


def test_only_what_failed_is_asked_again_and_is_noted_as_retried(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path, 1, 2, 1)
    assert unanswered(rounds.ask()) == 0
    assert (rounds.asked, rounds.ledger.rounds, rounds.retried) == ([4, 3, 1], 2, 3)


def test_what_no_round_answers_stays_a_scored_failure(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path, 1)
    state = rounds.ask()
    assert (unanswered(state), state.done) == (3, 4)
    assert is_scored(rounds.folders, state)
    assert rounds.asked == [4, 3, 3]


def test_a_failure_that_would_come_again_is_not_asked_again(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path, 1)
    rounds.failure = lambda one: failed(
        one, "400 Client Error: context_overflow for url: http://h/"
    )
    rounds.ask()
    assert rounds.asked == [4]


def test_when_the_hours_are_spent_nothing_is_retried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = Rounds(tmp_path, 1, 3, max_hours=1e-9)
    assert unanswered(rounds.ask()) == 3
    assert rounds.asked == [4]
    assert "3 items are not answered after 1e-09 hours" in caplog.text


def test_items_that_the_harness_never_reached_are_failures_of_the_reason_that_it_gave(
    tmp_path: Path,
) -> None:
    rounds = Rounds(tmp_path, rounds=0)

    def killed(state: ResultState) -> str | None:
        return "it was killed"

    state = ask_in_rounds(rounds.job, rounds.ledger, rounds.folders, killed, rounds.score)
    assert state.done == 4 and not state.missing
    assert all("it was killed" in row["result"] for row in state.rows["simple"])


# -- answers that no row holds yet


def test_answers_without_a_row_are_replayed_and_cut_lines_dropped(tmp_path: Path) -> None:
    folders = HarnessFolders(tmp_path)
    a, b = item("simple", 0), item("simple", 1)
    write_jsonl(folders.requests, [request(a, "x", "1"), request(b, "y", "2")])
    received = [{"number": number, "request": f"r{number}", "body": {}} for number in "12"]
    folders.answers.write_text("".join(f"{json.dumps(row)}\n" for row in received) + '{"numb')
    state = ResultState(rows={"simple": [answered(a, "x")]}, missing=[b])
    prepare_replay(folders, {"simple": [a, b]}, state)
    assert [json.loads(line) for line in folders.replay.read_text().splitlines()] == received[1:]
    assert [json.loads(line) for line in folders.answers.read_text().splitlines()] == received


def test_without_answers_an_earlier_replay_is_gone(tmp_path: Path) -> None:
    folders = HarnessFolders(tmp_path)
    folders.replay.write_text("{}\n")
    prepare_replay(folders, {"simple": []}, ResultState())
    assert not folders.replay.exists()


# -- scores


def test_a_scoring_that_was_killed_is_tried_again(tmp_path: Path) -> None:
    said = iter(["the harness ended with exit 247: killed", None])
    score_or_fail(lambda: next(said), tmp_path / "harness.log")
    assert not list(said)


def test_a_scoring_that_never_ends_well_fails_the_stage(tmp_path: Path) -> None:
    tries: list[str] = []

    def score() -> str:
        tries.append("tried")
        return "the harness ended without results: no space left"

    with pytest.raises(StageError, match=r"without results: no space left; see .*harness\.log"):
        score_or_fail(score, tmp_path / "harness.log")
    assert len(tries) == SCORINGS


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda result, score, summary: None, True),
        (lambda result, score, summary: os.utime(result, (300, 300)), False),
        (lambda result, score, summary: score.unlink(), False),
        (lambda result, score, summary: summary.unlink(), False),
    ],
    ids=["as scored", "a row came after", "a category is not scored", "the harness did not end"],
)
def test_scores_count_when_they_are_of_the_present_rows(
    tmp_path: Path, change: Callable[[Path, Path, Path], object], expected: bool
) -> None:
    folders = HarnessFolders(tmp_path)
    result = result_file(folders.output / "result" / "policy", "simple")
    score = folders.output / "score" / "policy" / "BFCL_v3_simple_score.json"
    summary = folders.output / "results.yml"
    for moment, path in ((100, result), (200, score), (200, summary)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
        os.utime(path, (moment, moment))
    change(result, score, summary)
    state = ResultState(rows={"simple": [answered(item("simple", 0), "x")], "java": []})
    assert is_scored(folders, state) == expected
