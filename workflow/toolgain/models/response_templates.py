"""How a model writes its tool calls, and what reads them.

A response template (transformers' word) says what opens and closes a call in an answer. The server
`transformers serve` and the TRL reward read calls with the same one: the tokenizer's own
(`model.response_template` puts it there), else the first of `NAMED` that reads back a call which
the model's own chat template wrote. So no model is trained or measured on a form that is not its
own.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolgain.common.errors import UserError
from toolgain.common.files import read_text
from toolgain.models.rendering import CannotRenderError, render, special_tokens, template_of
from toolgain.models.settings import read_settings

ResponseTemplate = dict[str, Any]
"""transformers' `response_template`: https://huggingface.co/docs/transformers/chat_response_parsing"""

_END = r"\s*(?:<\|(?:im_end|endoftext|eot_id|eom_id|end_of_text)\|>|<SPECIAL_12>|</s>|<eos>)"
"""The tokens that end an answer, as text."""

_THOUGHT = {
    # What stands before `</think>`, whether the prompt or the answer opened the thought.
    "open_pattern": r"<think>|(?=[\s\S]*?</think>)",
    "close_pattern": r"</think>\s*",
    "content": "text",
}
_FUNCTION = {"name": "{name}", "arguments": "{content}"}


def _template(calls: dict[str, object]) -> ResponseTemplate:
    return {
        "defaults": {"role": "assistant"},
        # Nothing of the prompt is part of the answer.
        "start_anchor_pattern": r"\Z",
        "fields": {
            "reasoning_content": _THOUGHT,
            "tool_calls": {"repeats": True, **calls},
            "content": {"close_pattern": _END, "content": "text"},
        },
    }


NAMED: dict[str, ResponseTemplate] = {
    # <tool_call>{"name": ..., "arguments": {...}}</tool_call>
    "hermes": _template(
        {
            "open_pattern": r"\s*<tool_call>",
            "close": "</tool_call>",
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        }
    ),
    # <tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>
    "qwen3_xml": _template(
        {
            "open_pattern": r"\s*<tool_call>\s*<function=(?P<name>[^>\n]+)>",
            "close_pattern": r"</function>\s*</tool_call>",
            "content": "xml-inline",
            "content_args": {
                "tag_pattern": r"<parameter=(?P<key>[^>\n]+)>\s*(?P<value>.*?)\s*</parameter>"
            },
            "transform": {"type": "function", "function": _FUNCTION},
        }
    ),
    # <TOOLCALL>[{"name": ..., "arguments": {...}}, ...]</TOOLCALL>
    "nemotron_json": _template(
        {
            "open_pattern": r"\s*<TOOLCALL>",
            "close": "</TOOLCALL>",
            "content": "json",
            "transform": {
                "type": "function",
                "function": {"name": "{name}", "arguments": "{arguments}"},
            },
            "transform_each": True,
        }
    ),
    # [TOOL_CALLS] [{"name": ..., "arguments": {...}, "id": ...}]
    "mistral": _template(
        {
            "open_pattern": r"\s*\[TOOL_CALLS\]\s*(?=\[\s*\{)",
            "close_pattern": rf"{_END}|\s*$",
            "content": "json",
            "transform": {
                "type": "function",
                "function": {"name": "{name}", "arguments": "{arguments}"},
            },
            "transform_each": True,
        }
    ),
    # [TOOL_CALLS]NAME[ARGS]{...}, the newer form
    "mistral_args": _template(
        {
            "open_pattern": r"\s*\[TOOL_CALLS\](?P<name>[^\[\]{}\s]+)(?:\[CALL_ID\][^\[\]{}]*)?"
            r"(?:\[ARGS\])?(?=\s*\{)",
            "close_pattern": rf"(?=\[TOOL_CALLS\])|{_END}|\s*$",
            "content": "json",
            "transform": {"type": "function", "function": _FUNCTION},
        }
    ),
    # {"name": ..., "parameters": {...}}, the whole answer
    "llama3_json": _template(
        {
            "open_pattern": r"\s*(?:<\|python_tag\|>)?\s*\{\s*\"name\":\s*\"(?P<name>[^\"]+)\","
            r"\s*\"(?:parameters|arguments)\":\s*(?=\{)",
            "close_pattern": rf"\s*\}}(?:{_END}|\s*;\s*(?=\{{)|\s*$)",
            "content": "json",
            "transform": {"type": "function", "function": _FUNCTION},
        }
    ),
}
"""Response templates by name. Where vLLM has a tool parser for the form, it is called the same."""

