"""Training tasks over the tools that are written by hand, asked for in words of their own."""

from __future__ import annotations

from random import Random

from toolgain.demo_model.everyday import ask_beyond, everyday_question, make_offers
from toolgain.tasks.generated.generate import join_requests
from toolgain.tasks.generated.task import Task, TaskKind

_TOOLS: dict[TaskKind, tuple[int, ...]] = {
    "call": (1,),
    "multiple": (2, 2, 3, 3, 4),
    "parallel": (1, 1, 2),
    "none": (1, 1, 1, 2, 3),
}
"""Numbers of tools of each kind of task, one of which is drawn."""


def everyday_task(rng: Random, kind: TaskKind, id_: str) -> Task:
    """One task of the given kind."""
    while True:
        offers = make_offers(rng, rng.choice(_TOOLS[kind]))
        if kind == "none":
            request = ask_beyond(rng, offers)
        elif kind != "parallel":
            request = everyday_question(rng, rng.choice(offers))
        elif len(offers) > 1:
            first, second = rng.sample(offers, 2)
            request = join_requests(
                rng, everyday_question(rng, first), everyday_question(rng, second)
            )
        else:
            request = everyday_question(rng, offers[0], calls=rng.choice((2, 2, 3)))
        if kind != "parallel" or len(request.calls) > 1:
            schemas = tuple(offer.schema for offer in offers)
            return Task(id_, kind, request.text, schemas, request.calls, request.topic)
