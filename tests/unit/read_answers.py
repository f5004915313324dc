"""Read answers in every markup with transformers' parser (trl environment).

PYTHONPATH=workflow:tests/unit .venvs/trl/bin/python tests/unit/read_answers.py     -> JSON
"""

import json
from pathlib import Path
from typing import Any

import trl
from markups import TEMPLATES, written
from transformers import AutoTokenizer

from toolgain.models.rendering import CannotRenderError, render
from toolgain.models.response_templates import PROBE_NAME, PROBE_TOOL, QUESTION, recognised_template
from toolgain.serving import answers

ROOT = Path(__file__).parents[2]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "exact": {"type": "boolean"},
            },
        },
    },
}
PARIS = ("get_weather", {"city": "Paris", "days": 3, "exact": True})
ROME = ("get_weather", {"city": "Rome </x> } ] {", "days": 1, "exact": False})


def read(reader: answers.AnswerReader, text: str) -> list[Any] | None:
    """[text, [[name, arguments], ...], whether half a call is left in the text] or null."""
    found = reader.read_text(text, "", [WEATHER])
    if found is None:
        return None
    calls = [[call.name, call.arguments] for call in found.calls]
    return [found.text, calls, reader.half_a_call(found.text)]


def of_markup(tokenizer: Any, markup: str) -> dict[str, Any]:
    tokenizer.chat_template, tokenizer.response_template = TEMPLATES[markup], None
    reader = answers.reader(tokenizer, "llama", [2])
    one = written(markup, PARIS)
    return {
        "one": read(reader, one),
        "two": read(reader, written(markup, PARIS, ROME)),
        "thought": read(reader, f"<think>{one}</think>\n\nNo."),
        "text": read(reader, "No tool does that."),
        "cut": read(reader, one[: len(one) - 12]),
        "ids": read_ids(reader, tokenizer, one + "<|im_end|>"),
    }


def read_ids(reader: answers.AnswerReader, tokenizer: Any, text: str) -> list[str]:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    found = reader.read(ids, "", [WEATHER])
    return [call.name for call in found.calls] if found else []


def of_real_templates(tokenizer: Any) -> dict[str, list[Any]]:
    """What is found for every template that TRL ships: is it rendered as transformers renders it,
    does it write tools, and what reads its calls."""
    found = {}
    for file in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja")):
        template = file.read_text()
        tokenizer.chat_template, tokenizer.response_template = template, None
        tokens = {**tokenizer.special_tokens_map, "bos_token": "<s>"}
        tokenizer.bos_token = "<s>"
        try:
            ours = render(template, tokens, [QUESTION], [PROBE_TOOL], True)
        except CannotRenderError:
            continue
        theirs = tokenizer.apply_chat_template(
            [QUESTION], tools=[PROBE_TOOL], add_generation_prompt=True, tokenize=False
        )
        name = recognised_template(template, tokens)
        if name:
            # Raises where transformers' parser does not read the call.
            answers.reader(tokenizer, "llama", [2])
        found[file.stem] = [ours == theirs, PROBE_NAME in ours, name]
    return found


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "resources" / "demo-model")
    result = {"markups": {markup: of_markup(tokenizer, markup) for markup in TEMPLATES}}
    print(json.dumps({**result, "real": of_real_templates(tokenizer)}))


if __name__ == "__main__":
    main()
