"""Gym's prepared data: found, checked, counted."""

import json
import os
import subprocess
from pathlib import Path

import made
import pytest

from toolgain.common.errors import StageError, UserError
from toolgain.config.sections import TasksSection, TrainingSection
from toolgain.training.nemo_rl import gym
from toolgain.training.nemo_rl.refs import GYM_DATA, GYM_FOLDER, REFS


def section(train: Path | None = None, validation: Path | None = None) -> TrainingSection:
    given = {"train_file": train and str(train), "validation_file": validation and str(validation)}
    return made.training().model_copy(update={"tasks": TasksSection.model_validate(given)})


def test_given_files_are_copied_counted_and_described(tmp_path: Path) -> None:
    train, validation = made.data(tmp_path / "data", train=60, validation=8)
    out = tmp_path / "tasks"
    gym.copy_tasks(section(train, validation), made.cluster(tmp_path), out, None)
    found = json.loads((out / "tasks.json").read_text())
    assert (found["train"], found["validation"], found["tools"]) == (60, 8, 2)
    assert found["agents"]["train"] == {"workplace_assistant_simple_agent": 60}
    assert found["same_prompt_in_both"] == 0
    assert (out / "train.jsonl").read_text() == train.read_text()
    assert set(found["sha256"]) == {"train", "validation"}


def test_gym_s_own_place_is_looked_at(tmp_path: Path) -> None:
    root = made.checkout(tmp_path / "rl")
    made.data(root / GYM_FOLDER / GYM_DATA)
    found = gym.find(REFS["v0.7.0"], root, section().tasks)
    assert found["train"] == root / GYM_FOLDER / GYM_DATA / "train.jsonl"


@pytest.mark.parametrize(
    ("ref", "command"),
    [
        ("v0.5.0", "ng_prepare_data"),
        ("v0.6.0", "ng_prepare_data"),
        ("v0.7.0", "gym dataset collate"),
        ("v0.8.0", "gym dataset collate"),
        ("main", "gym dataset collate"),
    ],
)
def test_missing_data_says_the_command_that_makes_it(
    tmp_path: Path, ref: str, command: str
) -> None:
    root = made.checkout(tmp_path / "rl")
    expected = rf"; {command} \"\+config_paths.*train_preparation.*should_download"
    with pytest.raises(UserError, match=expected):
        gym.find(REFS[ref], root, section().tasks)


def test_a_token_is_read_from_the_environment_never_written_into_the_command(
    tmp_path: Path,
) -> None:
    text = gym.prepare_command(REFS["v0.7.0"], tmp_path, download=True)
    assert '"$HF_TOKEN" > env.yaml' in text
    # Whether the last command succeeds or fails, the file goes and the exit code stays.
    for verdict in (0, 7):
        end = f"cat env.yaml; exit {verdict}; :"
        last = text.splitlines()[-1].replace("gym dataset collate", end)
        done = subprocess.run(
            ["bash", "-c", last],
            cwd=tmp_path,
            env={"HF_TOKEN": "hf_x", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (verdict, "hf_token: hf_x\n")
        assert not (tmp_path / "env.yaml").exists()
    assert "umask 077" in text
    assert "should_download" not in gym.prepare_command(REFS["v0.7.0"], tmp_path, download=False)


@pytest.mark.parametrize(("ref", "python"), [("v0.5.0", "3.12"), ("main", "3.13.14")])
def test_gym_is_installed_by_itself_with_the_python_that_it_asks_for(
    tmp_path: Path, ref: str, python: str
) -> None:
    # `uv sync` would install NeMo RL's workspace, with another Python.
    lines = gym.prepare_command(REFS[ref], tmp_path, download=True).splitlines()
    assert lines[1].startswith(f"uv venv --no-project --python {python} .venv && uv pip install")
    assert not any("uv sync" in line for line in lines)


@pytest.mark.parametrize("ref", sorted(REFS))
def test_gym_of_v0_6_0_gets_no_second_model(tmp_path: Path, ref: str) -> None:
    # It ends with "Found 1 almost-server(s) with validation errors" (tried).
    text = gym.prepare_command(REFS[ref], tmp_path, download=False)
    assert ("vllm_model_for_training" in text) == (ref != "v0.6.0")
    assert "workplace_assistant.yaml" in text


def test_one_file_alone_is_refused(tmp_path: Path) -> None:
    train, _ = made.data(tmp_path)
    with pytest.raises(UserError, match=r"tasks\.validation_file is missing; give both"):
        gym.find(REFS["v0.7.0"], None, section(train).tasks)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (json.dumps(made.row(1, prepared=False)), "line 2, has no agent_ref.name"),
        ('{"agent_ref": {"name": "a"}}', r"line 2, has no responses_create_params\.input"),
        ("{", "line 2, is not JSON"),
    ],
)
def test_a_row_that_is_not_prepared_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(made.row(0)) + "\n" + line + "\n")
    with pytest.raises(UserError, match=message):
        gym.read_gym_rows(path)


@pytest.mark.parametrize(
    "tools",
    [
        [{"type": "function", "function": {"name": "find", "parameters": {}}}],
        ["find"],
        '[{"type": "function", "name": "find"}]',
    ],
)
def test_tools_that_gym_refuses_are_refused_beforehand(tmp_path: Path, tools: object) -> None:
    # Gym's real servers answer such rows with HTTP 422 (tests/environments).
    row = made.row(0)
    row["responses_create_params"]["tools"] = tools
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"line 1: responses_create_params\.tools is not .*422"):
        gym.read_gym_rows(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("\n")
    with pytest.raises(UserError, match="holds no rows"):
        gym.read_gym_rows(tmp_path / "train.jsonl")


def test_rows_that_share_a_question_with_bfcl_are_refused(tmp_path: Path) -> None:
    question = made.row(3)["responses_create_params"]["input"][1]["content"]
    item = {
        "id": "simple_0",
        "question": [[{"role": "user", "content": f"Please do so now: {question} Thank you."}]],
        "function": [{"name": "calendar.delete_event"}],
    }
    bfcl = tmp_path / "bfcl"
    (bfcl / "multi_turn_func_doc").mkdir(parents=True)
    (bfcl / "BFCL_v3_simple.json").write_text(json.dumps(item) + "\n")
    train, validation = made.data(tmp_path / "data")
    rows = [json.loads(line) for line in train.read_text().splitlines()]
    for row in rows:
        row["responses_create_params"]["input"][1]["content"] += " It is at nine on Friday morning."
    train.write_text("\n".join(map(json.dumps, rows)) + "\n")
    found = section(train, validation)
    gym.copy_tasks(found, made.cluster(tmp_path), tmp_path / "out", bfcl)
    said = json.loads((tmp_path / "out" / "tasks.json").read_text())["contamination"]
    # The tools have the names of BFCL's: every row offers the same ones, so it is only told.
    assert said["name_overlap"] == 1.0
    assert said["ngram_overlap"] == 0.0
    item["question"][0][0]["content"] = rows[0]["responses_create_params"]["input"][1]["content"]
    (bfcl / "BFCL_v3_simple.json").write_text(json.dumps(item) + "\n")
    with pytest.raises(StageError, match=r"share 8 words in a row with BFCL v3"):
        gym.copy_tasks(found, made.cluster(tmp_path), tmp_path / "out", bfcl)
