"""The typed configuration: the one source of defaults, the JSON schema and config/README.md.

Each top-level section belongs to one stage, which reads only its frozen copy
(`toolgain.config.freeze`). Every field carries its meaning; unknown keys are an error that names
the nearest valid one.
"""

import difflib
import re
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from toolgain.common.errors import UserError
from toolgain.common.files import canonical_json
from toolgain.config import yaml_file

# The harness reads meaning into the served name: "o1" drops the temperature, "fc" changes the
# prompting, and a digit, space, `:`, `+` or `,` breaks the multi-turn scoring without a word.
ALIAS = re.compile(r"^[a-z][a-z_]*$")
ALIAS_FORBIDDEN = ("o1", "fc")

REQUESTS_PER_COPY = 32
"""Requests that one model copy is given at once, where the configuration does not say."""

ROOM_FOR_TOOLS, ROOM_FOR_WORDY_TOOLS = 500, 1200
"""Characters of a prompt in which one in a hundred draws of several tools finds room, and of those
described at length one in twenty; with less, drawing them would take for ever."""

WITHOUT_EFFECT = ("smoke_steps", "gym")
"""Keys of a training section that do not change what is trained; its backend's section has more."""

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    OF_THE_USER: ClassVar[tuple[str, ...] | None] = None
    """In a section about the place, the keys that its user decides; the others are its
    administrator's. None: a section that is the user's altogether."""
    WITHOUT_EFFECT: ClassVar[tuple[str, ...]] = ()
    """In a trainer's section, the keys that do not change what is trained."""
    EXPORT_GPUS: ClassVar[int] = 0
    """In a trainer's section, the GPUs that the export of its checkpoints needs."""


class ModelSection(Section):
    """The model before the training: a Hugging Face folder, evaluated and trained from."""

    path: str = Field(description="Folder of the model (Hugging Face format).")
    name: str | None = Field(None, description="Name shown in the report; default: the folder's.")
    chat_template: str | None = Field(
        None,
        description="A chat template file that takes the place of the model's own, for training, "
        "export and serving alike.",
    )
    patch: Literal["none", "nemotron-nano-v2"] = Field(
        "none",
        description="An exact, checked replacement in a private copy of the model's chat template.",
    )
    trust_remote_code: bool = Field(
        False,
        description="Run the Python code that the model brings along (`auto_map` in its "
        "config.json), with all your rights and outside of the sandbox. NeMo RL and vLLM then load "
        "it; a model that needs it is refused without.",
    )
    response_template: str | None = Field(
        None,
        description="What reads the model's tool calls in the TRL reward and in `transformers "
        "serve`: `hermes`, `qwen3_xml`, `llama3_json`, `mistral`, `mistral_args`, `nemotron_json`, "
        "or a JSON file with a `response_template` of transformers; null: the tokenizer's own, "
        "else the one of these that reads a call which the model's chat template writes.",
    )


class Subset(Section):
    """How many items are drawn from each category. A subset is never comparable with
    published scores."""

    non_live: Positive = Field(10, description="Items from each of the 7 non-live categories.")
    live: Positive = Field(10, description="Items from each of the 6 live categories.")
    multi_turn: Positive = Field(
        3, description="Scenarios; each is asked in all 4 multi-turn categories."
    )
    categories: dict[str, Positive] = Field(
        {}, description="Sizes for single categories, in place of their group's."
    )
    seed: int = Field(1, description="Seed of the stratified draw.")


class Sampling(Section):
    """The sampling that the server is asked for; what it really received is recorded."""

    temperature: Annotated[float, Field(ge=0, le=2)] = Field(0.0, description="0 is greedy.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Nucleus sampling.")
    max_tokens: Positive | None = Field(
        None, description="Most tokens of one answer; none: the server's limit."
    )
    seed: int | None = Field(None, description="Seed sent with each request.")


@dataclass(frozen=True)
class ServerFacts:
    """What follows from the choice of a model server; `toolgain.serving.server` starts it."""

    ours: bool
    """Whether the evaluate stage starts and stops it."""
    on_gpus: bool = False
    """Whether it takes GPUs, and runs in the container of the cluster where one is named."""
    package: str | None = None
    """The package of the trl environment that serves; None: none of that environment."""
    parser_key: str = "its own settings"
    """The key that decides how it reads tool calls."""


SERVERS = {
    "transformers": ServerFacts(
        ours=True, package="transformers", parser_key="model.response_template"
    ),
    "vllm": ServerFacts(ours=True, on_gpus=True, parser_key="evaluation.serve.tool_parser"),
    "endpoint": ServerFacts(ours=False),
}
"""The values of `evaluation.serve.backend`."""


