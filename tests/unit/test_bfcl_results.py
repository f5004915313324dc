"""Outcomes of items from a harness folder, and the folders that are refused."""

from pathlib import Path

import pytest
from harness_folders import answered, failed, item, outcomes, write, wrong

from toolgain.bfcl import results
from toolgain.bfcl.results import ServerSide, check_ids, error_kind
from toolgain.common.errors import UserError

CALL = [{"f": '{"x": 1}'}]


def test_right_and_wrong_answers(tmp_path: Path) -> None:
    a, b = item("simple", 0), item("simple", 1)
    write(tmp_path, "simple", [answered(a, CALL), answered(b, CALL * 2)], [wrong(b)])
    right, bad = outcomes(tmp_path, {"simple": [a, b]})
    assert right.valid and right.strict_valid and right.error_type == ""
    assert (right.calls, right.requests, right.prompt_tokens) == (1, 1, 11)
    assert right.expected == '[{"f":{"x":[0]}}]'
    assert not bad.valid
    assert bad.error_type == "simple_function_checker:wrong_count"
    assert bad.error_message == "Wrong number of functions."


def test_failed_request_is_never_a_right_answer(tmp_path: Path) -> None:
    """The harness takes the error text for an abstention and does not list it as wrong."""
    a = item("irrelevance", 0)
    write(tmp_path, "irrelevance", [failed(a)], [])
    (outcome,) = outcomes(tmp_path, {"irrelevance": [a]})
    assert not outcome.valid
    assert outcome.flags == ("inference_error",)
    assert outcome.error_type == "inference_error"


def test_model_that_writes_the_error_text_has_answered(tmp_path: Path) -> None:
    a = item("irrelevance", 0)
    write(tmp_path, "irrelevance", [answered(a, "Error during inference: a poem")], [])
    (outcome,) = outcomes(tmp_path, {"irrelevance": [a]})
    assert outcome.valid and outcome.flags == ()


@pytest.mark.parametrize(
    ("answer", "flags"),
    [
        ("", ("empty",)),
        ("<think>Shall I call f", ("empty",)),
        ("<|im_end|>\n</s>", ("empty",)),
        ('<|channel|>commentary to=functions.f<|message|>{"x": 1}', ("unparsed_call",)),
        ("<think>Shall I?</think>\n", ("empty",)),
        ("<tool_call>{}</tool_call>", ("unparsed_call",)),
        ('I call {"name": "f", "arguments": {"x": 1}}', ("unparsed_call",)),
        ("I cannot do that.", ()),
    ],
)
def test_abstention_must_be_one(tmp_path: Path, answer: str, flags: tuple[str, ...]) -> None:
    a = item("irrelevance", 0)
    write(tmp_path, "irrelevance", [answered(a, answer)], [])
    (outcome,) = outcomes(tmp_path, {"irrelevance": [a]})
    assert outcome.valid, "the harness credits it"
    assert outcome.strict_valid == (flags == ())
    assert outcome.flags == flags


def test_answer_cut_at_the_token_limit_is_no_abstention(tmp_path: Path) -> None:
    a = item("irrelevance", 0)
    write(tmp_path, "irrelevance", [answered(a, "Let me think about")], [])
    requests = {a.key: ServerSide("length", truncated=True)}
    (outcome,) = outcomes(tmp_path, {"irrelevance": [a]}, requests=requests)
    assert outcome.flags == ("truncated",)
    assert outcome.valid and not outcome.strict_valid
    assert outcome.finish_reason == "length"


def test_right_call_needs_no_strictness(tmp_path: Path) -> None:
    a = item("simple", 0)
    write(tmp_path, "simple", [answered(a, CALL)], [])
    (outcome,) = outcomes(tmp_path, {"simple": [a]}, requests={a.key: ServerSide("length", True)})
    assert outcome.valid and outcome.strict_valid


def scenario(number: int = 0, turns: int = 2) -> results.Item:
    question = [[{"role": "user", "content": f"turn {t}"}] for t in range(turns)]
    return item("multi_turn_base", number, question=question)


def conversation(a: results.Item, turns: list[list[object]]) -> dict[str, object]:
    counts = [[5 for _ in turn] for turn in turns]
    return {
        "id": a.id,
        "result": turns,
        "input_token_count": counts,
        "output_token_count": counts,
        "latency": counts,
        "inference_log": [],
    }


