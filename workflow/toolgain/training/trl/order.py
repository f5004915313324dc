"""The order of the training's prompts: a function of the seed, laid out before the first step."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence


def prompt_order(kinds: Sequence[str], wanted: int, seed: int) -> list[int]:
    """Indices of the tasks in the order of training: whole shuffles, one after another.

    Each shuffle spreads every kind of task evenly. A step of few prompts then holds about the same
    share of each kind as every other step, and the mean reward of a step says more about the
    policy than about its tasks: a call is harder than a refusal.

    Args:
        kinds: the kind of each task.
        wanted: length of the order.
        seed: seed of the shuffles.
    """
    rng = random.Random(f"order-{seed}")
    members: dict[str, list[int]] = defaultdict(list)
    for index, kind in enumerate(kinds):
        members[kind].append(index)
    order: list[int] = []
    while kinds and len(order) < wanted:
        places: list[tuple[float, int]] = []
        for tasks in members.values():
            rng.shuffle(tasks)
            offset = rng.random()
            places += [((n + offset) / len(tasks), task) for n, task in enumerate(tasks)]
        order += [task for _, task in sorted(places)]
    return order[:wanted]
