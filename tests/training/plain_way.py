"""The sampling and the loss of the GRPO program against the plain way (trl environment).

PYTHONPATH=workflow .venvs/trl/bin/python tests/training/plain_way.py MODEL     -> JSON
"""

import json
import sys
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    Qwen3Config,
)
from trl.trainer.utils import add_fused_lm_head

from toolgain.training.trl.grpo import rounded
from toolgain.training.trl.packing import parts_of, score_packed
from toolgain.training.trl.sampling import can_share, complete

DRAWS = 20_000


def greedy(model: Any, tokenizer: Any, prompts: list[list[int]]) -> bool:
    """Whether greedy completions of several prompts at once equal those of `model.generate`."""
    ways = [
        complete(model, prompts, limit=20, endings=[2], padding=0, temperature=0, shared=shared)
        for shared in (False, True)
    ]
    alone = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=20,
            do_sample=False,
            eos_token_id=2,
            pad_token_id=0,
        )
        alone.append(output[0, len(prompt) :].tolist())
    return ways == [alone, alone]


def sharing() -> dict[str, bool]:
    """Kinds of attention, and whether their completions may share what is kept of a prompt."""
    sizes = {
        "vocab_size": 200,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    kinds = {
        "shared heads": LlamaConfig(**sizes),
        "normed": Qwen3Config(**sizes),
        "window": MistralConfig(**sizes, sliding_window=16),
        "soft cap": Gemma2Config(**sizes),
        "bfloat16": LlamaConfig(**sizes),
    }
    prompts = [[*range(3, 40)], [*range(60, 67)]]
    found = {}
    for name, config in kinds.items():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(config).eval()
        if name == "bfloat16":
            model.bfloat16()
        found[name] = can_share(model, prompts, 0)
    return found


def sampled(model: Any, prompt: list[int]) -> float:
    """Largest distance, in standard errors, of a first token's share from its probability."""
    torch.manual_seed(1)
    drawn = complete(model, [prompt] * DRAWS, limit=1, endings=[2], padding=0, temperature=2.0)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
    expected = torch.softmax(logits / 2.0, dim=-1)
    shares = torch.bincount(torch.tensor(drawn).flatten(), minlength=len(expected)) / DRAWS
    common = expected > 0.002
    errors = (expected * (1 - expected) / DRAWS).sqrt()
    return float(((shares - expected).abs() / errors)[common].max())


def packed(model: Any, prompts: list[list[int]], completions: list[list[int]]) -> dict[str, float]:
    """Largest differences of log-probabilities and gradients from one row per completion."""
    width = max(map(len, completions))
    parts = parts_of(prompts, completions, range(len(prompts)), 2)
    rows = sum(len({tuple(prompts[i]) for i in part}) for part in parts)
    # Of a rollout of several answers some tokens are masked: their weight is zero, and so is that
    # of completions without an advantage.
    needed = [prompt != prompts[1] for prompt in prompts]
    weights = torch.linspace(-1, 1, len(prompts))[:, None] * torch.randint(0, 2, (width,))
    weights = weights * torch.tensor(needed)[:, None]
    together, _ = score_packed(model, prompts, completions, 0, width, model.device, needed, most=2)
    (together * weights).sum().backward()
    gradient = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    difference = 0.0
    for index, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        ids = torch.tensor([[*prompt, *completion]])
        log_probs = torch.log_softmax(model(input_ids=ids).logits[0, :-1], dim=-1)
        chosen = log_probs.gather(1, ids[0, 1:, None])[len(prompt) - 1 :, 0]
        (chosen * weights[index, : len(completion)]).sum().backward()
        own = together[index, : len(completion)]
        difference = max(difference, float((chosen - own).abs().detach().max()))
    slope = max(
        float((parameter.grad - before).abs().max())
        for parameter, before in zip(model.parameters(), gradient, strict=True)
    )
    return {"log_probs": difference, "gradient": slope, "rows": rows, "passes": len(parts)}


def zero_advantages_change_no_gradient(
    model: Any, prompts: list[list[int]], completions: list[list[int]]
) -> bool:
    """Whether it is the same gradient, under autocast, where completions without an advantage are
    left out of it."""
    width = max(map(len, completions))
    needed = [prompt != prompts[1] for prompt in prompts]
    gradients = []
    for given in (None, needed):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, _ = score_packed(model, prompts, completions, 0, width, model.device, given)
        (found * torch.tensor(needed)[:, None]).sum().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    whole, rest = gradients
    return bool((whole - rest).norm() < 0.02 * whole.norm())


def rounded_and_back(model: Any) -> bool:
    """Whether the weights are those of bfloat16 inside of `rounded`, and the exact ones after."""
    weight = next(model.parameters())
    with torch.no_grad():
        weight += 1e-4
    exact = weight.detach().clone()
    with rounded(model, torch.bfloat16):
        inside = torch.equal(weight.detach(), exact.to(torch.bfloat16).float())
    return (
        inside and torch.equal(weight, exact) and not torch.equal(exact, exact.bfloat16().float())
    )


def main(folder: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["What is the time?", "Book a table for two, please, at eight o'clock.", "Hello!"]
    prompts = [tokenizer(text)["input_ids"] for text in texts]
    result: dict[str, Any] = {
        "greedy_equal": greedy(model, tokenizer, [*prompts, prompts[0]]),
        "sharing": sharing(),
        "rounded_and_back": rounded_and_back(model),
        "sampling_errors": sampled(model, prompts[0]),
    }
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    torch.manual_seed(2)
    completions = [torch.randint(3, 500, (size,)).tolist() for size in (1, 7, 12, 3, 5, 9)]
    repeated = [prompts[index % 3] for index in range(6)]
    result |= packed(model, repeated, completions)
    result["zero_advantages_change_no_gradient"] = zero_advantages_change_no_gradient(
        model, repeated, completions
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
