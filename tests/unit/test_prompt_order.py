"""The order of the training's prompts: whole shuffles in which every step is alike."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from toolgain.training.trl.order import prompt_order

KINDS = st.lists(st.sampled_from(["call", "multiple", "none"]), min_size=1, max_size=60)


@given(KINDS, st.integers(1, 150), st.integers(0, 5))
def test_every_task_comes_once_before_any_comes_twice(kinds: list[str], wanted: int, seed: int):
    order = prompt_order(kinds, wanted, seed)
    assert len(order) == wanted
    for start in range(0, wanted, len(kinds)):
        part = order[start : start + len(kinds)]
        assert len(set(part)) == len(part)
    assert order == prompt_order(kinds, wanted, seed)
    assert order == prompt_order(kinds, wanted + 1, seed)[:wanted]


@given(KINDS, st.integers(0, 5), st.data())
def test_a_run_of_prompts_holds_each_kind_at_its_share(
    kinds: list[str], seed: int, data: st.DataObject
):
    order = prompt_order(kinds, len(kinds), seed)
    first = data.draw(st.integers(0, len(kinds)))
    last = data.draw(st.integers(first, len(kinds)))
    found = Counter(kinds[index] for index in order[first:last])
    for kind, members in Counter(kinds).items():
        # Spread evenly, each kind is at most one ahead or behind at either end.
        slack = 2 + 2 * len(set(kinds)) * members / len(kinds)
        assert abs(found[kind] - (last - first) * members / len(kinds)) <= slack


def test_another_seed_gives_another_order():
    kinds = ["call", "none"] * 20
    assert prompt_order(kinds, 40, 1) != prompt_order(kinds, 40, 2)


def test_steps_of_eight_differ_by_two_refusals_at_most():
    kinds = ["none"] * 70 + ["call"] * 80 + ["parallel"] * 50
    order = prompt_order(kinds, 200, 1)
    shares = [sum(kinds[i] == "none" for i in order[step : step + 8]) for step in range(0, 200, 8)]
    assert max(shares) - min(shares) <= 2
