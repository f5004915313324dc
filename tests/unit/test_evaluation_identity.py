"""What makes two evaluations the same, and which differences give another work folder."""

import json
from pathlib import Path

import pytest

from toolgain.bfcl import data
from toolgain.common.errors import UserError
from toolgain.config.sections import EvaluationSection
from toolgain.evaluation.identity import EvaluatedModel, comparable, read_weights, work_key

ROOT = Path(__file__).parents[2]
ITEMS = data.load_items(data.installed_data(ROOT / ".venvs" / "bfcl"), ["live_relevance"])
DEMO = str(ROOT / "resources" / "demo-model")
BASE = EvaluatedModel(DEMO, "a" * 64, "base", "policy")


def key(weights: EvaluatedModel = BASE, **section: object) -> str:
    values = {"serve": {"backend": "transformers"}} | section
    made = EvaluationSection.model_validate(values)
    facts = comparable(made, ITEMS, weights, ROOT / ".venvs" / "bfcl", ROOT / ".venvs" / "trl")
    return work_key(weights, facts)


def test_other_weights_or_another_way_of_asking_is_another_folder() -> None:
    keys = [
        key(),
        key(EvaluatedModel(DEMO, "b" * 64, "base", "policy")),
        key(sampling={"temperature": 0.6}),
        key(serve={"backend": "transformers", "dtype": "float32"}),
        key(serve={"backend": "transformers", "max_model_len": 4096}),
        key(serve={"backend": "vllm", "tool_parser": "hermes"}),
        key(alias="other"),
    ]
    assert len(set(keys)) == len(keys)


def test_how_fast_it_is_asked_changes_nothing() -> None:
    assert key(parallelism=3, retry={"rounds": 9}, max_error_share=0.1) == key()


def test_other_items_are_another_folder() -> None:
    section = EvaluationSection.model_validate({"serve": {"backend": "transformers"}})
    envs = ROOT / ".venvs" / "bfcl", ROOT / ".venvs" / "trl"
    fewer = {"live_relevance": ITEMS["live_relevance"][1:]}
    facts = [comparable(section, items, BASE, *envs) for items in (ITEMS, fewer)]
    assert facts[0]["items"] != facts[1]["items"]
    assert work_key(BASE, facts[0]) != work_key(BASE, facts[1])


def test_versions_come_from_the_environments() -> None:
    section = EvaluationSection.model_validate({"serve": {"backend": "transformers"}})
    facts = comparable(section, ITEMS, BASE, ROOT / ".venvs" / "bfcl", ROOT / ".venvs" / "trl")
    assert facts["scorer"] == "nvidia-bfcl 26.3"
    assert facts["harness"] == "nemo-evaluator 0.2.8"
    assert facts["server_version"]


def test_what_reads_the_calls_is_recorded_by_its_name() -> None:
    envs = ROOT / ".venvs" / "bfcl", ROOT / ".venvs" / "trl"
    for serve, name in (
        ({"backend": "transformers"}, "hermes"),
        ({"backend": "vllm", "tool_parser": "mistral"}, "mistral"),
        ({"backend": "vllm"}, None),
    ):
        section = EvaluationSection.model_validate({"serve": serve})
        assert comparable(section, ITEMS, BASE, *envs)["tool_parser"] == name


def test_chat_template_is_part_of_what_must_agree(tmp_path: Path) -> None:
    section = EvaluationSection.model_validate({"serve": {"backend": "vllm"}})
    weights = EvaluatedModel(str(tmp_path), "a" * 64, "m", "policy")
    envs = ROOT / ".venvs" / "bfcl", ROOT / ".venvs" / "trl"
    found = []
    for template in ("{{ a }}", "{{ b }}"):
        (tmp_path / "chat_template.jinja").write_text(template)
        found.append(comparable(section, ITEMS, weights, *envs)["chat_template"])
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ c }}"}))
    found.append(comparable(section, ITEMS, weights, *envs)["chat_template"])
    assert len(set(found)) == 3


def test_weights_of_an_endpoint_are_unknown() -> None:
    found = read_weights(None, "some/model", "http://h/v1")
    assert (found.digest, found.path, found.served_name) == (None, "http://h/v1", "some/model")


@pytest.mark.parametrize("content", ["[]", '{"path": "/x"}', "null"])
def test_weights_file_of_another_kind_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "model.json"
    file.write_text(content)
    with pytest.raises(UserError, match="has no path, digest and name"):
        read_weights(file, "policy", None)


def test_weights_that_are_gone_are_named(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_text(json.dumps({"path": str(tmp_path / "gone"), "digest": "a", "name": "m"}))
    with pytest.raises(UserError, match="which is not there"):
        read_weights(file, "policy", None)