KNOWN_TO_TRANSFORMERS = re.compile(r"qwen(2|3)(_.*)?|gemma4")
"""Model types for which `transformers serve` has a response template of its own."""

PROBE_NAME = "look_up_tide_table"
PROBE_ARGUMENTS = {"harbour": "Brest", "days": 3}
PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": PROBE_NAME,
        "description": "Look up the tides of a harbour for some days.",
        "parameters": {
            "type": "object",
            "properties": {
                "harbour": {"type": "string", "description": "The harbour."},
                "days": {"type": "integer", "description": "How many days."},
            },
            "required": ["harbour", "days"],
        },
    },
}
SYSTEM = {"role": "system", "content": "Tides are given in metres above chart datum."}
QUESTION = {"role": "user", "content": "When is high water in Brest on the next three days?"}
# Mistral's templates take an id of nine letters and digits only.
CALL = {
    "id": "a1b2c3d4e",
    "type": "function",
    "function": {"name": PROBE_NAME, "arguments": PROBE_ARGUMENTS},
}


def written_call(template: str, tokens: Mapping[str, str]) -> str | None:
    """A call of the probe tool as the chat template writes it into an answer.

    Returns:
        The text after what belongs to the prompt; None: the template does not write the calls of
        an assistant turn, or refuses it.
    """
    for content in ("", None):
        answer = {"role": "assistant", "content": content, "tool_calls": [CALL]}
        try:
            before = [
                render(template, tokens, [QUESTION], [PROBE_TOOL], head) for head in (True, False)
            ]
            whole = render(template, tokens, [QUESTION, answer], [PROBE_TOOL], False)
        except CannotRenderError:
            continue
        # The head of an answer may open a thought that this answer has not.
        prompt = next((text for text in before if whole.startswith(text)), None)
        if prompt is not None and PROBE_NAME in whole[len(prompt) :]:
            return whole[len(prompt) :]
    return None


def reads(found: ResponseTemplate, text: str) -> bool:
    """Whether a response template of `NAMED` finds the probe's call in `text`.

    transformers' parser is not installed where this runs; a test holds the two together.
    """
    calls = found["fields"]["tool_calls"]
    if not (opened := re.search(calls["open_pattern"], text)):
        return False
    closing = calls.get("close_pattern") or re.escape(calls["close"])
    closed = re.compile(closing).search(text, opened.end())
    if closed is None:
        return False
    body = text[opened.end() : closed.start()]
    if calls["content"] == "json":
        try:
            value = json.loads(body)
        except ValueError:
            return False
        named = opened.groupdict().get("name")
        entries = value if isinstance(value, list) else [value]
        if named:
            return bool(named == PROBE_NAME and value == PROBE_ARGUMENTS)
        return all(
            isinstance(one, dict)
            and one.get("name") == PROBE_NAME
            and one.get("arguments") == PROBE_ARGUMENTS
            for one in entries
        )
    pairs = re.findall(calls["content_args"]["tag_pattern"], body, re.DOTALL)
    wanted = {key: str(value) for key, value in PROBE_ARGUMENTS.items()}
    return opened["name"] == PROBE_NAME and dict(pairs) == wanted


def recognised_template(template: str, tokens: Mapping[str, str]) -> str | None:
    """The name of the response template that reads what the chat template writes, or None."""
    text = written_call(template, tokens)
    if text is None:
        return None
    return next((name for name, found in NAMED.items() if reads(found, text)), None)


