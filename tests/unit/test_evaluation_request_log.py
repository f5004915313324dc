"""Recorded requests, matched with the rows that the harness wrote."""

from pathlib import Path
from typing import Any

from harness_folders import answered, failed, item

from toolgain.bfcl.toolcalls import questions
from toolgain.common.files import digest
from toolgain.evaluation.request_log import (
    MatchedRequests,
    contradictions,
    match_requests,
    never_taken,
    read_lines,
)


def request(
    asked: Any,
    answer: Any,
    number: str,
    tokens: int = 7,
    attempts: int = 1,
    at: tuple[int, int] = (0, 0),
    **other: Any,
) -> dict[str, Any]:
    """A line of the interceptor's record; `at`: the turn, and the answers before."""
    turn, step = at
    return {
        "number": number,
        "questions": digest([step, *questions(asked.messages_until(turn))[1:]]),
        "tools": digest(["f"]),
        "request": f"r{number}",
        "kind": "ok",
        "attempts": [{"kind": "timeout"}] * (attempts - 1) + [{"kind": "ok"}],
        "sampling": {"temperature": 0.0},
        "answer": digest(answer),
        "finish_reason": "stop",
        "prompt_tokens": 11,
        "completion_tokens": tokens,
        **other,
    }


def see(requests: list[dict[str, Any]], rows: list[Any], items: list[Any]) -> MatchedRequests:
    return match_requests(requests, {items[0].category: rows}, {items[0].category: items}, set())


def test_request_tells_why_the_answer_ended() -> None:
    a, b = item("simple", 0), item("simple", 1)
    found = see(
        [request(b, "x", "2", finish_reason="length"), request(a, "x", "1")],
        [answered(a, "x"), answered(b, "x")],
        [a, b],
    )
    assert not found.seen[a.key].truncated
    assert found.seen[b.key].truncated and found.seen[b.key].finish_reason == "length"
    assert found.used == {"1", "2"}
    assert found.sampling == [{"temperature": 0.0}]


def test_answer_that_is_in_no_row_is_left_for_a_replay() -> None:
    a, b = item("simple", 0), item("simple", 1)
    found = see([request(a, "x", "1"), request(b, "y", "2")], [answered(a, "x"), failed(b)], [a, b])
    assert found.used == {"1"}
    assert b.key not in found.seen


def test_each_answer_stands_for_one_row() -> None:
    """Two items that open alike: two answers, whichever is whose."""
    a, b = item("simple", 0), item("simple", 1, question=item("simple", 0).question)
    requests = [request(a, "x", "1"), request(a, "x", "2"), request(a, "x", "3")]
    found = see(requests, [answered(a, "x"), answered(b, "x")], [a, b])
    assert len(found.used) == 2


def test_an_answer_that_was_replayed_counts_once() -> None:
    a = item("simple", 0)
    said = {"calls": 2, "code": 1, "foreign": 1, "model": "policy"}
    asked = request(a, "x", "1", **said, cached=True)
    found = see([asked, request(a, "x", "1", **said)], [answered(a, "x")], [a])
    assert (found.calls, found.code, found.foreign, found.cached) == (2, 1, 1, 1)
    assert found.models == {"policy": 1}


def test_request_that_was_asked_again_marks_its_item() -> None:
    a = item("simple", 0)
    found = see([request(a, "x", "1", attempts=3)], [answered(a, "x")], [a])
    assert found.seen[a.key].retried
    assert (found.requests, found.retried, found.failures) == (1, 1, {"timeout": 2})


def test_conversations_that_a_server_never_takes_are_told_by_what_they_hold() -> None:
    a, b = item("simple", 0), item("simple", 1)
    requests = [
        request(a, "x", "1", history="text"),
        request(b, "x", "2", history="text", kind="history_refused"),
        request(b, "x", "3", history="call without text", kind="history_refused"),
    ]
    found = see(requests, [answered(a, "x"), failed(b)], [a, b])
    assert never_taken([found]) == {"call without text": 1}


def test_answers_out_of_a_gateways_cache_are_no_answers_of_these_weights() -> None:
    a = item("simple", 0)
    found = see([request(a, "x", "1", cached=True)], [answered(a, "x")], [a])
    (said,) = contradictions([found])
    assert "cache" in said and said.startswith("1 answers")


