"""A model whose answers would never end is refused before any job."""

import json
from pathlib import Path

import pytest
from markups import TEMPLATES

from toolgain.common.errors import UserError
from toolgain.models.endings import check_endings
from toolgain.models.rendering import special_tokens, template_of

ROOT = Path(__file__).parents[2]
TOKENS = {1: "<|endoftext|>", 2: "<|im_end|>"}


def model_with(folder: Path, ends: object, eos_token: str | None = None) -> Path:
    listed = {str(number): {"content": text} for number, text in TOKENS.items()}
    settings = {"added_tokens_decoder": listed, "eos_token": eos_token}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"eos_token_id": ends}))
    return folder


def check(folder: Path, template: str = TEMPLATES["hermes"]) -> None:
    check_endings(folder, template, special_tokens(folder), str(folder))


def test_a_base_model_with_a_chat_template_is_refused_with_the_key(tmp_path: Path) -> None:
    folder = model_with(tmp_path, 1)
    with pytest.raises(UserError, match=r"<\|im_end\|>.* are: <\|endoftext\|>.*eos_token_id"):
        check(folder)


def test_it_ends_by_its_configuration_by_its_tokenizer_or_by_its_generation(
    tmp_path: Path,
) -> None:
    check(model_with(tmp_path, 2))
    check(model_with(tmp_path, [1, 2]))
    check(model_with(tmp_path, 1, "<|im_end|>"))
    folder = model_with(tmp_path, 1)
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    check(folder)


def test_nothing_is_said_where_nothing_is_known(tmp_path: Path) -> None:
    check(model_with(tmp_path, 9))
    check(model_with(tmp_path, 1), "{{ messages[-1].content }}")
    check(model_with(tmp_path, 1), "{{ raise_exception('no') }}")


def test_the_demo_model_ends_its_answers() -> None:
    folder = ROOT / "resources" / "demo-model"
    check(folder, template_of(folder))
