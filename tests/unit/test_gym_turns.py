"""Rollouts of several answers as training sequences, and the order in which they are sampled."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgain.training.trl.turns import RewrittenError, Turn, one_sequence
from toolgain.training.trl.waiting_room import HttpAnswer, WaitingRoom

TOKENS = st.lists(st.integers(0, 9), min_size=1, max_size=6)
GIVEN = st.lists(st.integers(0, 9), max_size=6)


@st.composite
def rollouts(draw: st.DrawFn) -> tuple[list[int], list[tuple[list[int], list[int]]]]:
    """A prompt, and pairs of what the environment says and what is sampled behind it."""
    prompt = draw(TOKENS)
    first = draw(TOKENS)
    return prompt, [([], first), *draw(st.lists(st.tuples(GIVEN, TOKENS), max_size=4))]


def turns_of(prompt: list[int], parts: list[tuple[list[int], list[int]]]) -> list[Turn]:
    turns, so_far = [], list(prompt)
    for said, answer in parts:
        so_far += said
        turns.append(Turn(tuple(so_far), tuple(answer)))
        so_far += answer
    return turns


@given(rollouts())
def test_exactly_the_sampled_tokens_are_trained(
    rollout: tuple[list[int], list[tuple[list[int], list[int]]]],
) -> None:
    prompt, parts = rollout
    whole = one_sequence(turns_of(prompt, parts))
    assert whole.prompt == prompt
    assert len(whole.sampled) == len(whole.completion)
    pairs = list(zip(whole.completion, whole.sampled, strict=True))
    assert [token for token, mine in pairs if mine] == [t for _, answer in parts for t in answer]
    assert [token for token, mine in pairs if not mine] == [t for said, _ in parts for t in said]


@given(rollouts())
def test_every_token_is_trained_in_the_context_that_it_was_sampled_in(
    rollout: tuple[list[int], list[tuple[list[int], list[int]]]],
) -> None:
    turns = turns_of(*rollout)
    whole = one_sequence(turns)
    tokens = [*whole.prompt, *whole.completion]
    contexts = [
        tokens[: len(whole.prompt) + place] for place, mine in enumerate(whole.sampled) if mine
    ]
    assert contexts == [
        [*turn.prompt, *turn.answer[:place]] for turn in turns for place in range(len(turn.answer))
    ]


@given(rollouts(), st.data())
def test_a_prompt_that_rewrites_what_was_said_is_refused(
    rollout: tuple[list[int], list[tuple[list[int], list[int]]]], data: st.DataObject
) -> None:
    turns = turns_of(*rollout)
    if len(turns) == 1:
        return
    number = data.draw(st.integers(1, len(turns) - 1))
    length = len(turns[number - 1].prompt) + len(turns[number - 1].answer)
    place = data.draw(st.integers(0, length - 1))
    prompt = list(turns[number].prompt)
    prompt[place] += 1
    turns[number] = Turn(tuple(prompt), turns[number].answer)
    with pytest.raises(RewrittenError, match=f"answer {number + 1}"):
        one_sequence(turns)


def playing(room: WaitingRoom, name: str, turns: int) -> threading.Thread:
    def play() -> None:
        for turn in range(turns):
            room.ask(name, {"turn": turn})
        room.ended(name)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    return thread


def batches(room: WaitingRoom) -> Iterator[list[tuple[str, int]]]:
    while requests := room.next(60):
        yield [(request.rollout, request.body["turn"]) for request in requests]
        for request in requests:
            request.reply.set_result((200, b""))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_batch_holds_every_rollout_that_continues_whoever_comes_first(
    turns: list[int], random: object
) -> None:
    room = WaitingRoom()
    plays = {f"rollout {number}": count for number, count in enumerate(turns)}
    room.open(plays)
    started = list(plays.items())
    random.shuffle(started)  # type: ignore[attr-defined]
    threads = [playing(room, name, count) for name, count in started]
    found = list(batches(room))
    for thread in threads:
        thread.join()
    assert found == [
        [(name, turn) for name, count in plays.items() if count > turn]
        for turn in range(max(turns))
    ]


def test_a_rollout_that_is_late_holds_the_others_and_a_closed_room_lets_them_go() -> None:
    room = WaitingRoom()
    room.open(["early", "late"])
    replies: list[HttpAnswer | None] = []
    thread = threading.Thread(target=lambda: replies.append(room.ask("early", {})))
    thread.start()
    assert room.next(0.05) is None
    room.close((422, b"over"))
    thread.join()
    # It may have come too late to be let in at all.
    assert replies in ([(422, b"over")], [None])
    assert room.ask("early", {}) is None
