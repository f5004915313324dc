"""Rehearsals with NVIDIA's real servers: Workplace Assistant and xlam_fc, started once."""

import contextlib
import copy
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from click.testing import CliRunner
from model_endpoint import Answer, Message, answering, call, say, several_calls

from gym_env import GYM, needs_gym
from toolgain.cli import cli
from toolgain.common.errors import StageError
from toolgain.common.files import write_jsonl
from toolgain.config.sections import GymSection, Serve, TrainingSection
from toolgain.environments import gym
from toolgain.environments.gym import Environment
from toolgain.environments.play import Rollout, play
from toolgain.environments.relay import Relay, relaying
from toolgain.records.rehearsal import Rehearsal
from toolgain.rehearsal.inputs import Inputs
from toolgain.rehearsal.model_health import watched
from toolgain.rehearsal.rehearse import MODEL_SERVER, rehearsed
from toolgain.serving.server import Endpoint
from toolgain.tasks import gym_rows
from toolgain.tasks.generated.generate import generate
from toolgain.training.trl.gym_chat import _for_template
from toolgain.training.trl.gym_prompts import first_request

WORKPLACE = "resources_servers/workplace_assistant/configs/workplace_assistant.yaml"
XLAM = "resources_servers/xlam_fc/configs/xlam_fc.yaml"
LOOPING_VERIFIER = Path(__file__).with_name("looping_verifier.py")

pytestmark = [
    pytest.mark.slow,
    needs_gym,
]

Row = dict[str, Any]


@dataclass
class Place:
    """Gym's servers, and what their model server calls."""

    environment: Environment
    relay: Relay
    folder: Path

    def rehearse(
        self,
        rows: list[Row],
        answer: Callable[[list[Message], int], Answer],
        *,
        times: int = 2,
        max_turns: int = 12,
        backend: Literal["trl", "nemo_rl"] = "trl",
    ) -> Rehearsal:
        section = TrainingSection(backend=backend, gym=GymSection(rollout_timeout_s=600))
        self.relay.max_turns = max_turns
        with answering(answer) as model:

            @contextlib.contextmanager
            def endpoint() -> Iterator[Endpoint]:
                yield model.endpoint

            asked = Inputs(
                section=section.model_copy(
                    update={"gym": section.gym.model_copy(update={"max_turns": max_turns})}
                ),
                serve=Serve(),
                at_once=8,
                config_paths=[WORKPLACE, XLAM],
                rows={"train": rows},
                weights=None,
                model=model.url,
                model_name="policy",
            )
            return rehearsed(self.environment, self.relay, asked, len(rows), times, endpoint)


