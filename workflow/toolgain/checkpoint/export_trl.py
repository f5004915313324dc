"""Write a checkpoint's weights as a Hugging Face folder and compare its answers: in the trl
environment, started by `toolgain.checkpoint.export`.

    python -m toolgain.checkpoint.export_trl CHECKPOINT BASE OUT RESULT.json

RESULT.json: the number type, and whether the greedy answers of OUT, read back from the disk, equal
those of the checkpoint.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from toolgain.common.files import read_text

TOOL = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Get the present time of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city."}},
            "required": ["city"],
        },
    },
}
QUESTIONS = (
    ("What time is it in Lisbon?", [TOOL]),
    ("Please write a poem about the sea.", [TOOL]),
    ("Hello! Who are you?", None),
)
ANSWER_TOKENS = 48

FROM_BASE = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json",
    "merges.txt", "tokenizer.model", "added_tokens.json", "chat_template.jinja",
    "generation_config.json",
)  # fmt: skip
"""Files that the exported model has from the base, as they are: the two must differ in their
weights alone."""


def greedy_answers(model: Any, tokenizer: Any) -> list[list[int]]:
    """Greedy answers to the questions, one at a time, each with its prompt before it."""
    found = []
    for question, tools in QUESTIONS:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            tools=tools,
            add_generation_prompt=True,
            tokenize=False,
        )
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        ids = ids.to(model.device)
        with torch.no_grad():
            output = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=ANSWER_TOKENS,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
            )
        found.append(output[0].tolist())
    return found


def export_and_compare(checkpoint: Path, base: Path, out: Path, result: Path) -> None:
    """Export and compare."""
    config = json.loads(read_text(base / "config.json"))
    dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
    # From the checkpoint's own files alone, so that a wrong tokenizer or template shows.
    trained = AutoModelForCausalLM.from_pretrained(checkpoint / "policy" / "weights", dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint / "policy" / "tokenizer")
    expected = greedy_answers(trained, tokenizer)
    trained.save_pretrained(out)
    for name in FROM_BASE:
        (out / name).unlink(missing_ok=True)
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)
    del trained
    exported = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
    found = greedy_answers(exported, AutoTokenizer.from_pretrained(out))
    result.write_text(
        json.dumps(
            {
                "dtype": str(exported.dtype).removeprefix("torch."),
                "greedy_answers_equal": found == expected,
                "prompts_compared": len(expected),
            }
        )
    )


if __name__ == "__main__":
    export_and_compare(*(Path(argument) for argument in sys.argv[1:5]))
