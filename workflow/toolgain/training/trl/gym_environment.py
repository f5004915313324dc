"""The environment of NeMo Gym: its real agents and verifiers play, this process samples.

Gym's model server calls an endpoint in this process; the trainer's main thread answers with
samples of the weights that are being trained. Every process of a training plays its share of a
step with servers of its own.
"""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from toolgain.common.errors import StageError, UserError
from toolgain.config.sections import TrainingSection
from toolgain.environments import gym, rollouts
from toolgain.environments.chat_endpoint import Body, failing_answer, listening, take_mark
from toolgain.environments.gym import Environment
from toolgain.environments.rollouts import Item, Outcome, Row
from toolgain.training.trl.context import Context
from toolgain.training.trl.episodes import Episode, Sample, Split
from toolgain.training.trl.gym_chat import GymChat
from toolgain.training.trl.gym_prompts import row_name
from toolgain.training.trl.turns import RewrittenError, Turn, one_sequence
from toolgain.training.trl.waiting_room import HttpAnswer, WaitingRequest, WaitingRoom

ATTEMPTS = 3
"""How often a rollout is played that fails; then the training fails."""
LOOK_S = 1.0
"""How often it is looked whether the servers are alive."""
TOKENS: Mapping[str, gym.Value] = {
    "policy_model.responses_api_models.vllm_model.return_token_id_information": True
}
"""Gym's model server hands token ids on, there and back."""


class RolloutError(Exception):
    """Why a rollout failed."""


@dataclass
class Play:
    """A rollout under way."""

    row: int
    name: str
    """For messages."""
    turns: list[Turn] = field(default_factory=list)
    calls: int = 0


class GymEnvironment:
    """A running environment of NeMo Gym, as `TaskEnvironment`."""

    def __init__(
        self,
        environment: Environment,
        room: WaitingRoom,
        chat: GymChat,
        rows: Mapping[Split, Sequence[Row]],
        section: TrainingSection,
        context: Context,
    ) -> None:
        self.environment, self.room, self.chat, self.rows = environment, room, chat, rows
        self.section, self.context = section, context
        self._played = 0
        self._said_range = False

    def play(
        self, split: Split, numbers: Sequence[int], sample: Sample, temperature: float
    ) -> list[Episode]:
        """As `TaskEnvironment.play`; a rollout that fails is played again, `ATTEMPTS` times."""
        episodes: dict[int, Episode] = {}
        failed: dict[int, str] = {}
        for _ in range(ATTEMPTS):
            left = [place for place in range(len(numbers)) if place not in episodes]
            if not left:
                break
            rows = [(split, numbers[place]) for place in left]
            outcomes = self._play(rows, sample, temperature)
            failed = {}
            for place, (play, outcome) in zip(left, outcomes, strict=True):
                try:
                    episodes[place] = _episode(play, outcome)
                except RolloutError as problem:
                    failed[place] = f"{play.name}: {problem}"
            if failed:
                gym.look_for_the_dead(self.environment, "training")
        if failed:
            raise StageError(
                f"training: {len(failed)} of {len(numbers)} rollouts failed {ATTEMPTS} times, such "
                f"as {next(iter(failed.values()))}. `toolgain rehearse` plays rows and says more"
            )
        found = [episodes[place] for place in range(len(numbers))]
        if split == "validation" and not self._said_range:
            self._say_range([episode.reward for episode in found])
        return found

    def _say_range(self, rewards: Sequence[float]) -> None:
        """Say once that a mean of rewards beyond 0 and 1 is no share of tasks."""
        if rewards and not 0 <= min(rewards) <= max(rewards) <= 1:
            self._said_range = True
            print(
                f"progress: Gym's rewards reach from {min(rewards):g} to {max(rewards):g}, not "
                "from 0 to 1: val:accuracy is their mean, no share of tasks, and has no standard "
                "error",
                flush=True,
            )

    def _play(
        self, rows: Sequence[tuple[Split, int]], sample: Sample, temperature: float
    ) -> list[tuple[Play, Outcome]]:
        """Play rows side by side, each once."""
        plays: dict[str, Play] = {}
        for split, number in rows:
            self._played += 1
            plays[str(self._played)] = Play(number, row_name(split, number))
        self.room.open(plays)
        sampling = {
            "temperature": temperature,
            "max_output_tokens": self.section.trl.max_completion_length,
        }
        pool = ThreadPoolExecutor(len(rows), thread_name_prefix="rollout")
        try:
            waiting = [
                pool.submit(self._run, self.rows[split][number], mark, sampling)
                for mark, (split, number) in zip(plays, rows, strict=True)
            ]
            while (requests := self.room.next(LOOK_S)) != []:
                try:
                    if reason := self.environment.alive():
                        raise StageError(f"training: {reason}")
                    if requests:
                        self._answer(requests, plays, sample, temperature)
                finally:
                    _let_go(requests or [])
            outcomes = [future.result() for future in waiting]
        finally:
            self.room.close(failing_answer("the training has ended"))
            pool.shutdown(wait=False, cancel_futures=True)
        return list(zip(plays.values(), outcomes, strict=True))

    def _run(self, row: Row, mark: str, sampling: Mapping[str, object]) -> Outcome:
        try:
            return rollouts.run_row(
                self.environment, row, mark, sampling, self.section.gym.rollout_timeout_s
            )
        finally:
            self.room.ended(mark)

    def _answer(
        self,
        requests: Sequence[WaitingRequest],
        plays: Mapping[str, Play],
        sample: Sample,
        temperature: float,
    ) -> None:
        asked: list[tuple[WaitingRequest, list[int]]] = []
        for request in requests:
            play = plays[request.rollout]
            prompt = self.chat.prompt(request.body)
            if refusal := self._refused(play, len(prompt)):
                request.reply.set_result(refusal)
            else:
                asked.append((request, prompt))
        if not asked:
            return
        answers = sample([prompt for _, prompt in asked], temperature)
        for (request, prompt), answer in zip(asked, answers, strict=True):
            play = plays[request.rollout]
            play.turns.append(Turn(tuple(prompt), tuple(answer)))
            last = len(play.turns) >= self.section.gym.max_turns
            reply = self.chat.reply(request.body, prompt, answer, last)
            play.calls += reply.called
            request.reply.set_result((200, reply.content))

    def _refused(self, play: Play, prompt: int) -> HttpAnswer | None:
        """The answer to a request for which nothing can be sampled."""
        if len(play.turns) >= self.section.gym.max_turns:
            # The answer before this one said that it is the last.
            return failing_answer(
                f"the agent asks for more than {self.section.gym.max_turns} answers "
                "(training.gym.max_turns), and continues after one that was cut"
            )
        if self.context.holds(prompt):
            return None
        if not play.turns:
            raise UserError(self.context.refusal(play.name, prompt))
        # As vLLM says it: Gym's model server makes an empty answer of it, and the rollout ends
        # with the reward of what was done until then.
        said = f"maximum context length is {self.context.tokens} tokens"
        return 400, json.dumps({"error": {"message": said}}).encode()

    def validation_order(self) -> list[int]:
        """As they stand in their file."""
        return list(range(len(self.rows["validation"])))

    def some_tokens(self) -> list[list[int]]:
        """Tokens of the first validation rows, as JSON."""
        texts = [json.dumps(row) for row in self.rows["validation"][:4]]
        found: list[list[int]] = self.chat.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return found