def named_or_file(value: str) -> ResponseTemplate:
    """What `model.response_template` says: one of `NAMED`, or a JSON file.

    Raises:
        UserError: it is neither, or the file holds no response template.
    """
    if value in NAMED:
        return NAMED[value]
    path = Path(value)
    key = "model.response_template"
    if not path.is_file():
        raise UserError(f"{key}: {value} is neither a JSON file nor one of {', '.join(NAMED)}.")
    try:
        found = json.loads(read_text(path))
        calls = found["fields"]["tool_calls"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{key}: {path} holds no response template with `fields.tool_calls` "
            f"({type(error).__name__}: {error})."
        ) from None
    if not isinstance(calls, dict):
        raise UserError(f"{key}: {path}: `fields.tool_calls` is not an object.")
    assert isinstance(found, dict)
    return found


def check_tools_are_written(template: str, tokens: Mapping[str, str], where: str) -> None:
    """Refuse a chat template that does not write the tools that are offered, or begins twice.

    Raises:
        UserError: names the key to set.
    """
    cure = "give a template that writes them with model.chat_template"
    try:
        text = render(template, tokens, [QUESTION], [PROBE_TOOL], True)
    except CannotRenderError as error:
        raise UserError(
            f"model.path: the chat template of {where} cannot write one question with one tool "
            f"({error}); {cure}."
        ) from None
    if PROBE_NAME not in text:
        raise UserError(
            f"model.path: the chat template of {where} writes no tools: the model would never see "
            f"them, neither in the training nor in the evaluation; {cure}."
        )
    bos = tokens.get("bos_token")
    if bos and text.lstrip().startswith(bos * 2):
        raise UserError(
            f"model.path: the chat template of {where} begins a prompt with {bos} twice, which no "
            "training of the model has seen; give one that writes it once with "
            "model.chat_template."
        )


def check_system_messages_are_written(template: str, tokens: Mapping[str, str], where: str) -> None:
    """Refuse a chat template that leaves out a system message, or does not take one.

    92 of BFCL's live items begin with one, and tasks of one's own may.

    Raises:
        UserError: names the key to set.
    """
    cure = (
        "92 items of BFCL begin with one, and tasks of your own may; give a template that writes "
        "them with model.chat_template"
    )
    try:
        text = render(template, tokens, [SYSTEM, QUESTION], [PROBE_TOOL], True)
    except CannotRenderError as error:
        raise UserError(
            f"model.path: the chat template of {where} takes no system message ({error}); {cure}."
        ) from None
    if SYSTEM["content"] not in text:
        raise UserError(
            f"model.path: the chat template of {where} leaves system messages out; {cure}."
        )


def reader_of(
    template: str, tokens: Mapping[str, str], given: object, model_type: str, where: str
) -> str:
    """What reads the calls of a model in the TRL reward and in `transformers serve`, in words.

    Args:
        template: its chat template.
        tokens: its special tokens.
        given: the response template that its tokenizer has or will have; None: none.
        model_type: of its config.json.
        where: its folder.

    Raises:
        UserError: nothing does; names the key to set.
    """
    written = written_call(template, tokens)
    name = recognised_template(template, tokens)
    given_name = next((key for key, found in NAMED.items() if found == given), None)
    if given_name and written is not None and not reads(NAMED[given_name], written):
        raise UserError(
            f"model.response_template: {given_name} does not read what the chat template of "
            f"{where} writes, {_shown(written)}" + (f"; {name} does." if name else ".")
        )
    if given:
        return given_name or "the tokenizer's response_template"
    if name:
        return name
    own = KNOWN_TO_TRANSFORMERS.fullmatch(model_type)
    if own and (written is None or model_type.startswith("gemma4")):
        return f"transformers' own for {model_type}"
    says = "no call in an assistant's turn" if written is None else _shown(written)
    raise UserError(
        f"model.path: nothing reads the tool calls of {where}: its chat template writes {says}, "
        "and its tokenizer has no response_template. Set model.response_template to one of "
        f"{', '.join(NAMED)}, or to a JSON file with one."
    )


def reader_of_folder(folder: Path) -> str:
    """As `reader_of`, of a model folder."""
    settings = read_settings(folder / "tokenizer_config.json")
    config = read_settings(folder / "config.json")
    return reader_of(
        template_of(folder),
        special_tokens(folder),
        settings.get("response_template"),
        str(config.get("model_type")),
        str(folder),
    )


def _shown(text: str) -> str:
    return repr(" ".join(text.split())[:100])
