"""The Nemotron tool parser, imported against stubs of the layouts of vLLM."""

import importlib.util
import json
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgain.serving.tool_parser import PLUGIN


@dataclass
class FunctionCall:
    name: str
    arguments: str


@dataclass
class ToolCall:
    type: str
    function: FunctionCall


@dataclass
class Delta:
    """A piece of a streamed answer, of a call, or of its function: whatever is given."""

    content: str | None = None
    tool_calls: list["Delta"] = field(default_factory=list)
    index: int = 0
    id: str = ""
    type: str = ""
    function: Any = None
    name: str = ""
    arguments: str = ""


@dataclass
class Extracted:
    tools_called: bool
    tool_calls: list[ToolCall] = field(default_factory=list)
    content: str | None = None


class Manager:
    """vLLM's registry: `register_module(name, module=...)` registers at once."""

    def __init__(self) -> None:
        self.parsers: dict[str, type] = {}

    def register_module(self, name: str, force: bool = True, module: Any = None) -> Any:
        assert module is not None, "the decorator form registers a module name only"
        self.parsers[name] = module
        return module


def stubs(layout: str) -> dict[str, types.ModuleType]:
    """The modules of vLLM that a parser imports, as they lie up to 0.11 and from 0.12 on."""
    manager = Manager()

    class OldParser:
        def __init__(self, tokenizer: Any) -> None:
            self.model_tokenizer = tokenizer
            self.prev_tool_call_arr: list[Any] = []
            self.streamed_args_for_tool: list[str] = []

    class NewParser:
        def __init__(self, tokenizer: Any, tools: Any = None) -> None:
            self.model_tokenizer = tokenizer
            self.tools = tools
            self.prev_tool_call_arr: list[Any] = []
            self.streamed_args_for_tool: list[str] = []

    protocol = {
        "ChatCompletionRequest": object,
        "ExtractedToolCallInformation": Extracted,
        "FunctionCall": FunctionCall,
        "ToolCall": ToolCall,
        "DeltaFunctionCall": Delta,
        "DeltaMessage": Delta,
        "DeltaToolCall": Delta,
    }
    if layout == "old":
        found = {
            "vllm.entrypoints.openai.protocol": protocol,
            "vllm.entrypoints.openai.tool_parsers.abstract_tool_parser": {
                "ToolParser": OldParser,
                "ToolParserManager": manager,
            },
        }
    else:
        found = {
            "vllm.entrypoints.openai.engine.protocol": {
                name: value
                for name, value in protocol.items()
                if layout != "newest" or name.startswith("Delta")
            },
            "vllm.entrypoints.generate.base.protocol": protocol if layout == "newest" else {},
            "vllm.tool_parsers.abstract_tool_parser": {
                "ToolParser": OldParser if layout == "middle" else NewParser,
                "ToolParserManager": manager,
            },
        }
    modules: dict[str, types.ModuleType] = {}
    for name, content in found.items():
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
        vars(modules[name]).update(content)
    modules["manager"] = manager  # type: ignore[assignment]
    return modules