class Serve(Section):
    """The model server that the evaluate stage starts and stops."""

    backend: Literal["transformers", "vllm", "endpoint"] = Field(
        "vllm", description="`endpoint`: a server that is already up, named by `url`."
    )
    url: str | None = Field(
        None, description="Base URL up to /v1, with backend `endpoint`; `{subject}` is filled in."
    )
    api_key_env: str | None = Field(
        None, description="Environment variable that holds the endpoint's key."
    )

    @field_validator("url")
    @classmethod
    def _url_holds_no_key(cls, url: str | None) -> str | None:
        if url and has_credentials(url):
            raise ValueError(
                "the URL holds a key or a password, which would end up in files and logs; put it "
                "into an environment variable and name that in evaluation.serve.api_key_env "
                "(--api-key-env)"
            )
        return url

    dtype: str = Field("bfloat16", description="Number type of the weights while serving.")
    max_model_len: Positive | None = Field(32768, description="Context length in tokens.")
    tool_parser: str | None = Field(
        None, description="vLLM's --tool-call-parser, such as `hermes` or `nemotron_json`."
    )
    tool_parser_plugin: str | None = Field(
        None, description="`nemotron-nano-v2` for toolgain's own plugin, or a file."
    )
    data_parallel_size: Positive = Field(1, description="Model copies, one or more GPUs each.")
    tensor_parallel_size: Positive = Field(1, description="GPUs that share one model copy.")
    extra_args: list[str] = Field([], description="Further arguments of the server, as they are.")
    env: dict[str, str] = Field(
        {},
        description="Environment variables of the server, such as `VLLM_*`, `NCCL_*` or "
        "`TRITON_CACHE_DIR`, which it would not get otherwise; no secrets.",
    )
    container: str | None = Field(
        None,
        description="Container image that vLLM runs in (needs a Slurm job and pyxis); null: "
        "`cluster.container`; an empty text: none, vLLM from the PATH.",
    )
    program: str = Field("vllm", description="How vLLM is started, here or in the container.")
    ready_timeout_s: Positive = Field(1800, description="Timeout of its start, in seconds.")
    threads: Positive | None = Field(None, description="CPU threads of the server.")

    @property
    def server(self) -> ServerFacts:
        """What follows from `backend`."""
        return SERVERS[self.backend]

    @model_validator(mode="after")
    def _parser_is_of_this_server(self) -> "Serve":
        for name in ("tool_parser", "tool_parser_plugin"):
            # An endpoint's parser can be named, for the canary to know the markup of a call.
            if self.server.package and getattr(self, name) is not None:
                raise ValueError(
                    f"{name} is vLLM's and has no effect with backend {self.backend}; what reads "
                    f"the model's tool calls there is {self.server.parser_key}"
                )
        return self


def has_credentials(url: str) -> bool:
    """Whether `url` holds a user, a password, or a parameter that looks like a key."""
    parts = urlsplit(url)
    names = {name.lower().replace("-", "_") for name, _ in parse_qsl(parts.query)}
    return "@" in parts.netloc or any(re.search(r"key|token|secret|auth|sig", n) for n in names)


class Retry(Section):
    """Retries of what the infrastructure failed to answer."""

    rounds: Annotated[int, Field(ge=0)] = Field(
        3, description="Retry rounds in a row that answer nothing new before the evaluation ends."
    )
    max_hours: Annotated[float, Field(gt=0)] | None = Field(
        24.0,
        description="After so many hours of the evaluation, interruptions left out, no retry "
        "starts; null: no limit.",
    )
    backoff_s: Annotated[float, Field(ge=0)] = Field(
        20.0, description="Wait before the first round; it doubles with each."
    )
    request_timeout_s: Annotated[float, Field(gt=0)] = Field(
        900.0, description="Timeout of one request, which is then retried."
    )
    request_attempts: Positive = Field(
        3, description="Attempts of one request before its item counts as failed in this round."
    )


