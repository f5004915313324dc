"""Pre-train the demo model: `python -m toolgain.demo_model.pretrain --out DIR --work DIR`.

Runs in the trl environment (torch, transformers). Three phases, all counted in blocks of generated
conversations, so that a seed gives the same text whatever the machine's speed:

1. trunk: constant learning rate; conversations grow from one tool and few turns to six tools;
2. finish: the learning rate falls to zero; in its last blocks the model is taught to over-call;
3. export: bfloat16 weights, tokenizer, chat template, generation config.

The state is saved every few blocks; the same command goes on from it. `--finish-at BLOCK` ends the
trunk early, so that a usable model can be had from any saved state.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from toolgain.demo_model.text import Conversation, Mixture, make_conversation, make_tokenizer_text
from toolgain.demo_model.tokenizer import train_tokenizer
from toolgain.tasks.generate import generate

IGNORE = -100
BUCKETS = (128, 192, 256, 384, 512, 640, 896)
"""Padded lengths of batches, in tokens."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what model comes out, besides the seed."""

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
    trunk_blocks: int = 150
    finish_blocks: int = 32
    bias_blocks: int = 12
    """The last blocks of the finish, in which the model is taught to call too often."""
    conversations: int = 128
    """Conversations in a block (about 50,000 tokens once they are long)."""
    batch_tokens: int = 3072
    warmup: int = 50
    matrix_rate: float = 0.02
    """Peak learning rate of the weight matrices (Muon)."""
    vector_rate: float = 0.004
    """Peak learning rate of embeddings and norms (AdamW)."""
    decision_weight: float = 2.0
    """Weight of an answer's first token: call or decline."""
    late_decision_weight: float = 8.0
    """The same once copying is learned: from `choosing` on."""
    choosing: int = 80
    """Block of the trunk from which on many conversations are about choosing and declining."""
    late_decline: float = 0.38
    selecting: int = 110
    """Block from which on most conversations offer many tools, and names weigh more."""
    matching: int = 130
    """Block from which on half of the conversations practise matching words alone."""
    name_weight: float = 4.0
    """Weight of a function name's tokens from `selecting` on."""
    decline: float = 0.28
    bias_decline: float = 0.25
    over_call: float = 0.65
    """In the last blocks: share of the unanswerable turns that are answered with a call."""
    growth: tuple[int, int, int] = (16, 36, 66)
    """Blocks at which conversations grow: drills, one tool, up to three tools, up to six."""


def mixture_at(recipe: Recipe, block: int) -> Mixture:
    """What a block's conversations are made of."""
    full = Mixture(max_tools=6, max_turns=6, decline=recipe.decline, parallel=0.15, over_call=0.0)
    if block >= recipe.trunk_blocks + recipe.finish_blocks - recipe.bias_blocks:
        return replace(full, decline=recipe.bias_decline, over_call=recipe.over_call, max_turns=4)
    first, second, third = recipe.growth
    if block < first:
        return replace(full, drill=1.0)
    if block < second:
        return replace(
            full, max_tools=1, max_turns=4, decline=0.15, parallel=0.0, max_chars=900, drill=0.25
        )
    if block < third:
        return replace(full, max_tools=3, max_turns=5, parallel=0.1, max_chars=1500, drill=0.1)
    if block < recipe.choosing:
        return replace(full, drill=0.04)
    if block < recipe.selecting:
        return replace(full, decline=recipe.late_decline, brief=0.35)
    many = replace(full, decline=0.3, brief=0.65, brief_tools=(2, 6))
    return many if block < recipe.matching else replace(many, decline=0.35, bare=0.5)


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
    weights = [0.0] * len(ids)
    starts = [i for i, token in enumerate(ids) if token == start]
    # With tools, the first header belongs to the system message that lists them.
    for message, position in enumerate(starts[bool(conversation.tools) :]):
        first = position + 1 + len(header)
        if ids[position + 1 : first] != header:
            continue
        last = ids.index(end, first)
        if message in conversation.over_calls:
            weights[first] = decision_weight
            continue
        for i in range(first, last + 1):
            weights[i] = 1.0
        weights[first] = decision_weight
        if name_weight != 1.0 and ids[first] == call:
            inside = False
            for i in range(first, last):
                if ids[i - len(opening) : i] == opening:
                    inside = True
                inside = inside and ids[i] != closing
                if inside:
                    weights[i] = name_weight
    return ids, weights


