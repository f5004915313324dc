"""The reward of a completion, and what each lazy policy would earn with it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes import parse, score
from toolgain.tasks.generated.generate import generate
from toolgain.tasks.reward import same_value

WEATHER = {"name": "get_weather", "arguments": {"city": "Lima", "days": 3}}
TASK = {"expected": [WEATHER]}
NO_TOOL = {"expected": []}


def text(*calls: dict) -> str:
    return "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)


def test_an_exact_call_earns_everything():
    assert score(TASK, text(WEATHER)).reward == 1
    assert score(TASK, text(WEATHER) + "<|im_end|>").exact


def test_a_wrong_value_a_wrong_name_and_a_missing_argument_earn_less_and_are_not_exact():
    wrong_value = score(
        TASK, text({"name": "get_weather", "arguments": {"city": "Rome", "days": 3}})
    )
    missing = score(TASK, text({"name": "get_weather", "arguments": {"city": "Lima"}}))
    empty = score(TASK, text({"name": "get_weather", "arguments": {}}))
    wrong_name = score(TASK, text({"name": "get_forecast", "arguments": WEATHER["arguments"]}))
    assert 1 > wrong_value.reward > missing.reward > empty.reward > wrong_name.reward == 0
    assert not any(s.exact for s in (wrong_value, missing, empty, wrong_name))


def test_declining_is_right_only_when_no_tool_fits():
    assert score(NO_TOOL, "No tool fits this request.").exact
    assert score(TASK, "No tool fits this request.").reward == -1
    assert score(NO_TOOL, text(WEATHER)).reward == -0.6


def test_unreadable_empty_and_unfinished_answers_earn_least():
    for answer in (
        "",
        "  ",
        "<tool_call>\n{broken}\n</tool_call>",
        "<tool_call>\n{",
        text(WEATHER) + "<tool_call>",
    ):
        assert score(TASK, answer).reward == -1
        assert score(NO_TOOL, answer).reward == -1
    assert score(TASK, text(WEATHER), finished=False).reward == -1


def test_order_of_calls_does_not_matter_and_repeating_costs():
    other = {"name": "get_weather", "arguments": {"city": "Rome", "days": 3}}
    two = {"expected": [WEATHER, other]}
    assert score(two, text(other, WEATHER)).exact
    assert score(two, text(WEATHER)).reward == 0.5
    assert score(TASK, text(WEATHER, WEATHER)).reward == 0.5
    assert not score(TASK, text(WEATHER, WEATHER)).exact


@pytest.mark.parametrize(
    ("given_value", "expected", "same"),
    [(5, 5.0, True), (5.0, 5, False), (True, 1, False), (1, True, False), ("5", 5, False),
     ([1, 2], [1, 2], True), ([1], [1, 2], False), ({"a": 1}, {"a": 1}, True), (None, None, True)],
)  # fmt: skip
def test_values_are_compared_with_their_types(given_value, expected, same):
    assert same_value(given_value, expected) is same


def test_lazy_policies_earn_less_than_deciding_well():
    """Mean reward over the tasks' own mixture of each policy that a model could fall into."""
    tasks = [task.as_json() for task in generate(11, 400, "train", 0.35, 700)]

    def first_call(task: dict) -> str:
        return text({"name": task["tools"][0]["function"]["name"], "arguments": {}})

    def every_tool(task: dict) -> str:
        return text(*({"name": t["function"]["name"], "arguments": {}} for t in task["tools"]))

    policies = {
        "right": lambda task: text(*task["expected"]) if task["expected"] else "No tool fits.",
        "right decision, empty arguments": lambda task: (
            text(*({"name": c["name"], "arguments": {}} for c in task["expected"]))
            if task["expected"]
            else "No tool fits."
        ),
        "right calls, never declines": lambda task: text(*task["expected"]) or first_call(task),
        "refuses everything": lambda task: "No tool fits.",
        "calls the first tool": first_call,
        "calls every tool": every_tool,
        "repeats one call": lambda task: "\n".join([first_call(task)] * 8),
        "says nothing": lambda task: "",
        "opens calls without end": lambda task: "<tool_call>" * 20,
    }
    reward = {
        name: sum(score(task, policy(task)).reward for task in tasks) / len(tasks)
        for name, policy in policies.items()
    }
    assert reward["right"] == 1
    assert reward["right"] > reward["right decision, empty arguments"] > 0.4
    assert 1 > reward["right calls, never declines"] > 0.4
    lazy = ("refuses everything", "calls the first tool", "calls every tool", "repeats one call")
    for name in lazy:
        assert -0.4 < reward[name] < 0.05, (name, reward[name])
    assert reward["says nothing"] == reward["opens calls without end"] == -1


@given(st.text())
def test_any_text_can_be_parsed_and_scored(completion):
    answer = parse(completion)
    assert answer.unreadable >= 0
    assert -1 <= score(TASK, completion).reward <= 1
    assert -1 <= score(NO_TOOL, completion).reward <= 1


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "name": st.from_regex(r"[a-z_.]{1,20}", fullmatch=True),
                "arguments": st.dictionaries(
                    st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
                    st.one_of(st.integers(), st.booleans(), st.text("abc <>/é", max_size=8)),
                    max_size=3,
                ),
            }
        ),
        min_size=1,
        max_size=3,
    )
)
def test_calls_that_are_written_are_read_back(calls):
    assert list(parse(text(*calls)).calls) == calls
    assert score({"expected": calls}, text(*calls)).exact
