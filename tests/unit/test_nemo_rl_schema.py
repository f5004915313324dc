"""Upstream's typed classes, read without being run, and every recipe held against them."""

from pathlib import Path
from typing import Any

import facts
import pytest
import yaml

from toolgain.common.errors import UserError
from toolgain.config.sections import Config, parse_config
from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.nemo_rl import plan, schema
from toolgain.training.nemo_rl.lint import required_keys
from toolgain.training.nemo_rl.refs import REFS

ROOT = Path(__file__).parents[2]
RECIPES = {path.stem: path for path in sorted((ROOT / "config/recipes").glob("*.yaml"))}
VERSIONS = [path.stem for path in sorted(facts.FOLDER.glob("*.json"))]
# The one recipe that is for one version.
ONLY = {"qwen3-4b-instruct-v0.5.0": "v0.5.0"}

PLACE = plan.Place(
    model=Path("/models/some"),
    train_file=Path("/data/train.jsonl"),
    validation_file=Path("/data/validation.jsonl"),
    checkpoints=Path("/work/some"),
    nodes=2,
    gpus_per_node=8,
    run="grpo",
)

GRPO = """
from typing import Any, Literal, NotRequired, Optional, TypedDict
import torch
from pydantic import BaseModel, Field
from nemo_rl.policy import PolicyConfig
from nemo_rl.policy import Off

class MasterConfig(BaseModel, extra="allow"):
    policy: PolicyConfig
    env: dict[str, Any]
    steps: int
    period: int = 10
    limit: Optional[int] = Field(default=None)
    name: str = Field(...)
    extra: "NotRequired[Off]" = None
"""
POLICY = """
from typing import Literal, NotRequired, TypedDict

class Off(TypedDict):
    enabled: Literal[False]

class Base(TypedDict):
    enabled: Literal[True]

class Megatron(Base):
    size: int
    fp8: NotRequired[bool]
    optimizer: "Optimizer"

class Optimizer(TypedDict, total=False):
    lr: float

Either = Megatron | Off

class PolicyConfig(TypedDict):
    megatron: NotRequired[Either]

class WiderPolicy(PolicyConfig):
    extra: int
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small tree of upstream's kind."""
    (tmp_path / "nemo_rl/algorithms").mkdir(parents=True)
    (tmp_path / "nemo_rl/algorithms/grpo.py").write_text(GRPO)
    (tmp_path / "nemo_rl/policy.py").write_text(POLICY)
    return tmp_path


def complete() -> dict[str, Any]:
    return {
        "policy": {"megatron": {"enabled": True, "size": 1, "optimizer": {}}},
        "env": {"any": {"thing": 1}},
        "steps": 1,
        "name": "some",
    }


def test_a_complete_configuration_lacks_nothing(checkout: Path) -> None:
    found = schema.read_schema(checkout)
    assert found.validated
    assert found.missing(complete()) == []


def test_what_is_missing_is_named_with_its_place(checkout: Path) -> None:
    config = complete()
    del config["policy"]["megatron"]["size"], config["name"]
    found = schema.read_schema(checkout).missing(config)
    assert [str(item) for item in found] == [
        "`policy.megatron.size` (int; required by nemo_rl/policy.py:11)",
        "`name` (str; required by nemo_rl/algorithms/grpo.py:14)",
    ]


def test_the_alternative_that_is_meant_counts(checkout: Path) -> None:
    config = complete()
    config["policy"]["megatron"] = {"enabled": False}
    assert schema.read_schema(checkout).missing(config) == []
    config["policy"]["megatron"] = {"enabled": True}
    found = schema.read_schema(checkout).missing(config)
    assert [item.key for item in found] == ["policy.megatron.size", "policy.megatron.optimizer"]


def test_keys_of_alternatives_parents_and_children_are_known(checkout: Path) -> None:
    keys = schema.read_schema(checkout).keys()
    expected = {"policy.megatron.enabled", "policy.megatron.fp8", "policy.megatron.optimizer.lr"}
    assert expected | {"policy.extra", "limit", "extra.enabled"} <= keys


