"""Keeping BFCL's names and questions out of the tasks, shown on a small data folder."""

import json
from pathlib import Path

import pytest

from toolgain.tasks import contamination as c


@pytest.fixture
def data(tmp_path: Path) -> Path:
    question = "Could somebody please tell me the height of the old tower in the park?"
    item = {"id": "simple_0", "question": [[{"role": "user", "content": question}]],
            "function": [{"name": "tower.get_height"}]}  # fmt: skip
    (tmp_path / "BFCL_v3_simple.json").write_text(json.dumps(item) + "\n")
    (tmp_path / "BFCL_v3_rest.json").write_text(json.dumps({**item, "id": "rest_0"}) + "\n")
    (tmp_path / "multi_turn_func_doc").mkdir()
    (tmp_path / "multi_turn_func_doc" / "files.json").write_text('{"name": "cd"}\n')
    return tmp_path


def task(name: str, question: str) -> dict:
    return {
        "prompt": [{"role": "user", "content": question}],
        "tools": [{"function": {"name": name}}],
    }


def test_only_scored_categories_are_read(data: Path):
    names, questions = c.bfcl_texts(data)
    assert names == ["tower.get_height", "cd"]
    assert len(questions) == 1


def test_a_name_is_shared_however_it_is_written(data: Path):
    found = c.overlap([task("Tower_getHeight", "Hello"), task("get_age", "Hello")], data)
    assert (found.name_overlap, found.ngram_overlap) == (0.5, 0.0)
    assert found.shared_names == ("Tower_getHeight",)


def test_eight_words_in_a_row_are_shared_text_and_seven_are_not(data: Path):
    eight = "Now, tell me the height of the OLD tower!"
    seven = "Now, tell me the height of the old castle!"
    assert c.overlap([task("a", eight)], data).ngram_overlap == 1
    assert c.overlap([task("a", seven)], data).ngram_overlap == 0


def test_reserved_names_are_kept_as_checksums():
    listed = c.reserve(["tower.get_height", "tower_get_height", "cd"])
    assert listed.split() == sorted({c.name_digest("towerGetHeight"), c.name_digest("cd")})
    assert "tower" not in listed
    assert len(c.RESERVED_FILE.read_text().split()) > 1000


@pytest.mark.skipif(
    not list(Path(".venvs").glob("bfcl/lib/python*/site-packages/bfcl/data")),
    reason="the bfcl environment is not set up",
)
def test_every_name_of_the_installed_bfcl_is_reserved():
    (folder,) = Path(".venvs").glob("bfcl/lib/python*/site-packages/bfcl/data")
    names, questions = c.bfcl_texts(folder)
    assert len(questions) == 4441
    assert all(c.is_reserved(name) for name in names)