class EvaluationSection(Section):
    """BFCL v3 by NeMo Evaluator, the same for the baseline and every run."""

    task: Literal["multi_turn,ast"] = Field(
        "multi_turn,ast", description="The 17 scored categories of BFCL v3."
    )
    alias: str = Field("policy", description="Served model name, the same for all evaluations.")
    subset: Subset | None = Field(None, description="Draw a subset; none: all 4441 items.")
    repeats: Positive = Field(
        1, description="Evaluations of the same weights; 2 or more give a noise floor."
    )
    parallelism: Positive | None = Field(
        None,
        description="Requests of the harness under way at once; none: "
        f"{REQUESTS_PER_COPY} for each model copy of the server (data_parallel_size).",
    )
    sampling: Sampling = Field(Sampling(), description="Sampling of the answers.")
    serve: Serve = Field(Serve(), description="The model server.")
    canary: Literal["stop", "warn"] = Field(
        "stop",
        description="`stop`: where the canary proves that the server does not parse tool calls, "
        "nothing is evaluated; `warn`: it is evaluated all the same, with a warning.",
    )
    max_response_bytes: Positive = Field(
        8 * 2**20, description="Largest response; a larger one is cut and counts as failed."
    )
    retry: Retry = Field(Retry(), description="Retries of what failed.")
    max_error_share: Share = Field(
        0.005, description="Above this share of failed items an evaluation is not valid."
    )
    max_overflow_share: Share = Field(
        0.02, description="The same for items whose prompt was longer than the server's context."
    )
    sandbox: Literal["require", "best_effort"] = Field(
        "best_effort",
        description="The harness evaluates what the model wrote. `require`: only where the kernel "
        "shuts it in entirely; `best_effort`: as far as it can, and what stays open is said.",
    )
    harness_container: str | None = Field(
        None,
        description="NVIDIA's BFCL container in place of the harness environment: "
        "`nvcr.io#nvidia/eval-factory/bfcl@sha256:...`, or a .sqsh file.",
    )

    @property
    def requests_at_once(self) -> int:
        """What `parallelism` comes to."""
        return self.parallelism or REQUESTS_PER_COPY * self.serve.data_parallel_size

    @model_validator(mode="before")
    @classmethod
    def _retry_was_called_repair(cls, values: object) -> object:
        if isinstance(values, dict) and "repair" in values and "retry" not in values:
            values = {**values, "retry": values["repair"]}
            del values["repair"]
        return values

    @field_validator("harness_container")
    @classmethod
    def _harness_is_pinned(cls, image: str | None) -> str | None:
        if image and not re.search(r"@sha256:[0-9a-f]{64}$", image) and not image.endswith(".sqsh"):
            raise ValueError(
                f"{image!r} may be another harness tomorrow: name the image by its digest "
                "(`...@sha256:<64 digits>`) or give a .sqsh file"
            )
        return image

    @field_validator("alias")
    @classmethod
    def _harness_reads_alias_right(cls, alias: str) -> str:
        if not ALIAS.match(alias) or any(part in alias for part in ALIAS_FORBIDDEN):
            raise ValueError(
                f"the harness misreads the alias {alias!r}: use lower-case letters and `_` only, "
                "without `o1` or `fc`, such as `policy`"
            )
        return alias


class TasksSection(Section):
    """The training tasks. The generated ones are for the TRL backend."""

    seed: int = Field(1, description="Seed of the generated tasks.")
    train: Positive = Field(2000, description="Number of training tasks.")
    validation: Positive = Field(96, description="Number of validation tasks.")
    no_tool_share: Share = Field(0.35, description="Share of tasks that no tool can serve.")
    wordy_share: Share = Field(
        0.0,
        description="Share of tasks whose tools are described at length, with more tools, odd "
        "names and values. They need a `max_prompt_chars` of 1200 or more.",
    )
    max_prompt_chars: Annotated[int, Field(ge=ROOM_FOR_TOOLS)] = Field(
        700, description="Longest prompt, in characters."
    )
    max_ngram_overlap: Share = Field(
        0.01, description="Largest share of tasks with a word 8-gram or function name of BFCL."
    )
    train_file: str | None = Field(
        None,
        description="Training tasks of your own in place of the generated ones: for trl in the "
        "form of workflow/schemas/task.schema.json, for nemo_rl prepared rows of NeMo Gym.",
    )
    validation_file: str | None = Field(
        None, description="The same for validation; both files are given, or none."
    )

    @model_validator(mode="after")
    def _wordy_tasks_have_room(self) -> "TasksSection":
        if self.wordy_share > 0 and self.max_prompt_chars < ROOM_FOR_WORDY_TOOLS:
            raise ValueError(
                f"max_prompt_chars {self.max_prompt_chars} is too short for tools described at "
                f"length (wordy_share {self.wordy_share:g}); give {ROOM_FOR_WORDY_TOOLS} or more"
            )
        return self


