"""Make a tiny Qwen3 model that answers in the right form and mostly wrongly (trl environment).

PYTHONPATH=workflow .venvs/trl/bin/python tests/training/tiny_model.py FOLDER

PYTHONPATH=workflow:tests/unit .venvs/trl/bin/python tests/training/tiny_model.py FOLDER MARKUP
makes a Llama that writes its calls in another markup, with the demo model's tokenizer.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from toolgain.tasks.generated.generate import generate

TEMPLATE = """{%- if tools %}<|im_start|>system
{%- for tool in tools %}
{{ tool['function'] | tojson }}
{%- endfor %}<|im_end|>
{% endif %}{%- for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
STEPS = 40
DEMO_MODEL = Path(__file__).parents[2] / "resources" / "demo-model"


def answer(task: dict, markup: str | None) -> str:
    """The first call without its arguments, or a short decline: quick to learn, mostly wrong.

    In another markup always a call, so that what reads it has something to read; on one line, since
    so small a model takes one line's end for another's.
    """
    if markup:
        from markups import written

        return "".join(written(markup, ("a", {})).splitlines())
    if not task["expected"]:
        return "No."
    return '<tool_call>{"name": "a", "arguments": {}}</tool_call>'


def main(folder: Path, markup: str | None) -> None:
    torch.manual_seed(0)
    tasks = [task.as_json() for task in generate(3, 120, "train", 0.5, 500)]
    made = of_another_family(markup) if markup else of_the_demo_s_family(tasks)
    teach(folder, *made, tasks, markup)


def of_another_family(markup: str) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """A Llama whose template writes calls in `markup`."""
    from markups import TEMPLATES

    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)
    tokenizer.chat_template = TEMPLATES[markup]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        max_position_embeddings=32768,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, LlamaForCausalLM(config)


def of_the_demo_s_family(tasks: list) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """A Qwen3 with a tokenizer of its own."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        map(json.dumps, tasks),
        trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.add_tokens(["<tool_call>", "</tool_call>"])
    tokenizer.chat_template = TEMPLATE
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            tie_word_embeddings=True,
            max_position_embeddings=2048,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return tokenizer, model


def teach(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    model: PreTrainedModel,
    tasks: list,
    markup: str | None,
) -> None:
    """Train the model to answer in the right form, and save it."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(STEPS):
        batch = tasks[step * 8 % len(tasks) :][:8]
        texts = [
            tokenizer.apply_chat_template(
                task["prompt"], tools=task["tools"], add_generation_prompt=True, tokenize=False
            )
            for task in batch
        ]
        answers = [answer(task, markup) + "<|im_end|>" for task in batch]
        ids = tokenizer(
            [text + reply for text, reply in zip(texts, answers, strict=True)],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        labels = ids["input_ids"].clone()
        for row, reply in enumerate(answers):
            labels[row, : -len(tokenizer(reply)["input_ids"])] = -100
        loss = model(**ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
