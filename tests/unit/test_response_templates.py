"""What a chat template must do, and which response template reads what it writes."""

import json
from pathlib import Path

import made
import pytest
from markups import HEAD, NO_TOOLS, TAIL, TEMPLATES

from toolgain.common.errors import UserError
from toolgain.config.sections import ModelSection, parse_config
from toolgain.models import base
from toolgain.models.rendering import CannotRenderError, render, special_tokens, template_of
from toolgain.models.response_templates import NAMED, named_or_file, reader_of, recognised_template

ROOT = Path(__file__).parents[2]
SILENT = HEAD.replace("{%- if message.tool_calls %}", "{%- if false %}") + TAIL
"""It writes tools, and leaves the calls of an assistant's turn out."""


def model_with(folder: Path, template: str, **settings: object) -> Path:
    made.model(folder)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": template, **settings})
    )
    return folder


@pytest.mark.parametrize("markup", TEMPLATES)
def test_the_markup_of_a_chat_template_is_recognised(markup: str) -> None:
    assert recognised_template(TEMPLATES[markup], {}) == markup


def test_every_named_response_template_has_a_chat_template_that_it_reads() -> None:
    assert set(TEMPLATES) == set(NAMED)


def test_the_demo_models_calls_are_read_as_hermes() -> None:
    folder = ROOT / "resources" / "demo-model"
    assert recognised_template(template_of(folder), special_tokens(folder)) == "hermes"


def test_a_template_that_writes_no_tools_is_refused_with_the_key_to_set(tmp_path: Path) -> None:
    folder = model_with(tmp_path / "m", NO_TOOLS)
    with pytest.raises(UserError, match=r"writes no tools.*model\.chat_template"):
        base.record_base_model(ModelSection(path=str(folder)), tmp_path / "results" / "model.json")
    assert not (tmp_path / "results" / "model.json").exists()


def test_a_template_that_fails_on_a_question_with_a_tool_is_refused(tmp_path: Path) -> None:
    folder = model_with(
        tmp_path / "m", "{% if tools %}{{ raise_exception('no tools') }}{% endif %}"
    )
    with pytest.raises(UserError, match=r"no tools.*model\.chat_template"):
        base.check_template(ModelSection(path=str(folder)))


def test_a_template_that_leaves_system_messages_out_or_refuses_them_is_refused(
    tmp_path: Path,
) -> None:
    loop = "{%- for message in messages %}"
    assert "it writes tools" in base.check_template(
        ModelSection(path=str(model_with(tmp_path / "m", TEMPLATES["hermes"])))
    )
    for name, rule, said in (
        ("without", "{%- if message.role == 'system' %}{% continue %}{% endif %}", "leaves system"),
        (
            "refusing",
            "{%- if message.role == 'system' %}{{ raise_exception('no system') }}{% endif %}",
            r"takes no system message \(.*no system\)",
        ),
    ):
        folder = model_with(tmp_path / name, TEMPLATES["hermes"].replace(loop, loop + rule))
        with pytest.raises(UserError, match=rf"{said}.*model\.chat_template"):
            base.check_template(ModelSection(path=str(folder)))


def test_a_template_that_begins_a_prompt_twice_is_refused(tmp_path: Path) -> None:
    once = model_with(tmp_path / "once", "{{ bos_token }}" + TEMPLATES["hermes"], bos_token="<s>")
    assert "it writes tools" in base.check_template(ModelSection(path=str(once)))
    twice = "{{ bos_token }}<s>" + TEMPLATES["hermes"]
    folder = model_with(tmp_path / "twice", twice, bos_token="<s>")
    with pytest.raises(UserError, match=r"begins a prompt with <s> twice.*model\.chat_template"):
        base.check_template(ModelSection(path=str(folder)))


def test_a_template_of_ones_own_mends_it(tmp_path: Path) -> None:
    folder = model_with(tmp_path / "m", NO_TOOLS)
    mine = tmp_path / "mine.jinja"
    mine.write_text(TEMPLATES["llama3_json"])
    said = base.check_template(ModelSection(path=str(folder), chat_template=str(mine)), True)
    assert "calls are read by llama3_json" in said


def test_calls_that_nothing_reads_are_refused_with_the_key_to_set() -> None:
    odd = HEAD + "!call {{ message.tool_calls[0].function.name }}" + TAIL
    with pytest.raises(UserError, match=r"!call look_up_tide_table.*model\.response_template"):
        reader_of(odd, {}, None, "llama", "here")


def test_a_template_that_shows_no_calls_needs_a_name_unless_transformers_knows_the_model() -> None:
    assert "qwen3" in reader_of(SILENT, {}, None, "qwen3", "here")
    with pytest.raises(UserError, match=r"no call in an assistant's turn"):
        reader_of(SILENT, {}, None, "llama", "here")
    assert reader_of(SILENT, {}, NAMED["hermes"], "llama", "here") == "hermes"


def test_a_named_response_template_that_does_not_fit_is_refused_with_the_one_that_does(
    tmp_path: Path,
) -> None:
    folder = model_with(tmp_path / "m", TEMPLATES["qwen3_xml"])
    with pytest.raises(UserError, match=r"hermes does not read .*qwen3_xml does"):
        base.check_template(ModelSection(path=str(folder), response_template="hermes"))


def test_the_private_copy_carries_the_named_response_template(tmp_path: Path) -> None:
    folder = model_with(tmp_path / "m", TEMPLATES["hermes"])
    section = ModelSection(path=str(folder), response_template="hermes")
    base.record_base_model(section, tmp_path / "results" / "model.json")
    copy = Path(json.loads((tmp_path / "results" / "model.json").read_text())["path"])
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    assert settings["response_template"] == NAMED["hermes"]
    assert "response_template" not in (folder / "tokenizer_config.json").read_text()


def test_a_file_of_ones_own_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(NAMED["mistral"]))
    assert named_or_file(str(path)) == NAMED["mistral"]
    path.write_text('{"fields": {}}')
    with pytest.raises(UserError, match=r"fields\.tool_calls"):
        named_or_file(str(path))
    with pytest.raises(UserError, match="neither a JSON file nor one of hermes"):
        named_or_file("herms")


def test_a_tool_parser_of_vllm_is_refused_where_it_has_no_effect() -> None:
    serve = {"backend": "transformers", "tool_parser": "hermes"}
    values = {"model": {"path": "m"}, "evaluation": {"serve": serve}}
    with pytest.raises(UserError, match=r"no effect with backend transformers.*response_template"):
        parse_config(values)


def test_what_transformers_adds_to_jinja_is_there() -> None:
    text = (
        "{{ bos_token }}{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}"
        "{% generation %}{{ m | tojson }}{% endgeneration %}{% endfor %}{{ strftime_now('%%') }}"
    )
    messages = [{"a": "<é>"}, {"a": "b"}]
    assert render(text, {"bos_token": "B"}, messages, None, False) == 'B{"a": "<é>"}%'
    with pytest.raises(CannotRenderError, match="no"):
        render("{{ raise_exception('no') }}", {}, [], None, False)
    with pytest.raises(CannotRenderError):
        render("{% if %}", {}, [], None, False)


def test_the_template_for_tools_is_taken_where_there_are_several(tmp_path: Path) -> None:
    named = [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]
    folder = model_with(tmp_path / "m", "x", bos_token={"content": "<s>"})
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert template_of(folder) == "t"
