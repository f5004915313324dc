"""Tasks as rows of NeMo Gym's xlam_fc."""

import json
from pathlib import Path

from toolgain.common.files import read_jsonl
from toolgain.config.sections import TasksSection
from toolgain.tasks.files import read_tasks
from toolgain.tasks.gym_rows import row
from toolgain.tasks.stage import make_tasks
from toolgain.training.nemo_rl import gym


def test_the_tasks_stage_leaves_rows_that_the_cluster_path_reads(tmp_path: Path) -> None:
    make_tasks(TasksSection(train=20, validation=10), tmp_path, None)
    tasks = read_jsonl(tmp_path / "train.jsonl", "tasks")
    found = gym.read_gym_rows(tmp_path / "gym" / "train.jsonl")
    assert found.agents == {"xlam_fc_simple_agent": 20}
    assert [one["expected_answers"] for one in found.rows] == [t["expected"] for t in tasks]
    assert [one["task_id"] for one in found.rows] == [t["id"] for t in tasks]
    assert len(read_jsonl(tmp_path / "gym" / "validation.jsonl", "rows")) == 10


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
