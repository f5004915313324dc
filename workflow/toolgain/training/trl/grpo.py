"""GRPO with TRL's GRPOTrainer: the program that the train stage starts, in the trl environment.

    python -m toolgain.training.trl.grpo PLAN.json
    torchrun ... --module toolgain.training.trl.grpo PLAN.json      several processes or hosts

The plan (`toolgain.training.trl.plan`) names the weights, the tasks, the settings, the checkpoint
folder and the log folder. One step is `num_prompts_per_step` prompts with `num_generations`
completions each, whatever the number of processes. Only the first process writes.

What makes a resumed run equal to an undisturbed one: the order of the prompts is a function of the
seed and is laid out before the first step, and the random numbers of step N on process R are a
function of (seed, N, R); so the position in the data and the state of the sampling follow from the
step alone. Weights, optimizer and scheduler come from the checkpoint in full precision.

How it ended is in `ended.json` of the log folder, written last; torchrun hands on no exit code.
"""

import json
import math
import os
import platform
import random
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from datasets import Dataset
from torch.utils.tensorboard import SummaryWriter
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import GRPOConfig, GRPOTrainer

from toolgain.common.amounts import counted
from toolgain.common.errors import ExitCode
from toolgain.common.files import read_jsonl, read_text
from toolgain.common.processor import has_bf16
from toolgain.common.progress import Progress, duration_words
from toolgain.common.signals import STOP_SIGNALS, end_with_parent
from toolgain.config.sections import Trl
from toolgain.models.loaded import check_loaded
from toolgain.records.record import read_record, write_record
from toolgain.serving import answers
from toolgain.training.store import checkpoints
from toolgain.training.trl import gym_environment
from toolgain.training.trl.context import Context
from toolgain.training.trl.episodes import Episode, Split, TaskEnvironment
from toolgain.training.trl.generated_tasks import GeneratedTasks, Judge
from toolgain.training.trl.gym_chat import GymChat
from toolgain.training.trl.gym_prompts import check_prompts
from toolgain.training.trl.order import prompt_order
from toolgain.training.trl.packing import largest_difference, score_packed
from toolgain.training.trl.plan import LaunchEnd, LaunchPlan, Processes
from toolgain.training.trl.sampling import can_share, complete

PROGRESS = "progress:"
"""Lines on standard output that begin with this are shown to the user by the stage."""

PACKING_TOLERANCE = 1e-3
"""Largest difference of a log-probability when the completions of a group share their prompt."""

METRICS = {
    "reward": "reward",
    "reward_std": "reward_std",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "lr",
    "entropy": "entropy",
    "kl": "kl",
    "frac_reward_zero_std": "zero_std_groups",
    "completions/mean_length": "completion_length",
    "completions/clipped_ratio": "truncated_completions",
    "step_time": "step_time",
    "exact": "accuracy",
    "called": "called",
    "turns": "turns",
    "rollout_time": "rollout_time",
}
"""Names of TRL's log mapped to those under `train/` in the curves."""

VALIDATED = (
    *("accuracy", "reward", "avg_length", "accuracy_call", "accuracy_none", "called_none"),
    "turns",
)
"""Means over the validation tasks, under `validation/` in the curves: accuracy (of all tasks, of
those that expect a call, of those that expect none), reward, sampled tokens, calls where none fits,
answers."""


def dtype_of(base: Path) -> torch.dtype:
    """The number type of the base model, and so of the model that is exported."""
    config = json.loads(read_text(base / "config.json"))
    return getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))


