"""items.csv and questions.jsonl.gz read back as they were written."""

from pathlib import Path

import pytest
from evaluation_folders import outcome
from hypothesis import given, settings
from hypothesis import strategies as st

from questions import read_questions
from toolgain.bfcl.outcomes import (
    FLAGS,
    ITEMS,
    ItemOutcome,
    accuracies,
    read_items,
    write_items,
    write_questions,
)
from toolgain.common.errors import UserError

# Line ends inside of a field are kept; a carriage return alone is not text that models write.
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\x00"))


@settings(max_examples=50, deadline=None)
@given(TEXT, TEXT, st.lists(st.sampled_from(FLAGS), unique=True), st.booleans())
def test_table_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    answer: str,
    message: str,
    flags: list[str],
    right: bool,
) -> None:
    folder = tmp_path_factory.mktemp("items")
    row = outcome("simple", 3, right, answer=answer, error_message=message, flags=tuple(flags))
    write_items(folder, [row])
    assert read_items(folder) == [row]


def test_foreign_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / ITEMS).write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="has other columns"):
        read_items(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        read_items(tmp_path / "nowhere")


def test_cut_table_is_refused(tmp_path: Path) -> None:
    write_items(tmp_path, [outcome("simple", n, True) for n in range(3)])
    text = (tmp_path / ITEMS).read_text()
    (tmp_path / ITEMS).write_text(text[:-30])
    with pytest.raises(UserError, match="cannot be read"):
        read_items(tmp_path)


def test_questions_read_back_and_are_the_same_bytes(tmp_path: Path) -> None:
    rows = [{"category": "simple", "id": "simple_0", "question": [[{"content": "é\u2028"}]]}]
    write_questions(tmp_path, rows)
    first = (tmp_path / "questions.jsonl.gz").read_bytes()
    write_questions(tmp_path, rows)
    assert (tmp_path / "questions.jsonl.gz").read_bytes() == first
    assert read_questions(tmp_path) == rows


def test_accuracy_is_the_mean_over_items_and_repeats() -> None:
    made: list[ItemOutcome] = [
        outcome("simple", 0, True),
        outcome("simple", 0, False, repeat=1),
        outcome("java", 0, True),
    ]
    assert accuracies(made) == {"simple": 50.0, "java": 100.0}
    strict = [made[0]._replace(strict_valid=False)]
    assert accuracies(strict, strict=True) == {"simple": 0.0}