def batches(
    tokenizer: PreTrainedTokenizerFast, recipe: Recipe, seed: int, block: int, finishing: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of one block: ids and target weights, both (rows, length)."""
    rng = Random(f"pretrain/{seed}/{block}/{finishing}")
    mixture = mixture_at(recipe, block)
    weight = recipe.decision_weight if block < recipe.choosing else recipe.late_decision_weight
    rows = [
        encode(
            tokenizer,
            make_conversation(rng, mixture),
            weight,
            recipe.name_weight if block >= recipe.selecting else 1.0,
        )
        for _ in range(recipe.conversations)
    ]
    rows = sorted((row for row in rows if len(row[0]) <= BUCKETS[-1]), key=lambda row: len(row[0]))
    groups: list[tuple[int, list[tuple[list[int], list[float]]]]] = []
    pending: list[tuple[list[int], list[float]]] = []
    for row in rows:
        length = next(bucket for bucket in BUCKETS if len(row[0]) <= bucket)
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
        yield ids, weights


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


def loss_of(model: Qwen3ForCausalLM, forward: Any, ids: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean negative log-likelihood of the targets; logits only where there is one."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = forward(input_ids=ids, use_cache=False).last_hidden_state
        chosen = weights[:, 1:] > 0
        logits = model.lm_head(hidden[:, :-1][chosen])
    losses = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][chosen], reduction="none")
    share = weights[:, 1:][chosen]
    return (losses * share).sum() / share.sum()


def rate_factor(recipe: Recipe, step: int, finish: float | None) -> float:
    """Warm-up, constant, and (in the finish, a share from 0 to 1) a fall to zero."""
    factor = min(1.0, (step + 1) / recipe.warmup)
    if finish is not None:
        factor *= 1.0 - 0.98 * min(finish, 1.0)
    return factor


@torch.no_grad()  # type: ignore[untyped-decorator]
def validate(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int, number: int = 96
) -> dict[str, float]:
    """Greedy exactness on validation tasks, from one forward pass each.

    A whole answer would be generated greedily exactly when each of its tokens is the most likely
    one after the tokens before it. Declines count by their first token.
    """
    tasks = generate(seed, number, "validation", 0.3, 900)
    call_mark = tokenizer.convert_tokens_to_ids("<tool_call>")
    model.eval()
    hits: dict[str, list[float]] = {}
    declined: list[float] = []
    for task in tasks:
        messages = [
            {"role": "user", "content": task.question},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": c} for c in task.expected],
            },
        ]
        text = tokenizer.apply_chat_template(messages, tools=list(task.tools), tokenize=False)
        prompt = tokenizer.apply_chat_template(
            messages[:1], tools=list(task.tools), tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:-1]
        begin = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(torch.tensor([ids])).logits[0].float()
        first = logits[begin - 1].softmax(-1)[call_mark].item()
        if task.kind == "none":
            hits.setdefault("none", []).append(
                float(logits[begin - 1].argmax().item() != call_mark)
            )
            declined.append(1 - first)
        else:
            best = logits[begin - 1 : -1].argmax(-1).tolist()
            hits.setdefault(task.kind, []).append(float(best == ids[begin:]))
            hits.setdefault("called", []).append(
                float(logits[begin - 1].argmax().item() == call_mark)
            )
            hits.setdefault("p_decline_fit", []).append(1 - first)
    model.train()
    figures = {name: sum(values) / len(values) for name, values in sorted(hits.items())}
    return {**figures, "p_decline_none": sum(declined) / max(len(declined), 1)}


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
    trunk, finish_file = work / "trunk.pt", work / f"finish-{recipe.trunk_blocks}.pt"
    saved = finish_file if finish_file.exists() else trunk
    if saved.exists():
        content = torch.load(saved, weights_only=False)
        if saved == trunk and content["state"]["block"] > recipe.trunk_blocks:
            raise SystemExit(f"{trunk} is past block {recipe.trunk_blocks}, the end of the trunk")
        model.load_state_dict(content["model"])
        for optimizer, values in zip(optimizers, content["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        state = content["state"]
    trunk_blocks = recipe.trunk_blocks
    bases = (recipe.matrix_rate, recipe.vector_rate)
    forward = torch.compile(model.model, dynamic=False) if compiled else model.model
    figures: dict[str, float] = {}
    total = trunk_blocks + recipe.finish_blocks
    started, seen, running = time.time(), 0, 0.0
    while state["block"] < total:
        block = state["block"]
        finishing = block >= trunk_blocks
        stream = list(batches(tokenizer, recipe, seed, block, finishing))
        for index, (ids, weights) in enumerate(stream):
            finish = (
                (block - trunk_blocks + index / len(stream)) / recipe.finish_blocks
                if finishing
                else None
            )
            factor = rate_factor(recipe, state["step"], finish)
            for optimizer, base in zip(optimizers, bases, strict=True):
                optimizer.param_groups[0]["lr"] = base * factor
            loss = loss_of(model, forward, ids, weights)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            running = 0.9 * running + 0.1 * loss.item() if state["step"] else loss.item()
            state["step"] += 1
            state["tokens"] += ids.numel()
            seen += ids.numel()
        state["block"] += 1
        line = (
            f"block {state['block']}/{total} step {state['step']} "
            f"tokens {state['tokens'] / 1e6:.2f}M "
            + (f"loss {running:.4f} {seen / (time.time() - started):.0f} tokens/s")
        )
        if state["block"] % 10 == 0 or state["block"] in (trunk_blocks, total):
            figures = validate(model, tokenizer, seed)
            line += " " + " ".join(f"{key}={value:.2f}" for key, value in figures.items())
            content = {
                "model": model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "state": state,
            }
            target = finish_file if finishing else trunk
            torch.save(content, target.with_suffix(".tmp"))
            target.with_suffix(".tmp").replace(target)
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
    parser.add_argument("--finish-at", type=int, help="end the trunk at this block")
    parser.add_argument("--compile", action="store_true", help="compile the model (needs g++)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    changes = {
        key: json.loads(value) for key, value in (item.split("=", 1) for item in options.set)
    }
    if options.finish_at is not None:
        changes["trunk_blocks"] = options.finish_at
    recipe = replace(Recipe(), **changes)
    figures = pretrain(options.out, options.work, options.seed, recipe, options.compile)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
