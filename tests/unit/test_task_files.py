"""Task files of one's own: what is taken, and that each fault is named with file and line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolgain.common.errors import UserError
from toolgain.common.files import read_jsonl
from toolgain.config.sections import TasksSection, parse_config
from toolgain.tasks import stage
from toolgain.tasks.files import read_pair, read_tasks

ROOT = Path(__file__).parents[2]
PARAMETERS = {
    "type": "object",
    "properties": {"times": {"type": "integer"}, "where": {"enum": ["door", "tower"]}},
    "required": ["times"],
}
RING = {"type": "function", "function": {"name": "ring", "parameters": PARAMETERS}}
OWN = {
    "prompt": [{"role": "user", "content": "Ring the bell twice"}],
    "tools": [RING],
    "expected": [{"name": "ring", "arguments": {"times": 2}}],
}
QUIET = {**OWN, "prompt": [{"role": "user", "content": "Be quiet"}], "expected": []}

NOWHERE = {"$ref": "#/nowhere", "additionalProperties": True}


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return path


def called(**arguments: object) -> dict[str, object]:
    return {**OWN, "expected": [{"name": "ring", "arguments": arguments}]}


def with_parameters(parameters: object) -> dict[str, object]:
    tool = {"type": "function", "function": {"name": "ring", "parameters": parameters}}
    return {**OWN, "tools": [tool]}


def test_tasks_of_ones_own_are_written_for_the_training(tmp_path: Path) -> None:
    keys = TasksSection(
        train_file=str(written(tmp_path / "train.jsonl", OWN, QUIET)),
        validation_file=str(written(tmp_path / "validation.jsonl", {**OWN, "prompt": [
            {"role": "user", "content": "Ring it once more"}]}, QUIET)),
    )  # fmt: skip
    stage.make_tasks(keys, tmp_path / "out", None)
    lines = read_jsonl(tmp_path / "out" / "train.jsonl", "tasks")
    assert [line["kind"] for line in lines] == ["call", "none"]
    assert [line["expected"] for line in lines] == [OWN["expected"], []]
    described = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert described["same_prompt_in_both"] == 1
    assert described["seed"] is None


def test_system_messages_several_turns_and_content_in_parts_are_taken(tmp_path: Path) -> None:
    call = {"id": "c1", "function": {"name": "ring", "arguments": '{"times": 1}'}}
    prompt = [
        {"role": "system", "content": "You are a bell."},
        {"role": "user", "content": [{"type": "text", "text": part} for part in ("Ring ", "!")]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "done", "tool_call_id": "c1"},
        {"role": "user", "content": "Twice more"},
    ]  # fmt: skip
    (task,) = read_tasks(written(tmp_path / "own.jsonl", {**OWN, "prompt": prompt}))
    found = task.as_json()["prompt"]
    assert [message["role"] for message in found] == [message["role"] for message in prompt]
    assert found[1]["content"] == "Ring !"
    assert found[2]["tool_calls"][0]["function"]["arguments"] == {"times": 1}
    assert task.question == "Twice more"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "a task is one line"),
        ("[]", "not a task"),
        (json.dumps(OWN).replace("2", "NaN"), "NaN is not a JSON number"),
        (json.dumps(OWN).replace("2", "1e999"), "too large"),
        (json.dumps({**OWN, "prompt": []}), "`prompt`"),
        (json.dumps({**OWN, "prompt": "Ring"}), "`prompt`"),
        (json.dumps({**OWN, "promt": 1}), "`promt`"),
        (json.dumps({**OWN, "kind": "calls"}), "`kind` is 'calls'"),
        (json.dumps({**OWN, "kind": "none"}), "its kind is 'none', and it expects 1 call ("),
        (json.dumps({**OWN, "kind": "parallel"}), "its kind is 'parallel'"),
        (json.dumps({**OWN, "expected": [{"name": "sing", "arguments": {}}]}), "of no tool"),
        (json.dumps({**OWN, "tools": [RING, RING]}), "have one name"),
        (json.dumps({**OWN, "tools": [{"name": "ring"}]}), "`tools"),
        (json.dumps(called(times="2")), "`times`: '2' is not of type 'integer'"),
        (json.dumps(called(times=2.5)), "`times`: 2.5 is not of type 'integer'"),
        (json.dumps(called(where="door")), "'times' is a required property"),
        (json.dumps(called(times=2, where="sea")), "`where`: 'sea' is not one of"),
        (json.dumps(called(times=2, loud=True)), "argument 'loud', which its parameters do not"),
        (json.dumps(with_parameters({"type": "dict"})), "are not a JSON Schema: `type`"),
        (json.dumps(with_parameters({"properties": []})), "are not a JSON Schema"),
        (json.dumps(with_parameters(NOWHERE)), "cannot be used"),
        (
            json.dumps({**OWN, "prompt": [{"role": "assistant", "content": "Hello"}]}),
            "its last message is of assistant",
        ),
        (
            json.dumps({**OWN, "prompt": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "a part of it is of type image_url, and tasks are of text alone",
        ),
    ],
)  # fmt: skip
def test_a_line_that_is_no_task_is_refused_with_its_number(
    tmp_path: Path, line: str, message: str
) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps(QUIET) + "\n\n" + line + "\n")
    with pytest.raises(UserError) as refused:
        read_tasks(own)
    assert f"{own}, line 3: not a task: " in str(refused.value)
    assert message in str(refused.value)


def test_ids_are_different(tmp_path: Path) -> None:
    own = written(tmp_path / "own.jsonl", {**OWN, "id": "a"}, {**QUIET, "id": "a"})
    with pytest.raises(UserError, match=r"line 2: not a task: its id 'a' is that of line 1 too"):
        read_tasks(own)


def test_a_file_in_another_encoding_is_refused_with_the_byte(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    latin = json.dumps({**OWN, "id": "caf\u00e9"}, ensure_ascii=False).encode("latin-1")
    own.write_bytes(json.dumps(QUIET).encode() + b"\n" + latin + b"\n")
    with pytest.raises(UserError, match=r"line 2: byte \d+ \(0xe9\) is not UTF-8"):
        read_tasks(own)


def test_an_empty_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("\n")
    with pytest.raises(UserError, match="no tasks in it"):
        read_tasks(tmp_path / "own.jsonl")
    with pytest.raises(UserError, match="no such file"):
        read_tasks(tmp_path / "none.jsonl")


def test_a_validation_file_that_is_trained_on_is_refused(tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", OWN, QUIET)
    with pytest.raises(UserError, match=r"is in .* too"):
        read_pair(train, train)
    with pytest.raises(UserError, match=r"is in .* too"):
        read_pair(train, written(tmp_path / "validation.jsonl", {**QUIET, "id": "other"}))


def test_half_a_pair_of_files_is_refused_with_the_configuration() -> None:
    training = {"backend": "trl", "tasks": {"train_file": "mine.jsonl"}}
    with pytest.raises(UserError, match=r"train_file is given without tasks\.validation_file"):
        parse_config({"model": {"path": "m"}, "training": training})


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@settings(deadline=None, max_examples=100)
def test_any_text_comes_through_the_files_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """Also U+2028 and the other signs that end a line for Python, and not in JSON lines."""
    folder = tmp_path_factory.mktemp("tasks")
    lines: list[Mapping[str, Any]] = [
        {**OWN, "prompt": [{"role": "user", "content": text + suffix}]} for suffix in "ab"
    ]
    keys = TasksSection(
        train_file=str(written(folder / "train.jsonl", lines[0])),
        validation_file=str(written(folder / "validation.jsonl", lines[1])),
    )
    stage.make_tasks(keys, folder / "out", None)
    (line,) = read_jsonl(folder / "out" / "train.jsonl", "tasks")
    assert line["prompt"][0]["content"] == text + "a"


def test_every_generated_task_has_the_documented_form(tmp_path: Path) -> None:
    keys = TasksSection(train=40, validation=10, max_prompt_chars=1200, wordy_share=0.5)
    stage.make_tasks(keys, tmp_path, None)
    assert len(read_tasks(tmp_path / "train.jsonl")) == 40


def test_the_example_of_the_documentation_is_a_task(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "demo.md").read_text()
    example = text.split("```json\n")[1].split("```")[0]
    (task,) = read_tasks(written(tmp_path / "own.jsonl", json.loads(example)))
    assert task.kind == "call"
