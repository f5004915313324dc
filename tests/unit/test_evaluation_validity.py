"""When an evaluation counts, and what is said when it does not."""

from evaluation_folders import outcome

from toolgain.bfcl.outcomes import ItemOutcome
from toolgain.config.sections import SERVERS, EvaluationSection
from toolgain.evaluation.trial import faults
from toolgain.evaluation.validity import Validity, ValidityLimits, canary_reasons, judge_evaluation
from toolgain.records.summary import Canary

GOOD = Canary(answered=True, parsed_call=True, call_as_text=False, text=True)
LIMITS = ValidityLimits(errors=0.005, overflows=0.02)
WANTED = {"temperature": 0.0, "top_p": 1.0}


def rows(n: int = 1000, **flagged: tuple[int, str]) -> list[ItemOutcome]:
    """`n` items, of which some have a flag: rows(inference_error=(3, message))."""
    made = [outcome("simple", index, right=True) for index in range(n)]
    for flag, (count, message) in flagged.items():
        for index in range(count):
            made[index] = made[index]._replace(flags=(flag,), error_message=message, calls=0)
    return made


def judged(outcomes: list[ItemOutcome], canary: Canary = GOOD, n: int = 1000) -> Validity:
    return judge_evaluation(outcomes, n, canary, LIMITS, [WANTED], WANTED)


def error(kind: str) -> str:
    return f"Error during inference: 502 Server Error: {kind} for url: http://h/"


def test_all_answered() -> None:
    found = judged(rows())
    assert found.valid and found.reasons == [] and found.errors == {} and found.flags == {}


def test_share_of_errors_decides() -> None:
    few = judged(rows(inference_error=(5, error("timeout"))))
    assert few.valid and few.errors == {"timeout": 5}
    assert few.warnings == ["5 of 1000 items got no answer: timeout 5"]
    many = judged(rows(inference_error=(6, error("timeout"))))
    assert not many.valid
    assert many.reasons == ["6 of 1000 items (0.6 %) got no answer (timeout 6); allowed is 0.5 %"]


def test_overflows_have_a_limit_of_their_own() -> None:
    message = "Error during inference: 400 Client Error: context_overflow for url: u"
    assert judged(rows(context_overflow=(20, message))).valid
    many = judged(rows(context_overflow=(21, message)))
    assert many.errors == {"context_overflow": 21}
    assert "longer than the server's context" in many.reasons[0]


def test_items_that_were_not_asked_are_errors() -> None:
    found = judged(rows(900))
    assert not found.valid and found.errors == {"not_asked": 100}


def test_unanswered_canary() -> None:
    canary = Canary(
        answered=False, failure="http_5xx: HTTP 503 overloaded", failure_kind="http_5xx"
    )
    found = judged([], canary)
    assert not found.valid
    assert found.reasons[0] == (
        "canary: the server did not answer a plain question (http_5xx: HTTP 503 overloaded)"
    )


def test_call_as_text_proves_that_the_parser_is_wrong() -> None:
    found = judged(rows(), GOOD.model_copy(update={"parsed_call": False, "call_as_text": True}))
    assert "tool calls come back as text" in found.reasons[0]


def test_weak_model_is_not_the_servers_fault() -> None:
    """No call to the canary's question, but a parsed one in the evaluation: the parser works."""
    found = judged(rows(), GOOD.model_copy(update={"parsed_call": False}))
    assert found.valid
    assert "the model made no tool call where it should" in found.warnings[0]


def test_no_parsed_call_anywhere_proves_nothing() -> None:
    silent = [row._replace(calls=0) for row in rows()]
    found = judged(silent, GOOD.model_copy(update={"parsed_call": False}))
    assert not found.valid and "no tool call in any answer" in found.reasons[0]


def test_model_that_calls_too_often_is_valid_if_it_ever_speaks() -> None:
    always = rows()
    forced = GOOD.model_copy(update={"text": False})
    assert "force a tool call" in judged(always, forced).reasons[0]
    once = [always[0]._replace(calls=0), *always[1:]]
    assert judged(once, forced).valid
    # A server that forces calls leaves no room for one that nobody can read.
    unread = [always[0]._replace(calls=0, flags=("unparsed_call", "truncated")), *always[1:]]
    assert judged(unread, forced).valid
    empty = [always[0]._replace(calls=0, flags=("empty",)), *always[1:]]
    assert not judged(empty, forced).valid