class Trl(Section):
    """GRPO with TRL's GRPOTrainer."""

    WITHOUT_EFFECT = ("threads", "processes")
    EXPORT_GPUS = 0

    steps: Positive = Field(40, description="Optimizer steps.")
    prompts_per_step: Positive = Field(8, description="Prompts in one step, over all processes.")
    generations: Annotated[int, Field(ge=2)] = Field(8, description="Completions per prompt.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-5, description="Peak learning rate.")
    schedule: Literal["constant_with_warmup", "linear", "cosine"] = Field(
        "constant_with_warmup", description="Course of the learning rate after the warm-up."
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="Steps in which the learning rate rises to its peak."
    )
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(
        1.0, description="The gradient is scaled down to this norm where it is longer."
    )
    beta: Annotated[float, Field(ge=0)] = Field(0.0, description="Weight of the KL penalty.")
    epsilon: Annotated[float, Field(gt=0)] = Field(
        0.2, description="Clip range of the policy ratio, both ways."
    )
    loss: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = Field(
        "dapo", description="How token losses are averaged; TRL's `loss_type`."
    )
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group", description="Over what the advantages are divided by their standard deviation."
    )
    temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="Sampling temperature.")
    max_completion_tokens: Positive = Field(128, description="Longest completion, in tokens.")
    val_period: Positive = Field(10, description="Steps between validations.")
    validation_batch: Positive = Field(128, description="Validation tasks answered at once.")
    save_period: Positive = Field(10, description="Steps between checkpoints.")
    keep_top_k: Positive = Field(3, description="Best checkpoints kept, besides the latest.")
    processes: Positive = Field(1, description="Processes per node (torchrun when above 1).")
    micro_batch: Positive | None = Field(
        None,
        description="Completions of one forward and backward pass in a process; none: all of its "
        "share of a step. Less memory, and the same result up to rounding.",
    )
    share_prompts: bool = Field(
        True,
        description="Compute a prompt once for all its completions in the loss, where the model's "
        "attention allows it (checked before the training).",
    )
    bf16: bool = Field(True, description="bfloat16 autocast where the processor has it.")
    gradient_checkpointing: bool = Field(False, description="Trade time for memory.")
    threads: Positive | None = Field(None, description="CPU threads of each process.")

    @model_validator(mode="after")
    def _saves_carry_validation(self) -> "Trl":
        if self.save_period % self.val_period:
            raise ValueError(
                f"save_period {self.save_period} is not a multiple of val_period "
                f"{self.val_period}: checkpoints without a validation accuracy cannot be selected; "
                f"set save_period to {self.val_period}"
            )
        if self.save_period > self.steps:
            raise ValueError(
                f"save_period {self.save_period} is above steps {self.steps}: no checkpoint with "
                "a validation accuracy would be written"
            )
        return self


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

    ref: Literal["v0.5.0", "v0.6.0", "v0.7.0", "v0.8.0", "main"] = Field(
        "v0.7.0",
        description="NeMo RL version; checkout, container image and NeMo Gym must be the same.",
    )
    config: str = Field(
        "examples/nemo_gym/grpo_workplace_assistant_nemotron_nano_v2_9b.yaml",
        description="Upstream YAML: a path in the NeMo RL checkout, or an absolute one.",
    )
    epochs: Positive = Field(1, description="Passes over the training data.")
    max_steps: Positive | None = Field(None, description="Most steps; none: what the epochs give.")
    prompts_per_step: Positive = Field(64, description="Prompts in one step.")
    generations: Annotated[int, Field(ge=2)] = Field(16, description="Rollouts per prompt.")
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
    tensor_parallel: Positive | None = Field(None, description="Tensor parallel size of training.")
    pipeline_parallel: Positive | None = Field(None, description="Pipeline parallel size.")
    context_parallel: Positive | None = Field(None, description="Context parallel size.")
    max_sequence_length: Positive | None = Field(
        None, description="Longest prompt and answer together, in tokens."
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
    delete: list[str] = Field([], description="Upstream keys (dotted) that are taken away.")
    zero_reward_steps: Positive = Field(
        3, description="A reward of exactly zero for so many steps ends the training."
    )
    hang_factor: Annotated[float, Field(gt=1)] = Field(
        10.0, description="A step of so many times the median step's time is ended as a hang."
    )

    @field_validator("wandb_name")
    @classmethod
    def _wandb_name_can_be_filled_in(cls, name: str) -> str:
        left = re.sub(r"\{(run|model|nodes|seed)\}", "", name)
        if not name.strip() or "{" in left or "}" in left:
            raise ValueError(
                f"{name!r} is no name of a run: in braces may stand run, model, nodes and seed"
            )
        return name

    @model_validator(mode="after")
    def _saves_carry_validation(self) -> "NemoRl":
        if self.save_period % self.val_period:
            raise ValueError(
                f"save_period {self.save_period} is not a multiple of val_period "
                f"{self.val_period}: NeMo RL writes val:accuracy only into a checkpoint whose "
                f"step was validated; set save_period to {self.val_period}"
            )
        return self


class GymSection(Section):
    """The environment of NeMo Gym that a rehearsal plays, and how much of it (docs/gym.md)."""

    config_paths: list[str] = Field(
        [],
        description="YAML files of the environment, as Gym's own commands take them; none: those "
        "that the upstream YAML of `nemo_rl` names.",
    )
    overrides: dict[str, bool | int | float | str | list[str] | None] = Field(
        {}, description="Dotted keys of Gym's merged YAML and their values."
    )
    max_turns: Positive = Field(
        32, description="A rollout that asks the model more often is ended, and has failed."
    )
    rollout_timeout_s: Annotated[float, Field(gt=0)] = Field(
        900.0, description="A rollout that takes longer has failed; Gym itself waits for ever."
    )
    rehearsal_rows: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Rows that `rehearse` plays before the smoke training; 0 leaves it out. It "
        "needs `make setup-gym`.",
    )
    rehearsal_rollouts: Annotated[int, Field(ge=2)] = Field(
        4, description="Rollouts of each of these rows."
    )


