"""Rollouts of several turns by the chat templates of several families (trl environment).

PYTHONPATH=workflow:tests/unit .venvs/trl/bin/python tests/training/gym_turns.py     -> JSON

Each rollout goes the way of the messages: a prompt, an answer of any kind, and what Gym's model
server makes of it for the next request. What was sampled must come out as it was sampled, and what
was given must be what the template writes.
"""

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import trl
from markups import TEMPLATES, written
from transformers import AutoTokenizer

from toolgain.models.response_templates import recognised_template
from toolgain.serving import answers
from toolgain.training.trl.gym_chat import GymChat
from toolgain.training.trl.turns import Turn, one_sequence

DEMO_MODEL = Path(__file__).parents[2] / "resources" / "demo-model"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find",
            "description": "Find someone.",
            "parameters": {"type": "object", "properties": {"who": {"type": "string"}}},
        },
    }
]
ENDINGS = ["<|im_end|>", "<|eot_id|>", "</s>", "<|END_OF_TURN_TOKEN|>"]


def sampled(rng: random.Random, chat: GymChat, markup: str) -> list[int]:
    """An answer as a model may sample it."""
    ending = [chat.tokenizer.eos_token_id]
    kind = rng.choice(["call", "calls", "text", "letters", "noise", "cut"])
    text = "".join(rng.choice('abc é\n{}"') for _ in range(rng.randint(1, 12)))
    if kind in ("call", "calls"):
        who = {"who": "".join(rng.choice("abcdef") for _ in range(4))}
        text = written(markup, *[("find", who)] * (2 if kind == "calls" else 1))
    ids = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    if kind == "letters":
        # Other tokens than the tokenizer would make of the same text.
        pieces = [chat.tokenizer(sign, add_special_tokens=False)["input_ids"] for sign in text]
        ids = [token for piece in pieces for token in piece]
    if kind == "noise":
        ids = [rng.randrange(3, 400) for _ in range(rng.randint(1, 9))]
    return ids if kind == "cut" else [*ids, *ending]


def handed_back(message: dict[str, Any]) -> dict[str, Any]:
    """A message as Gym's model server sends it with the next request."""
    return {**message, "content": message.get("content") or None}


def played(seed: int, chat: GymChat, markup: str, exactly: bool) -> list[str]:
    """What is wrong with one rollout.

    Args:
        exactly: The template writes nothing but roles and contents between answers.
    """
    rng = random.Random(f"{markup}-{seed}")
    messages: list[dict[str, Any]] = [{"role": "user", "content": [{"text": "Find Ann."}]}]
    turns: list[Turn] = []
    for _ in range(rng.randint(1, 4)):
        body = {"messages": messages, "tools": TOOLS}
        prompt = chat.prompt(body)
        answer = sampled(rng, chat, markup)
        turns.append(Turn(tuple(prompt), tuple(answer)))
        message = json.loads(chat.reply(body, prompt, answer, False).content)
        message = message["choices"][0]["message"]
        result = "".join(rng.choice("xyz12") for _ in range(6))
        calls = message.get("tool_calls") or []
        messages = [*messages, handed_back(message)]
        messages += [{"role": "tool", "content": result, "tool_call_id": c["id"]} for c in calls]
        messages += [] if calls else [{"role": "user", "content": result}]
    whole = one_sequence(turns)
    mine = [t for t, one in zip(whole.completion, whole.sampled, strict=True) if one]
    wrong = []
    if mine != [token for turn in turns for token in turn.answer]:
        wrong.append(f"{markup} {seed}: other tokens than the sampled ones")
    return wrong + between(chat, turns, messages, f"{markup} {seed}", exactly)


def between(
    chat: GymChat,
    turns: Sequence[Turn],
    messages: list[dict[str, Any]],
    where: str,
    exactly: bool,
) -> list[str]:
    """What is wrong with the tokens between two answers."""
    wrong = []
    answered = [place for place, m in enumerate(messages) if m["role"] == "assistant"]
    for number, (earlier, later) in enumerate(pairwise(turns)):
        said = messages[answered[number] + 1 : answered[number + 1]]
        given = chat.tokenizer.decode(later.prompt[len(earlier.prompt) + len(earlier.answer) :])
        missing = [message["content"] for message in said if message["content"] not in given]
        if missing:
            wrong.append(f"{where}: {given!r} lacks {missing}")
        ended = earlier.answer[-1] in chat.endings
        if any(ending in given[:20] for ending in ENDINGS) is ended:
            wrong.append(f"{where}: the answer before {given!r} is closed twice, or not at all")
        text = "" if ended else "<|im_end|>"
        written = (f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in said)
        text += "\n" + "".join(written) + "<|im_start|>assistant\n"
        if exactly and given != text:
            wrong.append(f"{where}: {given!r} was given, {text!r} expected")
    return wrong


def chat_of(template: str) -> GymChat:
    """Prompts and answers of a model with this template."""
    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)
    tokenizer.add_special_tokens({"additional_special_tokens": ENDINGS})
    tokenizer.chat_template, tokenizer.bos_token = template, "<s>"
    endings = [tokenizer.convert_tokens_to_ids(text) for text in ENDINGS]
    return GymChat(tokenizer, answers.reader(tokenizer, "llama", endings), endings)


def real_templates() -> dict[str, tuple[str, str]]:
    """Those that TRL ships whose calls are read: the template, and the name of its markup."""
    found = {}
    for file in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja")):
        template = file.read_text()
        tokens = {"bos_token": "<s>", "eos_token": "<|im_end|>"}
        if name := recognised_template(template, tokens):
            found[file.stem] = (template, name)
    return found


def main() -> None:
    made = {markup: (template, markup) for markup, template in TEMPLATES.items()}
    result: dict[str, list[str]] = {}
    for name, (template, markup) in {**made, **real_templates()}.items():
        chat = chat_of(template)
        result[name] = []
        for seed in range(20):
            try:
                result[name] += played(seed, chat, markup, name in made)
            except Exception as error:
                result[name].append(f"{seed}: {type(error).__name__}: {error}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
