"""Answers to BFCL's items with known mistakes, made from the expected answers of a data folder.

Run with any Python; writes the result files that `bfcl generate` would have written, in native
calling mode:

    python synthetic_answers.py DATA_FOLDER PREFIX OUT SEED SHARE_WRONG [LIMIT]
"""

import ast
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
RELEVANCE = ("irrelevance", "live_irrelevance", "live_relevance")


def calls_of(expected: list[Row]) -> list[Row]:
    """The first allowed value of each argument, as the calls that a handler writes down."""
    calls = []
    for call in expected:
        ((name, arguments),) = call.items()
        values = {key: _first(allowed) for key, allowed in arguments.items()}
        given = {key: value for key, value in values.items() if value != ""}
        calls.append({name: json.dumps(given)})
    return calls


def _first(allowed: Any) -> Any:
    if not isinstance(allowed, list) or not allowed:
        return allowed
    value = allowed[0]
    if isinstance(value, dict):
        return {key: _first(inner) for key, inner in value.items() if _first(inner) != ""}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [{k: _first(v) for k, v in entry.items() if _first(v) != ""} for entry in value]
    return value


def turns_of(ground_truth: list[list[str]]) -> list[list[Any]]:
    """Each turn's calls in one step, and a closing text."""
    turns: list[list[Any]] = []
    for texts in ground_truth:
        try:
            calls = [_call(text) for text in texts]
        except SyntaxError:
            # An expected call of nvidia-bfcl's data has a quote too many.
            calls = []
        turns.append([calls, "Done."] if calls else ["I cannot do that yet."])
    return turns


def _call(text: str) -> Row:
    node = ast.parse(text, mode="eval").body
    assert isinstance(node, ast.Call)
    arguments = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
    return {ast.unparse(node.func): json.dumps(arguments)}


def rows(data: Path, prefix: str, category: str, seed: int, wrong: float) -> Iterator[Row]:
    """One row per item of `category`; a share of them is wrong."""
    draw = random.Random(f"{seed}/{category}")
    entries = _lines(data / f"{prefix}_{category}.json")
    answers: list[Row | None] = [None] * len(entries)
    if category not in RELEVANCE:
        answers = list(_lines(data / "possible_answer" / f"{prefix}_{category}.json"))
    for entry, answer in zip(entries, answers, strict=True):
        mistaken = draw.random() < wrong
        counts: Any = 7
        if category.startswith("multi_turn"):
            assert answer is not None
            result: Any = turns_of(answer["ground_truth"])
            if mistaken:
                result[0] = ["I do not know."]
            counts = [[7 for _ in turn] for turn in result]
        elif answer is None:
            call = bool(entry["function"]) and (category == "live_relevance") != mistaken
            result = [{entry["function"][0]["name"]: "{}"}] if call else "No tool fits."
        else:
            result = "I do not know." if mistaken else calls_of(answer["ground_truth"])
        yield {
            "id": entry["id"],
            "result": result,
            "input_token_count": counts,
            "output_token_count": counts,
            "latency": counts,
        }


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().split("\n") if line.strip()]


def main() -> None:
    data, prefix, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    seed, wrong = int(sys.argv[4]), float(sys.argv[5])
    limit = int(sys.argv[6]) if len(sys.argv) > 6 else None
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(data.glob(f"{prefix}_*.json")):
        category = file.stem.removeprefix(f"{prefix}_")
        if not (data / "possible_answer" / file.name).exists() and category not in RELEVANCE:
            continue
        if category in ("memory", "web_search"):
            continue
        found = list(rows(data, prefix, category, seed, wrong))[:limit]
        text = "".join(json.dumps(row) + "\n" for row in found)
        (out / f"{prefix}_{category}_result.json").write_text(text)


if __name__ == "__main__":
    main()
