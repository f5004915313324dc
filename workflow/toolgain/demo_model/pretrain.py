"""Pre-train the demo model: `python -m toolgain.demo_model.pretrain --out DIR --work DIR`.

Runs in the trl environment (torch, transformers), on a CPU or on a CUDA device. The text comes in
blocks of generated conversations; a block follows from the seed, its number, and the part of the
token budget that is used up before it, so that a seed gives the same text whatever the machine.
With `--workers`, processes make the text beside the training. The state is saved every minute or
so; the same command resumes from it, with a larger budget too. At the end the model is exported:
bfloat16 weights, tokenizer, chat template, generation config.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from toolgain.common.files import read_json, write_json
from toolgain.common.processor import has_bf16
from toolgain.demo_model import attention
from toolgain.demo_model.slips import Marks, with_slips
from toolgain.demo_model.text import (
    NO,
    YES,
    Conversation,
    Mixture,
    answer,
    make_conversation,
    make_tokenizer_text,
)
from toolgain.demo_model.tokenizer import train_tokenizer
from toolgain.tasks.generated.generate import generate

LONGEST = 2560
"""Tokens of the longest conversation; longer ones are left out."""
PAD_TO = 32
"""Batches are padded to a multiple of this many tokens."""


@dataclass(frozen=True)
class Phase:
    """A part of the token budget with one mixture; the learning rate is a share of its peak."""

    share: float
    """Part of the budget."""
    mixture: Mixture
    rate: float = 1.0
    end_rate: float = 1.0
    """The rate falls, or stays, evenly from `rate` to it."""
    decision_weight: float = 3.0
    """Weight of an answer's first token after the topic: call or decline."""
    name_weight: float = 2.0
    """Weight of the tokens of a function's name."""
    end_weight: float = 2.0
    """Weight of the token after a call: another call, or the end."""
    slips: float = 0.0
    """Share of conversations in which answers have slips (`demo_model.slips`)."""
    reach: int = 0
    """Positions up to which conversations are stretched: gaps between their tokens let the model
    meet distances that it has no time to read its way through. 0: positions without gaps."""


WIDE = Mixture(
    max_tools=4, max_turns=6, decline=0.2, parallel=0.22, over_call=0.0, reasoned=True,
    everyday=0.7, programs=0.2, planned=True, services=0.7, drill=0.04, lists=0.03, bare=0.03,
    brief=0.15, brief_tools=(1, 5), wordy=0.35, odd=0.3, max_chars=2200,
)  # fmt: skip
FAR = replace(WIDE, long=0.15, max_chars=5000)
PHASES = (
    # Copying alone, then one tool with few parameters, then more of everything.
    Phase(0.03, replace(WIDE, drill=1.0), decision_weight=1, name_weight=1),
    Phase(
        0.07,
        replace(
            WIDE,
            max_tools=1,
            max_turns=4,
            max_parameters=3,
            decline=0.1,
            parallel=0.05,
            drill=0.25,
            max_chars=1200,
        ),
        decision_weight=1,
        name_weight=1,
    ),
    Phase(0.15, replace(WIDE, max_tools=3, drill=0.1, max_chars=2000), decision_weight=2),
    Phase(0.3, WIDE, reach=4096, slips=0.3),
    Phase(0.37, FAR, end_rate=0.1, reach=8192, slips=0.3),
    # At last the model is taught to call too often, so that training has something to undo.
    Phase(
        0.08,
        replace(FAR, over_call=0.7),
        rate=0.1,
        end_rate=0.0,
        name_weight=1,
        reach=8192,
        slips=0.3,
    ),
)


