"""The verdict of a rehearsal, from rollouts as they come."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgain.config.sections import Config, parse_config
from toolgain.environments.play import Rollout
from toolgain.environments.relay import Calls
from toolgain.head.targets import rehearsal_of
from toolgain.records.rehearsal import CheckedRows
from toolgain.rehearsal import findings
from toolgain.training.train import deciding

ROWS = CheckedRows(
    checked=4, there=4, unplayable=0, examples=[], reward_for_nothing=0.0, rewarded_for_nothing=0.0
)
AGENTS: dict[str, int | None] = {"agent": 6}


def rollout(row: int, reward: float | None, error: str | None = None, **calls: Any) -> Rollout:
    return Rollout(row, reward, error, 1.0, Calls(**{"turns": 1, **calls}), "agent")


def verdict(rollouts: list[Rollout], rows: CheckedRows = ROWS) -> tuple[list[str], list[str]]:
    return findings.judge_rehearsal(rows, rollouts, AGENTS, 32, ends_rollouts=False)


SPREAD = [rollout(0, 0.0), rollout(0, 1.0), rollout(1, 0.5), rollout(1, 0.5)]


@pytest.mark.parametrize("max_turns", [1, 3])
@pytest.mark.parametrize("ends_rollouts", [True, False])
def test_a_rollout_without_an_end_is_a_reason_where_the_trainer_does_not_end_it(
    max_turns: int, ends_rollouts: bool
) -> None:
    played = [*SPREAD, rollout(1, 1.0, too_many_calls=True)]
    reasons, warnings = findings.judge_rehearsal(
        ROWS, played, {"agent": None}, max_turns, ends_rollouts
    )
    if not ends_rollouts:
        assert len(reasons) == 1 and f"1 of 5 rollouts were ended after {max_turns}" in reasons[0]
    else:
        assert reasons == []
        # One answer that is the whole rollout is what was asked for.
        assert len(warnings) == (max_turns > 1)


def test_a_spread_in_one_row_is_a_gradient() -> None:
    assert verdict(SPREAD) == ([], [])


def test_few_failures_warn_and_many_refuse() -> None:
    few = [*SPREAD * 10, rollout(2, None, "HTTP 500 from Gym")]
    assert verdict(few) == ([], ["1 of 41 rollouts failed; 1 of them: HTTP 500 from Gym"])
    many = [*SPREAD, rollout(2, None, "HTTP 500 from Gym")]
    assert verdict(many)[0] == ["1 of 5 rollouts failed; 1 of them: HTTP 500 from Gym"]


def test_rows_that_each_earn_the_same_give_no_gradient_though_they_differ() -> None:
    found = [rollout(0, 0.0), rollout(0, 0.0), rollout(1, 1.0), rollout(1, 1.0)]
    assert "for every row: no gradient" in verdict(found)[0][0]


def test_rewards_beyond_0_and_1_warn_that_the_accuracy_is_no_share() -> None:
    reasons, warnings = verdict([*SPREAD, rollout(2, -1.0), rollout(2, 0.0)])
    assert reasons == [] and "rewards reach from -1 to 1: " in warnings[0]


def test_a_server_that_does_not_sample_is_found() -> None:
    same = [rollout(row, 0.0, said=f"{row}") for row in (0, 0, 1, 1)]
    assert any("does not sample" in reason for reason in verdict(same)[0])
    other = [*same, rollout(1, 0.0, said="another")]
    assert not any("does not sample" in reason for reason in verdict(other)[0])


def test_errors_are_counted_by_kind() -> None:
    failed = [rollout(0, None, f"HTTP 500: session {n}f00dfeedf00dfeed") for n in range(10, 14)]
    assert findings.errors(failed) == {"HTTP 500: session …": 4}


rewards = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0]))


@given(st.lists(st.tuples(st.integers(0, 3), rewards), max_size=40))
def test_a_failed_rollout_is_never_a_reward(played: list[tuple[int, float | None]]) -> None:
    rollouts = [rollout(row, value, None if value is not None else "x") for row, value in played]
    values = [value for _, value in played if value is not None]
    assert findings.rewards_of(rollouts) == values
    assert sum(findings.errors(rollouts).values()) == len(played) - len(values)
    by_row = [[v for r, v in played if r == row and v is not None] for row in range(4)]
    several = [group for group in by_row if len(group) > 1]
    share = findings.without_spread(rollouts)
    assert (share is None) == (not several)
    if several:
        assert share == sum(len(set(group)) == 1 for group in several) / len(several)
    reasons, _ = verdict(rollouts)
    if several and share == 1.0:
        assert any("no gradient" in reason for reason in reasons)


def config(rows: int) -> Config:
    training = {"backend": "trl", "gym": {"rehearsal_rows": rows}}
    return parse_config({"model": {"path": "m"}, "training": training})


def test_the_rehearsal_is_a_stage_only_where_it_is_asked_for_and_decides_nothing() -> None:
    assert rehearsal_of(config(0), "grpo") == []
    assert rehearsal_of(config(8), "grpo") == ["results/runs/grpo/rehearsal.json"]
    assert deciding(config(0).training) == deciding(config(8).training)