def test_multi_turn_item_sums_its_steps(tmp_path: Path) -> None:
    a = scenario()
    write(tmp_path, a.category, [conversation(a, [[CALL, CALL, "done"], ["no"]])], [])
    (outcome,) = outcomes(tmp_path, {a.category: [a]})
    assert outcome.valid
    assert (outcome.calls, outcome.requests, outcome.prompt_tokens) == (2, 4, 20)


def test_failed_multi_turn_item_counts_once_though_it_is_listed_twice(tmp_path: Path) -> None:
    a = scenario()
    first = {"id": a.id, "error": {"error_type": "multi_turn:inference_error"}}
    second = {"id": a.id, "error": {"error_type": "multi_turn:force_terminated"}}
    write(tmp_path, a.category, [failed(a)], [first, second])
    (outcome,) = outcomes(tmp_path, {a.category: [a]})
    assert not outcome.valid
    assert outcome.flags == ("inference_error",)
    assert outcome.requests == 0


@pytest.mark.parametrize(
    ("last_turn", "stopped"), [([CALL] * 21, True), ([*[CALL] * 20, "done"], False)]
)
def test_turn_that_the_harness_stopped(
    tmp_path: Path, last_turn: list[object], stopped: bool
) -> None:
    a = scenario(turns=1)
    write(tmp_path, a.category, [conversation(a, [last_turn])], [])
    (outcome,) = outcomes(tmp_path, {a.category: [a]})
    assert ("forced_stop" in outcome.flags) == stopped


def test_two_items_with_one_id_keep_their_own_answers(tmp_path: Path) -> None:
    one = item("live_relevance", 3, id="live_relevance_3-3-0")
    other = item(
        "live_relevance",
        4,
        occurrence=1,
        id="live_relevance_3-3-0",
        question=[[{"role": "user", "content": "another question"}]],
    )
    rows = [answered(one, CALL), answered(other, "no call")]
    write(tmp_path, "live_relevance", rows, [wrong(other, "relevance_error:decoder_failed")])
    first, second = outcomes(tmp_path, {"live_relevance": [one, other]})
    assert (first.occurrence, first.valid) == (0, True)
    assert (second.occurrence, second.valid) == (1, False)


def test_missing_row_is_refused(tmp_path: Path) -> None:
    """The harness would pair all later answers with the wrong questions."""
    a, b, c = (item("parallel", n) for n in range(3))
    write(tmp_path, "parallel", [answered(a, CALL), answered(c, CALL)], [])
    with pytest.raises(UserError, match=r"1 missing \(such as parallel_1\)"):
        outcomes(tmp_path, {"parallel": [a, b, c]})


def test_score_that_was_paired_with_other_questions_is_refused(tmp_path: Path) -> None:
    a, b = item("parallel", 0), item("parallel", 1)
    shifted = {**wrong(b), "prompt": dict(a.entry)}
    write(tmp_path, "parallel", [answered(a, CALL), answered(b, CALL)], [shifted])
    with pytest.raises(UserError, match="pairs the answer parallel_1 with another question"):
        outcomes(tmp_path, {"parallel": [a, b]})


def test_score_of_an_earlier_try_is_refused(tmp_path: Path) -> None:
    a, b = item("parallel", 0), item("parallel", 1)
    write(tmp_path, "parallel", [answered(a, CALL)], [])
    write(tmp_path, "parallel", [answered(a, CALL), answered(b, CALL)])
    with pytest.raises(UserError, match="scores 1 answers; 2 were given"):
        outcomes(tmp_path, {"parallel": [a, b]})


def test_score_file_without_a_count_is_refused(tmp_path: Path) -> None:
    a = item("parallel", 0)
    folder = write(tmp_path, "parallel", [answered(a, CALL)], [])
    scores = folder.parents[1] / "score" / "policy"
    (scores / "BFCL_v3_parallel_score.json").write_text("")
    with pytest.raises(UserError, match="does not begin with total_count; 1 were given"):
        outcomes(tmp_path, {"parallel": [a]})