class TrainingSection(Section):
    """One GRPO training. Each run may override any of it."""

    backend: Literal["trl", "nemo_rl"] = Field(
        "nemo_rl", description="`trl` on one machine or a few hosts, `nemo_rl` on a GPU cluster."
    )
    seed: int = Field(1, description="Seed of the training.")
    smoke_steps: Annotated[int, Field(ge=0)] = Field(
        3, description="Steps of the smoke training that gates the long one; 0 leaves it out."
    )
    tasks: TasksSection = Field(TasksSection(), description="The training tasks.")
    trl: Trl = Field(Trl(), description="Read with backend `trl`.")
    nemo_rl: NemoRl = Field(NemoRl(), description="Read with backend `nemo_rl`.")
    gym: GymSection = Field(GymSection(), description="The rehearsal of NeMo Gym's environment.")

    @property
    def rehearses(self) -> bool:
        """Whether a rehearsal comes before the training."""
        return self.gym.rehearsal_rows > 0

    @model_validator(mode="after")
    def _both_task_files_or_none(self) -> "TrainingSection":
        tasks = self.tasks
        if self.backend == "trl" and (tasks.train_file is None) != (tasks.validation_file is None):
            given, missing = "train_file", "validation_file"
            if tasks.train_file is None:
                given, missing = missing, given
            raise ValueError(
                f"tasks.{given} is given without tasks.{missing}; give both, or none for the "
                "generated tasks"
            )
        return self

    @property
    def settings(self) -> Trl | NemoRl:
        """The section of the backend."""
        found: Trl | NemoRl = getattr(self, self.backend)
        return found

    def frozen(self) -> dict[str, object]:
        """What a training may see: everything but the other backend's section."""
        return self.model_dump(exclude=TRAINERS - {self.backend})


TRAINERS: set[str] = set(get_args(TrainingSection.model_fields["backend"].annotation))
"""The values of `training.backend`; a trainer's own section has its name."""


class RunSection(Section):
    """One training run: a seed, a recipe, or both."""

    seed: int | None = Field(None, description="Seed of this run; default: training.seed.")
    training: dict[str, Any] = Field({}, description="Overrides of the training section.")


class AssumedDiscordance(Section):
    """The share of items whose outcome a training changes, by group."""

    non_live: Share = Field(0.05, description="Of the 7 non-live categories.")
    live: Share = Field(0.07, description="Of the 6 live categories.")
    multi_turn: Share = Field(0.20, description="Of the 4 multi-turn categories.")


class ComparisonSection(Section):
    """How the change is judged. Fixed before the run."""

    draws: Annotated[int, Field(ge=1000)] = Field(10_000, description="Bootstrap draws.")
    seed: int = Field(20250408, description="Seed of the bootstrap.")
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.05, description="Two-sided error level of the verdict and the intervals."
    )
    margin: Annotated[float, Field(gt=0)] = Field(
        1.0, description="Non-inferiority margin for single-turn groups, in points."
    )
    primary: str | None = Field(
        None,
        description="Run or recipe whose verdict is the headline; none: the only run, or the mean "
        "of the runs of the only recipe.",
    )
    recipes: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(
        {},
        description="Runs that repeat one recipe, by its name; each recipe gets the mean of its "
        "runs. None: runs that differ in their seed alone are of one recipe.",
    )
    max_error_share: Share = Field(
        0.005,
        description="Above this share of questions without an answer the comparison is refused.",
    )
    assumed_discordance: AssumedDiscordance = Field(
        AssumedDiscordance(),
        description="Assumed before the run, for the smallest change that can be detected.",
    )
    assumed_correlation: Share = Field(
        0.3, description="Assumed correlation of the changes of two items of one cluster."
    )