def packaged(server: str) -> list[Row]:
    """The example rows that Gym ships, with the agent that Gym's preparation would add."""
    (data,) = GYM.glob(f"lib/python3*/site-packages/resources_servers/{server}/data/example.jsonl")
    agent = {"type": "responses_api_agents", "name": f"{server}_simple_agent"}
    return [{**json.loads(line), "agent_ref": agent} for line in data.read_text().splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("gym")
    with (
        relaying(12) as relay,
        gym.running_environment(
            environment=GYM,
            config_paths=[WORKPLACE, XLAM],
            overrides={
                **MODEL_SERVER,
                "xlam_fc.resources_servers.xlam_fc.entrypoint": str(LOOPING_VERIFIER),
            },
            base_url=relay.url,
            key=relay.key,
            folder=folder,
            stage="rehearse",
            health_timeout_s=10,
            busy_timeout_s=3,
        ) as environment,
    ):
        yield Place(environment, relay, folder)


def truth_of(rows: list[Row]) -> dict[str, list[Message]]:
    """The calls that earn the reward, by what the user asks."""
    found = {}
    for row in rows:
        asked = row["responses_create_params"]["input"][-1]["content"]
        found[asked] = [
            call(one["name"], json.loads(one["arguments"])) for one in row["ground_truth"]
        ]
    return found


def user_says(messages: list[Message]) -> str:
    content = next(m["content"] for m in messages if m["role"] == "user")
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def test_right_answers_earn_one_and_wrong_ones_nothing(place: Place) -> None:
    rows = packaged("workplace_assistant")
    truth = truth_of(rows)

    def answer(messages: list[Message], number: int) -> Answer:
        calls = truth[user_says(messages)]
        done = sum(message["role"] == "tool" for message in messages)
        return calls[done] if done < len(calls) else say("It is done.")

    record = place.rehearse(rows, answer)
    assert record.verdict == "not_trainable"
    assert record.reasons == [
        "all rollouts of a row had the same answers, word for word, for every row: the model "
        "server does not sample",
        "every rollout earned 1: no gradient; the rows are too easy for it",
    ]
    assert record.reward_mean == 1.0 and record.failed == 0
    assert record.rows.checked == 5 and record.rows.unplayable == 0
    assert record.rows.reward_for_nothing == 0.0
    expected = [len(row["ground_truth"]) for row in rows]
    assert record.tool_calls and record.tool_calls.mean == sum(expected) / 5
    assert record.turns and record.turns.limit == 6 and record.turns.largest == 6
    assert record.agents["workplace_assistant_simple_agent"] == 6


def test_a_spread_within_rows_is_trainable(place: Place) -> None:
    rows = packaged("workplace_assistant")[:2]
    truth = truth_of(rows)
    begun: dict[str, int] = {}

    def answer(messages: list[Message], number: int) -> Answer:
        asked = user_says(messages)
        if messages[-1]["role"] == "tool":
            return say("It is done.")
        begun[asked] = begun.get(asked, 0) + 1
        return truth[asked][0] if begun[asked] % 2 else say("No.")

    record = place.rehearse(rows, answer, times=4)
    assert (record.verdict, record.reasons) == ("trainable", [])
    assert record.reward_mean == 0.5 and record.groups_without_spread == 0.0
    assert record.step.seconds is not None and record.step.rollouts == 64


def test_rows_that_gym_cannot_play_are_named_with_gyms_own_reason(place: Place) -> None:
    good, *others = packaged("workplace_assistant")
    without_truth, foreign, nested, text = (copy.deepcopy(row) for row in others)
    del without_truth["ground_truth"]
    foreign["agent_ref"]["name"] = "math_agent"
    asked = nested["responses_create_params"]
    asked["tools"] = [{"type": "function", "function": asked["tools"][0]}]
    text["responses_create_params"]["tools"] = json.dumps(asked["tools"])

    record = place.rehearse(
        [good, without_truth, foreign, nested, text], lambda messages, number: say("No.")
    )
    assert record.verdict == "not_trainable" and record.rows.unplayable == 4
    reasons = {row.line: row.reason for row in record.rows.examples}
    assert "ground_truth" in reasons[2]
    assert "'math_agent'" in reasons[3] and "workplace_assistant_simple_agent" in reasons[3]
    assert "422" in reasons[4] and "tools" in reasons[4]
    assert "422" in reasons[5] and "tools" in reasons[5]
    assert record.rows_played == 1


def test_rows_that_pay_for_nothing_are_counted_by_gyms_verifier(place: Place) -> None:
    lead = {"customer_id": "00000095", "field": "status", "new_value": "Lead"}
    # Whoever does nothing leaves the office as each of these would.
    truths = {
        "no call": [],
        "only reads": [("company_directory_find_email_address", {"name": "Carlos"})],
        "a tool that is not there": [("no_such_tool", {})],
        "an id that is not there": [("calendar_delete_event", {"event_id": "99999999"})],
        "sets what is set": [("customer_relationship_manager_update_customer", lead)],
    }
    does_not, *_ = rows = packaged("workplace_assistant")[:1]
    for calls in truths.values():
        pays = copy.deepcopy(does_not)
        pays["ground_truth"] = [{"name": n, "arguments": json.dumps(a)} for n, a in calls]
        rows.append(pays)
    record = place.rehearse(rows, lambda messages, number: say("No."))
    assert record.rows.reward_for_nothing == pytest.approx(5 / 6)
    assert any("calls nothing earns 0.83" in warning for warning in record.warnings)


def test_a_prompt_that_does_not_fit_is_no_silent_zero(place: Place) -> None:
    error = (400, "This model's maximum context length is 2048 tokens. However, you requested 3700")
    record = place.rehearse(packaged("workplace_assistant")[:2], lambda messages, number: error)
    assert record.verdict == "not_trainable"
    assert record.answers.overflows == 4 and record.failed == 0
    assert any("4 of 4 rollouts did not fit into the context" in r for r in record.reasons)


def test_calls_that_arrive_as_text_name_the_parser(place: Place) -> None:
    text = '<tool_call>{"name": "email_reply_email", "arguments": {}}</tool_call>'
    record = place.rehearse(packaged("workplace_assistant")[:2], lambda messages, number: say(text))
    assert record.answers.calls_as_text == 4
    assert any("the tool parser of the model server" in reason for reason in record.reasons)


def test_a_rollout_without_an_end_is_ended(place: Place) -> None:
    """The agent of xlam_fc has no max_steps: a model that always calls plays forever."""
    rows = packaged("xlam_fc")[:2]
    tool = rows[0]["responses_create_params"]["tools"][0]["name"]
    record = place.rehearse(
        rows, lambda messages, number: call(tool, {}), max_turns=5, backend="nemo_rl"
    )
    assert record.answers.endless == 4 and record.failed == 4
    assert any("ended after 5 answers" in reason for reason in record.reasons)
    assert record.errors == {"ended after 5 answers (training.gym.max_turns)": 4}


def test_a_rollout_ends_where_the_trainer_would_end_it(place: Place) -> None:
    """TRL's rollouts end at max_turns with the verifier's reward, so those of a rehearsal do."""
    rows = packaged("xlam_fc")[:2]
    expected = {
        row["responses_create_params"]["input"][-1]["content"]: row["expected_answers"]
        for row in rows
    }

    def answer(messages: list[Message], number: int) -> Answer:
        calls = expected[user_says(messages)]
        return several_calls(calls) if number % 2 else say("No.")

    record = place.rehearse(rows, answer, times=4, max_turns=1)
    assert record.failed == 0 and record.reward_mean == 0.5 and record.answers.cut == 0
    assert record.turns and record.turns.largest == 1
    assert record.answers.endless == 4 and not any("max_" in said for said in record.warnings)


def test_an_agent_without_a_limit_is_pointed_at(place: Place) -> None:
    rows = packaged("xlam_fc")[:1]
    tool = rows[0]["responses_create_params"]["tools"][0]["name"]

    def answer(messages: list[Message], number: int) -> Answer:
        return say("That is all.") if messages[-1]["role"] == "tool" else call(tool, {})

    record = place.rehearse(rows, answer, backend="nemo_rl")
    assert any("xlam_fc_simple_agent has no max_steps" in warning for warning in record.warnings)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((500, "the engine is dead"), "HTTP 500 from the model server"),
        ((429, "too many requests"), "HTTP 429 from the model server"),
    ],
)
def test_errors_of_the_model_server_fail_rollouts_and_are_never_a_reward(
    place: Place, answer: Answer, kind: str
) -> None:
    record = place.rehearse(packaged("xlam_fc")[:2], lambda messages, number: answer)
    assert record.failed == 4 and record.reward_mean is None
    assert all(kind in error for error in record.errors)