def test_prompts_that_the_server_cuts_are_found_by_their_count() -> None:
    """Twelve prompts of 40,000 to 51,000 characters, and each counts 4096 tokens."""
    items = [item("simple", number) for number in range(13)]
    rows = [answered(one, "x") for one in items]

    def said(tokens: list[int], sizes: list[int]) -> list[str]:
        requests = [
            request(one, "x", str(n), prompt_tokens=tokens[n], size=sizes[n])
            for n, one in enumerate(items)
        ]
        return contradictions([see(requests, rows, items)])

    sizes = [900, *range(40_000, 52_000, 1000)]
    (cut,) = said([300] + [4096] * 12, sizes)
    assert cut.startswith("12 prompts of different length count 4096 tokens each")
    assert not said([300, *range(4085, 4097)], sizes), "no two alike"
    assert not said([4096] * 13, sizes), "a server that counts nothing"
    assert not said([300] + [4096] * 12, [900] + [40_000] * 12), "prompts of one length"
    assert not said([3] + [11] * 12, sizes), "no limit that a server has"


def test_steps_of_a_conversation_are_matched_one_by_one() -> None:
    a = item("multi_turn_base", 0)
    call = [{"f": "{}"}]
    row = {
        "id": a.id,
        "result": [[call, "done"], ["no"]],
        "input_token_count": [[11, 11], [11]],
        "output_token_count": [[7, 7], [9]],
        "latency": [[1, 1], [1]],
    }
    requests = [
        request(a, call, "1"),
        request(a, "done", "2", finish_reason="length", at=(0, 1)),
        request(a, "no", "3", tokens=9, at=(1, 2)),
    ]
    found = see(requests, [row], [a])
    assert found.used == {"1", "2", "3"}
    assert found.seen[a.key].truncated and found.seen[a.key].finish_reason == "stop"


def test_line_that_a_kill_cut_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text('{"number": "1"}\n{"number": "2"}\n{"numb')
    assert [row["number"] for row in read_lines(file)] == ["1", "2"]
    assert read_lines(tmp_path / "absent") == []


def test_function_that_is_held_back_tells_requests_apart() -> None:
    """Two items open with the same words, one of them without the function `g`."""
    both = [{"name": "f"}, {"name": "my.g"}]
    a = item("multi_turn_base", 0, function=both)
    b = item("multi_turn_base", 1, question=a.question, function=both)
    b.entry["missed_function"] = {"1": ["my.g"]}  # type: ignore[index]
    rows = [
        {
            "id": one.id,
            "result": [["x"]],
            "input_token_count": [[11]],
            "output_token_count": [[7]],
            "latency": [[1]],
        }
        for one in (a, b)
    ]
    all_tools, fewer = digest(["f", "my_g"]), digest(["f"])
    requests = [
        request(b, "x", "held back", tools=fewer),
        request(a, "x", "whole", tools=all_tools),
    ]
    assert see(requests, rows[:1], [a]).used == {"whole"}
    assert see(requests, rows[1:], [b]).used == {"held back"}


def test_answer_to_a_question_with_help_in_it_is_no_answer_to_the_item() -> None:
    """What evaluates the model's calls can also ask, with the expected answer at hand."""
    a, b = item("simple", 0), item("multi_turn_base", 0)
    rows = {
        "id": b.id,
        "result": [["x"]],
        "input_token_count": [[11]],
        "output_token_count": [[7]],
        "latency": [[1]],
    }
    for asked, row in ((a, answered(a, "x")), (b, rows)):
        messages = [*asked.question[0], {"role": "user", "content": "the answer is x"}]
        helped = request(asked, "x", "1", questions=digest(questions(messages)))
        later = request(asked, "x", "2", at=(0, 1))
        honest = request(asked, "x", "3")
        assert see([helped, later], [row], [asked]).unasked == {asked.key}
        assert see([helped, later, honest], [row], [asked]).used == {"3"}


def test_answers_of_several_models_are_no_evaluation_of_one() -> None:
    a, b = item("simple", 0), item("simple", 1)
    rows = [answered(a, "x"), answered(b, "y")]
    for other, fine in (("policy", True), ("", True), ("fallback", False)):
        found = see(
            [request(a, "x", "1", model="policy"), request(b, "y", "2", model=other)], rows, [a, b]
        )
        assert (contradictions([found]) == []) == fine
    assert found.models == {"fallback": 1, "policy": 1}


def test_calls_are_counted_by_whether_their_function_was_offered() -> None:
    a = item("simple", 0)
    found = see([request(a, "x", "1", calls=3, foreign=2)], [answered(a, "x")], [a])
    assert (found.calls, found.foreign) == (3, 2)


def test_the_log_says_what_was_decoded_from_each_answer() -> None:
    a = item("simple", 0)
    known = see([request(a, "x", "1", decoded="text")], [answered(a, "x")], [a])
    assert known.seen[a.key].kinds == ("text",)
    filtered = see([request(a, "x", "1", finish_reason="content_filter")], [answered(a, "x")], [a])
    assert filtered.seen[a.key].kinds == () and filtered.seen[a.key].truncated