@pytest.fixture(params=["old", "middle", "new", "newest"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The plugin imported by its path, as vLLM does, and the parser it registered."""
    modules = stubs(request.param)
    manager = modules.pop("manager")
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("plugin", PLUGIN)
    assert spec and spec.loader
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    found: Any = manager.parsers["nemotron_json"]  # type: ignore[attr-defined]
    yield found("tokenizer") if request.param in ("old", "middle") else found("tokenizer", ["tool"])


def calls(result: Extracted) -> list[tuple[str, Any]]:
    return [(c.function.name, json.loads(c.function.arguments)) for c in result.tool_calls]


def test_calls_and_the_text_before_them_are_told_apart(parser: Any) -> None:
    text = 'Let me look.\n<TOOLCALL>[{"name": "find", "arguments": {"who": "Zoë"}}]</TOOLCALL>'
    result = parser.extract_tool_calls(text, None)
    assert result.tools_called
    assert result.content == "Let me look."
    assert calls(result) == [("find", {"who": "Zoë"})]
    assert "Zoë" in result.tool_calls[0].function.arguments


def test_several_calls_and_several_blocks_are_read(parser: Any) -> None:
    text = (
        '<TOOLCALL>[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {"x": 1}}]'
        '</TOOLCALL>\n<TOOLCALL>[{"name": "c", "arguments": "{\\"y\\": 2}"}]</TOOLCALL>'
    )
    result = parser.extract_tool_calls(text, None)
    assert calls(result) == [("a", {}), ("b", {"x": 1}), ("c", {"y": 2})]
    assert result.content is None


@pytest.mark.parametrize(
    "text",
    [
        "I cannot do that.",
        '<TOOLCALL>[{"name": "a", "arguments": {}}',
        '<TOOLCALL>[{"name": "a", "arguments": {}]</TOOLCALL>',
        '<TOOLCALL>[{"arguments": {}}]</TOOLCALL>',
        '<TOOLCALL>[{"name": "a", "arguments": [1]}]</TOOLCALL>',
        '<TOOLCALL>[{"name": "a", "arguments": "no json"}]</TOOLCALL>',
        "<TOOLCALL>[]</TOOLCALL>",
        '<TOOLCALL>[{"name": "a", "arguments": {}}]</TOOLCALL><TOOLCALL>[{"name"',
    ],
)
def test_what_is_not_in_the_format_stays_text(parser: Any, text: str) -> None:
    result = parser.extract_tool_calls(text, None)
    assert (result.tools_called, result.tool_calls, result.content) == (False, [], text)


def streamed(parser: Any, pieces: list[str]) -> tuple[str, list[tuple[int, str, str]]]:
    """The text and the calls (index, name, arguments) of an answer that comes in pieces."""
    text, before = "", ""
    found: list[tuple[int, str, str]] = []
    for piece in pieces:
        now = before + piece
        delta = parser.extract_tool_calls_streaming(before, now, piece, [], [], [], None)
        before = now
        if delta is not None:
            text += delta.content or ""
            found += [(c.index, c.function.name, c.function.arguments) for c in delta.tool_calls]
    return text, found


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_streamed_answer_says_the_same_as_a_whole_one(parser: Any, size: int) -> None:
    answer = (
        'I < you. <TOOLCALL>[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {"x": 1}}]'
        '</TOOLCALL>\n<TOOLCALL>[{"name": "c", "arguments": {}}]</TOOLCALL>'
    )
    pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
    text, found = streamed(parser, pieces)
    assert text == "I < you. "
    assert found == [(0, "a", "{}"), (1, "b", '{"x": 1}'), (2, "c", "{}")]


def test_a_vllm_without_the_classes_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("vllm", "vllm.tool_parsers"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    spec = importlib.util.spec_from_file_location("plugin", PLUGIN)
    assert spec and spec.loader
    with pytest.raises(ImportError, match="this vLLM has no ExtractedToolCallInformation"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert "nemotron_json: this vLLM has no" in capfd.readouterr().err


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=10), st.dictionaries(st.text(max_size=5), json_values)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_written_in_the_format_is_read_back(found: list[tuple[str, Any]]) -> None:
    parse = parse_function()
    body = json.dumps([{"name": name, "arguments": arguments} for name, arguments in found])
    # The tag itself inside of a text cannot be told from the end of the block.
    if "TOOLCALL>" in body:
        return
    content, read = parse(f"before <TOOLCALL>{body}</TOOLCALL>")
    assert content == "before"
    assert [(name, json.loads(arguments)) for name, arguments in read] == found


def parse_function() -> Any:
    """`parse` of the plugin."""
    return plugin_names()["parse"]


def plugin_names() -> dict[str, Any]:
    """What the plugin defines that needs no vLLM."""
    source = PLUGIN.read_text()
    head, tail = source.index("# Where vLLM"), source.index('NAME = "nemotron_json"')
    end = source.index("class NemotronJsonToolParser")
    names: dict[str, Any] = {}
    exec(source[:head] + source[tail:end], names)
    return names


PIECES = st.sampled_from(
    [
        "<TOOLCALL>",
        "</TOOLCALL>",
        "<TOOL",
        "CALL>",
        '[{"name": "f", "arguments": {}}]',
        '[{"name": "f", "arguments": "{}"}]',
        '{"name": ',
        "[" * 2000,
        "9" * 400,
        "NaN",
        "\ud83d",
        "\x00",
        "<",
        "a",
    ]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join), st.integers(1, 40))
def test_any_answer_can_be_read_whole_and_streamed(answer: str, size: int) -> None:
    plugin = plugin_names()
    _, calls = plugin["parse"](answer)
    stream = plugin["Stream"]()
    ends = [*range(size, len(answer), size), len(answer)]
    said = [stream.read(answer[:end]) for end in ends]
    if calls:
        # A block that nobody can read makes a whole answer text; a stream has given the others.
        assert [call for _, found in said for call in found] == calls
    elif "<TOOLCALL>" not in answer:
        assert (answer).startswith("".join(text for text, _ in said))
    for _, arguments in calls:
        assert isinstance(json.loads(arguments), dict)


class Counted(str):
    """A text that counts the characters that are looked through."""

    looked = 0

    def find(self, part: str, start: int = 0, *end: int) -> int:  # type: ignore[override]
        found = str.find(self, part, start, *end)
        Counted.looked += (len(self) if found < 0 else found + len(part)) - start
        return found


@pytest.mark.parametrize(
    "part", ["<TOOLCALL>", "</TOOLCALL>", "<TOOLCALL></TOOLCALL>", "<TOOLCALL>[]</TOOLCALL>a", "<"]
)
def test_stream_looks_at_each_part_once(part: str) -> None:
    answer = part * (20_000 // len(part))
    stream = plugin_names()["Stream"]()
    Counted.looked = 0
    for end in range(1, len(answer), 7):
        stream.read(Counted(answer[:end]))
    # The new part, and as much before it as a tag that was cut may be long.
    assert Counted.looked < 6 * len(answer)
