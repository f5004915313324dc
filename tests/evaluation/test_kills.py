"""Kill -9 at random moments: the evaluation resumes and ends with the same table."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from evaluating import Evaluation, command, evaluate
from fault_server import FaultServer

pytestmark = pytest.mark.slow

KILLS = 20
# A few items more than elsewhere, so that there is something to interrupt.
SUBSET = {"non_live": 2, "live": 2, "multi_turn": 1}
SECTION = {"subset": SUBSET, "retry": {"rounds": 4, "backoff_s": 0.1, "request_timeout_s": 20}}


def processes_of(folder: Path) -> list[psutil.Process]:
    """Processes of an evaluation below `folder`, besides the stage itself: of the harness, its
    sandbox and supervisor, and of the gateway."""
    found = []
    for process in psutil.process_iter():
        try:
            said = [*process.cmdline(), *process.environ().values(), process.cwd()]
        except (psutil.Error, OSError):
            continue
        if "evaluate" not in said and any(str(folder) in text for text in said):
            found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    dice = random.Random(7)
    with FaultServer(delay_s=0.05) as server:
        undisturbed = evaluate(server, tmp_path / "undisturbed", **SECTION)
        assert undisturbed.exit_code == 0, undisturbed.stderr
        answers = sum(server.answered.values())
    kills = finished = 0
    while kills < KILLS:
        finished += 1
        out = tmp_path / f"disturbed-{finished}"
        with FaultServer(delay_s=0.05) as server:
            killed_here = disturb_until_finished(server, out, dice, KILLS - kills)
            kills += killed_here
            disturbed = Evaluation(out, 0, "", server.asked_twice)
            assert disturbed.table == undisturbed.table
            assert disturbed.summary["valid"] is True
            # What was under way is retried: at most four requests for each kill. The canary
            # may be retried as well.
            assert sum(server.answered.values()) <= answers + killed_here * (4 + 2)
    assert not processes_of(tmp_path), "a process outlived its evaluation"


def disturb_until_finished(server: FaultServer, out: Path, dice: random.Random, most: int) -> int:
    """Run the stage again and again, killing it or its harness; returns the number of kills."""
    kills = 0
    while True:
        stage = subprocess.Popen(
            command(server.url, out, SECTION), stderr=subprocess.PIPE, text=True, cwd=out.parent
        )
        if kills < most:
            kills += kill_something(stage, out, dice)
        _, stderr = stage.communicate(timeout=900)
        if stage.returncode == 0:
            return kills
        assert stage.returncode == -signal.SIGKILL, stderr


def kill_something(stage: "subprocess.Popen[str]", out: Path, dice: random.Random) -> int:
    """Kill the stage, or a process of its harness, at a random moment; returns the kills."""
    try:
        stage.wait(dice.uniform(1.0, 7.0))
    except subprocess.TimeoutExpired:
        victims = processes_of(out)
        if victims and dice.random() < 0.5:
            dice.choice(victims).kill()
        else:
            os.kill(stage.pid, signal.SIGKILL)
        return 1
    return 0


def test_sigterm_stops_in_time_and_leaves_no_process(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with FaultServer(delay_s=0.2) as server:
        stage = subprocess.Popen(
            command(server.url, out, SECTION), stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        deadline = time.monotonic() + 240
        while len(server.bodies) < 10:
            assert time.monotonic() < deadline and stage.poll() is None
            time.sleep(0.1)
        stage.terminate()
        _, stderr = stage.communicate(timeout=120)
        assert stage.returncode == 75, stderr
        assert "run the same command to resume" in stderr
        assert not processes_of(tmp_path)
        before = sum(server.answered.values())
        finished = evaluate(server, out, **SECTION)
        assert finished.exit_code == 0, finished.stderr
        assert before >= 8