class ReportSection(Section):
    """The report page."""

    title: str = Field("Did the training help?", description="Title of the page.")
    anchors: bool = Field(True, description="Show published scores with their conditions.")
    max_megabytes: Annotated[float, Field(ge=1, le=100)] = Field(
        5.0,
        description="Largest size of the page. Above it long answers are cut, then the items of "
        "later runs are left out; those of 20 runs are the most.",
    )


class NemoRlSite(Section):
    """Where NeMo RL is on this cluster, and how long its parts take here.

    None of it changes what is trained, so a moved checkout or image trains nothing again.
    """

    OF_THE_USER = ()

    root: str | None = Field(None, description="NeMo RL checkout on the shared file system.")
    mounts: list[str] = Field(
        [],
        description="Mounts `src:dst` of the container; the checkout, the work folder, model, "
        "data and hf_home are added by themselves.",
    )
    hf_home: str | None = Field(
        None, description="Shared HF_HOME; also holds the converted base model."
    )
    python: str = Field(
        "uv run --no-sync python",
        description="How the container starts Python; `--no-sync` works without a network. "
        "`uv run python` installs again where the checkout's lock file differs from the image's.",
    )
    converter_python: str = Field(
        "/opt/ray_venvs/nemo_rl.models.policy.workers.megatron_policy_worker.MegatronPolicyWorker"
        "/bin/python",
        description="How the container starts Python for the converters of checkpoints: the "
        "image's environment of the Megatron workers, which needs no network; "
        "`uv run --extra mcore python` may want one.",
    )
    vllm_python: str = Field(
        "/opt/ray_venvs/nemo_rl.models.generation.vllm.vllm_worker_async.VllmAsyncGenerationWorker"
        "/bin/python",
        description="Python of the container's vLLM environment, for `toolgain doctor`.",
    )
    cuda_arch_list: str | None = Field(
        None, description="TORCH_CUDA_ARCH_LIST where the image's is wrong, such as `8.0`."
    )
    env: dict[str, str] = Field({}, description="Further environment variables; no secrets.")
    setup_minutes: Annotated[float, Field(ge=0)] = Field(
        45, description="Longest start-up: container, conversion of the base model, vLLM."
    )
    step_minutes: Annotated[float, Field(gt=0)] = Field(
        10, description="Longest step with validation, until steps were measured."
    )
    save_minutes: Annotated[float, Field(ge=0)] = Field(10, description="Longest save.")
    margin_minutes: Annotated[float, Field(ge=0)] = Field(
        10, description="Time between the last save and the time limit."
    )
    poll_seconds: Annotated[float, Field(gt=0)] = Field(
        20, description="Pause between two looks at a running training."
    )


DURATION = re.compile(
    r"(?P<count>[1-9]\d*)(?P<unit>m|h|d)|(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]\d):00"
)
SHAPE = "^([1-9][0-9]*(m|h|d)|([0-9]+-)?[0-9]+:[0-5][0-9]:00)$"
UNITS = {"m": 1, "h": 60, "d": 1440}


def minutes(duration: str) -> int:
    """A duration such as `90m`, `4h`, `2d`, `4:00:00` or `1-12:00:00` in minutes."""
    match = DURATION.fullmatch(duration)
    if match is None:
        raise ValueError("is no duration; say 90m, 4h, 2d, or as Slurm does 4:00:00 or 1-12:00:00")
    if match["unit"]:
        return int(match["count"]) * UNITS[match["unit"]]
    hours = int(match["days"] or 0) * 24 + int(match["hours"])
    return hours * 60 + int(match["minutes"])


def _duration(value: Any) -> Any:
    # YAML itself makes seconds of an unquoted 4:00:00.
    if isinstance(value, int) and not isinstance(value, bool) and value >= 3600 and not value % 60:
        return f"{value // 60}m"
    text = str(value)
    try:
        minutes_given = minutes(text)
    except ValueError as error:
        raise ValueError(f"{text!r} {error}") from None
    if minutes_given < 1:
        raise ValueError(f"{text!r} is no time at all; one minute is the least")
    return text


Duration = Annotated[str, BeforeValidator(_duration), Field(json_schema_extra={"pattern": SHAPE})]
"""A length of time, such as `90m`, `4h`, `2d` or `4:00:00`."""


