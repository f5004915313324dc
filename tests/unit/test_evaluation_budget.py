"""The time budget of an evaluation, over attempts that were interrupted."""

import json
import time
from pathlib import Path

import pytest

from toolgain.common.errors import UserError
from toolgain.evaluation.budget import Budget


def spent(folder: Path, hours: object) -> Path:
    file = folder / "spent.json"
    file.write_text(json.dumps({"schema": 1, "hours": hours}))
    return file


def started(file: Path, max_hours: float | None) -> Budget:
    budget = Budget(file, max_hours)
    budget.start()
    return budget


def test_resumed_evaluation_continues_with_what_is_left(tmp_path: Path) -> None:
    budget = started(spent(tmp_path, 1.5), 2.0)
    assert not budget.is_spent
    assert budget.give_up_at == pytest.approx(time.time() + 1800, abs=60)
    budget.keep(at_once=True)
    assert 1.5 <= json.loads((tmp_path / "spent.json").read_text())["hours"] < 1.6
    assert started(spent(tmp_path, 2.0), 2.0).is_spent
    assert not started(spent(tmp_path, 2.0), 3.0).is_spent, "a higher limit resumes"
    assert not started(spent(tmp_path, 2.0), None).is_spent


def test_evaluation_with_its_record_gives_the_next_one_all_the_time(tmp_path: Path) -> None:
    file = tmp_path / "spent.json"
    budget = started(file, 2.0)
    budget.keep(at_once=True)
    assert file.exists()
    budget.close()
    assert not file.exists()
    budget.close()


@pytest.mark.parametrize("hours", [-1, "1", None, float("nan"), float("inf"), [1], True])
def test_file_that_is_no_record_is_refused(tmp_path: Path, hours: object) -> None:
    with pytest.raises(UserError, match=r"spent\.json"):
        started(spent(tmp_path, hours), 2.0)
