"""Answers of a stranger's folder, scored again by the installed nvidia-bfcl in its sandbox."""

import json
from pathlib import Path

import pytest

from toolgain.bfcl.data import installed_data, load_full
from toolgain.common.errors import UserError
from toolgain.comparison import evaluations
from toolgain.evaluation.rescore import rescorer

BFCL_ENV = Path(__file__).parents[2] / ".venvs" / "bfcl"
CATEGORY = "parallel"

pytestmark = pytest.mark.slow


def folder(root: Path, answers: list[str], wrong: list[int]) -> Path:
    """The first items of a category, answered in prompt mode, as bfcl-eval scored them."""
    items = load_full(installed_data(BFCL_ENV))[CATEGORY][: len(answers)]
    rows = [
        {"id": item.id, "result": answer, "latency": 1.0}
        for item, answer in zip(items, answers, strict=True)
    ]
    head = {"correct_count": len(rows) - len(wrong), "total_count": len(rows)}
    bad = [
        {
            "id": items[place].id,
            "error_type": "x",
            "prompt": dict(items[place].entry),
            "possible_answer": items[place].expected,
        }
        for place in wrong
    ]
    for kind, lines in (("result", rows), ("score", [head, *bad])):
        file = root / kind / "m" / f"BFCL_v3_{CATEGORY}_{kind}.json"
        file.parent.mkdir(parents=True)
        file.write_text("\n".join(json.dumps(line) for line in lines))
    return root


def right(number: int) -> str:
    """The expected calls of an item as text."""
    (item,) = load_full(installed_data(BFCL_ENV))[CATEGORY][number : number + 1]
    calls = []
    for call in item.expected:
        ((name, arguments),) = call.items()
        given = {key: allowed[0] for key, allowed in arguments.items() if allowed[0] != ""}
        calls.append(f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})")
    return f"[{', '.join(calls)}]"


def test_answers_of_prompt_mode(tmp_path: Path) -> None:
    root = folder(tmp_path / "prompt", [right(0), "I do not know.", right(2)], [1])
    before = evaluations.read_evaluation(root, BFCL_ENV)
    with rescorer(BFCL_ENV) as rescore:
        found = rescore(before)
    assert found.right[:, 0].tolist() == [1, 0, 1]
    assert found.source is not None and found.source.mode == "prompt"
    assert "0 answers are scored otherwise" in found.scored_again


def test_a_form_that_is_not_read_is_refused(tmp_path: Path) -> None:
    """The folder's own scorer read the answers; nvidia-bfcl does not."""
    tag = "<tool_call>{}</tool_call>"
    root = folder(tmp_path / "tags", [tag, tag, tag], [])
    with rescorer(BFCL_ENV) as rescore:
        before = evaluations.read_evaluation(root, BFCL_ENV)
        with pytest.raises(UserError, match="scores 3 of 3 answers otherwise than the folder does"):
            rescore(before)
