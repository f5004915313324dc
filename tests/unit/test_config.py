"""The configuration says what is wrong with it, and where."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from toolgain.common.errors import ExitCode, UserError
from toolgain.config.sections import (
    ClusterSection,
    EvaluationSection,
    load_config,
    parse_config,
    parse_section,
)

MODEL = {"path": "some/model"}
TRL = {"backend": "trl"}


def message_of(values: dict[str, object]) -> str:
    with pytest.raises(UserError) as caught:
        parse_config({"model": MODEL, **values})
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_key_names_the_nearest_valid_one() -> None:
    message = message_of({"evaluation": {"paralellism": 4}})
    assert "unknown key `evaluation.paralellism`" in message
    assert "did you mean `parallelism`?" in message


def test_an_unknown_key_far_from_any_lists_what_is_allowed() -> None:
    assert "allowed: path, name, chat_template" in message_of({"model": {"path": "x", "zzz": 1}})


def test_a_wrong_type_names_the_key_and_the_value() -> None:
    message = message_of({"evaluation": {"repeats": "twice"}})
    assert "`evaluation.repeats` is 'twice'" in message
    assert "integer" in message


def test_a_prompt_too_short_for_any_task_is_refused() -> None:
    message = message_of({"training": {"tasks": {"max_prompt_chars": 100}}})
    assert "`training.tasks.max_prompt_chars` is 100" in message
    assert "500" in message


def test_wordy_tasks_need_room() -> None:
    message = message_of({"training": {"tasks": {"wordy_share": 0.5}}})
    assert "max_prompt_chars 700 is too short" in message
    assert "give 1200 or more" in message


@pytest.mark.parametrize("alias", ["grpo1", "step-o1", "myfc", "1b", "a b", "a:b", "A", "solo1x"])
def test_an_alias_that_the_harness_misreads_is_refused(alias: str) -> None:
    assert "misreads the alias" in message_of({"evaluation": {"alias": alias}})


def test_a_save_period_that_no_validation_meets_is_refused_with_the_arithmetic() -> None:
    message = message_of({"training": {"trl": {"val_period": 10, "save_period": 6}}})
    assert "save_period 6 is not a multiple of val_period 10" in message
    assert "set save_period to 10" in message


def test_a_run_overrides_the_training_and_is_checked_like_it() -> None:
    config = parse_config(
        {
            "model": MODEL,
            "training": {"backend": "trl", "trl": {"max_steps": 40}},
            "runs": {
                "first": {"seed": 1},
                "second": {"seed": 2, "training": {"trl": {"max_steps": 80}}},
            },
            "comparison": {"primary": "second"},
        }
    )
    first, second = config.training_of("first"), config.training_of("second")
    assert (first.seed, first.trl.max_steps) == (1, 40)
    assert (second.seed, second.trl.max_steps) == (2, 80)
    assert second.trl.learning_rate == first.trl.learning_rate
    message = message_of({"runs": {"bad": {"training": {"trl": {"max_stepz": 1}}}}})
    assert "runs.bad.training.trl.max_stepz" in message
    assert "did you mean `max_steps`?" in message


def test_the_requests_at_once_follow_the_model_copies_unless_they_are_given() -> None:
    served = {"serve": {"data_parallel_size": 8}}
    assert EvaluationSection.model_validate(served).requests_at_once == 256
    given = EvaluationSection.model_validate({**served, "parallelism": 16})
    assert given.requests_at_once == 16


def test_what_a_user_decides_about_the_cluster_are_keys_of_it() -> None:
    assert set(ClusterSection.OF_THE_USER or ()) <= set(ClusterSection.model_fields)


def test_the_name_of_the_baseline_is_taken() -> None:
    assert "`baseline`" in message_of({"runs": {"baseline": {}}})


@pytest.mark.parametrize("path", sorted(Path("config").glob("*.yaml")), ids=str)
def test_the_shipped_configurations_are_valid(path: Path) -> None:
    assert load_config(path).runs


RECIPES = sorted(Path("config/recipes").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_recipe_goes_on_top_of_a_configuration_as_it_does_in_snakemake(recipe: Path) -> None:
    base = Path("config/config.yaml")
    both = yaml.safe_load(base.read_text())
    update_config(both, yaml.safe_load(recipe.read_text()))
    assert load_config(base, recipe) == parse_config(both)


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("model: [")
    with pytest.raises(UserError, match=r"broken\.yaml is not YAML"):
        load_config(broken)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cluster: {account: 00123}", "`cluster.account` is 83, where a text is expected"),
        ("cluster: {partition: no}", "`cluster.partition` is False, where a text is expected"),
        ("evaluation: {serve: {env: {A: 1e5, B: 12:30}}}", "`evaluation.serve.env.B` is 750"),
        ("model: {path: m, name: 2026-11-28}", "`model.name` is datetime.date(2026, 11, 28)"),
    ],
)
def test_a_text_that_yaml_takes_for_something_else_is_to_be_quoted(text: str, said: str) -> None:
    message = message_of(yaml.safe_load(text))
    assert said in message
    assert "put it in quotes" in message


def test_wandb_off_needs_no_quotes() -> None:
    values = yaml.safe_load("{model: {path: m}, training: {nemo_rl: {wandb: off}}}")
    assert parse_config(values).training.nemo_rl.wandb == "off"


def recipes_of(**runs: object) -> dict[str, list[str]]:
    return parse_config(
        {
            "model": MODEL,
            "training": TRL,
            "runs": runs,
            "comparison": {"primary": next(iter(runs))},
        }
    ).recipes


def test_runs_that_differ_by_their_seed_alone_are_of_one_recipe() -> None:
    assert recipes_of(a={"seed": 1}, b={"seed": 2}) == {"a, b": ["a", "b"]}
    high = {"trl": {"max_steps": 80}}
    assert recipes_of(
        a={"seed": 1}, b={"seed": 2, "training": high}, c={"seed": 3}, d={"training": high}
    ) == {"a, c": ["a", "c"], "b, d": ["b", "d"]}
    careful = {"smoke_steps": 3, "trl": {"threads": 4}}
    assert recipes_of(a={"seed": 1}, b={"seed": 2, "training": careful}) == {"a, b": ["a", "b"]}
    many = recipes_of(**{f"s{seed}": {"seed": seed} for seed in range(6)})
    assert list(many) == ["s0, s1, s2 and 3 more"]


def test_of_several_recipes_one_is_declared_the_answer() -> None:
    runs = {"a": {"seed": 1}, "b": {"training": {"trl": {"max_steps": 80}}}}
    assert "of 2 recipes (a; b)" in message_of({"training": TRL, "runs": runs})
    assert "no run or recipe 'c'" in message_of(
        {"training": TRL, "runs": runs, "comparison": {"primary": "c"}}
    )
    twice = {"primary": "a", "recipes": {"x": ["a", "b"], "y": ["b"]}}
    assert "is in two recipes" in message_of({"training": TRL, "runs": runs, "comparison": twice})
    unknown = {"primary": "x", "recipes": {"x": ["a", "z"]}}
    assert "no run 'z'" in message_of({"training": TRL, "runs": runs, "comparison": unknown})


def test_what_the_readme_shows_is_allowed() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    config = parse_config({"model": MODEL, "training": TRL, **yaml.safe_load(shown)})
    assert list(config.recipes) == ["low", "high"]
    assert config.comparison.primary == "high"


@pytest.mark.parametrize("hidden", ["a\x00b", "a\ud83db"])
@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("serve.url", lambda text: {"serve": {"backend": "endpoint", "url": f"http://{text}/v1"}}),
        ("serve.extra_args", lambda text: {"serve": {"extra_args": ["--x", text]}}),
        ("serve.env", lambda text: {"serve": {"env": {"VLLM_X": text}}}),
    ],
)
def test_a_text_that_no_name_can_hold_is_refused_by_its_key(
    key: str, values: Callable[[str], dict[str, Any]], hidden: str
) -> None:
    """Else it would end a stage with a traceback, where the first file or request is made."""
    with pytest.raises(UserError, match=rf"`{re.escape(key)}`: the text holds a NUL or half"):
        parse_section(EvaluationSection, values(hidden), "x")


def test_the_gym_configuration_is_the_demo_s_but_for_where_the_tasks_are_played() -> None:
    demo, gym = load_config(Path("config/demo.yaml")), load_config(Path("config/gym.yaml"))
    # One baseline serves both.
    assert (gym.model, gym.evaluation) == (demo.model, demo.evaluation)
    theirs, ours = gym.training_of("gym"), demo.training_of("grpo")
    assert (theirs.trl, theirs.tasks) == (ours.trl, ours.tasks)
