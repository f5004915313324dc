"""Evaluation folders for tests: real sizes and made-up outcomes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from toolgain.bfcl import outcomes
from toolgain.bfcl.categories import POPULATION, group_of
from toolgain.bfcl.outcomes import ItemOutcome
from toolgain.common.files import write_json

Right = Callable[[str, int], bool]
"""Whether the item at this position of this category is answered right."""

COMPARABLE = {
    "items": "4441-items",
    "scorer": "nvidia-bfcl 26.3",
    "alias": "policy",
    "chat_template": "a-template",
    "sampling": {"temperature": 0.0},
    "server_version": "5.23",
}


def outcome(category: str, index: int, right: bool, repeat: int = 0, **other: Any) -> ItemOutcome:
    """One row; live items stand in documents of three, multi-turn ones in scenarios."""
    cluster = {
        "multi_turn": f"mt_{index}",
        "live": f"live_doc_{index // 3}",
    }.get(group_of(category), f"{category}/{index}")
    values: dict[str, Any] = {
        "category": category,
        "id": f"{category}_{index}",
        "occurrence": 0,
        "index": index,
        "repeat": repeat,
        "cluster": cluster,
        "valid": right,
        "strict_valid": right,
        "error_type": "" if right else "ast_checker:wrong_value",
        "error_message": "",
        "answer": "[]",
        "expected": "[]",
        "calls": 1,
        "flags": (),
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "latency_s": 0.1,
        "requests": 1,
        "finish_reason": "stop",
    }
    return ItemOutcome(**(values | other))


def rows(
    right: Right, sizes: Mapping[str, int] = POPULATION, repeats: int = 1
) -> list[ItemOutcome]:
    """All items of all categories."""
    return [
        outcome(category, index, right(category, index), repeat)
        for category, size in sizes.items()
        for index in range(size)
        for repeat in range(repeats)
    ]


def write(
    folder: Path,
    items: list[ItemOutcome],
    digest: str | None = None,
    summary: Mapping[str, Any] | None = None,
    comparable: Mapping[str, Any] | None = None,
) -> Path:
    """Write an evaluation folder like `toolgain evaluate` does."""
    n = len({item.key for item in items})
    folder.mkdir(parents=True)
    outcomes.write_items(folder, items)
    write_json(
        folder / outcomes.SUMMARY,
        {
            "schema": 1,
            "subject": folder.name,
            "n": n,
            "subset": None if n == sum(POPULATION.values()) else {"seed": 1},
            "valid": True,
            "reasons": [],
            "canary": {"answered": True, "parsed_call": True, "text": True},
            **(summary or {}),
        },
    )
    write_json(
        folder / outcomes.MANIFEST,
        {
            "schema": 1,
            "subject": folder.name,
            "weights": {"path": "/m", "digest": digest or folder.name, "name": "m"},
            "comparable": {**COMPARABLE, **(comparable or {})},
        },
    )
    return folder
