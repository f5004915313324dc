"""Score again, in a fresh sandbox, since code that a model wrote may run beside the first scorer.

The harness scores in the place where it has evaluated the model's calls, so a call could have
changed the scores. Therefore the same result rows, which the request log vouches for, are always
scored once more by the harness's own evaluator, in a process where nothing of the model runs: a
call that is not the name of an offered function with plain arguments is replaced by the name of no
function. A difference makes the evaluation invalid, and the second scores are the true ones. For
all 4441 items this takes four seconds of processor time, two of which are the program's start.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolgain.bfcl.categories import group_of
from toolgain.bfcl.data import Items
from toolgain.bfcl.outcomes import ItemOutcome
from toolgain.bfcl.results import Row, result_file
from toolgain.common.files import replacing

NO_FUNCTION = "no_function_of_this_name"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_plain(answer: object, offered: Iterable[str]) -> bool:
    """Whether an answer, as the harness decodes it, is text or calls offered functions alone.

    Args:
        answer: text, or calls as `[{name: arguments}]`, arguments as JSON text.
        offered: the names of the functions as the harness writes them.
    """
    if not isinstance(answer, list):
        return True
    names = set(offered)
    return all(
        isinstance(call, dict) and all(_is_plain_call(*one, names) for one in call.items())
        for call in answer
    )


def _is_plain_call(name: object, arguments: object, offered: set[str]) -> bool:
    if not isinstance(name, str) or name not in offered or not _NAME.fullmatch(name):
        return False
    try:
        values = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        # The harness cannot read it either, and calls nothing.
        return True
    return isinstance(values, dict) and all(map(_NAME.fullmatch, values))


def write_harmless(rows: dict[str, list[Row]], items: Items, folder: Path) -> None:
    """Write result files in which no row makes the evaluator run what the model wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    for category, found in rows.items():
        offered = {
            name.replace(".", "_")
            for item in items[category]
            for turn in range(len(item.question))
            for name in item.functions_at(turn)
        }
        with replacing(result_file(folder, category)) as file:
            for row in found:
                if group_of(category) == "multi_turn" and isinstance(row["result"], list):
                    row = {**row, "result": _harmless(row["result"], offered)}
                file.write(json.dumps(row) + "\n")


def _harmless(result: Sequence[object], offered: set[str]) -> list[object]:
    return [
        [
            step if is_plain(step, offered) else [{NO_FUNCTION: "{}"} for _ in as_list(step)]
            for step in as_list(turn)
        ]
        for turn in result
    ]


def as_list(value: object) -> Sequence[object]:
    """`value` itself, or a list that holds it."""
    return value if isinstance(value, list) else [value]


def scored_otherwise(harness: Sequence[ItemOutcome], again: Sequence[ItemOutcome]) -> list[str]:
    """The items that the harness scored otherwise than the second time."""
    truth = {row.key: row.valid for row in again}
    return [row.id for row in harness if truth.get(row.key) != row.valid]
