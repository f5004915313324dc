"""A model's own Python code runs only where the user has said so."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolgain.common.errors import UserError
from toolgain.config.sections import ModelSection
from toolgain.evaluation.identity import read_weights
from toolgain.models import base
from toolgain.models.remote_code import remote_code
from toolgain.records.model import Model
from toolgain.records.record import read_record

ROOT = Path(__file__).parents[2]
NEMOTRON = {
    "model_type": "nemotron_h",
    "auto_map": {
        "AutoConfig": "configuration_nemotron_h.NemotronHConfig",
        "AutoModelForCausalLM": "modeling_nemotron_h.NemotronHForCausalLM",
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that brings its own code, as Nemotron Nano v2 does."""
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(NEMOTRON))
    template = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ messages[0].content }}"
    (made / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    (made / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    return made


def test_without_a_word_of_the_user_the_model_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        base.record_base_model(ModelSection(path=str(folder)), tmp_path / "model.json")
    said = str(caught.value)
    assert "model.trust_remote_code is false" in said and str(folder) in said
    assert "configuration_nemotron_h.NemotronHConfig and 1 more" in said
    assert "with all your rights" in said
    assert not (tmp_path / "model.json").exists()


def test_with_it_the_record_hands_it_to_the_server(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.json"
    base.record_base_model(ModelSection(path=str(folder), trust_remote_code=True), out)
    assert read_record(Model, out, "model").trust_remote_code
    assert read_weights(out, "policy", None).trust_remote_code


def test_a_folder_evaluated_by_hand_needs_the_option(folder: Path) -> None:
    with pytest.raises(UserError, match="--trust-remote-code is false"):
        read_weights(folder, "policy", None)
    assert read_weights(folder, "policy", None, trust_remote_code=True).trust_remote_code


@pytest.mark.parametrize(
    ("auto_map", "found"),
    [
        ({}, []),
        ({"AutoTokenizer": [None, "tokenization.Fast"]}, ["tokenization.Fast"]),
        ({"AutoConfig": "someone/else--configuration.X"}, ["someone/else--configuration.X"]),
        ("text", []),
    ],
)
def test_every_form_of_the_map_is_read(folder: Path, auto_map: Any, found: list[str]) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "x"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto_map}))
    assert remote_code(folder) == found


@pytest.mark.parametrize("name", ["config.yaml", "recipes/nemotron-nano-9b-v2.yaml"])
def test_the_recipes_of_nemotron_nano_say_so(name: str) -> None:
    assert yaml.safe_load((ROOT / "config" / name).read_text())["model"]["trust_remote_code"]
