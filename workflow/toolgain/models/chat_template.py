"""A private copy of a model, with its chat template patched by an exact, counted replacement.

The weights are links, so the copy costs no space; the model's own folder (often a cache that
others use) is not touched. The copy is used for training, export and serving alike.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.common.files import read_text, write_text
from toolgain.models.rendering import template_of
from toolgain.models.response_templates import ResponseTemplate


@dataclass(frozen=True)
class Replacement:
    """One change of a template, which must be found exactly once."""

    what: str
    pattern: re.Pattern[str]
    by: str
    done: re.Pattern[str] | None
    """Found in a template that is patched already; None: the pattern is just absent."""


def _tags(*tags: str) -> re.Pattern[str]:
    # Between tags that trim (`-%}`), white space means nothing.
    return re.compile(r"\s*".join(re.escape(tag) for tag in tags))


PATCHES: dict[str, tuple[Replacement, ...]] = {
    # Reasoning off, and an assistant turn at the end is kept as a turn: without the second one,
    # several rollout steps are tokenised again differently (NeMo Gym issue 1416).
    "nemotron-nano-v2": (
        Replacement(
            what="enable_thinking=true",
            # Where it begins; `/think` and `/no_think` of a message set it further down.
            pattern=re.compile(r"namespace\(\s*enable_thinking\s*=\s*true\b"),
            by="namespace(enable_thinking=false",
            done=re.compile(r"namespace\(\s*enable_thinking\s*=\s*false\b"),
        ),
        Replacement(
            what="the block that cuts off a last assistant turn",
            pattern=_tags(
                "{%- if messages[-1]['role'] == 'assistant' -%}",
                "{%- set ns.last_turn_assistant_content = messages[-1]['content'].strip() -%}",
                "{%- set messages = messages[:-1] -%}",
                "{%- endif -%}",
            ),
            by="",
            done=None,
        ),
    ),
}


def patched(template: str, patch: str, where: str) -> str:
    """`template` with every replacement of `patch` made; an already patched one is left as it is.

    Raises:
        UserError: a text to be replaced is not there exactly once.
    """
    for step in PATCHES[patch]:
        count = len(step.pattern.findall(template))
        if count == 0 and (step.done is None or len(step.done.findall(template)) == 1):
            continue
        if count != 1:
            raise UserError(
                f"model.patch {patch}: {where} holds {step.what} {count} times, expected once; "
                "this is not the template that the patch is for: check model.path, or set "
                "model.patch to none and give model.chat_template."
            )
        # No text to be put in holds a backslash, which `sub` would read as a group.
        template = step.pattern.sub(step.by, template)
    return template


def _is_patched(template: str, patch: str) -> bool:
    return all(not step.pattern.search(template) for step in PATCHES[patch])


def private_copy(
    model: Path,
    target: Path,
    patch: str,
    template: str | None = None,
    response_template: ResponseTemplate | None = None,
) -> Path:
    """Make `target`: links to every file of `model`, with the chat template changed.

    Args:
        model: Hugging Face folder.
        target: The copy; made beside and renamed, so it is whole or absent.
        patch: A key of `PATCHES`, or `none`.
        template: A template in place of the model's own.
        response_template: What reads the model's calls, in place of the tokenizer's own.

    Returns:
        `target`.

    Raises:
        UserError: the model or its template is not what the patch is for.
    """
    text = template if template is not None else template_of(model)
    if patch != "none":
        text = patched(text, patch, str(model))
        assert _is_patched(text, patch)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for path in sorted(model.iterdir()):
        if path.is_file() and path.name not in ("tokenizer_config.json", "chat_template.jinja"):
            (temporary / path.name).symlink_to(path.resolve())
    config = json.loads(read_text(model / "tokenizer_config.json"))
    config["chat_template"] = text
    if response_template is not None:
        config["response_template"] = response_template
    write_text(
        temporary / "tokenizer_config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    )
    # Newer tokenizers read this file and pass the other by.
    write_text(temporary / "chat_template.jinja", text)
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)
    return target
