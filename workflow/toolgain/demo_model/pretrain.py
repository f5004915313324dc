"""Pre-train the demo model: `python -m toolgain.demo_model.pretrain --out DIR --work DIR`.

Runs in the trl environment (torch, transformers). The text comes in blocks of generated
conversations and the blocks in phases (`PHASES`), so that a seed gives the same text whatever the
machine's speed. The state is saved every ten blocks and at the end of every phase; the same command
goes on from it. At the end the model is exported: bfloat16 weights, tokenizer, chat template,
generation config.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

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

BUCKETS = (128, 192, 256, 384, 512, 640, 896)
LONG_BUCKETS = (*BUCKETS, 1280, 1792, 2560)
"""Padded lengths of batches, in tokens."""


@dataclass(frozen=True)
class Phase:
    """Some blocks of one mixture; the learning rate is a share of its peak.

    With `end_rate` the rate falls (or stays) evenly from `rate` to it; without, it is `rate`.
    """

    blocks: int
    mixture: Mixture
    rate: float = 1.0
    end_rate: float | None = None
    decision_weight: float = 8.0
    """Weight of an answer's first token: call or decline."""
    name_weight: float = 4.0
    """Weight of the tokens of a function's name."""
    reach: int = 0
    """Positions up to which conversations are stretched: gaps between their tokens let the model
    meet distances that it has no time to read its way through. 0: positions without gaps, and
    nothing longer than `BUCKETS`."""