def _episode(play: Play, outcome: Outcome) -> Episode:
    """The rollout as the trainer takes it: the tokens that were sampled, and no others.

    Raises:
        RolloutError: it failed, or its agent changed what was said.
    """
    if outcome.reward is None:
        raise RolloutError(outcome.error)
    handed_back = [turn for item in outcome.output if (turn := _turn(item))]
    if handed_back != play.turns or not play.turns:
        raise RolloutError(
            f"its agent hands back {len(handed_back)} answers, which are not the {len(play.turns)} "
            "that were sampled; an agent can be trained with that keeps every answer and its token "
            "ids"
        )
    try:
        whole = one_sequence(play.turns)
    except RewrittenError as problem:
        raise RolloutError(f"{problem}: its agent changes what was said before") from None
    return Episode(
        prompt=whole.prompt,
        completion=whole.completion,
        sampled=whole.sampled,
        reward=outcome.reward,
        accuracy=outcome.reward,
        called=play.calls > 0,
        turns=len(play.turns),
    )


def _turn(item: Item) -> Turn | None:
    """The answer whose last item this is; None: no answer ends with it."""
    prompt, answer = item.get("prompt_token_ids"), item.get("generation_token_ids")
    if not isinstance(prompt, list) or not isinstance(answer, list):
        return None
    return Turn(tuple(map(int, prompt)), tuple(map(int, answer)))


@contextlib.contextmanager
def playing_in_gym(
    *,
    section: TrainingSection,
    gym_environment: Path,
    folder: Path,
    chat: GymChat,
    rows: Mapping[Split, Sequence[Row]],
    context: Context,
    owner: str,
) -> Iterator[GymEnvironment]:
    """The environment that `section` names, while the block lasts.

    Args:
        section: Its `gym` names the environment.
        gym_environment: The Python environment that `make setup-gym` made.
        folder: Where the servers' logs go.
        chat: Prompts and answers of the model.
        rows: The rows of each file.
        context: The model's.
        owner: Which of several processes this is, for messages; empty: the only one.

    Raises:
        UserError: the environment is missing, or Gym refuses the configuration.
        StageError: a server ended or did not answer; it is named.
    """
    room = WaitingRoom()
    with (
        listening(partial(_from_the_room, room)) as address,
        gym.running_environment(
            environment=gym_environment,
            config_paths=section.gym.config_paths,
            overrides={**section.gym.overrides, **TOKENS},
            base_url=address.url,
            key=address.key,
            folder=folder,
            stage="training",
            health_timeout_s=section.gym.health_timeout_s,
            busy_timeout_s=section.gym.busy_timeout_s,
            owner=owner,
        ) as environment,
    ):
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(environment, ended), daemon=True)
        watch.start()
        try:
            yield GymEnvironment(environment, room, chat, rows, section, context)
        finally:
            ended.set()


def _let_go(requests: Sequence[WaitingRequest]) -> None:
    """Answer those that an error left without an answer, or they would wait forever."""
    for request in requests:
        if not request.reply.done():
            request.reply.set_result(failing_answer("the training has ended"))


def _from_the_room(room: WaitingRoom, body: Body) -> HttpAnswer:
    mark = take_mark(body)
    return room.ask(mark, body) or failing_answer(f"no rollout {mark!r} is under way")


def _watch(environment: Environment, ended: threading.Event) -> None:
    """Say at once that a server has ended; the next rollout ends the training."""
    while not ended.wait(LOOK_S):
        if reason := environment.alive():
            print(f"progress: {reason}", flush=True)
            return
