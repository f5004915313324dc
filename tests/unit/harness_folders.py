"""Harness folders for tests, written as nvidia-bfcl writes them."""

import atexit
import json
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from toolgain.bfcl import results
from toolgain.bfcl.data import Item, Items, installed_data, load_full
from toolgain.bfcl.decoder import Decoder, decoding
from toolgain.bfcl.outcomes import ItemOutcome
from toolgain.bfcl.results import PREFIX

Row = dict[str, Any]
BFCL_ENV = Path(__file__).parents[2] / ".venvs" / "bfcl"


@cache
def all_items() -> Items:
    """The 4441 items, read where a test first needs them."""
    return load_full(installed_data(BFCL_ENV))


@cache
def decoder() -> Decoder:
    """The harness's decoder, in one process for all tests."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(decoding(BFCL_ENV))


def outcomes(
    folder: Path, items: Items, requests: results.RequestLog | None = None
) -> list[ItemOutcome]:
    """The outcomes of a harness folder, decoded by the harness's own decoder."""
    return results.outcomes(folder, items, decoder().decode, requests=requests)


def item(category: str, number: int, occurrence: int = 0, **entry: Any) -> Item:
    """A made-up item. `id` gives it another id than its number."""
    item_id = entry.pop("id", f"{category}_{number}")
    asked = {"id": item_id, "question": [[{"role": "user", "content": f"{category} {number}"}]]}
    tool = {"name": "f", "description": "", "parameters": {"type": "dict", "properties": {}}}
    answer = None
    if not category.endswith("relevance"):
        answer = {"id": item_id, "ground_truth": [{"f": {"x": [number]}}]}
    return Item(
        category, item_id, occurrence, number, {**asked, "function": [tool], **entry}, answer, {}
    )


def answered(item: Item, result: Any, tokens: int = 7) -> Row:
    """The row of an answer."""
    return {
        "id": item.id,
        "result": result,
        "input_token_count": 11,
        "output_token_count": tokens,
        "latency": 0.5,
    }


def failed(item: Item, reason: str = "502 Server Error: connection for url: http://h/") -> Row:
    """The row of a request that failed."""
    return {"id": item.id, "result": f"Error during inference: {reason}"}


def wrong(item: Item, kind: str = "simple_function_checker:wrong_count", **other: Any) -> Row:
    """The row of a wrong answer in a score file."""
    return {
        "id": item.id,
        "valid": False,
        "error": ["Wrong number of functions."],
        "error_type": kind,
        "prompt": dict(item.entry),
        **other,
    }


def write(
    folder: Path, category: str, rows: list[Row], wrong_rows: list[Row] | None = None
) -> Path:
    """Write result and score file of a category; returns the model's result folder."""
    results, scores = folder / "result" / "policy", folder / "score" / "policy"
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{PREFIX}{category}_result.json").write_text(
        "".join(json.dumps(row) + "\n" for row in rows)
    )
    if wrong_rows is not None:
        scores.mkdir(parents=True, exist_ok=True)
        head = {"accuracy": 0.0, "correct_count": 0, "total_count": len(rows)}
        (scores / f"{PREFIX}{category}_score.json").write_text(
            "\n".join(json.dumps(row) for row in [head, *wrong_rows])
        )
    return results