def test_sampling_must_be_what_was_configured() -> None:
    found = judge_evaluation(rows(), 1000, GOOD, LIMITS, [{"temperature": 0.001}], WANTED)
    assert found.reasons == [
        "the server received the sampling {'temperature': 0.001}, expected was "
        "{'temperature': 0.0, 'top_p': 1.0}"
    ]


def test_flags_are_counted_and_warned_about() -> None:
    found = judged(rows(unparsed_call=(2, ""), truncated=(0, "")))
    assert found.valid
    assert found.flags == {"unparsed_call": 2}
    assert found.warnings == ["2 of 1000: tool calls reached us as text"]


def test_calls_of_functions_that_nobody_offered() -> None:
    """A weak model misses many functions; one that misses all was not shown them."""

    def found(calls: int, foreign: int, stop: bool = True) -> Validity:
        return judge_evaluation(
            rows(), 1000, GOOD, LIMITS, [WANTED], WANTED, stop, calls=calls, foreign=foreign
        )

    assert found(20, 19).valid and found(5, 5).valid
    assert "none of 20 calls" in found(20, 20).reasons[0]
    warned = found(20, 20, stop=False)
    assert warned.valid and "none of 20 calls" in warned.warnings[0]


def test_views_that_differ_are_no_measurement() -> None:
    found = judged(rows(disputed=(1, "")))
    assert not found.valid and "do not agree on 1 item " in found.reasons[0]


def test_credit_without_an_abstention_is_said() -> None:
    made = rows()
    made[0] = made[0]._replace(strict_valid=False, flags=("unparsed_call",), calls=0)
    assert any("1 of 1000 items count as right" in said for said in judged(made).warnings)


def test_a_few_items_prove_a_wrong_parser_and_no_forced_calls() -> None:
    key = "evaluation.serve.tool_parser"
    text = GOOD.model_copy(update={"parsed_call": False, "call_as_text": True})
    assert "tool calls come back as text" in canary_reasons(text, rows(), key, few=True)[0]
    # A model that calls at every question is no server that forces calls.
    assert canary_reasons(GOOD.model_copy(update={"text": False}), rows(), key, few=True) == []


def test_what_to_mend_is_named_for_the_server_that_is_used() -> None:
    text = GOOD.model_copy(update={"parsed_call": False, "call_as_text": True})
    for server in SERVERS.values():
        (reason,) = canary_reasons(text, [], server.parser_key)
        assert f"({server.parser_key})" in reason


def test_a_trial_of_few_items_finds_what_would_spoil_all_and_nothing_else() -> None:
    section = EvaluationSection()
    assert faults(GOOD, rows(17), section) == []
    # Shares of failures are the evaluation's business.
    assert faults(GOOD, rows(17, inference_error=(3, error("timeout"))), section) == []
    assert "all 17 answers were empty" in faults(GOOD, rows(17, empty=(17, "")), section)[0]
    silent = GOOD.model_copy(update={"parsed_call": False})
    texts = [row._replace(calls=0) for row in rows(17)]
    assert "no tool call in any answer" in faults(silent, texts, section)[0]
    assert faults(silent, texts, EvaluationSection(canary="warn")) == []
    refused = rows(17, history_refused=(4, ""))
    assert faults(GOOD, refused, section) == [], "it took others that hold the same"
    assert faults(GOOD, refused, section, {"call": 1}) == [], "one may be the model's fault"
    (said,) = faults(GOOD, refused, section, {"call without text": 4})
    assert "the server refused 4 conversations" in said


def test_server_that_took_one_conversation_back_may_refuse_others() -> None:
    """What it refuses is the model's fault only where it takes others."""
    lost = rows(history_refused=(3, ""))
    lost = [row._replace(requests=1) for row in lost]

    def found(never_taken: dict[str, int]) -> Validity:
        return judge_evaluation(lost, 1000, GOOD, LIMITS, [WANTED], WANTED, never_taken=never_taken)

    assert found({}).valid
    assert found({"call": 3}).valid, "no more than the limit of failures"
    (said,) = found({"call without text": 40}).reasons
    assert "took none that holds the same of earlier answers (call without text)" in said
