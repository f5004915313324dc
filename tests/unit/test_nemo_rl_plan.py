"""From a training section to overrides and numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import pytest

from toolgain.common.errors import UserError
from toolgain.config.sections import GymSection, TrainingSection
from toolgain.serving import tool_parser
from toolgain.training.nemo_rl import gym as gym_data
from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.nemo_rl import plan
from toolgain.training.nemo_rl.overrides import Override
from toolgain.training.nemo_rl.refs import REFS, WORKPLACE_YAML

PLACE = plan.Place(
    model=Path("/models/base"),
    train_file=Path("/data/train.jsonl"),
    validation_file=Path("/data/validation.jsonl"),
    checkpoints=Path("/work/ckpt"),
    nodes=3,
    gpus_per_node=8,
    run="grpo",
)


def asked(folder: Path, ref: str = "v0.7.0", smoke: int = 0, **values: Any) -> dict[str, Any]:
    """The values that are set, by key."""
    yaml = ov.load_yaml(made.checkout(folder / "rl", ref) / WORKPLACE_YAML)
    section = made.training(**values).nemo_rl
    found = plan.overrides(section, 7, REFS[ref], yaml, PLACE, 60, smoke)
    return {override.key: override.value for override in found if not override.delete}


def test_what_toolgain_relies_on_is_always_set(tmp_path: Path) -> None:
    found = asked(tmp_path)
    assert found["checkpointing.metric_name"] == "val:accuracy"
    assert found["checkpointing.checkpoint_dir"] == "/work/ckpt"
    assert found["logger.tensorboard_enabled"] is True
    assert found["logger.wandb_enabled"] is False
    assert found["grpo.val_at_end"] is True
    assert found["policy.megatron_cfg.checkpoint.async_save"] is False
    assert found["data.train.data_path"] == "/data/train.jsonl"
    assert found["grpo.max_num_steps"] == 10
    assert found["grpo.seed"] == 7
    assert found["policy.model_name"] == found["policy.tokenizer.name"] == "/models/base"


def test_the_environment_of_the_gym_section_is_handed_on_with_upstream_s_model_server(
    tmp_path: Path,
) -> None:
    """So that the cluster trains in what was rehearsed."""
    xlam = "resources_servers/xlam_fc/configs/xlam_fc.yaml"
    own = tmp_path / "own.yaml"
    own.write_text("{}\n")
    limit = "xlam_fc_simple_agent.responses_api_agents.simple_agent.max_steps"
    gym = {"config_paths": [xlam, str(own)], "overrides": {limit: 1}}
    section = made.training().model_copy(update={"gym": GymSection.model_validate(gym)})
    yaml = ov.load_yaml(made.checkout(tmp_path / "rl", "v0.7.0") / WORKPLACE_YAML)

    def used(section: TrainingSection) -> Any:
        given = (section.nemo_rl, 7, REFS["v0.7.0"], yaml, PLACE, 60)
        return ov.apply(yaml, plan.overrides(*given, gym=section.gym))

    paths = ov.lookup(used(section), "env.nemo_gym.config_paths")
    assert paths == [gym_data.CONFIGS[0], xlam, str(own)]
    assert ov.lookup(used(section), f"env.nemo_gym.{limit}") == 1
    without = ov.lookup(used(made.training()), "env.nemo_gym.config_paths")
    assert without == ov.lookup(ov.apply(yaml, []), "env.nemo_gym.config_paths")
    twice = {"overrides": {"env.nemo_gym.config_paths": [xlam]}}
    nemo = section.nemo_rl.model_copy(update=twice)
    with pytest.raises(UserError, match=r"`env\.nemo_gym\.config_paths` is set by `training\.gym`"):
        used(section.model_copy(update={"nemo_rl": nemo}))


def test_an_old_version_gets_its_own_names_and_no_others(tmp_path: Path) -> None:
    found = asked(tmp_path, "v0.5.0")
    assert found["data.train_jsonl_fpath"] == "/data/train.jsonl"
    # `???` would reach the worker as text.
    assert found["policy.generation.vllm_cfg.tool_parser_plugin"] is None
    for key in ("data.train.data_path", "grpo.val_at_end", "checkpointing.save_optimizer"):
        assert key not in found


def test_a_smoke_training_saves_and_validates_once(tmp_path: Path) -> None:
    found = asked(tmp_path, smoke=3, wandb="online")
    assert found["grpo.max_num_steps"] == found["grpo.val_period"] == 3
    assert found["checkpointing.save_period"] == 3
    assert found["logger.wandb_enabled"] is False


def test_dtensor_gets_the_optimizer_that_the_megatron_yaml_lacks(tmp_path: Path) -> None:
    found = asked(tmp_path, policy_backend="dtensor_v2", learning_rate=2e-6, tensor_parallel_size=2)
    assert found["policy.dtensor_cfg._v2"] is True
    assert found["checkpointing.save_consolidated"] is True
    assert found["checkpointing.is_async"] is False
    assert found["policy.megatron_cfg.enabled"] is False
    assert found["policy.dtensor_cfg.tensor_parallel_size"] == 2
    assert found["policy.optimizer"]["kwargs"]["lr"] == 2e-6


def test_a_backend_whose_keys_are_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"v0\.8\.0 has no dtensor, .* use megatron, or ref v0"):
        asked(tmp_path, "v0.8.0", policy_backend="dtensor")
    with pytest.raises(UserError, match=r"main has no dtensor, .* use megatron or dtensor_v2"):
        asked(tmp_path / "main", "main", policy_backend="dtensor")
    found = asked(tmp_path / "b", "v0.8.0", policy_backend="megatron")
    assert found["policy.megatron_cfg.enabled"] is True
    assert "policy.dtensor_cfg.enabled" not in found


def test_a_rate_below_megatron_s_lowest_lowers_that_too(tmp_path: Path) -> None:
    found = asked(tmp_path, learning_rate=1e-7)
    assert found["policy.megatron_cfg.optimizer.min_lr"] == 1e-7
    assert "policy.megatron_cfg.optimizer.min_lr" not in asked(tmp_path / "b", learning_rate=1e-6)


def test_the_plugin_of_toolgain_is_named_by_its_path(tmp_path: Path) -> None:
    found = asked(tmp_path, tool_parser="nemotron_json", tool_parser_plugin="nemotron-nano-v2")
    assert found["policy.generation.vllm_cfg.tool_parser_plugin"] == str(tool_parser.PLUGIN)


def test_a_plugin_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither `nemotron-nano-v2` nor a file"):
        asked(tmp_path, tool_parser_plugin="/no/plugin.py")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("grpo.val_period", "is set by `training.nemo_rl.val_period`"),
        ("checkpointing.checkpoint_dir", "is set by toolgain"),
        ("policy.megatron_cfg.tensor_model_parallel_size", "follows from another key"),
    ],
)
def test_a_key_of_toolgain_s_own_is_refused(tmp_path: Path, key: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        asked(tmp_path, overrides={key: 1})


def test_user_s_overrides_come_last_and_deletions_first(tmp_path: Path) -> None:
    yaml = ov.load_yaml(made.checkout(tmp_path / "rl") / WORKPLACE_YAML)
    section = made.training(
        overrides={"policy.generation.vllm_kwargs.max_num_seqs": 64},
        delete=["policy.generation.vllm_kwargs.mamba_ssm_cache_dtype"],
    ).nemo_rl
    found = plan.overrides(section, 1, REFS["v0.7.0"], yaml, PLACE, 60)
    assert found[0].render() == "~policy.generation.vllm_kwargs.mamba_ssm_cache_dtype"
    used = ov.apply(yaml, found)
    assert used["policy"]["generation"]["vllm_kwargs"] == {"max_num_seqs": 64}


def test_the_numbers_are_those_that_upstream_will_read(tmp_path: Path) -> None:
    yaml = ov.load_yaml(made.checkout(tmp_path / "rl") / WORKPLACE_YAML)
    section = made.training(tensor_parallel_size=2).nemo_rl
    found = plan.run_numbers(
        ov.apply(yaml, plan.overrides(section, 1, REFS["v0.7.0"], yaml, PLACE, 60)), 60
    )
    assert (found.world, found.data_parallel, found.global_batch) == (24, 12, 24)
    assert found.total_steps == 10
    assert replace(found, rows=None).total_steps is None


@pytest.mark.parametrize(
    "key",
    [
        "policy.train_global_batch_size",
        "policy.train_micro_batch_size",
        "policy.max_total_sequence_length",
        "policy.megatron_cfg.tensor_model_parallel_size",
    ],
)
@pytest.mark.parametrize("value", ["yes", [1], {}, -1, 0, 1.5, True])
def test_a_number_of_the_yaml_that_is_none_is_refused_with_its_key(
    tmp_path: Path, key: str, value: Any
) -> None:
    yaml = ov.load_yaml(made.checkout(tmp_path / "rl") / WORKPLACE_YAML)
    used = ov.apply(yaml, [Override("cluster.num_nodes", 1), Override(key, value)])
    with pytest.raises(UserError, match=f"`{key}` of the resolved configuration is .*whole number"):
        plan.run_numbers(used, 60)


def test_an_incomplete_last_batch_is_dropped() -> None:
    section = made.training(num_prompts_per_step=64, max_num_epochs=2, max_num_steps=None).nemo_rl
    assert plan.steps_of_rows(section, 1255) == 38
    assert plan.steps_of_rows(section.model_copy(update={"max_num_steps": 20}), 1255) == 20
    with pytest.raises(UserError, match="only 50 training rows"):
        plan.steps_of_rows(section, 50)


def test_a_pipeline_needs_megatron(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which has no pipeline"):
        asked(tmp_path, policy_backend="dtensor", pipeline_parallel_size=2)


def test_a_run_s_name_at_weights_and_biases_may_be_a_path(tmp_path: Path) -> None:
    found = asked(tmp_path, wandb="offline", wandb_name="grpo/{model}/{nodes}nodes/{run}-{seed}")
    assert found["logger.wandb.name"] == "grpo/base/3nodes/grpo-7"
    with pytest.raises(ValueError, match="in braces may stand run, model, nodes and seed"):
        made.training(wandb_name="{date}/{run}")
