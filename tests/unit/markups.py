"""Chat templates, each writing its calls in another markup, and answers in it."""

HEAD = (
    "{%- for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}"
    "{%- for message in messages %}<|im_start|>{{ message.role }}{{ '\\n' }}"
    "{%- if message.tool_calls %}"
)
TAIL = (
    "{%- else %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
EACH = "{%- for call in message.tool_calls %}{% set f = call.function %}"
CALLS = {
    "hermes": EACH + "<tool_call>\n"
    '{"name": "{{ f.name }}", "arguments": {{ f.arguments | tojson }}}\n</tool_call>{% endfor %}',
    "qwen3_xml": EACH + "<tool_call>\n<function={{ f.name }}>\n"
    "{% for k, v in f.arguments.items() %}<parameter={{ k }}>\n"
    "{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor %}</function>\n</tool_call>"
    "{% endfor %}",
    "nemotron_json": "<TOOLCALL>[" + EACH + '{"name": "{{ f.name }}", "arguments": '
    "{{ f.arguments | tojson }}}{{ ', ' if not loop.last }}{% endfor %}]</TOOLCALL>",
    "mistral": "[TOOL_CALLS] [" + EACH + '{"name": "{{ f.name }}", "arguments": '
    '{{ f.arguments | tojson }}, "id": "{{ call.id }}"}{{ \', \' if not loop.last }}{% endfor %}]',
    "mistral_args": EACH + "[TOOL_CALLS]{{ f.name }}[ARGS]{{ f.arguments | tojson }}{% endfor %}",
    "llama3_json": EACH
    + '{"name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}{% endfor %}',
}
TEMPLATES = {name: HEAD + calls + TAIL for name, calls in CALLS.items()}
"""By the name of the response template that reads them."""

NO_TOOLS = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n"
    "{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def written(markup: str, *calls: tuple[str, dict[str, object]]) -> str:
    """An answer of calls in `markup`, without the ending."""
    from toolgain.models.rendering import render

    entries = [
        {"id": "a1b2c3d4e", "function": {"name": name, "arguments": arguments}}
        for name, arguments in calls
    ]
    answer = {"role": "assistant", "content": "", "tool_calls": entries}
    text = render(TEMPLATES[markup], {}, [answer], None, False)
    return text.partition("<|im_start|>assistant\n")[2].partition("<|im_end|>")[0]