def test_a_folder_without_the_classes_has_an_empty_schema(tmp_path: Path) -> None:
    found = schema.read_schema(tmp_path)
    assert (found.keys(), found.missing({}), found.validated) == (set(), [], False)


def recipe(name: str) -> Config:
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    over = yaml.safe_load(RECIPES[name].read_text()) if name in RECIPES else {}
    return parse_config(merged(values, over))


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


@pytest.mark.parametrize("smoke", [0, 3])
@pytest.mark.parametrize(
    ("name", "ref"),
    [(n, ref) for n in ["config", *RECIPES] for ref in VERSIONS if ONLY.get(n, ref) == ref],
)
def test_every_recipe_starts_on_every_version(name: str, ref: str, smoke: int) -> None:
    known = facts.known(ref)
    classes = facts.schema_of(known)
    section = recipe(name).training.nemo_rl
    base = facts.yaml_of(known, section.config)
    if section.policy_backend not in (None, *REFS[ref].policy_backends):
        with pytest.raises(UserError, match=r"policy_backend: .*use .*dtensor_v2"):
            plan.overrides(section, 1, REFS[ref], base, PLACE, 1255, smoke, classes)
        # With the backend that the message names, the recipe starts.
        section = section.model_copy(update={"policy_backend": "dtensor_v2"})
    asked = plan.overrides(section, 1, REFS[ref], base, PLACE, 1255, smoke, classes)
    finding = required_keys(classes, ov.apply(base, asked))
    assert finding.ok, finding.message


@pytest.mark.parametrize("ref", ["v0.7.0", "main"])
def test_upstream_s_own_yaml_lacks_a_required_key(ref: str) -> None:
    known = facts.known(ref)
    base = facts.yaml_of(
        known, "examples/nemo_gym/grpo_workplace_assistant_nemotron_nano_v2_9b.yaml"
    )
    finding = required_keys(facts.schema_of(known), ov.apply(base, []))
    assert not finding.ok
    assert "policy.megatron_cfg.moe_per_layer_logging" in finding.message


def test_a_key_of_the_classes_alone_may_be_set_and_a_misspelt_one_may_not() -> None:
    known = facts.known("v0.7.0")
    section = recipe("config").training.nemo_rl
    base = facts.yaml_of(known, section.config)

    def overrides(**values: Any) -> list[ov.Override]:
        over = {key.replace("__", "."): value for key, value in values.items()}
        asked = section.model_copy(update={"overrides": over})
        classes = facts.schema_of(known)
        return plan.overrides(asked, 1, REFS["v0.7.0"], base, PLACE, 1255, schema=classes)

    said = overrides(policy__megatron_cfg__moe_per_layer_logging=True)
    assert [item.value for item in said if item.key.endswith("per_layer_logging")] == [True]
    overrides(policy__megatron_cfg__fp8_cfg={"enabled": False, "fp8": "e4m3"})
    with pytest.raises(
        UserError, match=r"did you mean `policy\.megatron_cfg\.fp8_cfg\.fp8_recipe`"
    ):
        overrides(policy__megatron_cfg__fp8_cfg={"enabled": False, "fp8_recipy": "blockwise"})
    with pytest.raises(UserError, match=r"did you mean .*moe_per_layer_logging`"):
        overrides(policy__megatron_cfg__moe_per_layer_loging=True)


@pytest.mark.parametrize("key", ov.REWRITTEN)
def test_keys_that_upstream_rewrites_are_refused_with_the_place(key: str) -> None:
    known = facts.known("v0.7.0")
    section = recipe("config").training.nemo_rl
    base = facts.yaml_of(known, section.config)
    parent, _, name = key.rpartition(".")
    for over in ({key: 1}, {parent: {name: 1}}):
        with pytest.raises(UserError, match=r"NeMo RL sets .* itself \(.*\.py"):
            plan.overrides(
                section.model_copy(update={"overrides": over}), 1, REFS["v0.7.0"], base, PLACE, 1255
            )
