"""An answer of a model server, or which kind of failure."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from harness_folders import decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from toolgain.bfcl.responses import NO_ANSWER, Completion, kept_reply, read_reply
from toolgain.bfcl.toolcalls import TAGS, looks_like_call, markup_of_call, own_tags, questions


def chat(**message: object) -> bytes:
    body = {
        "choices": [
            {
                "message": {"role": "assistant", **message},
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7},
    }
    return json.dumps(body).encode()


def answer(**message: object) -> Completion:
    reply = read_reply(200, chat(**message))
    assert reply.completion is not None, reply
    return reply.completion


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def test_completion_is_an_answer() -> None:
    assert answer(content="Hello.").content == "Hello."


def test_parsed_call_is_read_as_the_harness_reads_it() -> None:
    found, decoded = decoder().read(answer(content=None, tool_calls=[CALL]).body())
    assert found == [{"f": '{"x": 1}'}]
    assert decoded.is_call


@pytest.mark.parametrize(
    ("message", "calls", "content", "kinds"),
    [
        ({"tool_calls": [CALL]}, [("f", '{"x": 1}')], "", ()),
        ({"content": None, "tool_calls": [CALL]}, [("f", '{"x": 1}')], "", ()),
        ({"content": "No.", "tool_calls": []}, [], "No.", ()),
        (
            {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": {"x": 1}}}]},
            [("f", '{"x": 1}')],
            "",
            ("arguments_object",),
        ),
        (
            {"tool_calls": [{**CALL, "function": {"name": "f"}}]},
            [("f", "{}")],
            "",
            ("empty_arguments",),
        ),
        (
            {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": ""}}]},
            [("f", "{}")],
            "",
            ("empty_arguments",),
        ),
        (
            {"tool_calls": [{"type": "function", "function": CALL["function"]}]},
            [("f", '{"x": 1}')],
            "",
            ("tool_call_id",),
        ),
        (
            {"tool_calls": [{"name": "f", "arguments": "{}"}]},
            [("f", "{}")],
            "",
            ("flat_tool_call", "tool_call_type", "tool_call_id"),
        ),
        ({"tool_calls": CALL}, [("f", '{"x": 1}')], "", ("single_tool_call",)),
        (
            {"function_call": CALL["function"]},
            [("f", '{"x": 1}')],
            "",
            ("legacy_function_call", "tool_call_id"),
        ),
        (
            {"content": [{"type": "text", "text": "No"}, {"type": "text", "text": "."}]},
            [],
            "No.",
            ("content_parts",),
        ),
        (
            {"content": [{"type": "thinking", "thinking": "f?"}, {"type": "text", "text": "No."}]},
            [],
            "No.",
            ("content_parts",),
        ),
        ({"content": None, "refusal": "No."}, [], "No.", ("refusal",)),
        ({"content": " ", "refusal": "No."}, [], "No.", ("refusal",)),
        (
            {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": '\ufeff{"x": 1}'}}]},
            [("f", '{"x": 1}')],
            "",
            ("byte_order_mark",),
        ),
        (
            {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": "null"}}]},
            [("f", "{}")],
            "",
            ("empty_arguments",),
        ),
        (
            {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": '"{\\"x\\": 1}"'}}]},
            [("f", '{"x": 1}')],
            "",
            ("double_encoded_arguments",),
        ),
        ({"content": "Sorry \ud83d no."}, [], "Sorry \ufffd no.", ("lone_surrogate",)),
        (
            {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": '{"x": "\\ud83d"}'}}]},
            [("f", '{"x": "\\ufffd"}')],
            "",
            ("lone_surrogate",),
        ),
        (
            {
                "tool_calls": [
                    {**CALL, "function": {"name": "f", "arguments": '{"x": "\\ud83d\\ude00"}'}}
                ]
            },
            [("f", '{"x": "\\ud83d\\ude00"}')],
            "",
            (),
        ),
    ],
)
def test_answer_in_another_spelling(
    message: dict[str, object], calls: list[object], content: str, kinds: tuple[str, ...]
) -> None:
    found = answer(**message)
    assert [(call.name, call.arguments) for call in found.calls] == calls
    assert found.content == content
    assert found.normalised == kinds
    assert len({call.id for call in found.calls}) == len(calls)


def test_what_the_model_wrote_is_never_repaired() -> None:
    for written in ("{", "[1, 2]", "{'x': 1}", '{"x": 1,}', '{"x": 1}{"x": 2}', '"no"', "5", "no"):
        (call,) = answer(
            tool_calls=[{**CALL, "function": {"name": "f", "arguments": written}}]
        ).calls
        assert call.arguments == written


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("get_weather", "get_weather"),
        ("geo.find", "geo.find"),
        ("geo_find", "geo_find"),
        ("functions.get_weather", "get_weather"),
        ("functions.geo_find", "geo_find"),
        ("functions.geo.find", "geo.find"),
        ("tool.get_weather", "get_weather"),
        ("default_api:get_weather", "get_weather"),
        ("get_weather<|channel|>commentary", "get_weather"),
        ("functions.get_weather:0", "get_weather"),
        ("functions.functions.get_weather", "functions.functions.get_weather"),
        ("functions.other", "functions.other"),
        ("functions.", "functions."),
        ("functions.own", "functions.own"),
        ("Get_weather", "Get_weather"),
        (" get_weather", " get_weather"),
        ("my.get_weather", "my.get_weather"),
    ],
)
def test_name_with_what_a_format_puts_around_it(written: str, read: str) -> None:
    """Only a known namespace or markup, and only around the name of an offered function."""
    offered = ["get_weather", "geo_find", "functions_own"]
    named = {**CALL, "function": {"name": written, "arguments": "{}"}}
    done = read_reply(200, chat(tool_calls=[named]), offered=offered).completion
    assert done is not None and done.calls[0].name == read
    assert done.normalised == (() if written == read else ("function_name",))
    # Without the functions of the request nobody can know.
    assert answer(tool_calls=[named]).calls[0].name == written


@pytest.mark.parametrize("digits", [310, 4000, 100_000])
def test_number_that_ends_the_scoring_is_another_wrong_one(digits: int) -> None:
    written = f'{{"x": {"9" * digits}}}'
    (call,) = answer(tool_calls=[{**CALL, "function": {"name": "f", "arguments": written}}]).calls
    assert call.arguments == '{"x": Infinity}'


def test_deep_arguments_are_cut_where_no_right_answer_is() -> None:
    written = '{"x": ' + "[" * 600 + "]" * 600 + "}"
    found = answer(tool_calls=[{**CALL, "function": {"name": "f", "arguments": written}}])
    assert found.normalised == ("unbounded_arguments",)
    assert found.calls[0].arguments.count("[") < 101


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ({"finish_reason": "abort", "message": {"content": ""}}, "aborted"),
        ({"finish_reason": "abort", "message": {"content": "half an"}}, "aborted"),
        ({"finish_reason": "error", "message": {"tool_calls": [CALL]}}, "aborted"),
        ({"finish_reason": "stop", "error": {"code": 502}, "message": {}}, "error_in_answer"),
        (
            {"finish_reason": "stop", "message": {"content": "", "reasoning_content": "I call f"}},
            "reasoning_only",
        ),
        (
            {"finish_reason": "stop", "message": {"content": None, "reasoning": "I call f"}},
            "reasoning_only",
        ),
        (
            {
                "finish_reason": "stop",
                "message": {"content": None, "thinking": "I call f", "reasoning": None},
            },
            "reasoning_only",
        ),
        (
            {
                "finish_reason": "stop",
                "message": {
                    "content": "",
                    "reasoning_details": [{"type": "reasoning.text", "text": "I call f"}],
                },
            },
            "reasoning_only",
        ),
        (
            {
                "finish_reason": "stop",
                "message": {"content": [{"type": "thinking", "thinking": [{"text": "f?"}]}]},
            },
            "reasoning_only",
        ),
        ({"finish_reason": "stop", "message": {"content": [{"type": []}]}}, "malformed"),
        ({"finish_reason": "stop", "message": {"content": [{"type": "tool_use"}]}}, "malformed"),
        ({"finish_reason": None, "message": {"content": ""}}, "no_answer"),
        ({"finish_reason": "tool_calls", "message": {"content": None}}, "no_answer"),
        ({"finish_reason": "content_filter", "message": {"content": ""}}, "no_answer"),
        ({"finish_reason": "stop", "message": {"tool_calls": [{}]}}, "malformed"),
        ({"finish_reason": "stop", "message": {"tool_calls": "f()"}}, "malformed"),
        ({"finish_reason": "stop", "message": {"content": 5}}, "malformed"),
        ({"finish_reason": "stop", "message": "text"}, "malformed"),
    ],
)
def test_status_200_without_an_answer(choice: dict[str, object], kind: str) -> None:
    reply = read_reply(200, json.dumps({"choices": [choice]}).encode())
    assert (reply.kind, reply.completion) == (kind, None)
    assert reply.worth_another_try and NO_ANSWER[kind]


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ("STOP", "stop"),
        ("eos_token", "stop"),
        ("MAX_TOKENS", "length"),
        ("repetition", "length"),
        ("SAFETY", "content_filter"),
        ({"type": "max_length"}, "length"),
    ],
)
def test_end_of_an_answer_in_other_words(said: object, finish: str) -> None:
    body = {"choices": [{"message": {"content": "No."}, "finish_reason": said}]}
    done = read_reply(200, json.dumps(body).encode()).completion
    assert done is not None and done.finish_reason == finish
    assert "finish_reason" in done.normalised


def test_error_beside_no_answer_is_told_apart() -> None:
    def kind(error: object) -> str:
        return read_reply(200, json.dumps({"error": error, "choices": []}).encode()).kind

    assert kind("engine is paused") == "error_in_answer"
    assert kind({"code": 429, "message": "slow down"}) == "http_429"
    assert kind({"message": "maximum context length is 10"}) == "context_overflow"


def test_empty_answer_with_a_reason_is_the_models() -> None:
    for finish in ("stop", "length"):
        for usage in (None, {"completion_tokens": 1}, {"completion_tokens": "many"}):
            body = {"choices": [{"message": {"content": ""}, "finish_reason": finish}]}
            reply = read_reply(200, json.dumps({**body, "usage": usage}).encode())
            assert reply.completion is not None and reply.completion.content == ""


@pytest.mark.parametrize(
    ("counted", "words"),
    [(0, "counts no token"), (200, "counts 200 tokens")],
)
def test_empty_answer_that_the_model_cannot_have_written(counted: int, words: str) -> None:
    """A model that ends at once wrote the one token that says so."""
    body = {
        "choices": [{"message": {"content": ""}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": counted},
    }
    reply = read_reply(200, json.dumps(body).encode())
    assert reply.kind == "no_answer" and words in reply.detail


def test_call_that_the_server_speaks_of_and_does_not_send() -> None:
    body = {"choices": [{"message": {"content": "I do."}, "finish_reason": "tool_calls"}]}
    assert read_reply(200, json.dumps(body).encode()).kind == "lost_call"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
def test_answer_in_any_unicode(encoding: str) -> None:
    body = {"choices": [{"message": {"content": "Zürich 🎈"}, "finish_reason": "stop"}]}
    reply = read_reply(200, json.dumps(body, ensure_ascii=False).encode(encoding))
    assert reply.completion is not None and reply.completion.content == "Zürich 🎈"


def test_letters_of_another_encoding_are_not_guessed() -> None:
    """A wrong letter in an argument would be a wrong answer, and nobody would see it."""
    body = {"choices": [{"message": {"content": "Zürich"}, "finish_reason": "stop"}]}
    reply = read_reply(200, json.dumps(body, ensure_ascii=False).encode("latin-1"))
    assert reply.kind == "malformed" and "not UTF-8" in reply.detail


def test_answer_of_several_choices_is_the_first_and_said() -> None:
    choice = {"message": {"role": "assistant", "content": "No."}, "finish_reason": "stop"}
    other = {**choice, "message": {"role": "assistant", "content": "Yes."}}
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    reply = read_reply(200, json.dumps({"choices": [choice, other], "usage": usage}).encode())
    assert reply.completion is not None and reply.completion.content == "No."
    assert reply.completion.normalised == ("several_choices",)


def test_redirection_names_the_address_without_its_secrets() -> None:
    headers = {"Location": "https://me:word@proxy.example/login?token=5"}
    reply = read_reply(302, b"", headers)
    assert "proxy.example/login" in reply.detail
    assert "word" not in reply.detail and "token" not in reply.detail


@pytest.mark.parametrize(("status", "kind"), [(201, "ok"), (203, "ok"), (204, "malformed")])
def test_success_without_the_usual_number(status: int, kind: str) -> None:
    content = b"" if status == 204 else chat(content="No.")
    assert read_reply(status, content).kind == kind


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        *[("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("soon", None), ("nan", None), (None, None)],
        *[("1e400", None), ("9" * 400, None), ("", None), (" 7 ", 7.0)],
        # Nobody means years; such a number is a time of the clock, or a mistake.
        *[("1000000", 86400.0), ("1732800000", 0.0), ("1732800000000", 0.0)],
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_wait_that_the_server_asks_for(header: str | None, wait: float | None) -> None:
    headers = {} if header is None else {"Retry-After": header}
    assert read_reply(429, b"", headers).retry_after_s == wait


def test_wait_in_other_units() -> None:
    assert read_reply(429, b"", {"Retry-After-Ms": "1500"}).retry_after_s == 1.5
    assert read_reply(429, b"", {"Retry-After-Ms": "1e300"}).retry_after_s == 24 * 3600
    both = {"Retry-After-Ms": "250", "Retry-After": "1"}
    assert read_reply(503, b"", both).retry_after_s == 0.25
    at = (datetime.now(UTC) + timedelta(hours=1)).timestamp()
    for header in (str(int(at)), str(int(at * 1000))):
        wait = read_reply(429, b"", {"Retry-After": header}).retry_after_s
        assert wait is not None and 3500 < wait <= 3601


@given(st.text())
def test_any_header_can_be_read(header: str) -> None:
    wait = read_reply(429, b"", {"Retry-After": header, "Retry-After-Ms": header}).retry_after_s
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("headers", "cached"),
    [
        ({"X-Cache": "HIT"}, True),
        ({"cf-aig-cache-status": "HIT"}, True),
        ({"x-cache": "Hit from cloudfront"}, True),
        ({"x-gateway-cache-hit": "True"}, True),
        ({"X-Cache": "MISS"}, False),
        ({"Cache-Control": "no-cache"}, False),
        ({"x-prefix-cache": "hit"}, False),
        ({"x-kv-cache-hit": "true"}, False),
        ({}, False),
    ],
)
def test_answer_that_a_gateway_kept(headers: dict[str, str], cached: bool) -> None:
    reply = read_reply(200, chat(content="No."), headers)
    assert (reply.kind, reply.cached) == ("ok", cached)


def test_date_to_wait_for() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    wait = read_reply(429, b"", {"Retry-After": date})
    assert wait.retry_after_s is not None and 3500 < wait.retry_after_s <= 3600


@pytest.mark.parametrize(
    ("status", "content", "kind", "again"),
    [
        (200, b"<html>Sign in</html>", "malformed", True),
        (200, b'{"choices": [{"mess', "malformed", True),
        (200, b'{"error": "x"}', "error_in_answer", True),
        (200, b'{"choices": []}', "malformed", True),
        (200, b'{"choices": [{"message": "text"}]}', "malformed", True),
        (200, b"null", "malformed", True),
        (500, b"oops", "http_5xx", True),
        (503, b"", "http_5xx", True),
        (429, b"slow down", "http_429", True),
        (401, b"no key", "http_4xx", False),
        (404, b"The model `x` does not exist.", "http_4xx", False),
        (400, b"bad tool schema", "http_4xx", False),
        (400, b"This model's maximum context length is 4096 tokens.", "context_overflow", False),
        (400, b'{"code": "context_length_exceeded"}', "context_overflow", False),
        (413, b"prompt is too long", "context_overflow", False),
        (302, b"", "http_5xx", True),
        (408, b"", "timeout", True),
        (409, b"model is loading", "http_5xx", True),
        (424, b'{"error": "x", "error_type": "generation"}', "http_5xx", True),
        (499, b"", "http_5xx", True),
        (529, b"overloaded", "http_5xx", True),
        (402, b"no credits", "http_4xx", False),
        (429, b'{"error": {"code": "insufficient_quota"}}', "http_4xx", False),
        (429, b'{"error": {"message": "You exceeded your quota"}}', "http_429", True),
        (400, b'{"__type": "ThrottlingException"}', "http_429", True),
        (422, b"`inputs` tokens + `max_new_tokens` must be <= 4096.", "context_overflow", False),
        (422, b"`inputs` must have less than 1024 tokens.", "context_overflow", False),
        (500, b"the request exceeds the available context size", "context_overflow", False),
    ],
)
def test_kinds_of_failure(status: int, content: bytes, kind: str, again: bool) -> None:
    reply = read_reply(status, content)
    assert (reply.kind, reply.worth_another_try) == (kind, again)
    assert reply.completion is None


@given(st.integers(100, 599), st.binary(max_size=200))
def test_whatever_comes_back_is_an_answer_or_a_failure(status: int, content: bytes) -> None:
    reply = read_reply(status, content)
    assert (reply.completion is not None) == (reply.kind == "ok")


FIELDS = st.sampled_from(
    ["choices", "message", "delta", "content", "tool_calls", "function", "function_call", "name",
     "arguments", "id", "type", "index", "role", "finish_reason", "usage", "completion_tokens",
     "prompt_tokens", "error", "code", "object", "model", "refusal", "text", "reasoning",
     "reasoning_content", "thinking", "reasoning_details", "audio", "logprobs"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["", "stop", "tool_calls", "assistant", "f", "functions.f", "{}", '{"x": 1}', '"{}"', "null",
     "error", "chat.completion.chunk", "thinking", "\ud83d", "\x00", "[" * 300, '"' * 9]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(FIELDS, part, max_size=6),
    max_leaves=12,
)
MESSAGES = st.dictionaries(FIELDS, VALUES, max_size=6)
CHOICES = st.dictionaries(FIELDS, VALUES, max_size=3).flatmap(
    lambda other: st.builds(
        lambda place, message, finish: {**other, place: message, "finish_reason": finish},
        st.sampled_from(["message", "delta"]),
        MESSAGES,
        WORDS | VALUES,
    )
)
BODIES = st.builds(
    lambda other, choices: {**other, "choices": choices},
    st.dictionaries(FIELDS, VALUES, max_size=3),
    st.lists(CHOICES, min_size=1, max_size=2),
)


@settings(max_examples=200, deadline=None)
@given(BODIES | VALUES, st.booleans())
def test_any_json_in_place_of_a_completion_is_an_answer_or_a_failure(
    body: object, streamed: bool
) -> None:
    text = f"data: {json.dumps(body)}\n\n" if streamed else json.dumps(body)
    reply = read_reply(200, text.encode(), offered=["f"])
    assert (reply.completion is not None) == (reply.kind == "ok")
    if reply.completion is None:
        reply.detail.encode()
        return
    # The strict form needs no further change, fits into a file, and comes back as it was.
    json.dumps(reply.completion.body(), ensure_ascii=False).encode()
    again = kept_reply(reply.completion.body()).completion
    assert again is not None
    assert (again.body(), again.normalised) == (reply.completion.body(), ())


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>',
        '<TOOLCALL>[{"name": "f", "arguments": {}}]</TOOLCALL>',
        '[TOOL_CALLS] [{"name": "f", "arguments": {}}]',
        '<|python_tag|>{"name": "f", "parameters": {}}',
        '{"name": "f", "parameters": {"x": 1}}',
        'Sure: [{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": {}}]',
        '{"function": {"name": "f", "arguments": "{}"}}',
        "<function=f>{}</function>",
        '[get_weather(city="Paris")]',
        "</tool_call>",
    ],
)
def test_call_that_came_as_text(text: str) -> None:
    assert looks_like_call(text)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ('<tool_call>{"name": "f", "arguments": {}}</tool_call>', "<tool_call>"),
        ('<tool_call>{"name": "f", "arguments": {</tool_call>', ""),
        (
            "<tool_call><function=f><parameter=x>1</parameter></function></tool_call>",
            "<tool_call>",
        ),
        ('[TOOL_CALLS] [{"name": "f", "arguments": {}}]', "[TOOL_CALLS]"),
        ("<tool_call>", ""),
        ('```json\n{"name": "f", "arguments": {}}\n```', ""),
        ('{"name": "f", "arguments": {}}', ""),
        ('<think><tool_call>{"name": "f", "arguments": {}}</think>No.', ""),
        ("No.", ""),
    ],
)
def test_only_a_whole_call_in_a_markup_is_the_parsers_failure(text: str, tag: str) -> None:
    assert markup_of_call(text, TAGS) == tag


def test_markup_must_be_the_models_own() -> None:
    hermes = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert markup_of_call(hermes, own_tags("... <tool_call> ...", None))
    assert markup_of_call(hermes, own_tags(None, "hermes"))
    assert markup_of_call(hermes, own_tags(None, None)), "unknown: every known markup"
    assert not markup_of_call(hermes, own_tags("... <TOOLCALL> ...", "nemotron_json"))
    assert own_tags("a template without tags", None) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot help with that.",
        "Use [1] and {x} as in f(x).",
        'The JSON {"name": "Anna"} has a name.',
        '{"arguments": []}',
        "None of the functions can be used.",
        '<think>{"name": "f", "arguments": {}} would do, but no.</think>I cannot help.',
        pytest.param("[" * 5000, id="open-brackets"),
    ],
)
def test_text_that_is_no_call(text: str) -> None:
    assert not looks_like_call(text)


@pytest.mark.parametrize(
    "part",
    [
        "[",
        "{",
        '{"a":',
        '{"a":[',
        "<function=f>",
        "\n",
        "[a(",
        "[a(x=",
        "<tool_call>",
        '{"',
        "<think>",
    ],
)
def test_no_text_costs_more_than_linear_time(part: str) -> None:
    """Quadratic time would be hours for these."""
    text = part * (2**20 // len(part))
    looks_like_call(text)
    markup_of_call(text, TAGS)


@given(st.text())
def test_any_text_can_be_looked_at(text: str) -> None:
    looks_like_call(text)


def test_questions_are_what_is_no_answer_and_how_many_answers_stand_between() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u", "name": "x"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "later"},
    ]
    assert questions(messages) == [1, ["system", "s"], ["user", "u"], ["user", "later"]]


@pytest.mark.parametrize("body", [b'{"error": "\xed\xa0\xbd"}', b"\xed\xa0\xbd", b'["\\ud83d"]'])
def test_what_a_server_said_fits_into_every_record(body: bytes) -> None:
    """Half a character, sent as if it were a whole one."""
    reply = read_reply(200, body)
    assert reply.completion is None
    reply.detail.encode()
