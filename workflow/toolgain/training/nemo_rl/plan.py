"""What one training asks of NeMo RL: the overrides, and the numbers that follow from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from toolgain.common.errors import UserError
from toolgain.config.sections import GymSection, NemoRl
from toolgain.serving.tool_parser import plugin_path
from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.nemo_rl.overrides import Override
from toolgain.training.nemo_rl.refs import Ref
from toolgain.training.nemo_rl.schema import Schema

METRIC = "val:accuracy"

# Which configuration key stands for an upstream key that people may not override past it.
OWNED = {
    "cluster.num_nodes": "cluster.nodes",
    "cluster.gpus_per_node": "cluster.gpus_per_node",
    "grpo.max_num_steps": "training.nemo_rl.max_num_steps",
    "grpo.max_num_epochs": "training.nemo_rl.max_num_epochs",
    "grpo.seed": "training.seed",
    "grpo.num_prompts_per_step": "training.nemo_rl.num_prompts_per_step",
    "grpo.num_generations_per_prompt": "training.nemo_rl.num_generations_per_prompt",
    "grpo.val_period": "training.nemo_rl.val_period",
    "checkpointing.save_period": "training.nemo_rl.save_period",
    "checkpointing.keep_top_k": "training.nemo_rl.keep_top_k",
    "policy.model_name": "model.path",
    "policy.tokenizer.name": "model.path",
    "policy.generation.vllm_cfg.tool_parser_plugin": "training.nemo_rl.tool_parser_plugin",
    "data.train_jsonl_fpath": "training.tasks.train_file",
    "data.validation_jsonl_fpath": "training.tasks.validation_file",
    "data.train.data_path": "training.tasks.train_file",
    "data.validation.data_path": "training.tasks.validation_file",
    "logger.wandb_enabled": "training.nemo_rl.wandb",
    "logger.wandb.project": "training.nemo_rl.wandb_project",
    "logger.wandb.name": "training.nemo_rl.wandb_name",
}
# Keys without which toolgain could not judge, select or resume; they have one value.
FIXED = {
    "checkpointing.enabled",
    "checkpointing.checkpoint_dir",
    "checkpointing.metric_name",
    "checkpointing.higher_is_better",
    "checkpointing.checkpoint_must_save_by",
    "checkpointing.save_optimizer",
    "logger.log_dir",
    "logger.tensorboard_enabled",
    "grpo.max_val_samples",
}

GYM = "env.nemo_gym."
"""What stands below it, upstream hands on to Gym."""


@dataclass(frozen=True)
class Place:
    """The files and the machine of one training."""

    model: Path
    train_file: Path
    validation_file: Path
    checkpoints: Path
    nodes: int
    gpus_per_node: int
    run: str


@dataclass(frozen=True)
class RunNumbers:
    """What the arithmetic of a training run needs, as upstream will read it."""

    nodes: int
    gpus_per_node: int
    prompts: int
    generations: int
    global_batch: int
    micro_batch: int
    logprob_batch: int
    backend: str
    """megatron, dtensor or dtensor_v2."""
    tensor_parallel: int
    pipeline_parallel: int
    context_parallel: int
    rows: int | None
    """Training rows; None while the data is not prepared."""
    epochs: int
    max_steps: int
    val_period: int
    save_period: int
    val_at_end: bool
    keep_top_k: Any
    async_save: bool
    model_save_format: str | None
    max_val_samples: int | None
    sequence_length: int = 0
    """Tokens of a prompt and its answers together; 0 where the YAML names none."""

    @property
    def world(self) -> int:
        """GPUs in all."""
        return self.nodes * self.gpus_per_node

    @property
    def model_parallel(self) -> int:
        """GPUs that hold one copy of the policy."""
        return self.tensor_parallel * self.pipeline_parallel * self.context_parallel

    @property
    def data_parallel(self) -> int:
        """Copies of the policy."""
        return self.world // self.model_parallel

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole training; None while the rows are not counted."""
        if self.rows is None:
            return None
        return min(self.max_steps, self.epochs * (self.rows // self.prompts))


def backend_of(base: Mapping[str, Any], configured: str | None = None) -> str:
    """The training backend: as configured, else as in the upstream YAML `base` (resolved)."""
    if configured:
        return configured
    if ov.lookup(base, "policy.megatron_cfg.enabled", False):
        return "megatron"
    return "dtensor_v2" if ov.lookup(base, "policy.dtensor_cfg._v2", False) else "dtensor"


def overrides(
    section: NemoRl,
    seed: int,
    ref: Ref,
    yaml: DictConfig,
    place: Place,
    rows: int | None,
    smoke_steps: int = 0,
    schema: Schema | None = None,
    gym: GymSection | None = None,
) -> list[Override]:
    """Every override of a training run, in a fixed order, checked against the YAML.

    Args:
        section: The `nemo_rl` section.
        seed: Seed of the training.
        ref: The NeMo RL version.
        yaml: The upstream configuration, not resolved.
        place: Files and machine.
        rows: Training rows, where they are counted.
        smoke_steps: Above 0: a smoke training of so many steps, saved and validated once.
        schema: Upstream's typed classes, whose keys are known too.
        gym: The `gym` section, which may name another environment than the YAML.

    Raises:
        UserError: an override of the user is unknown or belongs to a key of toolgain's own.
    """
    known = ov.dotted_keys(yaml)
    values = _values(section, seed, ref, known, place, rows, smoke_steps)
    values.update(_policy(section, ref, yaml, known))
    if gym is not None:
        values.update(gym_values(gym, yaml))
    ours = [Override(key, value) for key, value in values.items()]
    theirs = [Override(key, value) for key, value in section.overrides.items()]
    gone = [Override(key, delete=True) for key in section.delete]
    _refuse_owned([*theirs, *gone], values)
    where = section.config
    ov.check_keys([*gone, *ours, *theirs], yaml, ref, where, schema)
    return [*gone, *ours, *theirs]


def gym_values(gym: GymSection, yaml: DictConfig) -> dict[str, ov.Value]:
    """The environment of `training.gym` as upstream's keys; the YAML's own model server stays."""
    values: dict[str, ov.Value] = {GYM + key: value for key, value in gym.overrides.items()}
    if gym.config_paths:
        used = ov.lookup(ov.apply(yaml, []), f"{GYM}config_paths", []) or []
        paths = [str(path) for path in used if str(path).startswith("responses_api_models/")]
        for path in gym.config_paths:
            found = str(Path(path).absolute()) if Path(path).is_file() else path
            paths += [] if found in paths else [found]
        values[f"{GYM}config_paths"] = paths
    return values


def _values(
    section: NemoRl,
    seed: int,
    ref: Ref,
    known: set[str],
    place: Place,
    rows: int | None,
    smoke_steps: int,
) -> dict[str, ov.Value]:
    epochs = section.max_num_epochs
    most = section.max_num_steps or 1_000_000
    if rows is not None:
        most = steps_of_rows(section, rows)
    val_period, save_period = section.val_period, section.save_period
    if smoke_steps:
        most, val_period, save_period = min(most, smoke_steps), smoke_steps, smoke_steps
    wandb = "off" if smoke_steps else section.wandb
    values: dict[str, ov.Value] = {
        "cluster.num_nodes": place.nodes,
        "cluster.gpus_per_node": place.gpus_per_node,
        "grpo.num_prompts_per_step": section.num_prompts_per_step,
        "grpo.num_generations_per_prompt": section.num_generations_per_prompt,
        "grpo.max_num_epochs": epochs,
        "grpo.max_num_steps": most,
        "grpo.seed": seed,
        "grpo.val_at_start": not smoke_steps,
        "grpo.val_period": val_period,
        "grpo.max_val_samples": None,
        "checkpointing.enabled": True,
        "checkpointing.checkpoint_dir": str(place.checkpoints),
        "checkpointing.save_period": save_period,
        "checkpointing.keep_top_k": section.keep_top_k,
        "checkpointing.metric_name": METRIC,
        "checkpointing.higher_is_better": True,
        "policy.model_name": str(place.model),
        "policy.tokenizer.name": str(place.model),
        ref.train_data_key: str(place.train_file),
        ref.validation_data_key: str(place.validation_file),
        "logger.log_dir": str(place.checkpoints / "logs"),
        "logger.tensorboard_enabled": True,
        "logger.wandb_enabled": wandb != "off",
    }
    if ref.has_val_at_end:
        values["grpo.val_at_end"] = True
    if ref.has_save_optimizer:
        values["checkpointing.save_optimizer"] = True
    if "policy.megatron_cfg.checkpoint.async_save" in known:
        values["policy.megatron_cfg.checkpoint.async_save"] = False
    if wandb != "off":
        values["logger.wandb.project"] = section.wandb_project
        values["logger.wandb.name"] = section.wandb_name.format(
            run=place.run, model=place.model.name, nodes=place.nodes, seed=seed
        )
    return values


def _policy(section: NemoRl, ref: Ref, yaml: DictConfig, known: set[str]) -> dict[str, ov.Value]:
    base = ov.apply(yaml, [])
    backend = backend_of(base, section.policy_backend)
    if backend not in ref.policy_backends:
        raise UserError(
            f"training.nemo_rl.policy_backend: NeMo RL {ref.name} has no {backend}, or toolgain "
            f"does not know its keys; use {' or '.join(ref.policy_backends)}, or ref v0.7.0."
        )
    values: dict[str, ov.Value] = {}
    if section.policy_backend:
        values["policy.megatron_cfg.enabled"] = backend == "megatron"
        if len(ref.policy_backends) > 1:
            values["policy.dtensor_cfg.enabled"] = backend != "megatron"
        if backend != "megatron":
            values["policy.dtensor_cfg._v2"] = backend == "dtensor_v2"
    rate = section.learning_rate
    if backend == "megatron":
        for key, value in ref.required_beyond_yaml.items():
            if key not in known and key not in section.overrides:
                values[key] = value
        folder = "policy.megatron_cfg"
        names = {
            "tensor_parallel_size": f"{folder}.tensor_model_parallel_size",
            "pipeline_parallel_size": f"{folder}.pipeline_model_parallel_size",
            "context_parallel_size": f"{folder}.context_parallel_size",
        }
        if rate is not None:
            values[f"{folder}.optimizer.lr"] = rate
            lowest = ov.lookup(base, f"{folder}.optimizer.min_lr")
            # Megatron refuses a lowest rate above the peak.
            if isinstance(lowest, int | float) and lowest > rate:
                values[f"{folder}.optimizer.min_lr"] = rate
    else:
        names = {
            "tensor_parallel_size": "policy.dtensor_cfg.tensor_parallel_size",
            "context_parallel_size": "policy.dtensor_cfg.context_parallel_size",
        }
        if (section.pipeline_parallel_size or 1) > 1:
            raise UserError(
                "training.nemo_rl.pipeline_parallel_size is above 1, but the policy backend is "
                f"{backend}, which has no pipeline; leave it out or use megatron."
            )
        if ov.lookup(base, "policy.optimizer") is None:
            # The Workplace Assistant YAML has none, as Megatron has an optimizer of its own.
            values["policy.optimizer"] = {
                "name": "torch.optim.AdamW",
                "kwargs": {
                    "lr": rate or 1e-6,
                    "weight_decay": 0.01,
                    "betas": [0.9, 0.999],
                    "eps": 1e-8,
                    "foreach": False,
                    "fused": False,
                },
            }
        elif rate is not None:
            values["policy.optimizer.kwargs.lr"] = rate
    if backend == "dtensor_v2":
        # Its plain shards are read by no converter; the consolidated folder needs none.
        values["checkpointing.model_save_format"] = "safetensors"
        values["checkpointing.save_consolidated"] = True
        # Its worker asks for asynchronous saves, and nobody waits for them before the folder is
        # renamed. Automodel 0.4.0 turns them off where it takes torch 2.10 to be older than 2.9.
        values["checkpointing.is_async"] = False
    for name, key in names.items():
        if size := getattr(section, name):
            values[key] = size
    if section.max_total_sequence_length:
        values["policy.max_total_sequence_length"] = section.max_total_sequence_length
    if section.micro_batch_size:
        # Unequal ones change log probabilities at tensor parallel 4 and above.
        values["policy.train_micro_batch_size"] = section.micro_batch_size
        values["policy.logprob_batch_size"] = section.micro_batch_size
    rollout = "policy.generation.vllm_cfg"
    if section.gpu_memory_utilization:
        values[f"{rollout}.gpu_memory_utilization"] = section.gpu_memory_utilization
    if section.tool_parser:
        values[f"{rollout}.http_server_serving_chat_kwargs.tool_parser"] = section.tool_parser
    plugin = plugin_path(section.tool_parser_plugin)
    if plugin:
        values[f"{rollout}.tool_parser_plugin"] = str(plugin)
    elif ref.parser_plugin_is_mandatory and f"{rollout}.tool_parser_plugin" in known:
        values[f"{rollout}.tool_parser_plugin"] = None
    return values


def _refuse_owned(theirs: list[Override], ours: Mapping[str, Any]) -> None:
    for override in theirs:
        key = override.key
        rewritten = next((name for name in ov.leaves(override) if name in ov.REWRITTEN), None)
        if rewritten:
            raise UserError(
                f"training.nemo_rl.overrides: NeMo RL sets `{rewritten}` itself "
                f"({ov.REWRITTEN[rewritten]}); leave it out."
            )
        if key in OWNED:
            raise UserError(
                f"training.nemo_rl.overrides: `{key}` is set by `{OWNED[key]}`; set that."
            )
        if key in FIXED:
            raise UserError(
                f"training.nemo_rl.overrides: `{key}` is set by toolgain, which reads its result; "
                "leave it out."
            )
        if key in ours and key.startswith(GYM):
            raise UserError(
                f"training.nemo_rl.overrides: `{key}` is set by `training.gym`; give it there."
            )
        if key in ours:
            raise UserError(
                f"training.nemo_rl.overrides: `{key}` follows from another key of "
                "training.nemo_rl; set that one."
            )


def steps_of_rows(section: NemoRl, rows: int) -> int:
    """Steps of a training run on so many rows: upstream drops an incomplete last batch.

    Raises:
        UserError: there are fewer rows than prompts in one step.
    """
    prompts = section.num_prompts_per_step
    steps = section.max_num_epochs * (rows // prompts)
    if steps == 0:
        raise UserError(
            f"training.nemo_rl.num_prompts_per_step is {prompts}, but there are only {rows} "
            f"training rows; set it to {rows} or below."
        )
    return min(section.max_num_steps or steps, steps)


def run_numbers(used: Mapping[str, Any], rows: int | None) -> RunNumbers:
    """The numbers of a resolved upstream configuration.

    Raises:
        UserError: a key that every version needs is missing, or is no number from 1 on.
    """

    def need(key: str) -> int:
        value = ov.lookup(used, key)
        if value is None:
            raise UserError(f"training.nemo_rl.config: the YAML holds no `{key}`; name another.")
        return whole(key, value)

    def perhaps(key: str) -> int | None:
        value = ov.lookup(used, key)
        return None if value is None else whole(key, value)

    def whole(key: str, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        raise UserError(
            f"training.nemo_rl: `{key}` of the resolved configuration is {value!r}; expected a "
            "whole number from 1 on; correct the YAML of training.nemo_rl.config, or what sets it."
        )

    backend = backend_of(used)
    folder = "policy.megatron_cfg" if backend == "megatron" else "policy.dtensor_cfg"
    word = "tensor_model_parallel_size" if backend == "megatron" else "tensor_parallel_size"
    return RunNumbers(
        nodes=need("cluster.num_nodes"),
        gpus_per_node=need("cluster.gpus_per_node"),
        prompts=need("grpo.num_prompts_per_step"),
        generations=need("grpo.num_generations_per_prompt"),
        global_batch=need("policy.train_global_batch_size"),
        micro_batch=need("policy.train_micro_batch_size"),
        logprob_batch=need("policy.logprob_batch_size"),
        backend=backend,
        tensor_parallel=perhaps(f"{folder}.{word}") or 1,
        pipeline_parallel=perhaps(f"{folder}.pipeline_model_parallel_size") or 1,
        context_parallel=perhaps(f"{folder}.context_parallel_size") or 1,
        rows=rows,
        epochs=need("grpo.max_num_epochs"),
        max_steps=need("grpo.max_num_steps"),
        val_period=need("grpo.val_period"),
        save_period=need("checkpointing.save_period"),
        val_at_end=bool(ov.lookup(used, "grpo.val_at_end", False)),
        keep_top_k=ov.lookup(used, "checkpointing.keep_top_k"),
        async_save=bool(ov.lookup(used, "policy.megatron_cfg.checkpoint.async_save", False)),
        model_save_format=ov.lookup(used, "checkpointing.model_save_format"),
        max_val_samples=ov.lookup(used, "grpo.max_val_samples"),
        sequence_length=perhaps("policy.max_total_sequence_length") or 0,
    )
