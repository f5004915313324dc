"""Recognise a tool call that reached us as text, because the server's parser missed it.

Only text is looked at here; how a parsed call counts is decided by the harness's decoder
(`toolgain.bfcl.decoder`). Nothing costs more than linear time in the length of the text.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence

PARSER_TAGS: dict[str, tuple[str, ...]] = {
    "hermes": ("<tool_call>",),
    "qwen3_coder": ("<tool_call>", "<function="),
    "qwen3_xml": ("<tool_call>", "<function="),
    **dict.fromkeys(("glm45", "glm47", "granite4", "ernie45"), ("<tool_call>",)),
    **dict.fromkeys(("mimo", "step3p5"), ("<tool_call>", "<function=")),
    **dict.fromkeys(("hunyuan_a13b", "hy_v3"), ("<tool_calls>", "<tool_call>")),
    "nemotron_json": ("<TOOLCALL>",),
    "mistral": ("[TOOL_CALLS]",),
    "llama3_json": ("<|python_tag|>",),
    "llama4_json": ("<|python_tag|>",),
    "granite": ("<|tool_call|>",),
    "granite-20b-fc": ("<function_call>",),
    **dict.fromkeys(
        ("deepseek_v3", "deepseek_v31"), ("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>")
    ),
    "deepseek_v32": ("<｜DSML｜function_calls>",),
    "deepseek_v4": ("<｜DSML｜tool_calls>",),
    "functiongemma": ("<start_function_call>",),
    "gemma4": ("<|tool_call>",),
    "internlm": ("<|action_start|>",),
    "jamba": ("<tool_calls>",),
    "kimi_k2": ("<|tool_calls_section_begin|>",),
    "llama4_pythonic": ("<|python_start|>",),
    "longcat": ("<longcat_tool_call>",),
    "minimax": ("<tool_calls>",),
    "minimax_m2": ("<minimax:tool_call>",),
    "olmo3": ("<function_calls>",),
    # Harmony, of gpt-oss.
    "openai": ("to=functions.",),
    "phi4_mini_json": ("functools[",),
    "seed_oss": ("<seed:tool_call>", "<function="),
    "step3": ("<｜tool_calls_begin｜>",),
    "xlam": ("[TOOL_CALLS]", "<tool_call>"),
}
"""What opens a call in the formats that vLLM's tool parsers read, by the parser's name."""
TAGS = tuple(dict.fromkeys(tag for tags in PARSER_TAGS.values() for tag in tags))

# What opens or closes a call, also where the other half is missing, and Pythonic calls.
_MARKERS = re.compile(
    "|".join(map(re.escape, TAGS))
    + r"|</?tool_calls?>|<function[=_]|^[ \t]*\[[ \t]*[A-Za-z_][\w.]*\([^()=]*=",
    re.MULTILINE,
)
_SPECIAL_TOKEN = re.compile(r"<\|[a-z_]{1,40}\|>|</?s>|<(?:eos|bos|pad|end_of_turn)>")
_JSON_START = re.compile(r'\{\s*"')
_DECODER = json.JSONDecoder()
_NAMES = ("name", "function")
_ARGUMENTS = ("arguments", "parameters")
_THOUGHT_END = "</think>"
MOST_FAILURES = 2000
"""False starts of a JSON object after which the search ends."""


def looks_like_call(text: str) -> bool:
    """Whether `text` holds a tool call in a known markup, or as JSON with a name and arguments.

    What a thought drafts before the answer does not count.
    """
    said = without_thought(text)
    return bool(_MARKERS.search(said)) or _holds_json_call(said)


def own_tags(chat_template: str | None, tool_parser: str | None) -> tuple[str, ...]:
    """What opens a call in the model's own format: the tags that its chat template or its tool
    parser knows; all known tags where neither is known."""
    from_template = [tag for tag in TAGS if chat_template and tag in chat_template]
    tags = (*PARSER_TAGS.get(tool_parser or "", ()), *from_template)
    if not tags and chat_template is None and tool_parser not in PARSER_TAGS:
        return TAGS
    return tuple(dict.fromkeys(tags))


def markup_of_call(text: str, tags: Sequence[str]) -> str:
    """The tag, of `tags`, that opens a whole call in `text`; empty where none does.

    A call with broken JSON in it is the model's failure, not the parser's.
    """
    said = without_thought(text)
    for tag in tags:
        _, found, after = said.partition(tag)
        closed = tag == "<function=" and "</function" in after
        if found and (closed or _holds_json_call(after)):
            return tag
        inner = after.find("<function=")
        if found and inner >= 0 and "</function" in after[inner:]:
            return tag
    return ""


def without_thought(text: str) -> str:
    """`text` after the model's thoughts; a thought that never ends is all there is."""
    _, found, said = text.rpartition(_THOUGHT_END)
    if found:
        return said
    return text.partition("<think>")[0]


def says_something(text: str) -> bool:
    """Whether `text` is more than thoughts and special tokens that end or pad an answer."""
    return bool(_SPECIAL_TOKEN.sub("", without_thought(text)).strip())


def _holds_json_call(text: str) -> bool:
    position = 0
    # A failure may have looked at the rest of the text, and its message counts the lines before.
    left, failures = 4 * len(text) + 10_000, 0
    while left > 0 and failures < MOST_FAILURES and (match := _JSON_START.search(text, position)):
        try:
            value, position = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError) as error:
            end = error.pos if isinstance(error, json.JSONDecodeError) else len(text)
            left -= end - match.start()
            failures += 1
            position = match.end() - 1
            continue
        if _is_call(value):
            return True
    return False


def _is_call(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    if isinstance(function := value.get("function"), Mapping):
        return _is_call(function)
    if any(isinstance(value.get(name), str) for name in _NAMES) and any(
        name in value for name in _ARGUMENTS
    ):
        return True
    # A list of calls below a name of its own, such as {"tool_calls": [...]}.
    return any(
        isinstance(part, list) and any(_is_call(one) for one in part if isinstance(one, Mapping))
        for name, part in value.items()
        if name in ("tool_calls", "calls")
    )


def questions(messages: Iterable[Mapping[str, object]]) -> list[object]:
    """What a conversation asks, and how many answers it holds: they tell which item and which turn
    a request belongs to, and that nobody has put a word of help into it."""
    asked: list[object] = []
    answers = 0
    for message in messages:
        if message.get("role") in ("assistant", "tool"):
            answers += message["role"] == "assistant"
        else:
            asked.append([message.get("role"), message.get("content")])
    return [answers, *asked]


def tool_names(functions: Iterable[str]) -> list[str]:
    """Names of the functions offered, in one order, as the harness writes them: without dots."""
    return sorted({name.replace(".", "_") for name in functions})
