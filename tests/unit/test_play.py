"""Rows played by agents that run, and by one that has just ended."""

import itertools

import pytest

from toolgain.common.errors import StageError
from toolgain.environments.gym import Environment, Server
from toolgain.environments.play import play
from toolgain.environments.relay import Relay
from toolgain.serving.server import free_port


def test_an_agent_that_ended_is_named_though_its_rollouts_failed_before_that_was_known() -> None:
    gone = Server(
        kind="responses_api_agents",
        program="simple_agent",
        url=f"http://127.0.0.1:{free_port()}",
        pid=1,
        max_steps=None,
    )
    looks = itertools.count()
    environment = Environment(
        {"agent": gone}, lambda: "the Gym server agent: it ended" if next(looks) > 4 else None
    )
    row = {"agent_ref": {"name": "agent"}, "responses_create_params": {"input": []}}
    with pytest.raises(StageError, match="rehearse: the Gym server agent: it ended"):
        play(
            environment,
            Relay("", "", 3),
            [row, row],
            times=2,
            at_once=4,
            timeout_s=60,
            sampling={},
            prefix="one",
        )
