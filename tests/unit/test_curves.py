"""Training curves from TensorBoard files, over several launches."""

from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from toolgain.training.store import curves


def launch(logs: Path, number: int, values: dict[int, float], name: str = curves.REWARD) -> Path:
    """One launch's folder with a curve."""
    folder = logs / f"exp_{number:03d}" / "tensorboard"
    writer = EventFileWriter(str(folder))
    for step, value in values.items():
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        writer.add_event(Event(step=step, wall_time=float(step), summary=summary))
    writer.close()
    return next(folder.iterdir())


def test_the_later_launch_wins_at_an_equal_step(tmp_path: Path) -> None:
    launch(tmp_path, 1, {1: 0.1, 2: 0.2, 3: 0.3})
    launch(tmp_path, 2, {3: 0.35, 4: 0.4})
    launch(tmp_path, 10, {4: 0.45})
    found = curves.read_curves(tmp_path)[curves.REWARD]
    assert [step for step, _ in found] == [1, 2, 3, 4]
    assert [value for _, value in found] == pytest.approx([0.1, 0.2, 0.35, 0.45])


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    launch(tmp_path, 1, {1: 0.5, 2: float("nan"), 3: float("inf")})
    assert curves.read_curves(tmp_path)[curves.REWARD] == [(1, 0.5)]


def test_a_file_that_was_cut_off_gives_what_is_before_the_cut(tmp_path: Path) -> None:
    path = launch(tmp_path, 1, {1: 0.5, 2: 0.25, 3: 0.125})
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 5)
    assert curves.read_curves(tmp_path)[curves.REWARD] == [(1, 0.5), (2, 0.25)]


def test_a_folder_of_event_files_alone_is_one_launch(tmp_path: Path) -> None:
    launch(tmp_path, 1, {0: 0.75}, curves.ACCURACY)
    found = curves.read_curves(tmp_path / "exp_001")[curves.ACCURACY]
    assert curves.at(found, 0) == 0.75
    assert curves.at(found, 5) is None


def test_launches_are_numbered_on(tmp_path: Path) -> None:
    assert curves.next_launch(tmp_path / "none").name == "exp_001"
    for number in (1, 2, 10):
        (tmp_path / f"exp_{number:03d}").mkdir()
    (tmp_path / "experiments").mkdir()
    assert curves.next_launch(tmp_path).name == "exp_011"
