"""Render a model's chat template as transformers does, without transformers.

The checks before a start run where neither torch nor transformers is installed. What transformers
adds to Jinja is added here: its filters and functions, and the special tokens by name.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from toolgain.common.errors import UserError
from toolgain.common.files import read_text, reason

Messages = Sequence[Mapping[str, object]]
Tools = Sequence[Mapping[str, object]]

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")


class CannotRenderError(Exception):
    """The template does not take these messages; the text says why."""


class _Generation(Extension):
    """`{% generation %}` marks what the model wrote; it prints its content."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes the characters of HTML.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


@lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    # A check renders some fifty conversations, and compiling takes a hundred times as long.
    return _environment().from_string(template)


def template_of(folder: Path) -> str:
    """The chat template that the model in `folder` uses where tools are offered.

    Raises:
        UserError: it has none.
    """
    separate = folder / "chat_template.jinja"
    if separate.exists():
        try:
            return read_text(separate)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"model.path: {separate} cannot be read: {reason(error)}.") from error
    found = _settings(folder).get("chat_template")
    if isinstance(found, list):
        named = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}
        found = named.get("tool_use") or named.get("default")
    if not isinstance(found, str):
        raise UserError(
            f"model.path: {folder} has no chat template, neither in tokenizer_config.json nor as "
            "chat_template.jinja; give model.chat_template."
        )
    return found


def special_tokens(folder: Path) -> dict[str, str]:
    """The tokens that a template may name, such as `bos_token`."""
    found: dict[str, str] = {}
    for values in (_json(folder / "special_tokens_map.json"), _settings(folder)):
        for name in SPECIAL_TOKENS:
            token = values.get(name)
            text = token.get("content") if isinstance(token, dict) else token
            if isinstance(text, str):
                found[name] = text
    return found


def render(
    template: str,
    tokens: Mapping[str, str],
    messages: Messages,
    tools: Tools | None,
    generation_prompt: bool,
) -> str:
    """The prompt that `template` makes of a conversation.

    Args:
        template: Jinja text of a chat template.
        tokens: special tokens by name.
        messages: the conversation, in OpenAI's form.
        tools: the tools offered, in OpenAI's form; None: none.
        generation_prompt: whether the head of the next answer follows.

    Raises:
        CannotRenderError: the template is broken, or refuses the conversation.
    """
    try:
        return _compiled(template).render(
            messages=messages,
            tools=tools,
            documents=None,
            add_generation_prompt=generation_prompt,
            **tokens,
        )
    # A template is a program: it may fail in every way.
    except Exception as error:
        raise CannotRenderError(" ".join(f"{type(error).__name__}: {error}".split())) from None


def _settings(folder: Path) -> dict[str, object]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        raise UserError(f"model.path: {folder} has no tokenizer_config.json.")
    return _json(path)


def _json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
