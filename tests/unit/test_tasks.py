"""What the training tasks promise: seeded, disjoint, verifiable, of the shares asked for."""

import json
from pathlib import Path
from random import Random

import pytest

from toolgain.common.errors import StageError
from toolgain.config.sections import ROOM_FOR_TOOLS, ROOM_FOR_WORDY_TOOLS, TasksSection
from toolgain.demo_model import everyday
from toolgain.demo_model.everyday_tasks import everyday_task
from toolgain.tasks import stage
from toolgain.tasks.generated import generate as g
from toolgain.tasks.generated.concepts import CONCEPTS
from toolgain.tasks.generated.parameters import KINDS, plain

KEYS = {
    "seed": 1,
    "train": 60,
    "validation": 30,
    "no_tool_share": 0.4,
    "wordy_share": 0.0,
    "max_prompt_chars": 700,
    "max_ngram_overlap": 0.01,
}


def test_a_seed_gives_the_same_tasks_and_another_seed_gives_others():
    first = g.generate(3, 20, "train", 0.3, 700)
    assert first == g.generate(3, 20, "train", 0.3, 700)
    assert first != g.generate(4, 20, "train", 0.3, 700)


def test_validation_functions_are_never_trained_on_whatever_the_seed():
    names = {"train": set(), "validation": set()}
    for split, found in names.items():
        for seed in (1, 2):
            for task in g.generate(seed, 150, split, 0.3, 700):
                found.update(tool["function"]["name"] for tool in task.tools)
    assert names["train"] and names["validation"]
    assert not names["train"] & names["validation"]
    sides = {g.split_of(concept) for concept in CONCEPTS}
    assert sides == {"train", "validation"}


@pytest.mark.parametrize("wordy_share", [0.0, 0.5])
def test_expected_calls_fit_the_tools_schemas(wordy_share: float):
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list}
    for task in g.generate(5, 300, "train", 0.2, 2400, wordy_share):
        schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in task.tools}
        assert len(schemas) == len(task.tools)
        for call in task.expected:
            schema = schemas[call["name"]]
            assert set(schema["required"]) <= set(call["arguments"]) <= set(schema["properties"])
            for name, value in call["arguments"].items():
                prop = schema["properties"][name]
                assert isinstance(value, types[prop["type"]])
                assert value in prop.get("enum", [value])
        assert bool(task.expected) == (task.kind != "none")


@pytest.mark.parametrize("wordy_share", [0.0, 0.5])
def test_values_can_be_copied_from_the_question(wordy_share: float):
    for task in g.generate(6, 200, "train", 0.0, 2400, wordy_share):
        for call in task.expected:
            for value in call["arguments"].values():
                if isinstance(value, str):
                    assert value in task.question or value[0].upper() + value[1:] in task.question


def test_kinds_names_styles_and_lengths_vary():
    tasks = g.generate(7, 400, "train", 0.35, 700)
    kinds = [task.kind for task in tasks]
    assert kinds.count("none") == 140
    assert {"call", "multiple", "parallel", "none"} == set(kinds)
    names = {tool["function"]["name"] for task in tasks for tool in task.tools}
    assert any("." in name for name in names)
    assert any("_" in name for name in names)
    assert any(any(c.isupper() for c in name) for name in names)
    assert {len(task.tools) for task in tasks} >= {1, 2, 3}
    assert max(map(g.prompt_chars, tasks)) <= 700


def test_wordy_tasks_are_longer_and_make_up_the_share_asked_for():
    tasks = g.generate(8, 300, "train", 0.35, 2400, 1.0)
    plain_tasks = g.generate(8, 300, "train", 0.35, 2400)
    lengths, plain_lengths = ([g.prompt_chars(t) for t in set_] for set_ in (tasks, plain_tasks))
    assert sum(lengths) > 1.5 * sum(plain_lengths)
    half = g.generate(8, 300, "train", 0.35, 2400, 0.5)
    assert sum(plain_lengths) < sum(map(g.prompt_chars, half)) < sum(lengths)
    assert sum(not task.expected for task in tasks) == round(0.35 * 300)
    assert max(lengths) <= 2400