FULL = Mixture(max_tools=6, max_turns=6, decline=0.28, parallel=0.15, over_call=0.0)
MANY = replace(FULL, decline=0.35, brief=0.65, brief_tools=(2, 6))
LONG = replace(
    FULL, reasoned=True, decline=0.4, brief=0.25, bare=0.05, drill=0.05, max_chars=16000,
    max_turns=5, long=0.35, wordy=0.6, odd=0.3,
)  # fmt: skip
PHASES = (
    # Copying alone, then with one tool, then with more.
    Phase(16, replace(FULL, drill=1.0), decision_weight=2, name_weight=1),
    Phase(
        20,
        replace(
            FULL, max_tools=1, max_turns=4, decline=0.15, parallel=0.0, max_chars=900, drill=0.25
        ),
        decision_weight=2,
        name_weight=1,
    ),
    Phase(
        30,
        replace(FULL, max_tools=3, max_turns=5, parallel=0.1, max_chars=1500, drill=0.1),
        decision_weight=2,
        name_weight=1,
    ),
    Phase(14, replace(FULL, drill=0.04), decision_weight=2, name_weight=1),
    # Choosing among tools, and whether to call at all.
    Phase(30, replace(FULL, decline=0.38, brief=0.35), name_weight=1),
    Phase(20, replace(MANY, decline=0.3)),
    Phase(20, replace(MANY, bare=0.5)),
    Phase(18, replace(MANY, bare=0.3, lists=0.6)),
    # The same at a lower rate: only now the words of question and tools are compared.
    Phase(12, replace(MANY, bare=0.25, lists=0.35), rate=0.4, end_rate=0.2824),
    Phase(
        20,
        replace(MANY, decline=0.45, brief_tools=(1, 4), bare=0.3, lists=0.05),
        rate=0.28,
        end_rate=0.26,
        name_weight=3,
    ),
    # Answers that name their topic first.
    Phase(
        24, replace(MANY, reasoned=True, decline=0.42, bare=0.3, lists=0.15), rate=0.3, end_rate=0.2
    ),
    # Everything together while the rate falls; at last the model is taught to call too often.
    Phase(
        12, replace(FULL, reasoned=True, decline=0.4, brief=0.4, bare=0.1), rate=0.2, end_rate=0.06
    ),
    Phase(
        8,
        replace(FULL, reasoned=True, decline=0.3, over_call=0.65, max_turns=4),
        rate=0.06,
        end_rate=0.0,
        name_weight=1,
    ),
    # Long lists of wordy tools and values that are no words, as benchmarks have them; then the
    # over-calling again.
    Phase(16, LONG, rate=0.18, end_rate=0.06, name_weight=2, reach=8192),
    Phase(
        5,
        replace(LONG, decline=0.3, over_call=0.65, drill=0.02),
        rate=0.06,
        end_rate=0.0,
        name_weight=1,
        reach=8192,
    ),
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what model comes out, besides the seed and the phases."""

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
    conversations: int = 128
    """Conversations in a block (about 50,000 tokens once they are long)."""
    batch_tokens: int = 3072
    warmup: int = 50
    matrix_rate: float = 0.02
    """Peak learning rate of the weight matrices (Muon)."""
    vector_rate: float = 0.004
    """Peak learning rate of embeddings and norms (AdamW)."""
    most_blocks: int | None = None
    """Cut every phase to this many blocks, for a trial."""


def phases(recipe: Recipe) -> tuple[Phase, ...]:
    """The phases, cut where the recipe says so."""
    most = recipe.most_blocks
    return PHASES if most is None else tuple(replace(p, blocks=min(p.blocks, most)) for p in PHASES)


def phase_at(recipe: Recipe, block: int) -> tuple[Phase, int]:
    """The phase of a block, and the block's place in it."""
    for phase in phases(recipe):
        if block < phase.blocks:
            return phase, block
        block -= phase.blocks
    raise ValueError("the pre-training has no such block")


# ---------------------------------------------------------------- data


def encode(
    tokenizer: PreTrainedTokenizerFast,
    conversation: Conversation,
    decision_weight: float,
    name_weight: float = 1.0,
) -> tuple[list[int], list[float]]:
    """Token ids of a conversation and the weight of each as a target (0: not learned)."""
    text = tokenizer.apply_chat_template(
        list(conversation.messages), tools=list(conversation.tools), tokenize=False
    )
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    header = tokenizer("assistant\n", add_special_tokens=False)["input_ids"]
    call = tokenizer.convert_tokens_to_ids("<tool_call>")
    opening = tokenizer('{"name": "', add_special_tokens=False)["input_ids"]
    (closing,) = tokenizer('", "', add_special_tokens=False)["input_ids"]
    verdicts = set().union(*verdict_tokens(tokenizer))
    weights = [0.0] * len(ids)
    starts = [i for i, token in enumerate(ids) if token == start]
    # With tools, the first header belongs to the system message that lists them.
    for message, position in enumerate(starts[bool(conversation.tools) :]):
        first = position + 1 + len(header)
        if ids[position + 1 : first] != header:
            continue
        last = ids.index(end, first)
        # The decision: after the topic where there is one, else at the answer's first token.
        until = ids.index(call, first) if call in ids[first:last] else last
        decision = max((i for i in range(first, until) if ids[i] in verdicts), default=first)
        if not conversation.tools:
            decision = first
        if message in conversation.over_calls:
            # What follows a wrong decision to call is not learned.
            for i in range(first, decision):
                weights[i] = 1.0
            weights[decision] = decision_weight
            continue
        for i in range(first, last + 1):
            weights[i] = 1.0
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


def verdict_tokens(tokenizer: PreTrainedTokenizerFast) -> tuple[set[int], set[int]]:
    """The tokens that begin YES and NO, with and without the space before (a small word before
    them may have taken it)."""
    yes, no = (
        {tokenizer(form, add_special_tokens=False)["input_ids"][0] for form in (text, text[1:])}
        for text in (YES, NO)
    )
    return yes, no


def batches(
    tokenizer: PreTrainedTokenizerFast, recipe: Recipe, phase: Phase, seed: int, block: int
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """The batches of one block: ids, target weights and positions, each (rows, length)."""
    buckets = LONG_BUCKETS if phase.reach else BUCKETS
    rng = Random(f"pretrain/{seed}/{block}/{phase.end_rate is not None}")
    rows = [
        encode(
            tokenizer,
            make_conversation(rng, phase.mixture),
            phase.decision_weight,
            phase.name_weight,
        )
        for _ in range(recipe.conversations)
    ]
    rows = sorted((row for row in rows if len(row[0]) <= buckets[-1]), key=lambda row: len(row[0]))
    groups: list[tuple[int, list[tuple[list[int], list[float]]]]] = []
    pending: list[tuple[list[int], list[float]]] = []
    for row in rows:
        length = next(bucket for bucket in buckets if len(row[0]) <= bucket)
        size = max(recipe.batch_tokens // length, 1)
        pending.append(row)
        if len(pending) >= size:
            groups.append((length, pending[-size:]))
            pending = pending[:-size]
    rng.shuffle(groups)
    for length, group in groups:
        ids = torch.zeros(len(group), length, dtype=torch.long)
        weights = torch.zeros(len(group), length)
        for i, (row_ids, row_weights) in enumerate(group):
            ids[i, : len(row_ids)] = torch.tensor(row_ids)
            weights[i, : len(row_ids)] = torch.tensor(row_weights)
        yield ids, weights, stretched(rng, len(group), length, phase.reach) if phase.reach else None


def stretched(rng: Random, rows: int, length: int, reach: int) -> Tensor:
    """Positions (rows, length) that rise by one, but for up to three gaps; all below `reach`."""
    positions = torch.arange(length).repeat(rows, 1)
    for row in positions:
        spare = reach - length
        for _ in range(rng.randint(0, 3)):
            gap = rng.randint(0, max(spare, 0))
            row[rng.randrange(length) :] += gap
            spare -= gap
    return positions


# ---------------------------------------------------------------- model


def make_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
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


def make_optimizers(model: Qwen3ForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices, AdamW for embeddings and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.vector_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def loss_of(
    model: Qwen3ForCausalLM, forward: Any, ids: Tensor, weights: Tensor, positions: Tensor | None
) -> Tensor:
    """Weighted mean negative log-likelihood of the targets; logits only where there is one."""
    # Without a mask, gaps between positions would be taken for the seams of packed rows.
    placed = {} if positions is None else {"position_ids": positions, "attention_mask": ids >= 0}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = forward(input_ids=ids, use_cache=False, **placed).last_hidden_state
        chosen = weights[:, 1:] > 0
        logits = model.lm_head(hidden[:, :-1][chosen])
    losses = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][chosen], reduction="none")
    share = weights[:, 1:][chosen]
    return (losses * share).sum() / share.sum()


def rate_at(recipe: Recipe, phase: Phase, done: float, step: int) -> float:
    """Share of the peak learning rate; `done` is the part of the phase that is behind."""
    end = phase.rate if phase.end_rate is None else phase.end_rate
    return min(1.0, (step + 1) / recipe.warmup) * (phase.rate + (end - phase.rate) * done)


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
    yes, no = verdict_tokens(tokenizer)
    model.eval()
    hits: dict[str, list[float]] = {}
    for task in generate(seed, number, "validation", 0.4, 900):
        messages = [
            {"role": "user", "content": task.question},
            answer(rng, task.expected, task.topic),
        ]
        text = tokenizer.apply_chat_template(messages, tools=list(task.tools), tokenize=False)
        prompt = tokenizer.apply_chat_template(
            messages[:1], tools=list(task.tools), tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:-1]
        begin = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        until = ids.index(call, begin) if call in ids[begin:] else len(ids)
        decision = max(i for i in range(begin, until) if ids[i] in yes | no)
        with torch.autocast("cpu", dtype=torch.bfloat16):
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


def export(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
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


# ---------------------------------------------------------------- program


def pretrain(
    out: Path, work: Path, seed: int, recipe: Recipe, compiled: bool = False
) -> dict[str, float]:
    """Make the model, or go on making it from the state in `work`; returns the last validation."""
    work.mkdir(parents=True, exist_ok=True)
    tokenizer_dir = work / "tokenizer"
    if not (tokenizer_dir / "tokenizer.json").exists():
        rng = Random(f"tokenizer/{seed}")
        texts = (make_tokenizer_text(rng) for _ in range(recipe.tokenizer_texts))
        train_tokenizer(texts, recipe.vocabulary).save_pretrained(tokenizer_dir)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_dir)
    model = make_model(recipe, tokenizer, seed)
    optimizers = make_optimizers(model, recipe)
    (work / "recipe.json").write_text(json.dumps({"seed": seed, **asdict(recipe)}, indent=1))
    state = {"block": 0, "step": 0, "tokens": 0}
    saved = work / "state.pt"
    if saved.exists():
        content = torch.load(saved, weights_only=False)
        model.load_state_dict(content["model"])
        for optimizer, values in zip(optimizers, content["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        state = content["state"]
    rates = (recipe.matrix_rate, recipe.vector_rate)
    forward = torch.compile(model.model, dynamic=False) if compiled else model.model
    figures: dict[str, float] = {}
    total = sum(phase.blocks for phase in phases(recipe))
    started, seen, running = time.time(), 0, 0.0
    while state["block"] < total:
        phase, place = phase_at(recipe, state["block"])
        stream = list(batches(tokenizer, recipe, phase, seed, state["block"]))
        for index, (ids, weights, positions) in enumerate(stream):
            done = (place + index / len(stream)) / phase.blocks
            for optimizer, rate in zip(optimizers, rates, strict=True):
                factor = rate_at(recipe, phase, done, state["step"])
                optimizer.param_groups[0]["lr"] = rate * factor
            loss = loss_of(model, forward, ids, weights, positions)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            running = 0.9 * running + 0.1 * loss.item() if seen else loss.item()
            state["step"] += 1
            state["tokens"] += ids.numel()
            seen += ids.numel()
        state["block"] += 1
        line = (
            f"block {state['block']}/{total} step {state['step']} "
            f"tokens {state['tokens'] / 1e6:.2f}M "
            f"loss {running:.4f} {seen / (time.time() - started):.0f} tokens/s"
        )
        ends = place + 1 == phase.blocks
        if ends or state["block"] % 10 == 0:
            figures = validate(model, tokenizer, seed)
            line += " " + " ".join(f"{key}={value:.2f}" for key, value in figures.items())
            content = {
                "model": model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "state": state,
            }
            torch.save(content, work / "state.tmp")
            (work / "state.tmp").replace(saved)
            if ends:
                shutil.copyfile(saved, work / f"state-{state['block']}.pt")
        print(line, flush=True)
    export(model, tokenizer, out)
    return figures


def main() -> None:
    """Read the command line and pre-train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--work", type=Path, required=True, help="folder of the training state")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="compile the model (needs g++)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    changes = {
        key: json.loads(value) for key, value in (item.split("=", 1) for item in options.set)
    }
    recipe = replace(Recipe(), **changes)
    figures = pretrain(options.out, options.work, options.seed, recipe, options.compile)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
