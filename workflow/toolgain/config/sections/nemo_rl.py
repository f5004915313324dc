"""`training.nemo_rl`: GRPO with NeMo RL."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from toolgain.config.sections.base import Positive, Section, check_save_period


def _off(value: object) -> object:
    # YAML itself makes false of an unquoted off.
    return "off" if value is False else value


class NemoRl(Section):
    """Multi-node GRPO with NeMo RL on a Slurm cluster.

    What is left out keeps the value of the upstream YAML. docs/nemo-rl.md says more.
    """

    WITHOUT_EFFECT = (
        *("wandb", "wandb_project", "wandb_name"),
        *("zero_reward_steps", "hang_factor"),
    )
    EXPORT_GPUS = 1
    TITLE = "NeMo RL"
    STEPS_KEY = "max_num_steps"
    READS_GYM = True

    ref: Literal["v0.5.0", "v0.6.0", "v0.7.0", "v0.8.0", "main"] = Field(
        "v0.7.0",
        description="NeMo RL version; checkout, container image and NeMo Gym must be the same.",
    )
    config: str = Field(
        "examples/nemo_gym/grpo_workplace_assistant_nemotron_nano_v2_9b.yaml",
        description="Upstream YAML: a path in the NeMo RL checkout, or an absolute one.",
    )
    max_num_epochs: Positive = Field(1, description="Passes over the training data.")
    max_num_steps: Positive | None = Field(
        None, description="Maximum number of steps; null: what the epochs give."
    )
    num_prompts_per_step: Positive = Field(64, description="Prompts in one step.")
    num_generations_per_prompt: Annotated[int, Field(ge=2)] = Field(
        16, description="Rollouts per prompt."
    )
    val_period: Positive = Field(5, description="Steps between validations.")
    save_period: Positive = Field(
        5, description="Steps between checkpoints; a multiple of val_period."
    )
    keep_top_k: Positive = Field(3, description="Best checkpoints kept, besides the latest.")
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Peak learning rate."
    )
    policy_backend: Literal["megatron", "dtensor", "dtensor_v2"] | None = Field(
        None, description="Training backend of the policy."
    )
    tensor_parallel_size: Positive | None = Field(
        None, description="Tensor parallel size of training."
    )
    pipeline_parallel_size: Positive | None = Field(None, description="Pipeline parallel size.")
    context_parallel_size: Positive | None = Field(None, description="Context parallel size.")
    max_total_sequence_length: Positive | None = Field(
        None, description="Maximum length of prompt and answer together, in tokens."
    )
    micro_batch_size: Positive | None = Field(
        None, description="Samples of one forward and backward pass on a GPU."
    )
    gpu_memory_utilization: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Share of GPU memory that vLLM takes for the rollouts."
    )
    tool_parser: str | None = Field(
        None, description="vLLM's tool parser in the rollouts, such as `hermes`."
    )
    tool_parser_plugin: str | None = Field(
        None, description="`nemotron-nano-v2` for toolgain's own plugin, or a file."
    )
    wandb: Annotated[Literal["off", "offline", "online"], BeforeValidator(_off)] = Field(
        "off", description="Weights & Biases; `online` reads WANDB_API_KEY."
    )
    wandb_project: str = Field("toolgain", description="Weights & Biases project.")
    wandb_name: str = Field(
        "{run}",
        description="Name of the run at Weights & Biases; `{run}`, `{model}`, `{nodes}` and "
        "`{seed}` are filled in, such as `grpo/{model}/{nodes}nodes/{run}`.",
    )
    overrides: dict[str, Any] = Field(
        {}, description="Further upstream keys (dotted) and their values, checked for typos."
    )
    delete: list[str] = Field([], description="Upstream keys (dotted) that are removed.")
    zero_reward_steps: Positive = Field(
        3, description="A reward of exactly zero for this many steps in a row ends the training."
    )
    hang_factor: Annotated[float, Field(gt=1)] = Field(
        10.0,
        description="A step that takes this many times the median step's time is a hang: the job "
        "ends.",
    )

    @property
    def rollouts_per_step(self) -> int:
        """Rollouts of one step, over all hosts."""
        return self.num_prompts_per_step * self.num_generations_per_prompt

    @field_validator("wandb_name")
    @classmethod
    def _wandb_name_can_be_filled_in(cls, name: str) -> str:
        left = re.sub(r"\{(run|model|nodes|seed)\}", "", name)
        if not name.strip() or "{" in left or "}" in left:
            raise ValueError(
                f"{name!r} is not a name of a run: in braces may stand run, model, nodes and seed"
            )
        return name

    @model_validator(mode="after")
    def _saves_carry_validation(self) -> "NemoRl":
        check_save_period(
            self.save_period,
            self.val_period,
            "NeMo RL writes val:accuracy only into a checkpoint whose step was validated",
        )
        return self
