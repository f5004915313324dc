"""Overrides: what Hydra reads back, and which keys are refused."""

import shlex
from pathlib import Path
from typing import Any

import made
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from toolgain.common.errors import UserError
from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.nemo_rl.overrides import Override
from toolgain.training.nemo_rl.refs import REFS, WORKPLACE_YAML

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name.lower() not in ("null", "true", "false", "nan", "inf")
)
texts = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=30
).filter(lambda text: "${" not in text)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)


@given(values)
def test_hydra_reads_back_every_value_with_its_type(value: Any) -> None:
    parsed = OverridesParser.create().parse_override(Override("a.b", value).render())
    assert parsed.key_or_group == "a.b"
    assert parsed.is_force_add()
    assert same(parsed.value(), value)


def same(got: Any, asked: Any) -> bool:
    if isinstance(asked, list):
        return len(got) == len(asked) and all(map(same, got, asked))
    if isinstance(asked, dict):
        return set(got) == set(asked) and all(same(got[key], asked[key]) for key in asked)
    # A quoted text comes back as Hydra's own string type.
    return (
        (str(got) == asked) if isinstance(asked, str) else got == asked and type(got) is type(asked)
    )


@given(st.lists(values, max_size=4))
def test_the_shell_hands_the_words_on_unchanged(found: list[Any]) -> None:
    overrides = [Override("a", value) for value in found]
    line = " ".join(ov.shell_words(overrides))
    assert shlex.split(line) == [override.render() for override in overrides]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("/data/with space,=(", "'/data/with space,=('"),
        ("00:03:45:00", "'00:03:45:00'"),
        (None, "null"),
        (True, "true"),
        (1e-6, "1e-06"),
        ([1, "a"], "[1,'a']"),
        ({"lr": 1.0}, "{lr:1.0}"),
    ],
)
def test_values_are_written_so_that_no_type_is_guessed(value: Any, text: str) -> None:
    assert ov.literal(value) == text


@pytest.fixture
def yaml(tmp_path: Path) -> Any:
    return ov.load_yaml(made.checkout(tmp_path / "rl") / WORKPLACE_YAML)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("grpo.val_periode", "grpo.val_period"),
        ("checkpoint.keep_top_k", "checkpointing.keep_top_k"),
        ("policy.generation.vllm_cfg.gpu_memory_util", "gpu_memory_utilization"),
    ],
)
def test_a_misspelt_key_names_the_nearest(yaml: Any, key: str, nearest: str) -> None:
    said = f"unknown key `{key}`; did you mean `.*{nearest}`\\? NeMo RL itself would ignore it.$"
    with pytest.raises(UserError, match=said):
        ov.check_keys([Override(key, 1)], yaml, REFS["v0.7.0"], "some.yaml")


WHOLE = (made.SOURCE / WORKPLACE_YAML).read_text().splitlines()


@given(
    st.lists(st.integers(0, len(WHOLE) - 1), min_size=1, max_size=3),
    st.sampled_from(
        ["", "- a", "x: [", "\tx: 1", "  : {", "a: ${b}", "grpo: yes", "é: 'x", "{{ x }}"]
    ),
)
def test_a_yaml_that_is_broken_anywhere_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, places: list[int], instead: str
) -> None:
    lines = list(WHOLE)
    for place in places:
        lines[place] = instead
    path = tmp_path_factory.mktemp("broken") / "mine.yaml"
    path.write_text("\n".join(lines))
    try:
        ov.apply(ov.load_yaml(path), [])
    except UserError as error:
        assert str(error).startswith("training.nemo_rl") and "\n" not in str(error)


@pytest.mark.parametrize("value", [[1], 3, "yes"])
def test_an_override_of_a_section_that_is_no_mapping_is_refused_or_makes_it_one(value: Any) -> None:
    config = OmegaConf.create({"grpo": value})
    try:
        assert ov.apply(config, [Override("grpo.seed", 1)]) == {"grpo": {"seed": 1}}
    except UserError as error:
        assert "`grpo.seed` cannot be set" in str(error)


def test_a_key_of_another_version_names_this_version_s(yaml: Any) -> None:
    with pytest.raises(UserError, match=r"this version calls it `data\.train\.data_path`"):
        ov.check_keys([Override("data.train_jsonl_fpath", "x")], yaml, REFS["v0.7.0"], "some.yaml")


def test_keys_that_are_handed_on_are_not_checked(yaml: Any) -> None:
    handed_on = [Override("policy.generation.vllm_kwargs.some_new_flag", 1)]
    ov.check_keys(handed_on, yaml, REFS["v0.7.0"], "some.yaml")


def test_deleting_what_is_not_there_is_an_error(yaml: Any) -> None:
    with pytest.raises(UserError, match="cannot be deleted"):
        ov.check_keys([Override("grpo.nothing", delete=True)], yaml, REFS["v0.7.0"], "some.yaml")


def test_a_group_separator_is_no_key(yaml: Any) -> None:
    with pytest.raises(UserError, match="not a dotted key"):
        ov.check_keys([Override("grpo/val_period", 1)], yaml, REFS["v0.7.0"], "some.yaml")


def test_interpolations_follow_the_overrides(yaml: Any) -> None:
    used = ov.apply(
        yaml, [Override("grpo.num_prompts_per_step", 6), Override("policy.model_name", "m")]
    )
    assert used["policy"]["train_global_batch_size"] == 6 * 16
    assert used["policy"]["tokenizer"]["name"] == "m"


def test_a_yaml_inherits_as_upstream_s_loader_does(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text("a: {x: 1, y: 2}\nb: {z: 3}\n")
    (tmp_path / "child.yaml").write_text(
        "defaults: parent.yaml\na: {x: 5}\nb: {_override_: true, w: 4}\n"
    )
    assert ov.load_yaml(tmp_path / "child.yaml") == {"a": {"x": 5, "y": 2}, "b": {"w": 4}}


def test_a_yaml_that_inherits_from_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("defaults: a.yaml\n")
    with pytest.raises(UserError, match="inherits from itself"):
        ov.load_yaml(tmp_path / "a.yaml")


def test_a_missing_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml does not exist"):
        ov.load_yaml(tmp_path / "none.yaml")


def test_a_checkpoint_that_was_trained_otherwise_is_told_apart() -> None:
    asked = [
        Override("grpo.seed", 1),
        Override("grpo.val_period", 5),
        Override("policy.optimizer.kwargs.lr", 1e-6),
        Override("grpo.new", 1),
        Override("env.gone", delete=True),
    ]
    used = {
        "grpo": {"seed": 1, "val_period": 10},
        "policy": {"optimizer": {"kwargs": {"lr": 1e-06}}},
        "env": {"gone": 1},
    }
    assert ov.differences(asked, used) == [
        "grpo.val_period: asked 5, trained with 10",
        "grpo.new: asked 1, absent in the training",
        "env.gone: asked to be deleted, trained with 1",
    ]
