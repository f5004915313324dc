"""Tasks as rows of NeMo Gym's xlam_fc."""

import json
from pathlib import Path

import pytest

from toolgain.common.errors import UserError
from toolgain.common.files import read_jsonl
from toolgain.config.sections import TasksSection
from toolgain.records.record import read_record
from toolgain.records.tasks import Tasks, check_task_files
from toolgain.tasks.files import read_tasks
from toolgain.tasks.gym_rows import row
from toolgain.tasks.stage import make_tasks
from toolgain.training.nemo_rl import gym


def test_the_tasks_stage_leaves_rows_that_the_cluster_path_reads(tmp_path: Path) -> None:
    make_tasks(TasksSection(train=20, validation=10), tmp_path, None)
    tasks = read_jsonl(tmp_path / "train.jsonl", "tasks")
    found = gym.read_gym_rows(tmp_path / "gym" / "train.jsonl")
    assert found.agents == {"xlam_fc_simple_agent": 20}
    assert found.no_change == sum(not task["expected"] for task in tasks) > 0
    assert [one["expected_answers"] for one in found.rows] == [t["expected"] for t in tasks]
    assert [one["task_id"] for one in found.rows] == [t["id"] for t in tasks]
    assert len(read_jsonl(tmp_path / "gym" / "validation.jsonl", "rows")) == 10


@pytest.mark.parametrize("name", ["train", "validation", "gym/train", "gym/validation"])
def test_an_edited_file_of_tasks_or_rows_is_noticed(tmp_path: Path, name: str) -> None:
    make_tasks(TasksSection(train=4, validation=4), tmp_path, None)
    record = tmp_path / "tasks.json"
    sums = read_record(Tasks, record, "tasks").sha256
    check_task_files(record, sums)
    file = tmp_path / f"{name}.jsonl"
    file.write_text(file.read_text().replace("0", "1"))
    with pytest.raises(
        UserError, match=rf"{name}\.jsonl is not the file that tasks\.json describes"
    ):
        check_task_files(record, sums)
    file.unlink()
    with pytest.raises(UserError, match=rf"{name}\.jsonl is missing beside tasks\.json"):
        check_task_files(record, sums)


def test_a_conversation_becomes_items_of_the_responses_api(tmp_path: Path) -> None:
    line = {
        "prompt": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Find Ann."},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "find", "arguments": {"who": "Ann"}}}],
            },
            {"role": "tool", "content": "ann@example.org"},
        ],
        "tools": [{"type": "function", "function": {"name": "find", "parameters": None}}],
        "expected": [],
    }
    (tmp_path / "own.jsonl").write_text(json.dumps(line) + "\n")
    (task,) = read_tasks(tmp_path / "own.jsonl")
    made = row(3, task)["responses_create_params"]
    assert isinstance(made, dict)
    assert made["input"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Find Ann."},
        {
            "type": "function_call",
            "call_id": "call-2-0",
            "name": "find",
            "arguments": '{"who": "Ann"}',
        },
        {"type": "function_call_output", "call_id": "call-2-0", "output": "ann@example.org"},
    ]
    assert made["tools"] == [
        {
            "type": "function",
            "strict": False,
            "name": "find",
            "parameters": {"type": "object", "properties": {}},
        }
    ]