def test_cut_line_is_refused(tmp_path: Path) -> None:
    a = item("simple", 0)
    folder = write(tmp_path, "simple", [answered(a, CALL)], [])
    file = results.result_file(folder, "simple")
    file.write_text(file.read_text()[:-20])
    with pytest.raises(UserError, match="line 1, is cut"):
        outcomes(tmp_path, {"simple": [a]})


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no BFCL results. What is read: a root"):
        results.result_folder(tmp_path)
    for model in ("a", "b"):
        folder = tmp_path / "result" / model
        folder.mkdir(parents=True)
        (folder / "BFCL_v3_simple_result.json").write_text("")
    with pytest.raises(UserError, match="holds 2 models"):
        results.result_folder(tmp_path)


def test_check_of_ids_names_all_three_kinds() -> None:
    items = [item("simple", n) for n in range(3)]
    rows = [{"id": "simple_0"}, {"id": "simple_0"}, {"id": "simple_9"}, {"id": "simple_2"}]
    check = check_ids(rows, items)
    assert (check.missing, check.doubled, check.foreign) == (
        ["simple_1"],
        ["simple_0"],
        ["simple_9"],
    )
    assert not check
    assert check_ids([{"id": i.id} for i in items], items)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("502 Server Error: connection for url: http://h/", "connection"),
        ("504 Server Error: timeout for url: http://h/", "timeout"),
        ("400 Client Error: context_overflow for url: http://h/", "context_overflow"),
        ("200 Server Error: malformed for url: http://h/", "malformed"),
        ("503 Server Error: SERVICE UNAVAILABLE for url: http://h/", "http_5xx"),
        ("429 Client Error: Too Many Requests for url: http://h/", "http_429"),
        ("404 Client Error: NOT FOUND for url: http://h/", "http_4xx"),
        ("HTTPConnectionPool(host='h', port=1): Max retries exceeded", "connection"),
        ("HTTPConnectionPool(host='h', port=1): Read timed out.", "timeout"),
        ("Expecting value: line 1 column 1 (char 0)", "malformed"),
        ("'NoneType' object is not subscriptable", "other"),
    ],
)
def test_kind_of_an_error(text: str, kind: str) -> None:
    assert error_kind(f"Error during inference: {text}") == kind


def test_scores_of_a_part_have_no_overall() -> None:
    scores = results.scores({"simple": 50.0})
    assert scores["overall"] is None
    assert scores["groups"] == {"non_live": None, "live": None, "multi_turn": None}
    assert scores["categories"] == {"simple": 50.0}


def test_wrong_answer_that_the_score_does_not_list_is_found(tmp_path: Path) -> None:
    """An item that is missing from the list counts as right; the head of the file knows better."""
    a, b = item("simple", 0), item("simple", 1)
    write(tmp_path, "simple", [answered(a, CALL), answered(b, CALL * 2)], [wrong(b)])
    score = tmp_path / "score" / "policy" / "BFCL_v3_simple_score.json"
    score.write_text(score.read_text().replace('"correct_count": 0', '"correct_count": 1'))
    assert results.score_differences(tmp_path, {"simple": [a, b]}) == []
    head, _ = score.read_text().split("\n")
    score.write_text(head)
    assert results.score_differences(tmp_path, {"simple": [a, b]}) == [
        "simple: 1 and 2 right answers"
    ]


@pytest.mark.parametrize(
    ("category", "answer", "listed"),
    [
        ("irrelevance", "No.", True),
        ("irrelevance", CALL, False),
        ("live_relevance", "No.", False),
        ("live_relevance", CALL, True),
        ("simple", "No.", False),
        ("simple", [{"f": "no JSON"}], False),
    ],
)
def test_score_that_the_decoder_contradicts(
    tmp_path: Path, category: str, answer: object, listed: bool
) -> None:
    a = item(category, 0)
    write(tmp_path, category, [answered(a, answer)], [wrong(a)] if listed else [])
    (outcome,) = outcomes(tmp_path, {category: [a]})
    assert "disputed" in outcome.flags
    write(tmp_path, category, [answered(a, answer)], [] if listed else [wrong(a)])
    (outcome,) = outcomes(tmp_path, {category: [a]})
    assert "disputed" not in outcome.flags


def test_record_that_says_another_kind_than_the_table(tmp_path: Path) -> None:
    a = item("simple", 0)
    write(tmp_path, "simple", [answered(a, CALL)], [])
    for kinds, disputed in ((("call",), False), (("text",), True), ((), False)):
        seen = {a.key: ServerSide("stop", kinds=kinds)}
        (outcome,) = outcomes(tmp_path, {"simple": [a]}, requests=seen)
        assert ("disputed" in outcome.flags) == disputed
