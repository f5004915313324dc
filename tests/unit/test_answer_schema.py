"""One truth: whatever a chat completion looks like, the harness, the record and the item table
agree on what it is.

Walks through the schema of a chat completion: every field missing, null, empty, of another type,
huge, nested; several calls of which some can be read, several choices, and the form of a stream's
chunk. Each response goes the way that it goes in an evaluation: it is read and brought into
the strict form, the harness's handler takes its answer out, the harness's runner scores the row,
and the item table is made from both.
"""

import copy
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness_folders import BFCL_ENV, answered, decoder, item, outcomes, write, wrong

from toolgain.bfcl.outcomes import read_items, write_items
from toolgain.bfcl.responses import WORTH_ANOTHER_TRY, Reply, read_reply

CALL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "f", "arguments": '{"x": 1}'},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "call": {"role": "assistant", "content": None, "tool_calls": [CALL]},
    "two calls": {"role": "assistant", "content": "", "tool_calls": [CALL, {**CALL, "id": "2"}]},
    "text": {"role": "assistant", "content": "No.", "refusal": None, "reasoning_content": "Hm."},
    "mixed calls": {
        "role": "assistant",
        "content": None,
        "tool_calls": [CALL, {**CALL, "id": "2", "function": {"name": "f", "arguments": "{"}}],
    },
}
VALUES: dict[str, object] = {
    "null": None,
    "empty text": "",
    "text": "abc",
    "JSON text": '{"x": 1}',
    "cut JSON": '{"x": ',
    "list as JSON": "[1, 2]",
    "twice JSON": '"{}"',
    "true": True,
    "zero": 0,
    "number": -1.5,
    "huge number": 10**400,
    "not a number": float("nan"),
    "empty list": [],
    "list": [1, "a", None],
    "list of nothing": [None],
    "empty object": {},
    "object": {"x": 1},
    "nested": {"function": {"function": [{"name": {}}]}},
    "deep": json.loads("[" * 200 + "]" * 200),
    "deep JSON": '{"x": ' + "[" * 900 + "]" * 900 + "}",
    "too deep JSON": "[" * 100_000,
    "digits": '{"x": ' + "9" * 400 + "}",
    "NaN": '{"x": NaN}',
    "half a character": "\ud83d",
    "half in JSON": '{"x": "\\ud83d"}',
    "zero byte": "a\x00b",
    "long": "a" * 100_000,
}
MISSING = object()


def completion(message: dict[str, Any]) -> dict[str, Any]:
    called = bool(message.get("tool_calls"))
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "policy",
        "service_tier": None,
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": "tool_calls" if called else "stop",
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every field of a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        yield (*path, key)
        if isinstance(part, dict | list):
            yield from places(part, (*path, key))


