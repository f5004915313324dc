"""`training.trl`: GRPO with TRL."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from toolgain.config.sections.base import Positive, Section, check_save_period


class Trl(Section):
    """GRPO with TRL's GRPOTrainer."""

    WITHOUT_EFFECT = ("threads", "processes")
    EXPORT_GPUS = 0
    TITLE = "TRL"
    STEPS_KEY = "max_steps"
    ENDS_ROLLOUTS = True

    max_steps: Positive = Field(40, description="Optimizer steps.")
    num_prompts_per_step: Positive = Field(
        8, description="Prompts in one step, over all processes."
    )
    num_generations: Annotated[int, Field(ge=2)] = Field(8, description="Completions per prompt.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-5, description="Peak learning rate.")
    lr_scheduler_type: Literal["constant_with_warmup", "linear", "cosine"] = Field(
        "constant_with_warmup", description="Learning-rate schedule after the warm-up."
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="Steps in which the learning rate rises to its peak."
    )
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(1.0, description="Gradient clipping norm.")
    beta: Annotated[float, Field(ge=0)] = Field(0.0, description="Weight of the KL penalty.")
    epsilon: Annotated[float, Field(gt=0)] = Field(
        0.2, description="Clip range of the policy ratio, both ways."
    )
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = Field(
        "dapo", description="How token losses are averaged."
    )
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group",
        description="Advantage normalisation: by the standard deviation of the group, of the "
        "batch, or none.",
    )
    temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="Sampling temperature.")
    max_completion_length: Positive = Field(
        128, description="Maximum length of a completion, in tokens."
    )
    val_period: Positive = Field(10, description="Steps between validations.")
    validation_batch: Positive = Field(128, description="Validation tasks answered at once.")
    save_period: Positive = Field(10, description="Steps between checkpoints.")
    keep_top_k: Positive = Field(3, description="Best checkpoints kept, besides the latest.")
    processes: Positive = Field(1, description="Processes per node (torchrun when above 1).")
    per_device_train_batch_size: Positive | None = Field(
        None,
        description="Completions of one forward and backward pass in a process; null: all of its "
        "share of a step. Less memory, and the same result up to rounding.",
    )
    sampling_batch: Positive | None = Field(
        None,
        description="Answers sampled at once in a process; null: all that are asked for. Less "
        "memory for the cache of keys and values, and other draws.",
    )
    share_prompts: bool = Field(
        True,
        description="Compute a prompt once for all its completions in the loss, and on a CPU keep "
        "it once while they are sampled, where the model's attention allows it (checked before "
        "the training).",
    )
    bf16: bool = Field(True, description="bfloat16 autocast where the processor has it.")
    gradient_checkpointing: bool = Field(False, description="Trade time for memory.")
    threads: Positive | None = Field(None, description="CPU threads of each process.")

    @property
    def rollouts_per_step(self) -> int:
        """Completions of one step, over all processes."""
        return self.num_prompts_per_step * self.num_generations

    @model_validator(mode="after")
    def _saves_carry_validation(self) -> "Trl":
        check_save_period(
            self.save_period,
            self.val_period,
            "checkpoints without a validation accuracy cannot be selected",
        )
        if self.save_period > self.max_steps:
            raise ValueError(
                f"save_period {self.save_period} is above max_steps {self.max_steps}: no "
                "checkpoint with a validation accuracy would be written"
            )
        return self
