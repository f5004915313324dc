"""A vLLM tool parser for Nemotron Nano v2, registered as `nemotron_json`.

The model writes its calls as `<TOOLCALL>[{"name": ..., "arguments": {...}}, ...]</TOOLCALL>`.
vLLM imports this file by its path (`--tool-parser-plugin`), in the training's rollouts and in the
evaluation's server alike, so it stands alone. It imports on both layouts of vLLM: the one up to
0.11 and the one from 0.12 on. Answers are parsed whole, not while they stream.

Text that is not in the format stays text: a half-written or misspelt call is never repaired, since
what counts here is what the model really wrote.
"""

import json
import re

try:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.engine.protocol import (
        ExtractedToolCallInformation,
        FunctionCall,
        ToolCall,
    )
    from vllm.tool_parsers.abstract_tool_parser import ToolParser, ToolParserManager
except ImportError:
    from vllm.entrypoints.openai.protocol import (
        ChatCompletionRequest,
        ExtractedToolCallInformation,
        FunctionCall,
        ToolCall,
    )
    from vllm.entrypoints.openai.tool_parsers.abstract_tool_parser import (
        ToolParser,
        ToolParserManager,
    )

NAME = "nemotron_json"
OPEN = "<TOOLCALL>"
_BLOCK = re.compile(r"<TOOLCALL>(.*?)</TOOLCALL>", re.DOTALL)


def parse(text: str) -> tuple[str | None, list[tuple[str, str]]]:
    """Split an answer into its text and its calls.

    Args:
        text: The whole answer.

    Returns:
        The text before the first call (None when there is none) and (name, arguments as a JSON
        object in text) of each call. Without a call, or with one that cannot be read, the whole
        answer is text.
    """
    blocks = list(_BLOCK.finditer(text))
    if not blocks or text.count(OPEN) != len(blocks):
        return text or None, []
    calls: list[tuple[str, str]] = []
    for block in blocks:
        found = _calls(block[1])
        if found is None:
            return text, []
        calls += found
    if not calls:
        return text, []
    before = text[: blocks[0].start()].strip()
    return before or None, calls


def _calls(body: str) -> list[tuple[str, str]] | None:
    """The calls of one block, or None where it cannot be read."""
    try:
        entries = json.loads(body)
    except ValueError:
        return None
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list):
        return None
    calls = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            return None
        arguments = _object(entry.get("arguments", {}))
        if arguments is None:
            return None
        calls.append((entry["name"], json.dumps(arguments, ensure_ascii=False)))
    return calls


def _object(arguments: object) -> object | None:
    """Arguments as an object; the model may write them as JSON in a string too."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except ValueError:
            return None
    return arguments if isinstance(arguments, dict) else None


class NemotronJsonToolParser(ToolParser):
    """Reads the calls of a whole answer."""

    def __init__(self, tokenizer, tools=None):
        try:
            super().__init__(tokenizer, tools)
        except TypeError:
            # vLLM up to 0.17 hands a parser no tools.
            super().__init__(tokenizer)

    def extract_tool_calls(
        self, model_output: str, request: ChatCompletionRequest
    ) -> ExtractedToolCallInformation:
        """The calls in `model_output`, or its text alone where there is none."""
        content, calls = parse(model_output)
        return ExtractedToolCallInformation(
            tools_called=bool(calls),
            tool_calls=[
                ToolCall(type="function", function=FunctionCall(name=name, arguments=arguments))
                for name, arguments in calls
            ],
            content=content,
        )


# Registered at once: the decorator form only notes the name of a module that is not importable.
ToolParserManager.register_module(NAME, module=NemotronJsonToolParser)