@dataclass(frozen=True)
class PretrainRecipe:
    """Everything that decides what model comes out, besides the seed and the phases."""

    tokens: int = 500_000_000
    """Budget: tokens of text, padding left out."""
    horizon: int | None = None
    """Tokens over which the phases reach, if the budget is to end before them."""
    begin: float = 0.0
    """Part of the phases that is left out at the beginning: for weights that are not fresh."""
    vocabulary: int = 4096
    tokenizer_texts: int = 6000
    layers: int = 4
    width: int = 192
    feed_forward: int = 576
    heads: int = 6
    key_value_heads: int = 6
    head_width: int = 32
    rope_theta: float = 10000.0
    attention_gain: float = 1.5
    """Starting weight of the norms of queries and keys."""
    block_tokens: int = 1_000_000
    """Tokens of text made together, the unit from which the pre-training resumes."""
    batch_tokens: int = 65536
    """Tokens of a step, padding included."""
    warmup: int = 100
    matrix_rate: float = 0.02
    """Peak learning rate of the weight matrices (Muon)."""
    vector_rate: float = 0.004
    """Peak learning rate of embeddings and norms (AdamW)."""


def phase_at(progress: float) -> tuple[Phase, float]:
    """The phase at a part of the budget, and the part of the phase that is behind."""
    for phase in PHASES:
        if progress < phase.share:
            return phase, progress / phase.share
        progress -= phase.share
    return PHASES[-1], 1.0


# ---------------------------------------------------------------- data


def encode(
    tokenizer: PreTrainedTokenizerFast,
    conversation: Conversation,
    decision_weight: float,
    name_weight: float = 1.0,
    end_weight: float = 1.0,
) -> tuple[list[int], list[float]]:
    """Token ids of a conversation and the weight of each as a target (0: not learned)."""
    text = tokenizer.apply_chat_template(
        list(conversation.messages), tools=list(conversation.tools), tokenize=False
    )
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    header = tokenizer("assistant\n", add_special_tokens=False)["input_ids"]
    call, called = tokenizer.convert_tokens_to_ids(["<tool_call>", "</tool_call>"])
    opening = tokenizer('{"name": "', add_special_tokens=False)["input_ids"]
    (closing,) = tokenizer('", "', add_special_tokens=False)["input_ids"]
    decisions = set().union(*decision_tokens(tokenizer))
    weights = [0.0] * len(ids)
    starts = [i for i, token in enumerate(ids) if token == start]
    # With tools, the first header belongs to the system message that lists them.
    for position in starts[bool(conversation.tools) :]:
        first = position + 1 + len(header)
        if ids[position + 1 : first] != header:
            continue
        last = ids.index(end, first)
        # The decision: after the topic where there is one, else at the answer's first token.
        until = ids.index(call, first) if call in ids[first:last] else last
        decision = max((i for i in range(first, until) if ids[i] in decisions), default=first)
        if not conversation.tools:
            decision = first
        for i in range(first, last + 1):
            weights[i] = 1.0
            if ids[i - 1] == called:
                # Another call, or the end.
                weights[i] = end_weight
        weights[decision] = decision_weight
        if name_weight != 1.0 and call in ids[first:last]:
            inside = False
            for i in range(first, last):
                if ids[i - len(opening) : i] == opening:
                    inside = True
                inside = inside and ids[i] != closing
                if inside:
                    weights[i] = name_weight
    return ids, weights


