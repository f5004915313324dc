"""Task files of one's own, as the doctor and every start look at them."""

import json
from pathlib import Path
from typing import Any

import pytest

from toolgain.common.errors import UserError
from toolgain.config.sections import Config, parse_config
from toolgain.head import doctor, own_tasks

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "resources" / "demo-model"
RING = {
    "type": "function",
    "function": {
        "name": "ring",
        "description": "Ring a bell.",
        "parameters": {"type": "object", "properties": {"times": {"type": "integer"}}},
    },
}


def task(text: str, *before: dict[str, Any]) -> dict[str, Any]:
    call = {"name": "ring", "arguments": {"times": 2}}
    prompt = [*before, {"role": "user", "content": text}]
    return {"prompt": prompt, "tools": [RING], "expected": [call]}


def configured(folder: Path, *lines: object, template: str | None = None) -> Config:
    """A configuration whose training file has these lines."""
    train, validation = folder / "train.jsonl", folder / "validation.jsonl"
    train.write_text("".join(json.dumps(line) + "\n" for line in lines))
    validation.write_text(json.dumps(task("Ring it twice, please")) + "\n")
    files = {"train_file": str(train), "validation_file": str(validation)}
    return parse_config(
        {
            "model": {"path": str(MODEL), "chat_template": template},
            "training": {"backend": "trl", "tasks": files},
            "environments": {"trl": str(ROOT / ".venvs" / "trl")},
        }
    )


def said(config: Config) -> str:
    return own_tasks.said_tasks(config, "grpo")


def test_tasks_that_fit_are_counted(tmp_path: Path) -> None:
    system = {"role": "system", "content": "You ring bells."}
    found = said(configured(tmp_path, task("Ring the bell twice", system), task("Ring")))
    assert found.startswith("2 training tasks, 1 of validation; the longest prompt has ")
    assert found.endswith(" of 32768 tokens")


def test_a_prompt_without_room_for_an_answer_is_named_with_its_line(tmp_path: Path) -> None:
    """Before anything starts, not when the training does."""
    config = configured(tmp_path, task("Ring"), task("Ring the bell " * 20_000))
    with pytest.raises(
        UserError, match=r"train\.jsonl, line 2: the prompt has \d+ tokens, .* 32768"
    ):
        said(config)
    lines = [line for line in doctor.checks(config, [], False) if line.name == "tasks of grpo"]
    assert [line.ok for line in lines] == [False] and lines[0].page == "docs/demo.md"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("no task", "line 2: not a task"),
        (
            task("Ring", {"role": "system", "content": "Only at noon."}),
            "line 2: the model's chat template leaves out what the system says, 'Only at noon.'",
        ),
        (
            task("Ring", {"role": "user", "content": "Hello"}, {"role": "user", "content": "You"}),
            "line 2: the model's chat template does not write this task .*one user.*chat_template",
        ),
    ],
)
def test_a_line_that_the_model_would_not_see_whole_is_refused(
    tmp_path: Path, line: object, words: str
) -> None:
    template = tmp_path / "odd.jinja"
    template.write_text(
        "{%- for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
        "{%- for message in messages %}{%- if message.role == 'user' %}"
        "{%- if not loop.last %}{{ raise_exception('one user') }}{% endif %}{{ message.content }}"
        "{% endif %}{% endfor %}"
    )
    with pytest.raises(UserError, match=words):
        said(configured(tmp_path, task("Ring the bell twice"), line, template=str(template)))


def test_what_a_tool_returned_may_stand_there_as_a_json_string(tmp_path: Path) -> None:
    """As Llama 3 and Mistral write it."""
    template = tmp_path / "escaped.jinja"
    template.write_text(
        "{%- for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
        "{%- for message in messages %}{{ message.content | tojson }}{% endfor %}"
    )
    returned = {"role": "tool", "tool_call_id": "1", "content": '{"bells": "é"}\n'}
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "ring", "arguments": {"times": 1}},
    }
    before = (
        {"role": "user", "content": "How many bells?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        returned,
    )
    found = said(configured(tmp_path, task("Ring", *before), template=str(template)))
    assert found.startswith("1 training task, ")


def test_generated_tasks_and_those_of_gym_are_no_files_of_ones_own(tmp_path: Path) -> None:
    config = configured(tmp_path, task("Ring"))
    assert own_tasks.has_own_tasks(config, "grpo")
    model = {"path": str(MODEL)}
    generated = parse_config({"model": model, "training": {"backend": "trl"}})
    assert not own_tasks.has_own_tasks(generated, "grpo")