def play_one(place: Place) -> Rollout:
    """One rollout of one row, with the endpoint that the relay has."""
    place.relay.max_turns = 12
    (rollout,) = play(
        place.environment,
        place.relay,
        packaged("xlam_fc")[:1],
        times=1,
        at_once=1,
        timeout_s=60,
        sampling={},
        prefix=f"one-{time.monotonic_ns()}",
    )
    return rollout


def test_a_model_endpoint_that_is_gone_holds_nothing(place: Place) -> None:
    """Gym retries a dead endpoint forever; the relay fails the rollout instead."""
    with contextlib.ExitStack() as stack:
        model = stack.enter_context(answering(lambda messages, number: say("No.")))
        stack.close()
        place.relay.endpoint = model.endpoint
        rollout = play_one(place)
    assert rollout.reward is None and rollout.error
    assert "no answer from the model server (ConnectError)" in rollout.error


def test_the_relay_wants_its_key(place: Place) -> None:
    response = httpx.post(f"{place.relay.url}/chat/completions", json={"messages": []})
    assert response.status_code == 422 and "key" in response.text


def test_servers_listen_on_loopback_and_their_command_lines_hold_no_key(place: Place) -> None:
    for server in place.environment.servers.values():
        assert server.url.startswith("http://127.0.0.1:")
        assert place.relay.key not in Path(f"/proc/{server.pid}/cmdline").read_text()
    assert place.relay.key not in "".join(
        path.read_text() for path in place.folder.iterdir() if path.is_file()
    )


def test_the_command_writes_the_record_and_says_why_in_its_exit_code(tmp_path: Path) -> None:
    rows = packaged("xlam_fc")[:2]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    (tmp_path / "config.yaml").write_text(
        json.dumps(
            {
                "model": {"path": "nowhere"},
                "training": {
                    "backend": "trl",
                    "tasks": {
                        "train_file": str(tmp_path / "rows.jsonl"),
                        "validation_file": str(tmp_path / "rows.jsonl"),
                    },
                    "gym": {"config_paths": [XLAM]},
                },
            }
        )
    )
    out = tmp_path / "rehearsal.json"
    with answering(lambda messages, number: say("No.")) as model:
        command = ["rehearse", "--config", str(tmp_path / "config.yaml"), "--rollouts", "2"]
        command += ["--endpoint", model.url, "--model", "policy", "--out", str(out)]
        result = CliRunner().invoke(cli, command)
    assert "every rollout earned 0: no gradient" in str(result.exception)
    assert result.exception and vars(type(result.exception))["exit_code"] == 3
    record = Rehearsal.model_validate_json(out.read_text())
    assert record.verdict == "not_trainable" and record.gym_version == "0.4.0"
    assert record.agents == {"xlam_fc_simple_agent": None}


