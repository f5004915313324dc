"""The shipped demo model, and a second small one that is made here from a seed."""

import json
import os
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolgain.bfcl.data import installed_data
from toolgain.common.errors import StageError, UserError
from toolgain.demo_model import everyday, programs, questions, services, stage
from toolgain.demo_model.everyday_tasks import everyday_task
from toolgain.demo_model.slips import Marks, with_slips
from toolgain.demo_model.text import Mixture, make_conversation, planned_topic
from toolgain.demo_model.wrong_calls import make_wrong_call
from toolgain.tasks import contamination
from toolgain.tasks.generated.concepts import CONCEPTS, Concept
from toolgain.tasks.generated.generate import split_of
from toolgain.tasks.generated.task import Request
from toolgain.tasks.generated.words import NUMBER_WORDS

TRL = Path(".venvs/trl")
BFCL = Path(".venvs/bfcl")
WIDE = Mixture(
    max_tools=4, max_turns=3, decline=0.3, parallel=0.2, over_call=0.0, services=0.8, reasoned=True,
    everyday=0.5, programs=0.2, planned=True,
)  # fmt: skip
SHIPPED = Path("resources/demo-model")
TINY = ("layers=1", "width=32", "feed_forward=32", "heads=2", "key_value_heads=2", "head_width=16",
        "vocabulary=400", "tokenizer_texts=20", "tokens=30000", "block_tokens=5000",
        "batch_tokens=2048")  # fmt: skip

ASK = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
answers = []
for messages, tools in json.load(sys.stdin):
    ids = tokenizer.apply_chat_template(
        messages, tools=tools, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**ids, max_new_tokens=96)
    answers.append(tokenizer.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))
print(json.dumps({"type": model.config.model_type, "answers": answers}))
"""

needs_trl = pytest.mark.skipif(not TRL.exists(), reason="the trl environment is not set up")


def tool(name: str, about: str, **properties: str) -> dict:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": about,
            "parameters": {
                "type": "object",
                "properties": {
                    key: {"type": kind, "description": f"The {key}"}
                    for key, kind in properties.items()
                },
                "required": list(properties),
            },
        },
    }


def ask(model: Path, *questions: tuple[list, list]) -> dict:
    done = subprocess.run(
        [TRL / "bin/python", "-c", ASK, model],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout.splitlines()[-1])


@needs_trl
@pytest.mark.slow
def test_a_second_small_model_is_made_from_a_seed_and_answers(tmp_path: Path):
    out = tmp_path / "model"
    stage.pretrain_demo_model(out, 7, TRL, settings=TINY, threads=1)
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"} <= names
    message = [{"role": "user", "content": "What is the weather in Lima?"}]
    reply = ask(out, (message, [tool("get_rain", "Get the rain.", city="string")]))
    assert reply["type"] == "qwen3"
    assert isinstance(reply["answers"][0], str)
    # What is finished is not made again, only exported; that the text comes from another process
    # changes nothing.
    again = tmp_path / "again"
    stage.pretrain_demo_model(again, 7, TRL, settings=TINY, threads=1)
    assert (again / "tokenizer.json").read_bytes() == (out / "tokenizer.json").read_bytes()
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


ATTEND = """
import torch
from torch.nn.functional import scaled_dot_product_attention
from toolgain.demo_model.attention import forward
torch.manual_seed(1)
# Numbers of bfloat16 have steps of 1/128 of their size at worst.
for length, dtype, error in [(n, *d) for n in (1, 63, 64, 200)
                             for d in ((torch.float32, 1e-5), (torch.bfloat16, 0.03))]:
    exact = [torch.randn(2, 3, length, 16, requires_grad=True) for _ in range(3)]
    rounded = [x.detach().to(dtype).requires_grad_() for x in exact]
    whole = scaled_dot_product_attention(*exact, is_causal=True)
    blocks = forward(None, *rounded, None, 0.25)[0].transpose(1, 2)
    wanted = torch.randn(whole.shape)
    (whole * wanted).sum().backward()
    assert blocks.dtype == dtype
    (blocks * wanted).sum().backward()
    pairs = [(whole, blocks), *((a.grad, b.grad) for a, b in zip(exact, rounded, strict=True))]
    for a, b in pairs:
        assert (a - b).abs().max() <= error * a.abs().max() + 1e-6, (length, a, b)