def test_a_question_without_a_fitting_tool_shares_no_topic_with_the_tools():
    rng = Random(1)
    for _ in range(50):
        tools = g.make_tools(rng, "train", 2)
        other = g.make_tool(rng, "train")
        shared = {word.rstrip("s") for word in other.concept.words} & {
            word.rstrip("s") for tool in tools for word in tool.concept.words
        }
        if g.unrelated(other, tools):
            assert not shared - {"list"}


def test_every_kind_of_value_can_be_drawn_and_said():
    rng = Random(2)
    for name, kind in KINDS.items():
        for _ in range(20):
            value = kind.draw(rng)
            assert plain(value), name
            json.dumps(g._value(value))


def test_lists_of_numbers_hold_floats_as_bfcl_compares_their_entries_by_type():
    for kind in KINDS.values():
        if kind.items == "number":
            drawn = [kind.draw(Random(seed)) for seed in range(50)]
            assert all(type(entry) is float for value in drawn for entry in value.value)


def test_the_stage_writes_tasks_and_reports_their_shares(tmp_path: Path):
    stage.make_tasks(TasksSection.model_validate(KEYS), tmp_path, None)
    report = json.loads((tmp_path / "tasks.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert (report["train"], report["validation"]) == (60, 30) == (len(lines), 30)
    assert report["no_tool_share"] == pytest.approx(0.4)
    assert report["shared_functions"] == 0
    assert set(lines[0]) == {"id", "kind", "prompt", "tools", "expected"}
    assert report["contamination"]["compared_items"] == 0


def test_a_share_of_the_training_tasks_is_over_tools_written_by_hand(tmp_path: Path):
    keys = TasksSection.model_validate(KEYS | {"train": 100, "everyday_share": 0.4})
    stage.make_tasks(keys, tmp_path, None, everyday_task)
    drawn = g.generate(keys.seed, 100, "train", keys.no_tool_share, keys.max_prompt_chars)
    lines = (tmp_path / "train.jsonl").read_text().splitlines()
    made = [json.loads(line) for line in lines]
    assert [task["kind"] for task in made] == [task.kind for task in drawn]
    by_hand = {entry.about.rstrip(".") for entry in everyday.collection().entries}
    shown = [task["tools"][0]["function"].get("description", "") for task in made]
    found = sum(any(text.startswith(about) for about in by_hand) for text in shown)
    assert 25 <= found <= 55
    known = {tool["function"]["name"] for task in made for tool in task["tools"]}
    for line in (tmp_path / "validation.jsonl").read_text().splitlines():
        assert known.isdisjoint(t["function"]["name"] for t in json.loads(line)["tools"])


def test_the_stage_fails_when_tasks_share_too_much_with_bfcl(tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    stage.make_tasks(TasksSection.model_validate(KEYS), tmp_path / "first", None)
    lines = (tmp_path / "first" / "train.jsonl").read_text().splitlines()
    with (data / "BFCL_v3_simple.json").open("w") as file:
        for line in lines:
            task = json.loads(line)
            tools = [tool["function"] for tool in task["tools"]]
            json.dump({"id": task["id"], "question": [task["prompt"]], "function": tools}, file)
            file.write("\n")
    with pytest.raises(StageError, match=r"more than the limit of 1\.00 %"):
        stage.make_tasks(TasksSection.model_validate(KEYS), tmp_path / "second", data)
    assert not (tmp_path / "second" / "tasks.json").exists()


def test_the_least_room_that_the_configuration_allows_is_enough():
    assert len(g.generate(1, 60, "train", 0.35, ROOM_FOR_TOOLS)) == 60
    assert len(g.generate(1, 60, "train", 0.35, ROOM_FOR_WORDY_TOOLS, 1.0)) == 60