def changed(body: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    """A copy of `body` with another value at `path`, or without it."""
    copied = copy.deepcopy(body)
    place: Any = copied
    for key in path[:-1]:
        place = place[key]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copied


def responses() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, message in ANSWERS.items():
        body = completion(message)
        for extra in ("error", "function_call", "reasoning", "audio", "annotations", "thinking"):
            body["choices"][0]["message"].setdefault(extra, None)
        for path in places(body):
            for what, value in {"missing": MISSING, **VALUES}.items():
                yield f"{name}: {'.'.join(map(str, path))} {what}", changed(body, path, value)
        first = body["choices"][0]
        others = {other: {**first, "message": said} for other, said in ANSWERS.items()}
        for what, value in {**VALUES, **others}.items():
            yield f"{name}: and {what}", {**body, "choices": [first, value]}
        for what, value in {"alone": None, "and": {"message": message}}.items():
            chunk = {**first, "delta": first["message"], **(value or {})}
            if value is None:
                chunk.pop("message")
            kind = "chat.completion.chunk"
            yield f"{name}: chunk {what}", {**body, "object": kind, "choices": [chunk]}


SCORING = """
import json, sys
from pathlib import Path
from bfcl.eval_checker.eval_runner import ast_file_runner, relevance_file_runner
from bfcl.model_handler.api_inference.openai import OpenAIHandler
rows, out = json.load(open(sys.argv[1])), Path(sys.argv[2])
handler = OpenAIHandler("policy", base_url="", native_calling=True)
function = [{"name": "f", "description": "", "parameters": {"type": "dict", "required": ["x"],
             "properties": {"x": {"type": "float", "description": ""}}}}]
prompts = [{"id": row["id"], "function": function} for row in rows]
truth = [{"id": row["id"], "ground_truth": [{"f": {"x": [1.0]}}]} for row in rows]
relevance_file_runner(handler, rows, prompts, "policy", "irrelevance", out)
ast_file_runner(handler, rows, prompts, truth, "Python", "simple", "policy", out)
"""


@pytest.fixture(scope="module")
def replies() -> dict[str, Reply]:
    found = {
        name: read_reply(200, json.dumps(body, ensure_ascii=True).encode())
        for name, body in responses()
    }
    assert len(found) > 1000
    return found


@pytest.fixture(scope="module")
def answers(replies: dict[str, Reply]) -> dict[str, object]:
    """What the harness's handler takes out of each answer."""
    return {
        name: decoder().read(reply.completion.body())[0]
        for name, reply in replies.items()
        if reply.completion
    }


@pytest.fixture(scope="module")
def credited(
    answers: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> tuple[set[str], set[str]]:
    """Answers that the harness's own runners count as right: as abstention, and as the call."""
    folder = tmp_path_factory.mktemp("scoring")
    names = list(answers)
    rows = [{"id": f"irrelevance_{n}", "result": answers[name]} for n, name in enumerate(names)]
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "score.py").write_text(SCORING)
    command = [BFCL_ENV / "bin" / "python", "score.py", "rows.json", folder]
    done = subprocess.run(command, capture_output=True, cwd=folder, env={**os.environ})
    assert done.returncode == 0, done.stderr.decode()[-2000:]

    def right(category: str) -> set[str]:
        score = folder / "policy" / f"BFCL_v3_{category}_score.json"
        lost = {json.loads(line).get("id") for line in score.read_text().split("\n")[1:] if line}
        return {name for n, name in enumerate(names) if f"irrelevance_{n}" not in lost}

    return right("irrelevance"), right("simple")


def test_response_is_an_answer_or_a_failure_with_a_kind(replies: dict[str, Reply]) -> None:
    for name, reply in replies.items():
        assert (reply.kind == "ok") == (reply.completion is not None), name
        assert reply.kind == "ok" or reply.kind in WORTH_ANOTHER_TRY, (name, reply)


def test_strict_form_is_a_fixed_point(replies: dict[str, Reply]) -> None:
    """What was brought into the strict form needs no further change."""
    for name, reply in replies.items():
        if reply.completion:
            again = read_reply(200, json.dumps(reply.completion.body()).encode()).completion
            assert again is not None, name
            assert again.normalised == (), name
            assert again.body() == reply.completion.body(), name


@pytest.mark.slow
def test_harness_record_and_item_table_agree(
    answers: dict[str, object], credited: tuple[set[str], set[str]], tmp_path: Path
) -> None:
    abstained, _ = credited
    items = [item("irrelevance", number) for number in range(len(answers))]
    names = dict(zip((one.id for one in items), answers, strict=True))
    rows = [answered(one, answer) for one, answer in zip(items, answers.values(), strict=True)]
    lost = [wrong(one) for one in items if names[one.id] not in abstained]
    write(tmp_path, "irrelevance", rows, lost)
    table = outcomes(tmp_path, {"irrelevance": items})
    decoded = decoder().decode(list(answers.values()))
    for row, answer in zip(table, decoded, strict=True):
        name = names[row.id]
        assert row.valid == (name in abstained), name
        # What the record keeps of it says the same as the harness's score.
        assert answer.scored == (name not in abstained), name
        assert (row.calls > 0) == answer.scored, name
        if row.valid and answer.kind != "text":
            assert row.flags and not row.strict_valid, name
        if answer.kind == "text":
            assert row.strict_valid, name
    write_items(tmp_path, table)
    assert read_items(tmp_path) == table


def test_same_call_in_any_spelling_has_the_same_score(
    replies: dict[str, Reply], credited: tuple[set[str], set[str]]
) -> None:
    """A change beside the call's name and arguments never changes whether it is right."""
    _, right = credited
    assert {"call: chunk alone", "call: and text"} <= right
    for name, reply in replies.items():
        if not name.startswith("call: ") or reply.completion is None:
            continue
        (call,) = reply.completion.calls or (None,)
        if call and call.name == "f" and json_or_none(call.arguments) == {"x": 1}:
            assert name in right, name


def json_or_none(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