"""


@needs_trl
@pytest.mark.slow
def test_attention_in_blocks_is_attention():
    done = subprocess.run(
        [TRL / "bin/python", "-c", ATTEND],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "workflow", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


PACE = """
import time
from dataclasses import replace
from toolgain.demo_model.pretrain import PretrainProgress, PretrainRecipe
recipe = replace(PretrainRecipe(), tokens=10**12)
half_a_minute_ago = time.monotonic() - 30
progress = PretrainProgress(recipe, 60, half_a_minute_ago, first=100, learned=130)
assert 0.5 <= progress.at(130) < 0.51
# Thirty seconds for thirty blocks: fifteen more than the next one are a quarter of the minute.
assert 0.75 <= progress.at(146) < 0.76
assert progress.at(300) == 1
"""


@needs_trl
@pytest.mark.slow
def test_text_that_is_made_ahead_is_that_of_the_time_at_which_it_is_learned():
    done = subprocess.run(
        [TRL / "bin/python", "-c", PACE],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "workflow", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


@needs_trl
@pytest.mark.slow
def test_a_killed_pretraining_resumes_to_the_same_model(tmp_path: Path):
    short = [*TINY[:-3], "tokens=10000", *TINY[-2:]]
    for folder, workers in (("cut", 0), ("whole", 1)):
        out = tmp_path / folder / "model"
        if folder == "cut":
            stage.pretrain_demo_model(out, 7, TRL, settings=[*short, "horizon=30000"], threads=1)
        stage.pretrain_demo_model(out, 7, TRL, settings=TINY, threads=1, workers=workers)
    cut, whole = (tmp_path / name / "model/model.safetensors" for name in ("cut", "whole"))
    assert cut.read_bytes() == whole.read_bytes()


@needs_trl
@pytest.mark.slow
def test_the_script_for_a_gpu_packs_up_a_model_on_a_cpu(tmp_path: Path):
    out = tmp_path / "out"
    subprocess.run(
        ["tools/pretrain_demo_model.sh", out, *TINY],
        check=True,
        env={**os.environ, "PYTHON": str(TRL / "bin/python"), "DEVICE": "cpu", "WORKERS": "1",
             "SECONDS_LIMIT": "600", "WORK": str(tmp_path / "work")},
    )  # fmt: skip
    assert "tokens/s" in (out / "pretrain.log").read_text()
    assert all(path.stat().st_size < 16 * 2**20 for path in out.iterdir())
    assert len(list(out.iterdir())) <= 8
    with tarfile.open(out / "model.tar.gz") as packed:
        assert {"model/config.json", "model/model.safetensors", "model/curve.jsonl"} <= set(
            packed.getnames()
        )


def fits(value: object, schema: dict) -> bool:
    """Whether a value has the type that its schema names, inside as well."""
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list,
             "object": dict}  # fmt: skip
    if "type" not in schema:
        return True
    named = schema["type"]
    kind = named if isinstance(named, str) else named[0]
    if not isinstance(value, types[kind]) or (kind != "boolean" and isinstance(value, bool)):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, list) and schema["items"].get("type") == "number":
        # BFCL compares the entries of a list by type as well.
        return all(type(part) is float for part in value)
    if isinstance(value, list):
        return all(fits(part, schema["items"]) for part in value)
    if isinstance(value, dict):
        return all(fits(part, schema["properties"][key]) for key, part in value.items())
    return True


@given(st.integers(min_value=0))
@settings(max_examples=200, deadline=None)
def test_every_call_of_a_service_fits_its_schema(seed: int):
    rng = Random(seed)
    tools = services.make_services(rng, "train", rng.randint(1, 4))
    assert len({tool.name for tool in tools}) == len(tools)
    for tool in tools:
        assert not contamination.is_reserved(tool.name)
        assert split_of(Concept((), tool.words, (), ())) == "train"
        parameters = tool.schema["function"]["parameters"]
        for call in questions.question_for(rng, tool, calls=rng.randint(1, 3)).calls:
            assert call["name"] == tool.name
            assert set(parameters["required"]) <= set(call["arguments"])
            for name, value in call["arguments"].items():
                assert fits(value, parameters["properties"][name]), (name, value)


def test_a_question_for_no_service_expects_no_call():
    rng = Random(1)
    tools = services.make_services(rng, "train", 3)
    for _ in range(50):
        asked = questions.ask_elsewhere(rng, "train", tools)
        assert asked.calls == () and asked.text and asked.topic


@given(st.integers(min_value=0))
@settings(max_examples=100, deadline=None)
def test_a_call_where_no_tool_fits_is_whole_and_fits_its_schema(seed: int):
    rng = Random(seed)
    made = make_conversation(rng, replace(WIDE, decline=1.0, over_call=1.0, services=0.7))
    functions = {tool["function"]["name"]: tool["function"]["parameters"] for tool in made.tools}
    for index in made.over_calls:
        (called,) = made.messages[index]["tool_calls"]
        parameters = functions[called["function"]["name"]]
        arguments = called["function"]["arguments"]
        assert set(arguments) == set(parameters["required"])
        for name, value in arguments.items():
            assert fits(value, parameters["properties"][name]), (name, value)


def test_a_wrong_call_is_of_the_nearest_tool_with_what_the_question_says():
    request = Request("Repair the red bicycle of Ada Byron for 30 euros", (), "red bicycle")
    tools = [
        tool("get_weather", "Get the weather.", city="string"),
        tool("paint_bicycle", "Paint a bicycle.", owner="string", euros="integer", note="string"),
    ]
    assert make_wrong_call(Random(1), tools, request) == {
        "name": "paint_bicycle",
        "arguments": {"owner": "Ada Byron", "euros": 30, "note": "red bicycle"},
    }


@pytest.mark.parametrize("entry", everyday.collection().entries, ids=lambda entry: entry.name)
def test_every_call_of_a_tool_written_by_hand_fits_its_schema(entry: everyday.Entry):
    named = set(entry.name.replace(".", "_").split("_"))
    assert not any(
        set(concept.words) <= named for concept in CONCEPTS if split_of(concept) == "validation"
    )
    rng = Random(entry.name)
    for _ in range(3 * len(entry.questions)):
        offer = everyday.make_offer(rng, entry)
        assert not contamination.is_reserved(offer.name)
        parameters = offer.schema["function"]["parameters"]
        asked = everyday.everyday_question(rng, offer, calls=rng.randint(1, 3))
        assert asked.topic and asked.topic.lower() in asked.text.lower()
        for call in asked.calls:
            assert call["name"] == offer.name
            assert set(parameters["required"]) <= set(call["arguments"])
            for name, value in call["arguments"].items():
                assert fits(value, parameters["properties"][name]), (name, value, asked.text)


def test_a_question_leaves_out_chooses_and_implies():
    said = "Order {count} (tea|coffee)[ with milk=>milk=true] to my <desk> (today)"
    assert everyday.names_of(everyday.parse_question(said)) == ["count"]
    with pytest.raises(ValueError, match="not closed"):
        everyday.parse_question("Order tea[ with milk")
    with pytest.raises(ValueError, match="is no integer"):
        everyday.fixed("2.5", "integer")
    rng = Random(1)
    (entry,) = [e for e in everyday.collection().entries if e.name == "pizza.choose"]
    asked = [everyday.everyday_question(rng, everyday.make_offer(rng, entry)) for _ in range(60)]
    given_as = []
    for one in asked:
        (call,) = one.calls
        values = {name.lower().replace("_", ""): v for name, v in call["arguments"].items()}
        wanted = "without extra cheese" not in one.text if "extra cheese" in one.text else None
        given_as.append(values.get("extracheese"))
        assert given_as[-1] is wanted
    assert set(given_as) == {True, False, None}


def test_values_that_cannot_differ_ask_for_one_call(tmp_path: Path):
    text = """