def slip(
    tokenizer: PreTrainedTokenizerFast, rng: Random, row: tuple[list[int], list[float]]
) -> tuple[list[int], list[float]]:
    """An encoded conversation with slips in the calls that are learned."""
    ids, weights = row
    begin, end = tokenizer.convert_tokens_to_ids(["<tool_call>", "</tool_call>"])
    spans, opened = [], None
    for i, token in enumerate(ids):
        if weights[i] > 0 and token == begin:
            opened = i
        elif token == end and opened is not None:
            spans.append((opened, i + 1))
            opened = None
    special = {id_ for token, id_ in tokenizer.get_vocab().items() if token.startswith("<")}
    others = [
        token
        for token, weight in zip(ids, weights, strict=True)
        if weight == 0 and token not in special
    ]
    # Questions come after the tools, the end of the conversation last.
    return with_slips(rng, row, spans, others[len(others) // 3 :], marks_of(tokenizer))


@cache
def marks_of(tokenizer: PreTrainedTokenizerFast) -> Marks:
    """The tokens that part arguments."""
    words: dict[str, int] = tokenizer.get_vocab()
    space = "\u0120"
    """How a byte-level vocabulary writes a space."""
    return Marks(
        opens=words.get(f'":{space}{{"', -1),
        after_text=words.get(f'",{space}"', -1),
        after_other=words.get(f',{space}"', -1),
        ends_text=frozenset(id_ for token, id_ in words.items() if token.startswith('"}')),
        ends_other=frozenset(id_ for token, id_ in words.items() if token.startswith("}")),
    )


def decision_tokens(tokenizer: PreTrainedTokenizerFast) -> tuple[set[int], set[int]]:
    """The tokens that begin YES and NO, with and without the space before (a small word before
    them may have taken it)."""
    yes, no = (
        {tokenizer(form, add_special_tokens=False)["input_ids"][0] for form in (text, text[1:])}
        for text in (YES, NO)
    )
    return yes, no


Ids = NDArray[np.int32]
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Token ids, target weights and positions, each (rows, length); `tokens`: without padding.

    Arrays, not tensors: those of another process are copied, and need no shared memory.
    """

    ids: Ids
    weights: Weights
    positions: Ids
    tokens: int


@cache
def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer, once in each process."""
    return PreTrainedTokenizerFast.from_pretrained(folder)


def make_block(
    tokenizer_dir: Path, recipe: PretrainRecipe, seed: int, block: int, progress: float
) -> list[Batch]:
    """The batches of one block."""
    tokenizer = load_tokenizer(tokenizer_dir)
    phase, _ = phase_at(progress)
    rng = Random(f"pretrain/{seed}/{block}")
    rows: list[tuple[list[int], list[float]]] = []
    made = 0
    while made < recipe.block_tokens:
        conversation = make_conversation(rng, phase.mixture)
        row = encode(
            tokenizer, conversation, phase.decision_weight, phase.name_weight, phase.end_weight
        )
        if rng.random() < phase.slips:
            row = slip(tokenizer, rng, row)
        if len(row[0]) <= LONGEST:
            rows.append(row)
            made += len(row[0])
    rows.sort(key=lambda row: len(row[0]))
    groups: list[list[tuple[list[int], list[float]]]] = [[]]
    for row in rows:
        if (len(groups[-1]) + 1) * _padded(len(row[0])) > recipe.batch_tokens and groups[-1]:
            groups.append([])
        groups[-1].append(row)
    rng.shuffle(groups)
    return [_batch(rng, group, phase.reach) for group in groups]


def _padded(length: int) -> int:
    return -(-length // PAD_TO) * PAD_TO


def _batch(rng: Random, group: list[tuple[list[int], list[float]]], reach: int) -> Batch:
    length = _padded(len(group[-1][0]))
    ids = np.zeros((len(group), length), np.int32)
    weights = np.zeros((len(group), length), np.float32)
    for i, (row_ids, row_weights) in enumerate(group):
        ids[i, : len(row_ids)] = row_ids
        weights[i, : len(row_ids)] = row_weights
    positions = stretched(rng, len(group), length, max(reach, length))
    return Batch(ids, weights, positions, sum(len(row_ids) for row_ids, _ in group))


def stretched(rng: Random, rows: int, length: int, reach: int) -> Ids:
    """Positions (rows, length) that rise by one, but for up to three gaps; all below `reach`."""
    positions = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
    for row in positions:
        spare = reach - length
        for _ in range(rng.randint(0, 3) if spare else 0):
            gap = rng.randint(0, spare)
            row[rng.randrange(length) :] += gap
            spare -= gap
    return positions


# ---------------------------------------------------------------- model


def make_model(
    recipe: PretrainRecipe, tokenizer: PreTrainedTokenizerFast, seed: int
) -> Qwen3ForCausalLM:
    """A fresh model of the recipe's size."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.key_value_heads,
        head_dim=recipe.head_width,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        tie_word_embeddings=True,
        max_position_embeddings=32768,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    # Normalised queries and keys make attention too flat to pick out one token; start it sharper.
    for name, parameter in model.named_parameters():
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            torch.nn.init.constant_(parameter, recipe.attention_gain)
    return model


def make_optimizers(model: Qwen3ForCausalLM, recipe: PretrainRecipe) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices, AdamW for embeddings and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.vector_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def autocast(device: str) -> torch.autocast:
    """Products in bfloat16 where the device computes in it."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=has_bf16(device))


def loss_of(model: Qwen3ForCausalLM, forward: Any, batch: Batch) -> Tensor:
    """Weighted mean negative log-likelihood of the targets; logits only where there is one."""
    device = model.device
    ids = torch.from_numpy(batch.ids).to(device).long()
    positions = torch.from_numpy(batch.positions).to(device).long()
    weights = torch.from_numpy(batch.weights).to(device)
    # The padding stands at the end of each row, where causal attention keeps it from mattering: no
    # mask is needed, and to give none for each kind of layer keeps one from being made up from the
    # gaps between positions.
    unmasked = {"full_attention": None}
    with autocast(device.type):
        hidden = forward(
            input_ids=ids, position_ids=positions, attention_mask=unmasked, use_cache=False
        ).last_hidden_state
        chosen = weights[:, 1:] > 0
        logits = model.lm_head(hidden[:, :-1][chosen])
    losses = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][chosen], reduction="none")
    share = weights[:, 1:][chosen]
    return (losses * share).sum() / share.sum()


@torch.no_grad()  # type: ignore[untyped-decorator]
def validate(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int, number: int = 96
) -> dict[str, float]:
    """Figures on validation tasks, from one forward pass each with the right answer.

    By kind: share of tasks whose every token after the topic is the most likely one after the
    tokens before it (declines: whose decision is). `topic`: share of topics named as expected.
    `p_no_fit`, `p_no_none`: mean probability of declining where a tool fits and where none does.
    """
    rng = Random(seed)
    call = tokenizer.convert_tokens_to_ids("<tool_call>")
    yes, no = decision_tokens(tokenizer)
    model.eval()
    hits: dict[str, list[float]] = {}
    for task in generate(seed, number, "validation", 0.4, 900):
        messages = [
            {"role": "user", "content": task.question},
            answer(rng, task.expected, task.topic, planned=True, question=task.question),
        ]
        text = tokenizer.apply_chat_template(messages, tools=list(task.tools), tokenize=False)
        prompt = tokenizer.apply_chat_template(
            messages[:1], tools=list(task.tools), tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:-1]
        begin = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        until = ids.index(call, begin) if call in ids[begin:] else len(ids)
        decision = max(i for i in range(begin, until) if ids[i] in yes | no)
        with autocast("cpu"):
            logits = model(torch.tensor([ids])).logits[0].float()
        best = logits[:-1].argmax(-1).tolist()
        declined = logits[decision - 1].softmax(-1)[list(no)].sum().item()
        right = (declined > 0.5) if not task.expected else best[decision - 1 :] == ids[decision:]
        hits.setdefault(task.kind, []).append(float(right))
        named = best[begin - 1 : decision - 1] == ids[begin:decision]
        hits.setdefault("topic", []).append(float(named))
        hits.setdefault("p_no_fit" if task.expected else "p_no_none", []).append(declined)
    model.train()
    return {name: sum(values) / len(values) for name, values in sorted(hits.items())}


def write_model_folder(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path
) -> None:
    """Write the model as a Hugging Face folder in bfloat16."""
    out.mkdir(parents=True, exist_ok=True)
    copy = Qwen3ForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy = copy.to(torch.bfloat16)
    copy.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=256,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    copy.save_pretrained(out)
    tokenizer.save_pretrained(out)
    # transformers 5 names a class that transformers 4, and with it vLLM up to 0.17, does not have.
    path = out / "tokenizer_config.json"
    settings = read_json(path, "tokenizer settings")
    write_json(path, settings | {"tokenizer_class": "PreTrainedTokenizerFast"})


# ---------------------------------------------------------------- program


class Blocks:
    """The blocks in order, made by other processes while the model learns from earlier ones."""

    def __init__(
        self, stack: ExitStack, tokenizer_dir: Path, recipe: PretrainRecipe, seed: int, workers: int
    ) -> None:
        self.given = (tokenizer_dir, recipe, seed)
        self.ahead = 2 * workers
        self.waiting: deque[tuple[int, Future[list[Batch]]]] = deque()
        self.pool = (
            stack.enter_context(ProcessPoolExecutor(workers, get_context("spawn")))
            if workers
            else None
        )
        if self.pool is not None:
            stack.callback(self.pool.shutdown, wait=False, cancel_futures=True)

    def take(self, block: int, progress: PretrainProgress) -> list[Batch]:
        """The batches of a block; those of the next ones are begun."""
        if self.pool is None:
            return make_block(*self.given, block, progress.at(block))
        first = self.waiting[-1][0] + 1 if self.waiting else block
        for number in range(first, block + self.ahead + 1):
            made = self.pool.submit(make_block, *self.given, number, progress.at(number))
            self.waiting.append((number, made))
        number, made = self.waiting.popleft()
        if number != block:
            raise RuntimeError(f"block {number} came in place of {block}")
        return made.result()


@dataclass
class PretrainProgress:
    """How far the pre-training is, in tokens or, with a limit of seconds, in time."""

    recipe: PretrainRecipe
    seconds: float | None
    started: float
    first: int = 0
    """The block that this run began with."""
    learned: int = 0
    """Blocks that have been learned."""

    def at(self, block: float) -> float:
        """Part of the phases behind at a block: by tokens, or by the clock if that is further.

        Text is made long before it is learned, so a later block's time is reckoned from the pace
        so far: a last phase of seconds would otherwise be over before its text came.
        """
        horizon = self.recipe.horizon or self.recipe.tokens
        done = block * self.recipe.block_tokens / horizon
        if self.seconds is not None:
            elapsed = time.monotonic() - self.started
            if self.learned > self.first:
                pace = elapsed / (self.learned - self.first)
                elapsed += pace * max(0.0, block - self.learned - 1)
            done = max(done, elapsed / self.seconds)
        return self.recipe.begin + (1 - self.recipe.begin) * min(done, 1.0)


def set_rates(
    optimizers: list[torch.optim.Optimizer], recipe: PretrainRecipe, done: float, step: int
) -> None:
    """The learning rates at a part of the phases."""
    phase, inside = phase_at(done)
    share = phase.rate + (phase.end_rate - phase.rate) * inside
    share *= min(1.0, (step + 1) / recipe.warmup)
    rates = (recipe.matrix_rate, recipe.vector_rate)
    for optimizer, rate in zip(optimizers, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate * share


def prepare_model(
    work: Path, seed: int, recipe: PretrainRecipe, start: Path | None, device: str
) -> tuple[PreTrainedTokenizerFast, Qwen3ForCausalLM]:
    """Tokenizer and model: fresh ones, or those of the folder `start`."""
    work.mkdir(parents=True, exist_ok=True)
    folder = work / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        if start is None:
            rng = Random(f"tokenizer/{seed}")
            texts = (make_tokenizer_text(rng) for _ in range(recipe.tokenizer_texts))
            train_tokenizer(texts, recipe.vocabulary).save_pretrained(folder)
        else:
            load_tokenizer(start).save_pretrained(folder)
    tokenizer = load_tokenizer(folder)
    if start is None:
        model = make_model(recipe, tokenizer, seed)
    else:
        model = Qwen3ForCausalLM.from_pretrained(start, dtype=torch.float32)
    return tokenizer, model.to(device)


def pretrain(
    out: Path,
    work: Path,
    seed: int,
    recipe: PretrainRecipe,
    start: Path | None = None,
    workers: int = 0,
    device: str = "cpu",
    seconds: float | None = None,
    compiled: bool = False,
) -> None:
    """Pre-train the model, or resume from the state in `work`.

    Args:
        out: folder of the finished model.
        work: folder of the tokenizer, the state and the curve.
        start: model folder to begin with, in place of fresh weights.
        workers: processes that make text; 0: this one makes it.
        seconds: wall time in which all phases have to fit; the text then depends on the
            machine's speed.
    """
    tokenizer, model = prepare_model(work, seed, recipe, start, device)
    optimizers = make_optimizers(model, recipe)
    (work / "recipe.json").write_text(json.dumps({"seed": seed, **asdict(recipe)}, indent=1))
    state = {"block": 0, "step": 0, "tokens": 0}
    saved = work / "state.pt"
    if saved.exists():
        content = torch.load(saved, weights_only=False, map_location=device)
        model.load_state_dict(content["model"])
        for optimizer, values in zip(optimizers, content["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        state = content["state"]
    if device == "cpu" and recipe.heads == recipe.key_value_heads:
        model.set_attn_implementation(attention.NAME)
    forward = torch.compile(model.model, dynamic=True) if compiled else model.model
    first, last_save, running, seen = state["block"], time.monotonic(), math.nan, 0
    progress = PretrainProgress(recipe, seconds, time.monotonic(), first, first)
    total = math.ceil(recipe.tokens / recipe.block_tokens)
    with ExitStack() as stack:
        blocks = Blocks(stack, work / "tokenizer", recipe, seed, workers)
        while state["block"] < total and progress.at(state["block"]) < 1:
            batches = blocks.take(state["block"], progress)
            loss_sum = torch.zeros((), device=device)
            for index, batch in enumerate(batches):
                done = progress.at(state["block"] + index / len(batches))
                set_rates(optimizers, recipe, done, state["step"])
                loss = loss_of(model, forward, batch)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                loss_sum += loss.detach()
                state["step"] += 1
                seen += batch.tokens
                state["tokens"] += batch.tokens
            state["block"] += 1
            progress.learned = state["block"]
            mean = loss_sum.item() / len(batches)
            running = mean if math.isnan(running) else 0.9 * running + 0.1 * mean
            _report(work, state, running, seen, progress, (first, total))
            if time.monotonic() - last_save > SAVE_EVERY_S or state["block"] == total:
                _save(saved, model, optimizers, state)
                last_save = time.monotonic()
    _save(saved, model, optimizers, state)
    model.set_attn_implementation("sdpa")
    print(json.dumps(validate(model.to("cpu"), tokenizer, seed)), flush=True)
    write_model_folder(model, tokenizer, out)


SAVE_EVERY_S = 60.0


def _report(
    work: Path,
    state: dict[str, int],
    loss: float,
    seen: int,
    progress: PretrainProgress,
    blocks: tuple[int, int],
) -> None:
    """A line on standard output and one in the curve."""
    first, total = blocks
    elapsed = time.monotonic() - progress.started
    left = elapsed / (state["block"] - first) * (total - state["block"])
    if progress.seconds is not None:
        left = min(left, progress.seconds - elapsed)
    print(
        f"block {state['block']}/{total} step {state['step']} tokens {state['tokens'] / 1e6:.2f}M "
        f"loss {loss:.4f} {seen / elapsed:.0f} tokens/s, {left / 60:.1f} minutes left",
        flush=True,
    )
    with (work / "curve.jsonl").open("a") as file:
        file.write(json.dumps({**state, "loss": round(loss, 4), "elapsed": round(elapsed)}) + "\n")


def _save(
    path: Path,
    model: Qwen3ForCausalLM,
    optimizers: list[torch.optim.Optimizer],
    state: dict[str, int],
) -> None:
    content = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "state": state,
    }
    temporary = path.with_suffix(".tmp")
    torch.save(content, temporary)
    temporary.replace(path)


def pretrain_command() -> None:
    """Read the command line and pre-train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--work", type=Path, required=True, help="folder of the training state")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="processes that make the text")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seconds", type=float, help="wall time for the whole")
    parser.add_argument("--start", type=Path, help="model folder to begin with")
    parser.add_argument("--export-only", action="store_true", help="export the state as it is")
    parser.add_argument("--compile", action="store_true", help="compile the model (needs g++)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # Workers inherit this: each makes text on one core.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    changes = {
        key: json.loads(value) for key, value in (item.split("=", 1) for item in options.set)
    }
    recipe = replace(PretrainRecipe(), **changes)
    if options.export_only:
        tokenizer, model = prepare_model(options.work, options.seed, recipe, options.start, "cpu")
        content = torch.load(options.work / "state.pt", weights_only=False, map_location="cpu")
        model.load_state_dict(content["model"])
        write_model_folder(model, tokenizer, options.out)
        return
    pretrain(
        options.out, options.work, options.seed, recipe, options.start, options.workers,
        options.device, options.seconds, options.compile,
    )  # fmt: skip


if __name__ == "__main__":
    pretrain_command()
