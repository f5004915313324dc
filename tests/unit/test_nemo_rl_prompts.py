"""Prompts of Gym's rows against the context, and templates that rewrite earlier turns."""

import json
import sys
from pathlib import Path

import made
import pytest

from toolgain.models.rendering import special_tokens, template_of
from toolgain.training.nemo_rl import lint, prompts

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "resources/demo-model"
TRL = ROOT / ".venvs/trl/bin/python"
TEMPLATE = template_of(MODEL)
TOKENS = special_tokens(MODEL)
CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def counted(limit: int, python: Path = TRL) -> lint.Finding:
    rows = [made.row(number) for number in range(3)]
    return prompts.lengths(
        [rows, rows[:1]], TEMPLATE, TOKENS, MODEL / "tokenizer.json", python, limit
    )


@pytest.mark.skipif(not TRL.exists(), reason="make setup makes .venvs/trl")
def test_prompts_are_counted_with_the_model_s_own_template_and_tokenizer() -> None:
    fits = counted(8192)
    assert fits.ok
    most = int(fits.message.split()[5])
    # System and user text, two tools and the template's own words.
    assert 30 < most < 400
    over = counted(most)
    assert not over.ok
    assert f"4 of the 4 longest rows have prompts of {most} tokens" in over.message
    assert counted(most + 1).ok


def test_what_cannot_be_counted_is_said() -> None:
    assert "not counted, there is no /no/python" in counted(10, Path("/no/python")).message
    assert "not counted, the tokenizer does not load" in counted(10, Path(sys.executable)).message


def test_a_row_of_the_responses_form_becomes_the_conversation_that_is_asked() -> None:
    row = made.row(1)
    row["responses_create_params"]["input"] += [
        {"type": "function_call", "name": "f", "arguments": '{"a": 1}', "call_id": "c"},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
        {"type": "reasoning", "summary": []},
        {"role": "assistant", "content": [{"type": "output_text", "text": "So."}]},
    ]
    messages, tools = prompts.conversation(row)
    assert [message["role"] for message in messages] == [
        "system", "user", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert messages[2]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1}}
    assert messages[4]["content"] == "So."
    assert tools[0]["function"]["name"] == "calendar_delete_event"


def test_the_demo_s_template_keeps_earlier_turns() -> None:
    assert prompts.two_turns(TEMPLATE, TOKENS).ok
    assert prompts.two_turns(CHATML, {}).ok


@pytest.mark.parametrize(
    "change",
    [
        # A last answer is cut off, as Nemotron Nano's template does.
        "{% if messages[-1].role == 'assistant' %}{% set messages = messages[:-1] %}"
        "{% set cut = 'cut' %}{% endif %}{{ cut }}",
        # The number of turns stands at the beginning.
        "{{ messages | length }}",
    ],
)
def test_a_template_that_rewrites_earlier_turns_is_found(change: str) -> None:
    found = prompts.two_turns(change + CHATML, {})
    assert not found.ok
    assert "rewrites an earlier turn" in found.message


def test_thoughts_that_vanish_from_earlier_turns_are_found() -> None:
    template = CHATML.replace(
        "{{ m.content }}",
        "{{ m.content if loop.last else m.content.split('</think>')[-1] }}",
    )
    found = prompts.two_turns(template, {})
    assert not found.ok
    assert "calls with thoughts" in found.message


def test_a_template_that_refuses_tools_is_said() -> None:
    broken = "{{ raise_exception('no tools') }}"
    assert "no tools" in prompts.two_turns(broken, {}).message


def agent(limit: str) -> str:
    kind = "some_agent:\n  responses_api_agents:\n    simple_agent:\n"
    return f"{kind}      entrypoint: app.py\n{limit}"


def test_an_agent_without_a_limit_of_steps_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(agent(""))
    used = {"env": {"nemo_gym": {"config_paths": ["a.yaml"]}}}
    found = lint.step_limits(used, tmp_path)
    assert not found.ok
    key = "some_agent.responses_api_agents.simple_agent.max_steps"
    assert f"set `{key}` in training.gym.overrides" in found.message
    limited = json.loads(json.dumps(used))
    limited["env"]["nemo_gym"]["some_agent"] = {
        "responses_api_agents": {"simple_agent": {"max_steps": 6}}
    }
    assert lint.step_limits(limited, tmp_path).ok
    (tmp_path / "a.yaml").write_text(agent("      max_steps: 6\n"))
    assert lint.step_limits(used, tmp_path).ok
    assert "not checked" in lint.step_limits(used, tmp_path / "none").message
    found = lint.step_limits({"env": {"nemo_gym": "a text"}}, tmp_path)
    assert not found.ok and "env.nemo_gym of the YAML is no mapping" in found.message


def test_an_agent_that_the_environment_does_not_have_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(agent("      max_steps: 6\n"))
    used = {"env": {"nemo_gym": {"config_paths": ["a.yaml"]}}}
    assert lint.row_agents(used, tmp_path, {"some_agent": 3}).ok
    found = lint.row_agents(used, tmp_path, {"some_agent": 3, "xlam_fc_simple_agent": 1})
    assert not found.ok
    assert "xlam_fc_simple_agent, which the environment does not have" in found.message
    assert "(it has some_agent)" in found.message
    assert "training.gym.config_paths" in found.message
    assert "not checked" in lint.row_agents(used, tmp_path / "none", {"some_agent": 3}).message


@pytest.mark.parametrize(
    ("used", "text"),
    [
        ({"grpo": {"overlong_filtering": True}}, "issue 2163"),
        ({"grpo": {"async_grpo": {"enabled": True}}}, "total_steps 0"),
    ],
)
def test_what_fails_with_gym_is_refused(used: dict[str, object], text: str) -> None:
    bad = [item for item in lint.modes(used) if not item.ok]
    assert len(bad) == 1
    assert text in bad[0].message
    assert all(item.ok for item in lint.modes({"grpo": {}}))
