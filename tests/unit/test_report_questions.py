"""What the items of strangers' folders ask: known from their rows or their data, never assumed."""

from pathlib import Path

import pytest
from harness_folders import BFCL_ENV, all_items, answered, write, wrong

from toolgain.bfcl.data import installed_data
from toolgain.common.errors import UserError
from toolgain.report.questions import BfclData, known_questions, read_plain, with_expected

DATA = installed_data(BFCL_ENV)
CALL = [{"f": '{"x": 1}'}]
INSTALLED = BfclData(BFCL_ENV)


def folder(root: Path, question: object = None) -> Path:
    """The first three items of a category, the second wrong, with its question repeated."""
    first = all_items()["parallel"][:3]
    bad = wrong(first[1], possible_answer=first[1].expected)
    if question is not None:
        bad["prompt"]["question"] = question
    write(root, "parallel", [answered(one, CALL) for one in first], [bad])
    return root


def test_a_question_that_every_revision_has_is_known_without_its_tools(tmp_path: Path) -> None:
    read = read_plain(folder(tmp_path), INSTALLED)
    assert len(read.source.revision.names) > 1
    known = known_questions(read, INSTALLED)
    first, second, third = all_items()["parallel"][:3]
    assert [known[one.key].turns for one in (first, second)] == [first.question, second.question]
    assert known[second.key].tools == second.tools, "the wrong row repeats them"
    assert known[third.key].tools is None
    expected = [one.expected for one in with_expected(read.outcomes, known)]
    assert all(text.startswith("[{") for text in expected)


def test_the_data_that_the_folder_was_asked_with_say_the_rest(tmp_path: Path) -> None:
    read = read_plain(folder(tmp_path), INSTALLED)
    known = known_questions(read, BfclData(BFCL_ENV, DATA))
    assert [known[one.key].tools for one in all_items()["parallel"][:3]] == [
        one.tools for one in all_items()["parallel"][:3]
    ]


def test_of_an_unknown_revision_the_rows_alone_tell(tmp_path: Path) -> None:
    other = [[{"role": "user", "content": "Something else?"}]]
    read = read_plain(folder(tmp_path, other), INSTALLED)
    known = known_questions(read, INSTALLED)
    assert [(key[1], one.turns) for key, one in known.items()] == [("parallel_1", other)]
    assert [one.expected != "" for one in with_expected(read.outcomes, known)] == [
        False,
        True,
        False,
    ]
    with pytest.raises(UserError, match=r"another revision than .*: 1 item .* such as parallel_1"):
        known_questions(read, BfclData(BFCL_ENV, DATA))


def test_a_folder_that_holds_no_data_is_named(tmp_path: Path) -> None:
    read = read_plain(folder(tmp_path), INSTALLED)
    with pytest.raises(UserError, match=r"--data: .*does not exist"):
        known_questions(read, BfclData(BFCL_ENV, tmp_path))
