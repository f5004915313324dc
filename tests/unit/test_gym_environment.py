"""Rollouts in a Gym environment: what is trained of them, and what becomes of those that fail.

The agent here is an HTTP server that does what a row tells it; the tokenizer has a token for each
letter. Gym's own servers play in tests/training/test_gym_trainings.py.
"""

import json
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolgain.common.errors import StageError, UserError
from toolgain.config.sections import TrainingSection
from toolgain.environments import gym
from toolgain.environments.chat_endpoint import Address, listening
from toolgain.environments.gym import Environment, Server, running_environment
from toolgain.environments.rollouts import gym_reason
from toolgain.serving.answers import Reading
from toolgain.training.trl import gym_environment
from toolgain.training.trl.context import Context
from toolgain.training.trl.episodes import Split
from toolgain.training.trl.gym_chat import GymChat
from toolgain.training.trl.gym_environment import GymEnvironment
from toolgain.training.trl.gym_prompts import check_prompts, first_request
from toolgain.training.trl.waiting_room import WaitingRoom

END = "$"
ENDS = ord(END)


class Letters:
    """A tokenizer with a token for each letter, and a chat template without roles."""

    def __call__(self, text: Any, **_: Any) -> dict[str, Any]:
        one = isinstance(text, str)
        return {"input_ids": list(map(ord, text)) if one else [list(map(ord, t)) for t in text]}

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return "".join(map(chr, ids))

    def apply_chat_template(self, messages: Any, **_: Any) -> str:
        return "".join(f"{message['content']}{END}" for message in messages) + ">"


class Reader:
    """Reads no calls."""

    def read(self, ids: Sequence[int], prompt: str, tools: Any) -> Reading:
        return Reading("".join(chr(token) for token in ids if token != ENDS), None, ())


class Agent:
    """An agent that asks as often as its row says, and says `said` after each answer."""

    def __init__(self) -> None:
        self.model = Address("", "")
        self.failed: dict[str, int] = {}
        self.lock = threading.Lock()
        self.client = httpx.Client(timeout=60, trust_env=False)

    def run(self, row: dict[str, Any]) -> tuple[int, object]:
        plan = row["plan"]
        with self.lock:
            begun = self.failed[row["id"]] = self.failed.get(row["id"], 0) + 1
        if begun <= plan.get("fails", 0):
            return 500, {"detail": "the tool is broken"}
        asked = row["responses_create_params"]
        messages: list[dict[str, Any]] = [{"role": "user", "content": asked["input"]}]
        output: list[object] = []
        for _ in range(plan["turns"]):
            answer = self.ask(messages, asked["metadata"])
            if answer.status_code == 400:
                break
            if answer.status_code != 200:
                return 500, answer.json()
            choice = answer.json()["choices"][0]
            ids = {k: v for k, v in choice["message"].items() if k.endswith("_token_ids")}
            output.append({"type": "message", **({} if plan.get("loses_ids") else ids)})
            if plan.get("rewrites"):
                messages = [{"role": "user", "content": "Now then."}]
                continue
            messages += [choice["message"], {"role": "user", "content": plan.get("said", "?")}]
        return 200, {"reward": plan.get("reward", 1.0), "response": {"output": output}}

    def ask(self, messages: list[dict[str, Any]], metadata: dict[str, str]) -> httpx.Response:
        return self.client.post(
            f"{self.model.url}/chat/completions",
            json={"messages": messages, "metadata": metadata},
            headers={"authorization": f"Bearer {self.model.key}"},
        )


@contextmanager
def serving(agent: Agent) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            row = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, value = agent.run(row)
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def rows_of(plans: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "id": str(number),
            "agent_ref": {"name": "agent"},
            "responses_create_params": {"input": f"Question {number}."},
            "plan": plan,
        }
        for number, plan in enumerate(plans)
    ]


