"""What is taken over from a folder that hostile code could write, and what is not."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from toolgain.evaluation import box

NAME = "BFCL_v3_simple_result.json"
PARTS = ("harness", "result", "policy", NAME)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "box"
    box.fill(folder, tmp_path / "outside", "policy", ["simple"])
    (tmp_path / "secret").write_text('{"id": "secret"}\n')
    return folder


def collect(made: Path) -> tuple[str | None, list[str]]:
    outside = made.parent / "outside"
    refused = box.empty_box(made, outside, "policy", ["simple"])
    taken = outside / "result" / "policy" / NAME
    return (taken.read_text() if taken.exists() else None), refused


def test_rows_go_in_and_come_out(made: Path) -> None:
    made.joinpath(*PARTS).write_text('{"id": "a"}\n{"id": "b"}')
    assert collect(made) == ('{"id": "a"}\n{"id": "b"}\n', [])
    assert not made.exists()
    box.fill(made, made.parent / "outside", "policy", ["simple"])
    assert made.joinpath(*PARTS).read_text() == '{"id": "a"}\n{"id": "b"}\n'


def test_lines_that_are_no_rows_stay_out(made: Path) -> None:
    deep = "[" * 50_000 + "]" * 50_000
    lines = ["[1]", '{"id": "cut', f'{{"id": {deep}}}']
    made.joinpath(*PARTS).write_text("\n".join([*lines, '{"id": "a"}', ""]))
    assert collect(made) == ('{"id": "a"}\n', [])


def test_row_that_is_too_deep_stays_without_its_depths(made: Path) -> None:
    """A score file lists the wrong answers: a row that went missing would count as right."""
    deep = '{"id": "a", "error": ' + '{"a": ' * 200 + "1" + "}" * 201
    made.joinpath(*PARTS).write_text(deep + "\n")
    text, refused = collect(made)
    assert json.loads(text)["id"] == "a" and refused == []
    assert text.count("{") < 105


def link(path: Path) -> None:
    path.symlink_to(path.parents[4] / "secret")


def hard_link(path: Path) -> None:
    os.link(path.parents[4] / "secret", path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, box.FILE_SIZE + 1)


@pytest.mark.parametrize("make", [link, hard_link, os.mkfifo, device, huge, Path.mkdir])
def test_only_ordinary_files_are_read(made: Path, make: Callable[[Path], None]) -> None:
    make(made.joinpath(*PARTS))
    taken, refused = collect(made)
    assert taken is None
    assert len(refused) == 1 and refused[0].startswith(NAME)
    assert (made.parent / "secret").read_text() == '{"id": "secret"}\n'


def test_link_in_the_place_of_a_folder_is_not_followed(made: Path) -> None:
    other = made.parent / "other"
    (other / "policy").mkdir(parents=True)
    (other / "policy" / NAME).write_text('{"id": "other"}\n')
    (made / "harness" / "result" / "policy").rmdir()
    (made / "harness" / "result").rmdir()
    (made / "harness" / "result").symlink_to(other)
    assert collect(made)[0] is None
    assert box.rows_written(made, "policy", {}) == 0
    assert (other / "policy" / NAME).exists()


def test_scores_of_an_earlier_run_are_not_kept(made: Path) -> None:
    old = made.parent / "outside" / "score" / "policy"
    old.mkdir(parents=True)
    (old / "BFCL_v3_simple_score.json").write_text("{}\n")
    collect(made)
    assert not old.exists()


def test_folder_that_hides_itself_is_removed(made: Path) -> None:
    hidden = made / "a" / "b"
    hidden.mkdir(parents=True)
    hidden.chmod(0)
    box.empty(made)
    assert not made.exists()


def test_rows_are_counted_as_they_come(made: Path) -> None:
    offsets: dict[str, int] = {}
    file = made.joinpath(*PARTS)
    file.write_text("{}\n{}\n")
    assert box.rows_written(made, "policy", offsets) == 2
    with file.open("a") as more:
        more.write("{}\n")
    assert box.rows_written(made, "policy", offsets) == 1


def test_folders_nested_beyond_any_path_are_removed(made: Path) -> None:
    """Links stay unfollowed, and names may hold anything."""
    here, name = os.open(made, os.O_RDONLY), "d" * 50
    for depth in range(1200):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        if depth % 100 == 0:
            os.symlink(made.parent, "link", dir_fd=here)
            os.mkdir(b"line\nbreak \xff", dir_fd=here)
            os.chmod(name, 0, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    made.chmod(0)
    box.empty(made)
    assert not made.exists()
    assert (made.parent / "secret").exists()


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (lambda box: [(box / str(n)).touch() for n in range(30)], "more than 20 files"),
        (lambda box: (box / "large").write_bytes(bytes(3 << 20)), "more than 0 GiB"),
        (lambda box: (box / Path(*"abcdefghijkl")).mkdir(parents=True), "nested 8 deep"),
        (lambda box: os.truncate(os.open(box / "x", os.O_CREAT | os.O_RDWR), 1 << 40), None),
        (lambda box: (box / "link").symlink_to("/usr"), None),
    ],
    ids=["files", "bytes", "depth", "holes", "a link out"],
)
def test_a_folder_that_code_fills_is_found_without_looking_at_all_of_it(
    fill: Callable[[Path], object],
    said: str | None,
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, limit in (("MAX_ENTRIES", 20), ("MAX_BYTES", 2 << 20), ("MAX_DEPTH", 8)):
        monkeypatch.setattr(box, name, limit)
    assert box.overfull(made) is None
    fill(made)
    found = box.overfull(made)
    assert found is None if said is None else said in str(found)


def test_a_folder_that_is_not_there_is_not_overfull(tmp_path: Path) -> None:
    assert box.overfull(tmp_path / "box") is None
