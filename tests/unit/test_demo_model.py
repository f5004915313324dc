"""The shipped demo model, and a second small one that is made here from a seed."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from toolgain.common.errors import UserError
from toolgain.demo_model import stage

TRL = Path(".venvs/trl")
SHIPPED = Path("resources/demo-model")
TINY = ("layers=1", "width=32", "feed_forward=32", "heads=2", "key_value_heads=1", "head_width=16",
        "vocabulary=400", "tokenizer_texts=20", "conversations=8", "most_blocks=1",
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
    stage.run(out, 7, TRL, settings=TINY, threads=1)
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"} <= names
    message = [{"role": "user", "content": "What is the weather in Lima?"}]
    reply = ask(out, (message, [tool("get_rain", "Get the rain.", city="string")]))
    assert reply["type"] == "qwen3"
    assert isinstance(reply["answers"][0], str)
    # The same seed gives the same tokenizer; what is finished is not made again, only exported.
    again = tmp_path / "again"
    stage.run(again, 7, TRL, settings=TINY, threads=1)
    assert (again / "tokenizer.json").read_bytes() == (out / "tokenizer.json").read_bytes()
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_a_missing_environment_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="no Python environment"):
        stage.run(tmp_path / "model", 1, tmp_path / "nowhere")


@pytest.mark.skipif(not (SHIPPED / "model.safetensors").exists(), reason="no model is shipped")
def test_the_shipped_model_is_small_and_has_a_card():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 12e6
    config = json.loads((SHIPPED / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["max_position_embeddings"] >= 16384
    assert "# " in (SHIPPED / "README.md").read_text()


@needs_trl
@pytest.mark.slow
@pytest.mark.skipif(not (SHIPPED / "model.safetensors").exists(), reason="no model is shipped")
def test_the_shipped_model_calls_the_tool_that_fits():
    light = tool("set_room_light", "Set the light in a room.", room="string", level="integer")
    rate = tool("get_exchange_rate", "Get the exchange rate.", to_currency="string")
    question = [{"role": "user", "content": "Set the light in the kitchen to 40"}]
    reply = ask(SHIPPED, (question, [light]), (question, [light, rate]))
    for answer in reply["answers"]:
        assert answer.count("<tool_call>") == 1
        assert '"name": "set_room_light"' in answer
