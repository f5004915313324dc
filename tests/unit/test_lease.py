"""One training writes into a checkpoint folder at a time."""

import json
import multiprocessing
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from toolgain.common.errors import StageError
from toolgain.training.store import lease
from toolgain.training.store.lease import Lease


def left_behind(folder: Path, age: float = 0, **fields: Any) -> None:
    """A lease file as a holder on another machine leaves it."""
    holder = {
        "token": "theirs",
        "host": "node7",
        "pid": 4242,
        "process_started": 0.0,
        "slurm_job_id": None,
        "slurm_restarts": None,
        "since": "2026-01-01T00:00:00+00:00",
    } | fields
    path = folder / "lease.json"
    path.write_text(json.dumps(holder))
    moment = time.time() - age
    os.utime(path, (moment, moment))


def hold(folder: str, held: Any, end: Any) -> None:
    with Lease(Path(folder)):
        held.set()
        end.wait(30)


def test_a_lease_is_held_to_the_end_of_the_block(tmp_path: Path) -> None:
    with Lease(tmp_path) as mine:
        assert mine.is_held()
        assert json.loads((tmp_path / "lease.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "lease.json").exists()


def test_a_living_holder_on_this_machine_is_refused_and_a_killed_one_is_not(
    tmp_path: Path,
) -> None:
    context = multiprocessing.get_context("spawn")
    held, end = context.Event(), context.Event()
    process = context.Process(target=hold, args=(str(tmp_path), held, end))
    process.start()
    assert held.wait(120)
    with pytest.raises(StageError, match=f"process {process.pid} on {socket.gethostname()}"):
        Lease(tmp_path).__enter__()
    process.kill()
    process.join()
    with Lease(tmp_path) as mine:
        assert mine.taken_from is not None
        assert mine.taken_from.pid == process.pid


def test_a_process_number_that_was_given_out_again_is_no_holder(tmp_path: Path) -> None:
    left_behind(tmp_path, host=socket.gethostname(), pid=os.getpid(), process_started=1.0)
    with Lease(tmp_path) as mine:
        assert mine.taken_from is not None


def test_a_holder_elsewhere_lives_while_its_lease_is_fresh(tmp_path: Path) -> None:
    left_behind(tmp_path, age=5)
    with pytest.raises(StageError, match=r"process 4242 on node7.* heartbeat was \d+ s ago"):
        Lease(tmp_path).__enter__()
    left_behind(tmp_path, age=lease.SILENT_SECONDS + 5)
    with Lease(tmp_path) as mine:
        assert mine.taken_from is not None


@pytest.mark.parametrize("alive", [True, False])
def test_slurm_is_asked_about_a_holder_elsewhere(tmp_path: Path, alive: bool) -> None:
    left_behind(tmp_path, age=10_000 if alive else 5, slurm_job_id="77")
    asked: list[str] = []

    def job_alive(job_id: str) -> bool:
        asked.append(job_id)
        return alive

    if alive:
        with pytest.raises(StageError, match=r"Slurm job 77.*Slurm says its job is there"):
            Lease(tmp_path, job_alive).__enter__()
    else:
        with Lease(tmp_path, job_alive):
            pass
    assert asked == ["77"]


def test_without_an_answer_of_slurm_the_age_of_the_lease_counts(tmp_path: Path) -> None:
    left_behind(tmp_path, age=5, slurm_job_id="77")
    with pytest.raises(StageError, match="last heartbeat"):
        Lease(tmp_path, lambda _: None).__enter__()


def test_the_same_slurm_job_started_again_takes_its_own_lease_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    left_behind(tmp_path, age=1, slurm_job_id="77")
    with Lease(tmp_path, lambda _: True) as mine:
        assert mine.taken_from is not None


def test_a_lease_that_was_taken_over_is_not_deleted(tmp_path: Path) -> None:
    with Lease(tmp_path) as mine:
        left_behind(tmp_path)
        assert not mine.is_held()
    assert json.loads((tmp_path / "lease.json").read_text())["token"] == "theirs"


def test_an_unreadable_lease_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "lease.json").write_text('{"token": ')
    with Lease(tmp_path) as mine:
        assert mine.is_held()