def test_generated_tasks_earn_one_by_gyms_verifier_where_they_are_right_and_else_nothing(
    place: Place,
) -> None:
    tasks = generate(7, 40, "train", 0.3, 2400, 0.3)
    assert {task.kind for task in tasks} == {"call", "multiple", "parallel", "none"}
    # As the schema has it: the agent's tools do nothing, and one answer is a rollout.
    rows = [gym_rows.row(number, task) for number, task in enumerate(tasks)]
    expected = {task.question: task.expected for task in tasks}

    def right(messages: list[Message], number: int) -> Answer:
        calls = expected[user_says(messages)]
        if messages[-1]["role"] == "tool" or not calls:
            return say("That is all.")
        return several_calls(calls)

    def wrong(messages: list[Message], number: int) -> Answer:
        calls = expected[user_says(messages)]
        if messages[-1]["role"] == "tool":
            return say("That is all.")
        if not calls:
            return call("something", {})
        return several_calls([{**calls[0], "name": "something"}, *calls[1:]])

    record = place.rehearse(rows, right)
    assert (record.reward_mean, record.failed, record.rows.unplayable) == (1.0, 0, 0)
    declines = sum(task.kind == "none" for task in tasks) / len(tasks)
    assert record.rows.reward_for_nothing == pytest.approx(declines)
    assert place.rehearse(rows, wrong).reward_mean == 0.0


def test_the_first_request_of_a_row_is_known_before_it_is_played(place: Place) -> None:
    """As Gym's model server makes it: with an earlier call, and with content in parts."""
    tasks = generate(7, 5, "train", 0.3, 2400, 0.3)
    rows = packaged("workplace_assistant")[:2] + [gym_rows.row(n, t) for n, t in enumerate(tasks)]
    conversation = copy.deepcopy(rows[-1])
    conversation["responses_create_params"]["input"] = [
        {"role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"role": "user", "content": "Find Ann."},
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "1", "name": "find", "arguments": '{"who": "Ann"}'},
        {"type": "function_call", "call_id": "2", "name": "find", "arguments": '{"who": "Bo"}'},
        {"type": "function_call_output", "call_id": "1", "output": "ann@example.org"},
        {"type": "function_call_output", "call_id": "2", "output": "nobody"},
        {"role": "user", "content": "Thanks."},
    ]
    rows.append(conversation)
    url = f"{place.environment.servers['policy_model'].url}/v1/responses"
    with answering(lambda messages, number: say("No.")) as model:
        place.relay.endpoint, place.relay.max_turns = model.endpoint, 99
        for row in rows:
            asked = httpx.post(url, json=row["responses_create_params"], timeout=60)
            assert asked.status_code == 200, asked.text
            (sent,) = model.bodies
            known = first_request(row)
            for body in (sent, known):
                body["messages"] = [_for_template(message) for message in body["messages"]]
            assert known["messages"] == sent["messages"]
            assert known["tools"] == sent["tools"]
            model.bodies.clear()


def test_a_model_server_that_answers_nothing_ends_the_rehearsal_and_is_named(place: Place) -> None:
    over = threading.Event()
    with pytest.raises(StageError) as error, contextlib.ExitStack() as stack:

        def answer(messages: list[Message], number: int) -> Answer:
            seen = model.health_checks
            # It answers some while it works, and then none.
            while model.health_checks < seen + 3 and not over.wait(0.1):
                pass
            model.answers_health_checks.clear()
            over.wait()
            return say("No.")

        model = stack.enter_context(answering(answer))
        stack.callback(over.set)
        with watched(model.endpoint, place.relay, 4) as place.relay.endpoint:
            play_one(place)
    assert "rehearse: the model server has answered no request and no health check for 4 s" in str(
        error.value
    )


# The last one: it ends the servers.
def test_a_verifier_that_loops_ends_the_rehearsal_and_is_named(place: Place) -> None:
    """Gym waits for it forever. One that is stopped or killed: test_gym_trainings.py."""
    with pytest.raises(StageError) as error:
        place.rehearse(packaged("xlam_fc")[:2], lambda messages, number: say("Loop."))
    assert re.search(
        r"rehearse: the Gym server xlam_fc: it has computed for \d+ s at one request and "
        r"answered nothing meanwhile, in loop_or_read_calls \(.+/looping_verifier.py, line \d+\); "
        r"see .+log$",
        str(error.value),
    )