class ClusterSection(Section):
    """Facts of the cluster, and the size of a job."""

    OF_THE_USER = (
        *("account", "partition", "nodes", "train_time", "smoke_time"),
        *("export_time", "export_memory_gb"),
        *("evaluate_time", "evaluate_gpus", "evaluate_cpus", "evaluate_memory_gb"),
    )

    account: str | None = Field(
        None, description="Slurm account; none: SLURM_ACCOUNT, else your default account."
    )
    partition: str | None = Field(
        None, description="Slurm partition; none: SLURM_PARTITION, else the cluster's default."
    )
    nodes: Positive = Field(1, description="Nodes of the training.")
    gpus_per_node: Annotated[int, Field(ge=0)] = Field(
        8, description="GPUs of each node, all of which a training takes."
    )
    cpus_per_node: Positive = Field(64, description="CPUs of each node that a training takes.")
    memory_gb_per_node: Positive = Field(
        400, description="Memory on each node that a training takes, in GB."
    )
    exclusive: bool = Field(True, description="A training has its nodes for itself.")
    container: str | None = Field(None, description="NeMo RL container image (.sqsh or registry).")
    nemo_rl: NemoRlSite = Field(NemoRlSite(), description="Where NeMo RL is on this cluster.")
    train_time: Duration = Field(
        "1d", description="Time limit of one training job; the next one resumes."
    )
    shortest_time: Duration = Field(
        "10m",
        description="A stage with a shorter time limit is refused: it could not start and save.",
    )
    smoke_time: Duration = Field("1h", description="Time limit of the smoke training.")
    export_time: Duration = Field("2h", description="Time limit of the export.")
    export_memory_gb: Positive = Field(64, description="Memory of the export, in GB.")
    evaluate_time: Duration = Field("8h", description="Time limit of one evaluation job.")
    evaluate_gpus: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="GPUs of an evaluation; none: tensor_parallel_size x data_parallel_size for "
        "vLLM, else none.",
    )
    evaluate_cpus: Positive = Field(16, description="CPUs of an evaluation.")
    evaluate_memory_gb: Positive = Field(64, description="Memory of an evaluation, in GB.")


class EnvironmentsSection(Section):
    """Folders of the stages' Python environments; `make setup` makes them."""

    OF_THE_USER = ()

    bfcl: str = Field(".venvs/bfcl", description="Environment of the harness.")
    trl: str = Field(".venvs/trl", description="Environment of TRL and `transformers serve`.")
    gym: str = Field(".venvs/gym", description="Environment of NeMo Gym; `make setup-gym`.")


class Config(Section):
    """The configuration of a toolgain workflow."""

    model: ModelSection = Field(description="The model before the training.")
    evaluation: EvaluationSection = Field(EvaluationSection(), description="BFCL v3.")
    training: TrainingSection = Field(TrainingSection(), description="GRPO.")
    runs: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")], RunSection] = Field(
        {"grpo": RunSection()}, description="The training runs, by name."
    )
    comparison: ComparisonSection = Field(ComparisonSection(), description="The statistics.")
    report: ReportSection = Field(ReportSection(), description="The report.")
    cluster: ClusterSection = Field(ClusterSection(), description="The cluster.")
    environments: EnvironmentsSection = Field(EnvironmentsSection(), description="Environments.")

    @model_validator(mode="after")
    def _runs_are_trainings(self) -> "Config":
        if not self.runs:
            raise ValueError("runs names no run; one is the least, such as `runs: {grpo: {}}`")
        if "baseline" in self.runs:
            raise ValueError("runs: `baseline` is the name of the model before the training")
        # Made here, so that what is wrong with one of them is wrong with the configuration.
        _ = self._trainings
        return self

    @model_validator(mode="after")
    def _headline_is_declared(self) -> "Config":
        recipes, primary = self.recipes, self.comparison.primary
        named = [run for runs in recipes.values() for run in runs]
        for run in named:
            if run not in self.runs:
                raise ValueError(f"comparison.recipes: there is no run {run!r} in `runs`")
        if len(set(named)) < len(named):
            raise ValueError("comparison.recipes: a run stands in two recipes, or twice in one")
        choices = list(dict.fromkeys([*self.runs, *recipes]))
        if primary is not None and primary not in choices:
            raise ValueError(
                f"comparison.primary: there is no run or recipe {primary!r}; "
                f"there is: {', '.join(choices)}"
            )
        if primary is None and len(recipes) > 1:
            raise ValueError(
                f"comparison.primary: the runs are of {len(recipes)} recipes "
                f"({'; '.join(recipes)}). Name the run whose change is the answer, or name the "
                "recipes (comparison.recipes) and one of them"
            )
        return self

    @property
    def serving_image(self) -> str | None:
        """The container image that vLLM serves in; None where it runs without one."""
        serve = self.evaluation.serve
        if serve.container is None and serve.server.on_gpus:
            return self.cluster.container or None
        return serve.container or None

    @property
    def recipes(self) -> dict[str, list[str]]:
        """The runs of each recipe: as given, or those that differ by the seed alone.

        Every run stands in one; a recipe without a name of its own is called after its runs.
        """
        given = self.comparison.recipes
        alone = [run for run in self.runs if not any(run in runs for runs in given.values())]
        if given:
            return {**given, **{run: [run] for run in alone}}
        same: dict[str, list[str]] = {}
        for run, training in self._trainings.items():
            recipe = deciding(training) | {"seed": None}
            same.setdefault(canonical_json(recipe), []).append(run)
        return {_called(runs): runs for runs in same.values()}

    @cached_property
    def _trainings(self) -> dict[str, TrainingSection]:
        return {run: self._training(run, section) for run, section in self.runs.items()}

    def _training(self, run: str, section: RunSection) -> TrainingSection:
        merged = _merged(self.training.model_dump(), section.training)
        if section.seed is not None:
            merged["seed"] = section.seed
        try:
            return TrainingSection.model_validate(merged)
        except ValidationError as error:
            raise ValueError(_lines(error, TrainingSection, f"runs.{run}.training.")) from None

    def training_of(self, run: str) -> TrainingSection:
        """The training section of `run`, with the run's seed and overrides put in.

        Raises:
            UserError: there is no such run.
        """
        if run not in self.runs:
            raise UserError(f"runs: there is no run {run!r}; there is: {', '.join(self.runs)}.")
        return self._trainings[run]


