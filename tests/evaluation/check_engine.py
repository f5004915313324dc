"""Run in the TRL environment: is the engine's answer the model's, whatever else is running?

PYTHONPATH=workflow .venvs/trl/bin/python tests/evaluation/check_engine.py MODEL_FOLDER
"""

import random
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from toolgain.serving import answers
from toolgain.serving.transformers_engine import ATTENTION, BLOCK, Engine, PromptBlocks
from toolgain.serving.transformers_server import parser

torch.set_num_threads(1)
LONG = 24


def stock(model: object, prompt: list[int]) -> list[int]:
    """Greedy answer of the model's own generation."""
    with torch.inference_mode():
        made = model.generate(  # type: ignore[attr-defined]
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=LONG,
            do_sample=False,
            eos_token_id=-1,
            pad_token_id=0,
        )
    return made[0, len(prompt) :].tolist()


def check_answers(folder: str) -> None:
    """Short and long prompts, shared beginnings, many at once and one by one: the same answers."""
    dice = random.Random(0)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.set_attn_implementation(ATTENTION)
    size = model.config.vocab_size
    beginning = [dice.randrange(size) for _ in range(2 * BLOCK + 10)]
    prompts = [beginning[: dice.randrange(1, len(beginning))] for _ in range(6)]
    prompts += [beginning + [dice.randrange(size) for _ in range(n)] for n in (1, 60, BLOCK)]
    prompts += [beginning[:BLOCK], beginning[: 2 * BLOCK]]
    expected = [stock(plain, prompt) for prompt in prompts]
    together = Engine(model, rows=4)
    assert together.agrees()
    together.start()
    futures = [together.submit(prompt, LONG, frozenset()) for prompt in prompts]
    assert [future.result(120) for future in futures] == expected
    alone = Engine(model, rows=4)
    alone.start()
    for prompt, answer in zip(reversed(prompts), reversed(expected), strict=True):
        assert alone.submit(prompt, LONG, frozenset()).result(120) == answer
    # Ends: with the ending token, or at the limit.
    answer = expected[0]
    until = answer.index(answer[3]) + 1
    assert together.submit(prompts[0], LONG, frozenset([answer[3]])).result(60) == answer[:until]
    assert len(together.submit(prompts[0], 2, frozenset()).result(60)) == 2
    # The model's own generation still works, for requests that the engine does not take.
    assert stock(model, prompts[2]) == expected[2]


def check_failure_ends_one_request(folder: str) -> None:
    """A request that fails does not take the others with it."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.set_attn_implementation(ATTENTION)
    engine = Engine(model, rows=2)
    engine.start()
    bad = engine.submit([10**6], 4, frozenset())
    good = engine.submit([1, 2, 3], 4, frozenset())
    assert isinstance(bad.exception(60), IndexError)
    assert len(good.result(60)) == 4


def check_budget() -> None:
    """Kept blocks stay within their budget, the least recently used going first."""
    block = [(torch.zeros(1, 4, 8), torch.zeros(1, 4, 8))]
    blocks = PromptBlocks(2 * 2 * 4 * 8 * 4)
    blocks.put((1,), block)
    blocks.put((2,), block)
    assert blocks.get((1,)) is not None
    blocks.put((3,), block)
    assert blocks.get((2,)) is None and blocks.get((1,)) is not None


def check_parsing(folder: str) -> None:
    """What is not a call with arguments stays text, and is not an error."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    parse = parser(answers.reader(tokenizer, model.config.model_type, {tokenizer.eos_token_id}))
    prompt = tokenizer("Call.", return_tensors="pt")["input_ids"]
    for text, called in (
        ('<tool_call>{"name": "a", "arguments": {"x": 1}}</tool_call>', True),
        ('<tool_call>{"name": "a", "arguments": {"x": </tool_call>', False),
        ('<tool_call>{"name": "a", "arguments": [1]}</tool_call>', False),
        ('<tool_call>{"name": "a", "arguments": "no"}</tool_call>', False),
        ("<tool_call>nothing", False),
        ("I cannot.", False),
    ):
        tokens = tokenizer(text)["input_ids"]
        content, _, calls = parse(tokenizer, model, tokens, prompt, tokenizer.decode(tokens))
        assert bool(calls) == called, (text, calls)
        assert called or content, text


def main() -> None:
    check_answers(sys.argv[1])
    check_failure_ends_one_request(sys.argv[1])
    check_budget()
    check_parsing(sys.argv[1])
    print("the engine agrees")


if __name__ == "__main__":
    main()