@contextmanager
def environment(
    plans: Sequence[dict[str, Any]], *, max_turns: int = 8, context: int | None = None
) -> Iterator[GymEnvironment]:
    """An environment whose rows are these plans."""
    rows = rows_of(plans)
    section = TrainingSection.model_validate(
        {
            "backend": "trl",
            "environment": "nemo_gym",
            "gym": {"config_paths": ["x.yaml"], "max_turns": max_turns},
        }
    )
    agent, room = Agent(), WaitingRoom()
    chat: Any = GymChat(Letters(), Reader(), [ENDS])  # type: ignore[arg-type]
    with (
        serving(agent) as url,
        listening(partial(gym_environment._from_the_room, room)) as agent.model,
    ):
        server = Server(
            kind="responses_api_agents", program="agent", url=url, pid=1, max_steps=None
        )
        yield GymEnvironment(
            Environment({"agent": server}, lambda: None),
            room,
            chat,
            {"train": rows, "validation": rows},
            section,
            Context(context, 4),
        )


class Sampler:
    """Draws answers, and keeps what it drew behind which prompt."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.drawn: list[tuple[list[int], list[int]]] = []

    def __call__(self, prompts: Sequence[Sequence[int]], temperature: float) -> list[list[int]]:
        answers = [self.draw() for _ in prompts]
        self.drawn += zip(map(list, prompts), answers, strict=True)
        return answers

    def draw(self) -> list[int]:
        letters = [ord(self.random.choice("abc")) for _ in range(self.random.randint(1, 4))]
        # One in three is cut off before it ends.
        return letters if self.random.random() < 1 / 3 else [*letters, ENDS]


PLANS = st.fixed_dictionaries(
    {"turns": st.integers(1, 4), "said": st.text("xyz", max_size=3), "reward": st.floats(0, 1)}
)


@pytest.fixture(scope="module")
def shared() -> Iterator[GymEnvironment]:
    """One for many rows; a test gives it its own."""
    with environment([]) as found:
        yield found


@given(st.lists(PLANS, min_size=1, max_size=4), st.integers(0, 9))
@settings(max_examples=20)
def test_exactly_what_was_sampled_is_trained_in_its_own_context(
    shared: GymEnvironment, plans: list[dict[str, Any]], seed: int
) -> None:
    sampler = Sampler(seed)
    shared.rows = {"train": rows_of(plans)}
    episodes = shared.play("train", list(range(len(plans))), sampler, 1.0)
    assert [episode.reward for episode in episodes] == [plan["reward"] for plan in plans]
    assert [episode.turns for episode in episodes] == [plan["turns"] for plan in plans]
    trained = []
    for episode in episodes:
        tokens = [*episode.prompt, *episode.completion]
        pairs = zip(episode.completion, episode.sampled, strict=True)
        trained += [
            (tokens[: len(episode.prompt) + place], token)
            for place, (token, mine) in enumerate(pairs)
            if mine
        ]
    sampled = [
        ([*prompt, *answer[:place]], token)
        for prompt, answer in sampler.drawn
        for place, token in enumerate(answer)
    ]
    assert sorted(trained) == sorted(sampled)


@given(st.lists(PLANS, min_size=2, max_size=5))
@settings(max_examples=5)
def test_the_same_draws_give_the_same_rollouts(
    shared: GymEnvironment, plans: list[dict[str, Any]]
) -> None:
    shared.rows = {"train": rows_of(plans)}
    numbers = list(range(len(plans)))
    once, again = (shared.play("train", numbers, Sampler(3), 1.0) for _ in range(2))
    assert once == again


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym, "ENDED_S", 0.0)


def test_a_rollout_that_fails_is_played_again_and_keeps_its_place(quick: None) -> None:
    plans = [{"turns": 1, "reward": 0.25}, {"turns": 2, "fails": 2, "reward": 0.75}]
    with environment(plans) as played:
        episodes = played.play("train", [1, 0], Sampler(), 1.0)
    assert [episode.reward for episode in episodes] == [0.75, 0.25]


def test_a_rollout_that_fails_again_and_again_is_no_reward_of_zero(quick: None) -> None:
    with (
        environment([{"turns": 1}, {"turns": 1, "fails": 3}]) as played,
        pytest.raises(StageError) as error,
    ):
        played.play("train", [0, 1], Sampler(), 1.0)
    assert "1 of 2 rollouts failed 3 times" in str(error.value)
    assert "row 2 of the train rows: HTTP 500 from Gym" in str(error.value)
    assert "the tool is broken" in str(error.value)


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
def test_a_reward_that_is_no_finite_number_is_a_failure(quick: None, reward: float) -> None:
    plans = [{"turns": 1, "reward": reward}]
    with environment(plans) as played, pytest.raises(StageError, match="reward is not a finite"):
        played.play("train", [0], Sampler(), 1.0)


def test_rewards_beyond_0_and_1_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    plans = [{"turns": 1, "reward": -1.0}, {"turns": 1, "reward": 0.5}]
    with environment(plans) as played:
        played.play("validation", [1], Sampler(), 0.0)
        assert capsys.readouterr().out == ""
        for _ in range(2):
            episodes = played.play("validation", [0, 1], Sampler(), 0.0)
    assert [episode.accuracy for episode in episodes] == [-1.0, 0.5]
    assert capsys.readouterr().out.count("Gym's rewards reach from -1 to 0.5") == 1


def test_a_request_of_a_rollout_that_has_ended_is_let_go() -> None:
    room = WaitingRoom()
    room.open(["1"])
    found: list[Any] = []
    asking = threading.Thread(target=lambda: found.append(room.ask("1", {})), daemon=True)
    asking.start()
    with room._changed:
        assert room._changed.wait_for(lambda: room._rollouts["1"], 60)
    room.ended("1")
    asking.join(60)
    assert found and found[0][0] == 422


@pytest.mark.parametrize(
    ("ended", "error", "said"),
    [
        (
            {"server": None, "reason": "no such key", "bad_input": True},
            UserError,
            "refuses the configuration: no such",
        ),
        (
            {"server": "x", "reason": "it needs packages of its own: make", "bad_input": True},
            UserError,
            "the Gym server x: it needs packages",
        ),
        ({"server": "x", "reason": "it ended"}, StageError, "the Gym server x: it ended"),
    ],
)
def test_servers_that_do_not_start_are_bad_input_where_the_same_would_happen_again(
    tmp_path: Path, ended: dict[str, Any], error: type[Exception], said: str
) -> None:
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    folder = tmp_path / "gym"
    # Whole at once: it is looked for at any moment.
    (tmp_path / "ended.json").write_text(json.dumps(ended))
    python.write_text(f"#!/bin/bash\nmv {tmp_path}/ended.json {folder}/\nexit 1\n")
    python.chmod(0o755)
    with (
        pytest.raises(error, match=said),
        running_environment(
            environment=tmp_path / "env",
            config_paths=["x.yaml"],
            overrides={},
            base_url="http://127.0.0.1:9/v1",
            key="k",
            folder=folder,
            stage="training",
            health_timeout_s=None,
            busy_timeout_s=None,
        ),
    ):
        pass


def test_an_agent_that_never_stops_is_ended_and_said(quick: None) -> None:
    with environment([{"turns": 99}], max_turns=3) as played, pytest.raises(StageError) as error:
        played.play("train", [0], Sampler(), 1.0)
    assert "asks for more than 3 answers (training.gym.max_turns)" in str(error.value)


def test_an_agent_that_loses_the_tokens_is_refused(quick: None) -> None:
    with (
        environment([{"turns": 2, "loses_ids": True}]) as played,
        pytest.raises(StageError, match="hands back 0 answers, which are not the 2"),
    ):
        played.play("train", [0], Sampler(), 1.0)


def test_an_agent_that_rewrites_what_was_said_is_refused(quick: None) -> None:
    with (
        environment([{"turns": 2, "rewrites": True}]) as played,
        pytest.raises(StageError, match="its agent changes what was said before"),
    ):
        played.play("train", [0], Sampler(), 1.0)


def test_a_rollout_that_outgrows_the_context_ends_with_its_reward() -> None:
    plans = [{"turns": 9, "said": "x" * 30, "reward": 0.5}]
    with environment(plans, context=60) as played:
        (episode,) = played.play("train", [0], Sampler(), 1.0)
    assert episode.reward == 0.5 and 1 <= episode.turns < 9
    assert len(episode.prompt) + len(episode.completion) <= 60


def test_a_row_that_does_not_fit_is_named() -> None:
    with (
        environment([{"turns": 1}], context=15) as played,
        pytest.raises(UserError, match=r"row 1 of the train rows has 13 tokens.*context is 15"),
    ):
        played.play("train", [0], Sampler(), 1.0)


def test_a_row_that_does_not_fit_is_named_before_anything_is_played() -> None:
    rows = rows_of([{}, {}, {}])
    tools = [{"type": "function", "name": "x" * 99, "strict": False, "parameters": {}}]
    rows[2]["responses_create_params"]["input"] = [
        {"role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"role": "user", "content": "Find Ann."},
        {"type": "function_call", "call_id": "1", "name": "find", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "ann@example.org"},
    ]
    rows[2]["responses_create_params"]["tools"] = tools
    request = first_request(rows[2])
    assert [message["role"] for message in request["messages"]] == [
        *("system", "user", "assistant", "tool")
    ]
    assert request["messages"][2]["tool_calls"][0]["function"]["name"] == "find"
    assert request["tools"] == [
        {"type": "function", "function": {"name": "x" * 99, "parameters": {}}}
    ]
    chat = GymChat(Letters(), Reader(), [ENDS])  # type: ignore[arg-type]
    used: list[tuple[Split, int]] = [("train", number) for number in range(3)]
    lengths = [len(chat.prompt(first_request(row))) for row in rows]
    assert lengths[0] == lengths[1] < lengths[2]
    check_prompts(chat.prompt, {"train": rows}, used, Context(lengths[2] + 4, 4))
    check_prompts(chat.prompt, {"train": rows}, used[:2], Context(lengths[0] + 4, 4))
    with pytest.raises(UserError, match=rf"row 3 of the train rows has {lengths[2]} tokens"):
        check_prompts(chat.prompt, {"train": rows}, used, Context(lengths[0] + 4, 4))


def test_rows_that_gym_cannot_play_are_left_to_gym() -> None:
    unplayable: list[dict[str, Any]] = [
        {},
        {"responses_create_params": "text"},
        {"responses_create_params": {"input": [{"type": "something"}]}},
        {"responses_create_params": {"input": "x", "tools": "text"}},
    ]
    used: list[tuple[Split, int]] = [("train", number) for number in range(len(unplayable))]
    check_prompts(lambda _: [], {"train": unplayable}, used, Context(1, 1))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            '"Hit an exception in SimpleAgent___agent calling an inner server: b\'{\\"detail\\":['
            '{\\"type\\":\\"missing\\",\\"loc\\":[\\"body\\",\\"ground_truth\\"],\\"msg\\":'
            '\\"Field required\\",\\"input\\":{\\"id\\":1}}]}\'"',
            "body.ground_truth: Field required",
        ),
        (
            '{"detail":[{"loc":["body","tools",0,"name"],"msg":"Field required"}]}',
            "body.tools.0.name: Field required",
        ),
        ("Internal\n  Server Error", "Internal Server Error"),
    ],
)
def test_gym_s_reason_is_told_without_the_row(said: str, reason: str) -> None:
    assert gym_reason(said) == reason


def test_a_server_that_dies_is_named_though_its_rollouts_hang() -> None:
    with environment([{"turns": 1}]) as played:
        dead = Environment(played.environment.servers, lambda: "the Gym server x: it ended")
        played.environment = dead
        with pytest.raises(StageError, match="training: the Gym server x: it ended"):
            played.play("train", [0], Sampler(), 1.0)