@contextmanager
def rounded(model: Any, dtype: torch.dtype) -> Iterator[None]:
    """The model with its weights rounded to `dtype` while the block runs."""
    exact = {parameter: parameter.data for parameter in model.parameters()}
    if dtype != torch.float32:
        for parameter, data in exact.items():
            parameter.data = data.to(dtype).to(data.dtype)
    try:
        yield
    finally:
        for parameter, data in exact.items():
            parameter.data = data


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of the random numbers of one step on one process."""
    return random.Random(f"step-{seed}-{step}-{rank}").getrandbits(63)


def task_reward(
    completions: Sequence[str],
    episode_reward: list[float],
    episode_accuracy: list[float],
    episode_called: list[float],
    episode_turns: list[float],
    episode_seconds: list[float],
    **others: Any,
) -> list[float]:
    """The reward as TRL calls it: what the environment said, with what is logged beside it."""
    logged = {
        "exact": episode_accuracy,
        "called": episode_called,
        "turns": episode_turns,
        "rollout_time": episode_seconds,
    }
    for name, values in logged.items():
        others["log_metric"](name, sum(values) / len(values))
    return episode_reward


def validated(episode: Episode) -> list[tuple[bool, float]]:
    """In the order of `VALIDATED`: whether the episode counts, and its value."""
    calls, none = episode.expects_call is True, episode.expects_call is False
    return [
        (True, episode.accuracy), (True, episode.reward), (True, episode.answer_tokens),
        (calls, episode.accuracy), (none, episode.accuracy), (none, episode.called),
        (True, episode.turns),
    ]  # fmt: skip


class ToolTrainer(GRPOTrainer):
    """GRPOTrainer with NeMo RL's checkpoint layout and a greedy validation by exact success."""

    control: TrainerControl

    def __init__(
        self,
        plan: LaunchPlan,
        environment: TaskEnvironment,
        endings: Sequence[int],
        train_tasks: int,
        **arguments: Any,
    ) -> None:
        self.plan = plan
        self.train_tasks = train_tasks
        self.environment = environment
        self.endings = endings
        self.folder = Path(plan.checkpoint_dir)
        self.validation = environment.validation_order()
        self.val_accuracy: float | None = None
        self.val_reward = 0.0
        self.is_share = True
        self.needs_grad: list[bool] | None = None
        """Which completions of the batch have an advantage other than zero; None: not known."""
        self.writer: SummaryWriter | None = None
        super().__init__(rollout_func=self.rollout, **arguments)
        self.exported_dtype = dtype_of(Path(plan.weights))
        self.shares_prompts = plan.section.trl.share_prompts and self._can_share_prompts()
        self.shares_caches = plan.section.trl.share_prompts and self._can_share_caches()

    def rollout(self, prompts: list[str], _: Any) -> dict[str, Any]:
        """Play the tasks whose numbers stand in the place of prompts (TRL's `rollout_func`)."""
        started = time.monotonic()
        numbers = [int(number) for number in prompts]
        episodes = self.environment.play("train", numbers, self._sample, self.temperature)
        return {
            "prompt_ids": [episode.prompt for episode in episodes],
            "completion_ids": [episode.completion for episode in episodes],
            "env_mask": [episode.sampled for episode in episodes],
            "logprobs": None,
            "episode_reward": [episode.reward for episode in episodes],
            "episode_accuracy": [episode.accuracy for episode in episodes],
            "episode_called": [float(episode.called) for episode in episodes],
            "episode_turns": [float(episode.turns) for episode in episodes],
            "episode_seconds": [time.monotonic() - started] * len(episodes),
        }

    def _sample(self, prompts: Sequence[Sequence[int]], temperature: float) -> list[list[int]]:
        model = self.accelerator.unwrap_model(self.model_wrapped)
        training = model.training
        model.eval()
        size = self.plan.section.trl.sampling_batch or len(prompts)
        completions: list[list[int]] = []
        # On a CPU, to cast the weights at every token costs more than the products gain.
        on_cpu = self.accelerator.device.type == "cpu"
        cast = nullcontext() if on_cpu else self.accelerator.autocast()
        with cast:
            for start in range(0, len(prompts), size):
                completions += complete(
                    model,
                    prompts[start : start + size],
                    limit=self.max_completion_length,
                    endings=self.endings,
                    padding=self._tokenizer.pad_token_id,
                    temperature=temperature,
                    shared=self.shares_caches,
                )
        model.train(training)
        return completions

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """TRL's loss; where a group has one reward, its completions are scored without a gradient.

        Their advantage is zero, and without a KL penalty they move no weight.
        """
        needed = (inputs["advantages"] != 0).tolist()
        # Every process has to have a backward pass: there they meet.
        self.needs_grad = needed if self.beta == 0 and any(needed) else None
        try:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
            return loss
        finally:
            self.needs_grad = None

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *arguments: Any,
        **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        separate = super()._get_per_token_logps_and_entropies
        given = (model, input_ids, attention_mask, logits_to_keep)
        if not self.shares_prompts:
            return separate(*given, *arguments, **options)
        log_probs, entropies = self._packed(*given)
        return log_probs, entropies if options.get("compute_entropy") else None, None

    def _packed(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, width: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        ids, mask = input_ids.tolist(), attention_mask.bool().tolist()
        split = input_ids.shape[1] - width
        kept = [
            [[t for t, seen in zip(row[part], shown[part], strict=True) if seen] for part in parts]
            for row, shown in zip(ids, mask, strict=True)
            for parts in [(slice(None, split), slice(split, None))]
        ]
        with self.accelerator.autocast():
            return score_packed(
                model,
                [prompt for prompt, _ in kept],
                [completion for _, completion in kept],
                self._tokenizer.pad_token_id,
                width,
                input_ids.device,
                self.needs_grad,
            )

    def _can_share_prompts(self) -> bool:
        """Whether the model gives a shared prompt the numbers of separate rows."""
        if self.model.config.get_text_config()._attn_implementation != "sdpa":
            return False
        prompt, *others = [ids[:200] for ids in self.environment.some_tokens()]
        parts = [
            ids[:length] for ids, length in zip([prompt, *others], (7, 1, 30, 12), strict=False)
        ]
        difference = largest_difference(self.model, prompt, parts, self.temperature)
        if difference > PACKING_TOLERANCE:
            say(f"prompts are not shared in the loss: this model differs by {difference:.2g} then")
        return difference <= PACKING_TOLERANCE

    def _can_share_caches(self) -> bool:
        """Whether completions share the keys and values of their prompt while they are sampled."""
        model = self.accelerator.unwrap_model(self.model)
        training = model.training
        model.eval()
        prompts = [ids[:200] for ids in self.environment.some_tokens()]
        shares = can_share(model, prompts, self._tokenizer.pad_token_id)
        model.train(training)
        return shares

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Greedy answers to all validation tasks, shared out over the processes.

        By the weights as they will be exported, so that the choice of a checkpoint, and whether it
        is better than the untrained model, speak of what is served.
        """
        with rounded(self.accelerator.unwrap_model(self.model), self.exported_dtype):
            return self._validate()

    def _validate(self) -> dict[str, float]:
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        mine = self.validation[rank::world]
        size = self.plan.section.trl.validation_batch
        sums = [0.0] * (2 * len(VALIDATED))
        lowest, highest = math.inf, -math.inf
        for start in range(0, len(mine), size):
            batch = mine[start : start + size]
            for episode in self.environment.play("validation", batch, self._sample, 0.0):
                lowest, highest = min(lowest, episode.accuracy), max(highest, episode.accuracy)
                for index, (counts, value) in enumerate(validated(episode)):
                    sums[2 * index] += counts
                    sums[2 * index + 1] += counts * value
        table = torch.tensor(
            [[*sums, lowest, -highest]], dtype=torch.float64, device=self.accelerator.device
        )
        gathered = self.accelerator.gather(table)
        total = gathered.sum(dim=0).tolist()
        lowest, less = gathered[:, -2:].amin(dim=0).tolist()
        highest = -less
        metrics = {
            name: total[2 * index + 1] / total[2 * index]
            for index, name in enumerate(VALIDATED)
            if total[2 * index]
        }
        metrics |= {"accuracy_lowest": lowest, "accuracy_highest": highest}
        self.val_accuracy = metrics["accuracy"]
        self.val_reward = metrics["reward"]
        # A mean of rewards beyond 0 and 1 has no standard error of a share.
        self.is_share = self.is_share and 0 <= lowest <= highest <= 1
        if self.writer:
            for name, value in metrics.items():
                self.writer.add_scalar(f"validation/{name}", value, self.state.global_step)
            self.writer.flush()
        shown = {f"eval_{name}": value for name, value in metrics.items()}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, shown)
        return shown

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        temporary = self.folder / f"tmp_step_{step}"
        optimizer = temporary / "policy" / "optimizer"
        main = self.accelerator.is_main_process
        started = time.monotonic()
        try:
            if main:
                shutil.rmtree(temporary, ignore_errors=True)
                optimizer.mkdir(parents=True)
                unwrapped = self.accelerator.unwrap_model(self.model_wrapped)
                unwrapped.save_pretrained(temporary / "policy" / "weights")
                self._tokenizer.save_pretrained(temporary / "policy" / "tokenizer")
            self.accelerator.wait_for_everyone()
            self._save_optimizer_and_scheduler(str(optimizer))
            self._save_rng_state(str(optimizer))
            self.accelerator.wait_for_everyone()
            if main:
                self.state.save_to_json(str(optimizer / "trainer_state.json"))
                self._write_info(temporary, step)
                checkpoints.settle(temporary, checkpoints.step_folder(self.folder, step))
                self._note_save(step, time.monotonic() - started)
        except Exception:
            # A full disk is an OSError here, a RuntimeError in torch, another in safetensors.
            if main:
                shutil.rmtree(temporary, ignore_errors=True)
            raise
        self.accelerator.wait_for_everyone()

    def _write_info(self, temporary: Path, step: int) -> None:
        settings = self.plan.section.trl
        info: dict[str, Any] = {
            "total_steps": step,
            "current_step": step,
            "current_epoch": step * settings.num_prompts_per_step // self.train_tasks,
            "consumed_samples": step * settings.num_prompts_per_step,
        }
        if self.val_accuracy is not None:
            info[checkpoints.METRIC] = self.val_accuracy
            info["val_reward"] = self.val_reward
            if self.is_share:
                info["validation_items"] = len(self.validation)
        (temporary / "config.yaml").write_text(
            yaml.safe_dump(
                {
                    "backend": "trl",
                    "policy": {"model_name": self.plan.weights},
                    "training": self.plan.section.frozen(),
                },
                sort_keys=True,
            )
        )
        (temporary / "training_info.json").write_text(json.dumps(info, indent=1) + "\n")

    def _note_save(self, step: int, seconds: float) -> None:
        settings = self.plan.section.trl
        path = checkpoints.step_folder(self.folder, step)
        size = checkpoints.size_of(path)
        note = {
            "step": step,
            "accuracy": self.val_accuracy,
            "seconds": round(seconds, 3),
            "bytes": size,
        }
        with (self.folder / "saves.jsonl").open("a") as file:
            file.write(json.dumps(note) + "\n")
        checkpoints.prune(self.folder, settings.keep_top_k)
        say(f"checkpoint {path} ({size / 1e6:.0f} MB, {seconds:.1f} s)")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # Into the model that was loaded from the base, so that the base stays the reference of
        # the KL penalty.
        weights = Path(resume_from_checkpoint).parent / "weights"
        loaded = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
        self.accelerator.unwrap_model(self.model).load_state_dict(loaded.state_dict())


class Course(TrainerCallback):
    """Validates, saves, reports and stops at the right steps."""

    def __init__(self, plan: LaunchPlan, stop: "Stop") -> None:
        self.plan = plan
        self.settings = plan.section.trl
        self.stop = stop
        self.trainer: ToolTrainer
        self.resumed_at = 0
        self.started = time.monotonic()
        self.step_started = self.started
        self.accuracy: float | None = None
        self.progress = Progress(
            [], stage=plan.stage, name=plan.name, total=plan.steps, log=plan.log
        )

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Validate the untrained model, unless the run resumes."""
        self.resumed_at = state.global_step
        if state.global_step == 0:
            self.trainer.evaluate()
        self.started = time.monotonic()

    def on_step_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Seed the step: what is sampled in it follows from the seed, the step and the process."""
        self.step_started = time.monotonic()
        self.trainer.val_accuracy = None
        rank = self.trainer.accelerator.process_index
        torch.manual_seed(step_seed(self.plan.section.seed, state.global_step, rank))

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Say whether to validate, to save and to stop."""
        step, last = state.global_step, state.global_step >= self.plan.steps
        control.should_evaluate = last or step % self.plan.val_period == 0
        control.should_save = last or step % self.plan.save_period == 0
        duration = time.monotonic() - self.step_started
        if not last and self.stop.asked(self.trainer.accelerator, duration):
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Write the curves of a step, and say where the training is."""
        writer = self.trainer.writer
        if writer is None or not logs or "reward" not in logs:
            return
        for name, shown in METRICS.items():
            value = logs.get(name)
            if isinstance(value, int | float) and math.isfinite(value):
                writer.add_scalar(f"train/{shown}", value, state.global_step)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        writer.add_scalar("system/peak_memory_bytes", peak, state.global_step)
        writer.flush()
        done = state.global_step - self.resumed_at
        rate = done / max(1e-9, time.monotonic() - self.started)
        left = (self.plan.steps - state.global_step) / rate
        parts = [
            f"step {state.global_step} of {self.plan.steps}",
            f"reward {logs['reward']:.3f}",
            f"exact {logs.get('exact', math.nan):.2f}",
            f"length {logs.get('completions/mean_length', math.nan):.0f}",
            f"{1 / rate:.1f} s a step",
            f"{duration_words(left)} left",
        ]
        say(" · ".join(parts))
        self.progress.update(step=state.global_step, reward=logs["reward"], rate=rate)

    def on_evaluate(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        """Say the validation accuracy."""
        self.accuracy = metrics["eval_accuracy"]
        if self.trainer.accelerator.is_main_process:
            say(
                f"step {state.global_step} of {self.plan.steps} · "
                f"validation accuracy {self.accuracy:.3f}"
            )
            self.progress.update(step=state.global_step, accuracy=self.accuracy)


class Stop:
    """Whether the run should save and end: asked for by a signal, or by the time that is left."""

    def __init__(self, plan: LaunchPlan) -> None:
        self.stop_at: float | None = plan.stop_at
        self.file = Path(plan.stop_file)
        self.lease = Path(plan.lease)
        self.token: str = plan.token
        self.reason: str | None = None
        self.slowest = 0.0
        for number in STOP_SIGNALS:
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, _: Any) -> None:
        self.reason = self.reason or f"signal {signal.Signals(number).name}"

    def asked(self, accelerator: Any, step_seconds: float) -> bool:
        """The same answer on every process; a lost lease ends the process at once."""
        self.slowest = max(self.slowest, step_seconds)
        if accelerator.is_main_process:
            if not _holds(self.lease, self.token):
                say("another training has taken over this folder; this one ends without writing")
                os._exit(ExitCode.FAILED)
            if self.file.exists():
                self.reason = self.reason or read_text(self.file).strip() or "asked to stop"
        if self.stop_at is not None and time.time() + 2 * self.slowest > self.stop_at:
            self.reason = self.reason or "the time limit is near"
        if accelerator.num_processes == 1:
            return self.reason is not None
        flag = torch.tensor([float(self.reason is not None)], device=accelerator.device)
        anyone = bool(accelerator.reduce(flag, reduction="sum").item() > 0)
        if anyone:
            self.reason = self.reason or "asked for on another process"
        return anyone


def _holds(lease: Path, token: str) -> bool:
    try:
        return bool(json.loads(read_text(lease))["token"] == token)
    except (OSError, ValueError, KeyError):
        return False


def say(text: str) -> None:
    """A line for the user, on the first process alone."""
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"{PROGRESS} {text}", flush=True)


def batches(settings: Trl, world: int) -> tuple[int, int]:
    """Completions of one process in one forward pass, and the passes of one step.

    Raises:
        ValueError: the completions of a step do not divide over the processes.
    """
    total = settings.num_prompts_per_step * settings.num_generations
    if total % world:
        raise ValueError(
            f"num_prompts_per_step x num_generations = {total} does not divide over "
            f"{world} processes"
        )
    each = total // world
    size = min(each, settings.per_device_train_batch_size or each)
    while each % size:
        size -= 1
    return size, each // size


def endings_of(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer: the model's own, as its server would use them."""
    endings = model.generation_config.eos_token_id
    endings = endings if isinstance(endings, list) else [endings]
    found = {token for token in [*endings, tokenizer.eos_token_id] if token is not None}
    return sorted(found)


def trl_config(plan: LaunchPlan, world: int) -> GRPOConfig:
    """TRL's settings for the plan."""
    settings = plan.section.trl
    size, passes = batches(settings, world)
    return GRPOConfig(
        output_dir=plan.log_dir,
        seed=plan.section.seed % 2**31,
        max_steps=plan.steps,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=passes,
        num_generations=settings.num_generations,
        max_completion_length=settings.max_completion_length,
        temperature=settings.temperature,
        top_k=0,
        beta=settings.beta,
        epsilon=settings.epsilon,
        loss_type=settings.loss_type,
        scale_rewards=settings.scale_rewards,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.lr_scheduler_type,
        warmup_steps=settings.warmup_steps,
        max_grad_norm=settings.max_grad_norm,
        weight_decay=0.0,
        bf16=settings.bf16 and has_bf16("cuda" if torch.cuda.is_available() else "cpu"),
        gradient_checkpointing=settings.gradient_checkpointing,
        use_cpu=not torch.cuda.is_available(),
        # Buffers never change; to send them at every pass would make processes wait for one another
        # whose numbers of passes differ.
        ddp_broadcast_buffers=False,
        ddp_find_unused_parameters=False,
        shuffle_dataset=False,
        logging_steps=1,
        logging_first_step=True,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )


def train_plan(plan_file: Path) -> None:
    """Run the plan to its last step, or to the step at which it is asked to stop."""
    end_with_parent()
    plan = read_record(LaunchPlan, plan_file, "training plan")
    settings = plan.section.trl
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if settings.threads:
        torch.set_num_threads(settings.threads)
    stop = Stop(plan)

    tokenizer = AutoTokenizer.from_pretrained(plan.weights)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tasks: dict[Split, list[dict[str, Any]]] = {
        "train": read_jsonl(Path(plan.train), "training tasks"),
        "validation": read_jsonl(Path(plan.validation), "validation tasks"),
    }
    tasks["validation"] = tasks["validation"][: plan.validation_limit]
    order = prompt_order(
        list(map(kind_of, tasks["train"])),
        plan.steps * settings.num_prompts_per_step,
        plan.section.seed,
    )
    # By number: the calls of different tasks have no columns in common.
    dataset = Dataset.from_dict({"prompt": list(map(str, order))})

    model, loading = AutoModelForCausalLM.from_pretrained(
        plan.weights, dtype=torch.float32, output_loading_info=True
    )
    endings = endings_of(model, tokenizer)
    check_loaded(plan.weights, loading["missing_keys"], model, tokenizer, endings)
    course = Course(plan, stop)
    with ExitStack() as stack:
        environment = open_environment(stack, plan, tokenizer, model, endings, tasks, order)
        trainer = ToolTrainer(
            plan,
            environment,
            endings,
            len(tasks["train"]),
            model=model,
            reward_funcs=task_reward,
            args=trl_config(plan, world),
            train_dataset=dataset,
            processing_class=tokenizer,
            callbacks=[course],
        )
        run_trainer(trainer, course, plan, rank, world)
    done = trainer.state.global_step
    if rank == 0:
        ended = LaunchEnd(step=done, stopped=None if done >= plan.steps else stop.reason)
        write_record(Path(plan.log_dir) / "ended.json", ended)


def kind_of(task: Mapping[str, Any]) -> str:
    """What kind of task a line is: as it says itself, else the agent that plays it."""
    return str(task.get("kind") or (task.get("agent_ref") or {}).get("name"))


def open_environment(
    stack: ExitStack,
    plan: LaunchPlan,
    tokenizer: PreTrainedTokenizerBase,
    model: Any,
    endings: list[int],
    tasks: Mapping[Split, Sequence[Mapping[str, Any]]],
    order: Sequence[int],
) -> TaskEnvironment:
    """The environment that the plan trains on; what it runs ends with `stack`.

    Raises:
        UserError: a prompt leaves no room for an answer, or Gym's environment is missing.
        StageError: Gym's servers do not start.
    """
    reader = answers.reader(tokenizer, model.config.model_type, endings)
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    context = Context(length, plan.section.trl.max_completion_length)
    if plan.gym_environment is None:
        judge = Judge(reader, endings)
        return GeneratedTasks(tokenizer, judge, tasks, set(order), context)
    rank, several = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1") != "1"
    chat = GymChat(tokenizer, reader, endings)
    used: list[tuple[Split, int]] = [("train", number) for number in sorted(set(order))]
    used += [("validation", number) for number in range(len(tasks["validation"]))]
    check_prompts(chat.prompt, tasks, used, context)
    say("starts NeMo Gym's servers")
    return stack.enter_context(
        gym_environment.playing_in_gym(
            section=plan.section,
            gym_environment=Path(plan.gym_environment),
            folder=Path(plan.log_dir) / f"gym-{rank}",
            chat=chat,
            rows=tasks,
            context=context,
            owner=f"process {rank} on {socket.gethostname()}" if several else "",
        )
    )


def run_trainer(
    trainer: ToolTrainer, course: Course, plan: LaunchPlan, rank: int, world: int
) -> None:
    """Train from the plan's checkpoint, or from the base model."""
    course.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    hosts = _gather_hosts(trainer)
    if rank == 0:
        course.progress.paths = [Path(path) for path in plan.progress]
        trainer.writer = SummaryWriter(str(Path(plan.log_dir) / "tensorboard"))
        _write_processes(Path(plan.log_dir), hosts)
    say(
        f"{counted(world, 'process', 'processes')} on {counted(len(set(hosts)), 'host')}, "
        f"{counted(torch.get_num_threads(), 'thread')} each, "
        f"{'bfloat16 autocast' if trainer.args.bf16 else 'float32'}"
    )
    resume = plan.resume
    if resume:
        say(f"resumes from {resume}")
        resume = str(Path(resume) / "policy" / "optimizer")
    trainer.train(resume_from_checkpoint=resume)
    if trainer.writer:
        trainer.writer.close()


def _write_processes(log_dir: Path, hosts: list[str]) -> None:
    packages = ("torch", "trl", "transformers", "accelerate", "numpy")
    processes = Processes(
        world_size=len(hosts),
        hosts=hosts,
        gpus=len(hosts) if torch.cuda.is_available() else 0,
        threads=torch.get_num_threads(),
        versions={"python": platform.python_version()}
        | {package: version(package) for package in packages},
    )
    write_record(log_dir / "processes.json", processes)


def _gather_hosts(trainer: ToolTrainer) -> list[str]:
    name = socket.gethostname()
    if trainer.accelerator.num_processes == 1:
        return [name]
    hosts: list[str | None] = [None] * trainer.accelerator.num_processes
    torch.distributed.all_gather_object(hosts, name)
    return [str(host) for host in hosts]


if __name__ == "__main__":
    train_plan(Path(sys.argv[1]))