> shelf.look | Looks at a place.
- row int:13-13 | The row
- place int:14-14 | The place in it
? Look at <shelf> {row}, place {place}.
"""
    (tmp_path / "shelf.txt").write_text(text)
    (entry,) = everyday.read_collection([tmp_path / "shelf.txt"]).entries
    for seed in range(40):
        rng = Random(seed)
        asked = everyday.everyday_question(rng, everyday.make_offer(rng, entry), calls=3)
        assert len(asked.calls) == 1


def test_each_of_several_calls_has_the_values_that_are_said_for_it(tmp_path: Path):
    text = """
> shelf.look | Looks at a place.
- row int:1-9 | The row
- place int:1000-1999 | The place in it
? Look at <shelf> row {row}, place {place}.
"""
    (tmp_path / "shelf.txt").write_text(text)
    (entry,) = everyday.read_collection([tmp_path / "shelf.txt"]).entries
    for seed in range(300):
        rng = Random(seed)
        offer = everyday.make_offer(rng, entry)
        asked = everyday.everyday_question(rng, offer, calls=2)
        said = asked.text.replace(",", "")
        assert len(asked.calls) == 2
        for call in asked.calls:
            for value in list(call["arguments"].values())[:2]:
                word = dict(enumerate(NUMBER_WORDS)).get(value, value)
                assert re.search(rf"\b({value}|{word})\b", said)


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("@metal: gold; silver\n")
    with pytest.raises(ValueError, match="the set 'metal' is there twice"):
        everyday.read_collection(sorted(tmp_path.glob("*.txt")))
    names = [entry.name for entry in everyday.collection().entries]
    assert len(set(names)) == len(names)


@given(st.integers(min_value=0))
@settings(max_examples=50, deadline=None)
def test_a_question_for_no_tool_written_by_hand_is_of_another_group(seed: int):
    rng = Random(seed)
    offers = everyday.make_offers(rng, rng.randint(1, 6))
    assert len({offer.entry.name for offer in offers}) == len(offers)
    asked = everyday.ask_beyond(rng, offers)
    assert asked.calls == () and asked.text and asked.topic


@given(st.integers(min_value=0))
@settings(max_examples=200, deadline=None)
def test_every_call_of_a_program_fits_its_schema_and_copies_the_question(seed: int):
    rng = Random(seed)
    made = programs.make_programs(rng, "train", rng.randint(1, 3))
    for program in made:
        assert not contamination.is_reserved(program.name)
        assert split_of(Concept((), program.words, (), ())) == "train"
        parameters = program.schema["function"]["parameters"]
        asked = programs.program_question(rng, program, calls=rng.randint(1, 3))
        for call in asked.calls:
            assert call["name"] == program.name
            assert set(parameters["required"]) <= set(call["arguments"])
            for name, value in call["arguments"].items():
                schema = parameters["properties"][name]
                assert isinstance(value, list) or fits(value, schema), (name, value)
                if isinstance(value, str) and value not in ("true", "false"):
                    assert value in asked.text
    refused = programs.ask_other_program(rng, "train", made)
    assert refused.calls == () and refused.topic


def test_a_plan_lists_what_several_calls_differ_in():
    at = [{"name": "time", "arguments": {"city": city, "zone": "UTC"}} for city in ("Lima", "Rome")]
    assert planned_topic("time", at) == "time: Lima; Rome"
    assert planned_topic("time", at[:1]) == "time"
    assert (
        planned_topic("time", [*at, {"name": "rain", "arguments": {}}]) == "time: time; time; rain"
    )
    long = [
        {"name": "say", "arguments": {"text": f"{word} and what comes after it"}} for word in "ab"
    ]
    assert planned_topic("words", long) == "words: a and what comes after; b and what comes after"
    areas = [{"name": "area", "arguments": {"base": b, "height": h}} for b, h in ((9, 7), (4, 2))]
    assert planned_topic("area", areas) == "area: 9 7; 4 2"
    asked = "What is the area with height 7 and base 9, and with height 2 and base 4?"
    assert planned_topic("area", areas, asked) == "area: 7 9; 2 4"


@given(st.integers(min_value=0))
@settings(max_examples=200, deadline=None)
def test_slips_are_shown_and_not_learned(seed: int):
    rng = Random(seed)
    ids = list(range(100))
    weights = [float(i >= 40) for i in ids]
    marks = Marks(49, 55, 80, frozenset({62}), frozenset({63, 87}))
    # Calls of every length, the shortest ones too.
    calls = [(45, 45 + rng.randint(1, 20)), (66, 66 + rng.randint(1, 24))]
    others = [200] * rng.randint(0, 20)
    found, given_weights = with_slips(rng, (ids, weights), calls, others, marks)
    assert len(found) == len(given_weights)
    # What is learned are tokens of the answer as it should be, in order, each with its own weight.
    learned = [token for token, weight in zip(found, given_weights, strict=True) if weight > 0]
    assert learned == sorted(set(learned)) and set(learned) <= set(ids[40:])
    assert len(learned) >= 60 - 2 * 3
    assert found[:40] == ids[:40] and found[-10:] == ids[-10:]


@given(st.integers(min_value=0), st.sampled_from(("call", "multiple", "parallel", "none")))
@settings(max_examples=100, deadline=None)
def test_a_task_over_tools_written_by_hand_is_of_its_kind(seed: int, kind: str):
    task = everyday_task(Random(seed), kind, "id")
    functions = {tool["function"]["name"]: tool["function"]["parameters"] for tool in task.tools}
    assert len(functions) == len(task.tools)
    few, most = {"call": (1, 1), "multiple": (1, 1), "parallel": (2, 3), "none": (0, 0)}[kind]
    assert few <= len(task.expected) <= most
    assert len(task.tools) > (kind == "multiple")
    for call in task.expected:
        for name, value in call["arguments"].items():
            assert fits(value, functions[call["name"]]["properties"][name])


def test_services_have_every_json_type():
    rng = Random(2)
    schemas = [json.dumps(tool.schema) for tool in services.make_services(rng, "train", 60)]
    for kind in ("string", "integer", "number", "boolean", "array", "object"):
        assert any(f'"type": "{kind}"' in schema for schema in schemas)
    for word in ('"enum"', '"default"', '"null"]', '"required": []'):
        assert any(word in schema for schema in schemas)


@pytest.mark.skipif(not BFCL.exists(), reason="the bfcl environment is not set up")
def test_the_text_shares_nothing_with_bfcl():
    rng = Random(3)
    made = [make_conversation(rng, WIDE) for _ in range(600)]
    tasks = [
        {"prompt": [m for m in c.messages if m["role"] == "user"], "tools": c.tools} for c in made
    ]
    found = contamination.overlap(tasks, installed_data(BFCL))
    assert found.name_overlap == 0.0
    assert found.ngram_overlap == 0.0


def test_a_missing_environment_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="no Python environment"):
        stage.pretrain_demo_model(tmp_path / "model", 1, tmp_path / "nowhere")


def test_what_ended_a_pretraining_is_one_line_and_a_log(tmp_path: Path):
    with pytest.raises(StageError, match=r"ended with code 1: \w*Error.* Log: .*pretrain\.log"):
        stage.pretrain_demo_model(
            tmp_path / "model", 1, Path(sys.prefix), settings=["tokens=many"], threads=1
        )


@pytest.mark.skipif(not (SHIPPED / "model.safetensors").exists(), reason="no model is shipped")
def test_the_shipped_model_is_small_and_has_a_card():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 12e6
    config = json.loads((SHIPPED / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["max_position_embeddings"] >= 16384
    assert "# " in (SHIPPED / "README.md").read_text()


def test_the_shipped_tokenizer_names_a_class_that_transformers_4_has_too():
    settings = json.loads((SHIPPED / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"


@needs_trl
@pytest.mark.slow
@pytest.mark.skipif(not (SHIPPED / "model.safetensors").exists(), reason="no model is shipped")
def test_the_shipped_model_calls_the_tool_that_fits():
    weather = tool("get_weather", "Get the weather of a city.", city="string")
    rate = tool("get_exchange_rate", "Get the exchange rate.", to_currency="string")
    asked = {"What is the weather in Lima?": (weather, {"city": "Lima"}),
             "What is the exchange rate to EUR?": (rate, {"to_currency": "EUR"})}  # fmt: skip
    reply = ask(
        SHIPPED, *(([{"role": "user", "content": said}], [weather, rate]) for said in asked)
    )
    for answer, (fitting, arguments) in zip(reply["answers"], asked.values(), strict=True):
        ((before, call),) = [answer.removesuffix("\n</tool_call>").split("<tool_call>\n")]
        assert before
        assert json.loads(call) == {"name": fitting["function"]["name"], "arguments": arguments}
