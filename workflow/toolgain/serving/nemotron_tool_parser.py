"""A vLLM tool parser for Nemotron Nano v2, registered as `nemotron_json`.

The model writes its calls as `<TOOLCALL>[{"name": ..., "arguments": {...}}, ...]</TOOLCALL>`.
vLLM imports this file by its path (`--tool-parser-plugin`), in the training's rollouts and in the
evaluation's server alike, so it stands alone. It imports on the three layouts of vLLM (up to 0.11,
from 0.12 on, and the newest), and says so where it does not. A streamed answer is held back from
its first `<TOOLCALL>` on and parsed whole.

Text that is not in the format stays text: a half-written or misspelt call is never repaired, since
what counts here is what the model really wrote.
"""

import importlib
import json
import sys
import uuid

# Where vLLM keeps what a parser needs: its protocol classes moved twice, its parsers once.
_PROTOCOLS = (
    "vllm.entrypoints.generate.base.protocol",
    "vllm.entrypoints.openai.engine.protocol",
    "vllm.entrypoints.openai.chat_completion.protocol",
    "vllm.entrypoints.openai.protocol",
)
_PARSERS = (
    "vllm.tool_parsers.abstract_tool_parser",
    "vllm.entrypoints.openai.tool_parsers.abstract_tool_parser",
)


def _found(name, modules):
    for module in modules:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    # vLLM swallows an ImportError of a plugin and says only that the parser is not found.
    message = f"nemotron_json: this vLLM has no {name} in {', '.join(modules)}"
    print(message, file=sys.stderr, flush=True)
    raise ImportError(message)


ExtractedToolCallInformation = _found("ExtractedToolCallInformation", _PROTOCOLS)
FunctionCall = _found("FunctionCall", _PROTOCOLS)
ToolCall = _found("ToolCall", _PROTOCOLS)
DeltaFunctionCall = _found("DeltaFunctionCall", _PROTOCOLS)
DeltaMessage = _found("DeltaMessage", _PROTOCOLS)
DeltaToolCall = _found("DeltaToolCall", _PROTOCOLS)
ToolParser = _found("ToolParser", _PARSERS)
ToolParserManager = _found("ToolParserManager", _PARSERS)

NAME = "nemotron_json"
OPEN = "<TOOLCALL>"
CLOSE = "</TOOLCALL>"


def parse(text: str) -> tuple[str | None, list[tuple[str, str]]]:
    """Split an answer into its text and its calls.

    Args:
        text: The whole answer.

    Returns:
        The text before the first call (None when there is none) and (name, arguments as a JSON
        object in text) of each call. Without a call, or with one that cannot be read, the whole
        answer is text.
    """
    first, *blocks = text.split(OPEN)
    if not blocks or not all(CLOSE in block for block in blocks):
        return text or None, []
    calls: list[tuple[str, str]] = []
    for block in blocks:
        found = _calls(block.partition(CLOSE)[0])
        if found is None:
            return text, []
        calls += found
    if not calls:
        return text, []
    before = first.strip()
    return before or None, calls


def _calls(body: str) -> list[tuple[str, str]] | None:
    """The calls of one block, or None where it cannot be read."""
    try:
        entries = json.loads(body)
        return _calls_of(entries)
    except (ValueError, RecursionError):
        return None


def _calls_of(entries: object) -> list[tuple[str, str]] | None:
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
        calls.append((_whole_characters(entry["name"]), _text(arguments)))
    return calls


def _text(arguments: object) -> str:
    """Arguments as JSON text. Half a character stays an escape, since no response can hold it."""
    text = json.dumps(arguments, ensure_ascii=False)
    return text if text == _whole_characters(text) else json.dumps(arguments)


def _whole_characters(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _object(arguments: object) -> object | None:
    """Arguments as an object; the model may write them as JSON in a string too."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            return None
    return arguments if isinstance(arguments, dict) else None


def _half_written(text: str) -> int:
    """Where a half-written `<TOOLCALL>` at the end of `text` starts; where none does, its end."""
    for length in range(min(len(OPEN) - 1, len(text)), 0, -1):
        if OPEN.startswith(text[-length:]):
            return len(text) - length
    return len(text)


class Stream:
    """Reads an answer that grows; looks at each part of it once."""

    def __init__(self):
        self.length = 0
        """Of the answer when it was last read."""
        self._done = 0
        """Where what is neither text that was given nor a closed block starts."""
        self._inside = False
        self._called = False

    def read(self, text: str) -> tuple[str, list[tuple[str, str]]]:
        """What has come since the last time.

        Args:
            text: The answer so far.

        Returns:
            Text that is not a call, and the calls of blocks that have been closed.
        """
        content, calls = "", []
        while True:
            tag = CLOSE if self._inside else OPEN
            # A tag may have begun before the part that is new.
            found = text.find(tag, max(self._done, self.length - len(tag) + 1))
            if found < 0:
                break
            part = text[self._done : found]
            if self._inside:
                block = _calls(part)
                calls += block or []
                # Text that is not in the format stays text.
                content += "" if block else f"{OPEN}{part}{CLOSE}"
            elif not self._called:
                content += part
            self._called, self._inside = True, not self._inside
            self._done = found + len(tag)
        if not self._called:
            held = _half_written(text[max(self._done, len(text) - len(OPEN)) :])
            end = max(self._done, len(text) - len(OPEN)) + held
            content += text[self._done : end]
            self._done = end
        self.length = len(text)
        return content, calls


class NemotronJsonToolParser(ToolParser):
    """Reads the calls of a whole answer."""

    def __init__(self, tokenizer, tools=None):
        try:
            super().__init__(tokenizer, tools)
        except TypeError:
            # vLLM up to 0.17 hands a parser no tools.
            super().__init__(tokenizer)
        self._stream, self._calls = Stream(), 0

    def extract_tool_calls(self, model_output, request):
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

    def extract_tool_calls_streaming(
        self,
        previous_text,
        current_text,
        delta_text,
        previous_token_ids,
        current_token_ids,
        delta_token_ids,
        request,
    ):
        """Text as it comes; the calls in one piece, once their last block is closed.

        Returns:
            A DeltaMessage, or None while nothing can be said yet. An answer that ends inside of a
            call, or in a half-written `<TOOLCALL>`, keeps that part for itself.
        """
        if self._stream.length != len(previous_text):
            # Another answer, or one that began before this parser.
            self._stream, self._calls = Stream(), 0
            self._calls += len(self._stream.read(previous_text)[1])
        text, calls = self._stream.read(current_text)
        if not calls:
            return DeltaMessage(content=text) if text else None
        index, self._calls = self._calls, self._calls + len(calls)
        deltas = [
            DeltaToolCall(
                index=index + number,
                id=f"call_{uuid.uuid4().hex}",
                type="function",
                function=DeltaFunctionCall(name=name, arguments=arguments),
            )
            for number, (name, arguments) in enumerate(calls)
        ]
        # vLLM reads these to say that the answer ended in tool calls.
        self.prev_tool_call_arr += [
            {"name": name, "arguments": json.loads(arguments)} for name, arguments in calls
        ]
        self.streamed_args_for_tool += [arguments for _, arguments in calls]
        return DeltaMessage(content=text or None, tool_calls=deltas)


# Registered at once: the decorator form only notes the name of a module that is not importable.
ToolParserManager.register_module(NAME, module=NemotronJsonToolParser)