def deciding(training: TrainingSection) -> dict[str, object]:
    """What of a training section decides what comes of the training."""
    settings = training.settings
    decides = settings.model_dump(exclude=set(settings.WITHOUT_EFFECT))
    shared = training.model_dump(exclude={*WITHOUT_EFFECT, *TRAINERS})
    return {**shared, training.backend: decides}


def parse_config(values: dict[str, Any], where: str = "config") -> Config:
    """The typed configuration of raw `values`.

    Raises:
        UserError: a key is unknown or a value is not allowed; one line per finding, each with
            the key, its value and what is allowed.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: " + _lines(error, Config)) from None


SectionType = TypeVar("SectionType", bound=Section)


def parse_section(model: type[SectionType], values: Any, where: str) -> SectionType:
    """One section, checked by itself: for the verbs that people use without a workflow.

    Raises:
        UserError: as for `parse_config`.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        findings = "; ".join(_line(item, model, "") for item in error.errors())
        raise UserError(f"{where}: {findings}") from None


def load(path: Path) -> Config:
    """Read and check a YAML configuration file."""
    values = yaml_file.read_yaml(path)
    return parse_config(values, str(path))


def _called(runs: list[str]) -> str:
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    return ", ".join(runs[:3]) + more


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if nested else value
    return result


def _lines(error: ValidationError, model: type[Section], prefix: str = "") -> str:
    return "; ".join(_line(item, model, prefix) for item in error.errors())


def _line(item: Any, model: type[Section], prefix: str) -> str:
    location = [str(part) for part in item["loc"] if part != "[key]"]
    key = prefix + ".".join(location)
    if item["type"] == "extra_forbidden":
        names = _fields_at(model, location[:-1])
        near = difflib.get_close_matches(location[-1], names, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"allowed: {', '.join(names)}"
        return f"unknown key `{key}`; {hint}"
    if item["type"] == "value_error":
        message = item["msg"].removeprefix("Value error, ")
        return f"`{key}`: {message}" if key else message
    if item["type"] == "missing":
        return f"`{key}` is missing"
    if item["type"] == "string_type" and isinstance(item["input"], int | float | date):
        return (
            f"`{key}` is {item['input']!r}, where a text is expected: YAML reads some texts as "
            "numbers, dates or true and false (00123 as 83); put it in quotes"
        )
    return f"`{key}` is {item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}"


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """The field names of the section that `location` leads to."""
    current: Any = model
    for name in location:
        fields = getattr(current, "model_fields", {})
        if name not in fields:
            # A run's name inside `runs`.
            current = RunSection if model is Config and location[0] == "runs" else current
            continue
        current = _section_in(fields[name].annotation)
    return list(getattr(current, "model_fields", {}))


def _section_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _section_in(part)
        if found is not None:
            return found
    return None
