"""A private copy of a model, with its chat template patched by counted replacements."""

import json
import os
from pathlib import Path

import made
import pytest

from toolgain.common.errors import UserError
from toolgain.config.sections import ModelSection
from toolgain.models import base, chat_template
from toolgain.models.rendering import template_of
from toolgain.training.nemo_rl import prompts

# The tags of the model's template that the patch is about, in a template of our own.
CUT = (
    "{%- if messages[-1]['role'] == 'assistant' -%}"
    "{%- set ns.last_turn_assistant_content = messages[-1]['content'].strip() -%}"
    "{%- set messages = messages[:-1] -%}"
    "{%- endif -%}"
)
BEFORE = "{%- set ns = namespace(enable_thinking=true) -%}A"
# The model's template also lets a message switch it on and off.
SWITCHED = (
    BEFORE
    + "{%- for m in messages -%}{%- if '/think' in m.content -%}"
    + "{%- set ns.enable_thinking = true -%}"
    + "{%- elif '/no_think' in m.content -%}{%- set ns.enable_thinking = false -%}{%- endif -%}"
    + "{%- endfor -%}"
)
AFTER = "{{ tools | tojson }}{%- for message in messages -%}{{ message.content }}{%- endfor -%}"


def with_template(folder: Path, text: str) -> Path:
    made.model(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": text, "x": 1}))
    return folder


def test_both_replacements_are_made_once(tmp_path: Path) -> None:
    text = chat_template.patched(BEFORE + CUT + AFTER, "nemotron-nano-v2", "here")
    assert text == BEFORE.replace("true", "false") + AFTER


def test_white_space_between_trimming_tags_means_nothing() -> None:
    spaced = CUT.replace("-%}{%-", "-%}\n    {%-")
    text = chat_template.patched(BEFORE + spaced + AFTER, "nemotron-nano-v2", "here")
    assert text == BEFORE.replace("true", "false") + AFTER


def test_what_a_message_may_switch_is_left_as_it_is() -> None:
    text = chat_template.patched(SWITCHED + CUT + AFTER, "nemotron-nano-v2", "here")
    assert text == SWITCHED.replace("(enable_thinking=true", "(enable_thinking=false") + AFTER


@pytest.mark.parametrize("begin", [BEFORE, SWITCHED])
def test_a_patched_template_is_left_as_it_is(begin: str) -> None:
    once = chat_template.patched(begin + CUT + AFTER, "nemotron-nano-v2", "here")
    assert chat_template.patched(once, "nemotron-nano-v2", "here") == once


@pytest.mark.skipif("NEMOTRON_TEMPLATE" not in os.environ, reason="NEMOTRON_TEMPLATE names no file")
def test_the_model_s_own_template_keeps_earlier_turns_once_patched() -> None:
    """The template of the model's card, in a file named by NEMOTRON_TEMPLATE."""
    own = Path(os.environ["NEMOTRON_TEMPLATE"]).read_text()
    before = prompts.two_turns(own, {})
    assert not before.ok and "rewrites an earlier turn" in before.message
    after = prompts.two_turns(chat_template.patched(own, "nemotron-nano-v2", "here"), {})
    assert after.ok, after.message


@pytest.mark.parametrize(
    "text", ["{{ messages }}", BEFORE + BEFORE + CUT, BEFORE + CUT + CUT, CUT + AFTER]
)
def test_another_template_is_refused_not_passed_by(text: str) -> None:
    with pytest.raises(UserError, match="times, expected once"):
        chat_template.patched(text, "nemotron-nano-v2", "here")


def test_the_copy_links_the_weights_and_leaves_the_model_alone(tmp_path: Path) -> None:
    source = with_template(tmp_path / "base", BEFORE + CUT + AFTER)
    before = base.files_of(source)
    out = tmp_path / "results" / "model.json"
    section = ModelSection(path=str(source), patch="nemotron-nano-v2")
    base.record_base_model(section, out)
    written = json.loads(out.read_text())
    copy = Path(written["path"])
    assert copy != source and copy.is_relative_to(tmp_path / "results" / "work" / "models")
    assert written["name"] == "base"
    assert all(path.is_symlink() for path in copy.glob("*.safetensors"))
    assert template_of(copy) == BEFORE.replace("true", "false") + AFTER
    assert json.loads((copy / "tokenizer_config.json").read_text())["x"] == 1
    assert base.files_of(source) == before
    assert written["digest"] != "" and written["files"]["config.json"] == before["config.json"]
    # A second time gives the same copy.
    base.record_base_model(section, out)
    assert json.loads(out.read_text()) == written


def test_a_given_template_takes_the_model_s_place(tmp_path: Path) -> None:
    source = with_template(tmp_path / "base", "old")
    mine = "mine {{ tools }} {{ messages }}"
    (tmp_path / "mine.jinja").write_text(mine)
    out = tmp_path / "results" / "model.json"
    base.record_base_model(
        ModelSection(path=str(source), chat_template=str(tmp_path / "mine.jinja")), out
    )
    assert template_of(Path(json.loads(out.read_text())["path"])) == mine


def test_a_model_without_a_template_is_named(tmp_path: Path) -> None:
    made.model(tmp_path / "m")
    (tmp_path / "m" / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError, match="has no chat template"):
        template_of(tmp_path / "m")
