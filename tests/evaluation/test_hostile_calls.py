"""A hostile server in the real evaluation: every answer tries to get out, and nothing does.

The harness hands the model's calls to Python's `eval`. Each call here does harm to files, sockets
and processes that this test made (`escapes`), as root and as another user. What it could do is in
the harness's answers; what must not happen is looked for outside.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from escapes import (
    INSIDE,
    MARK,
    REFUSED,
    RUN,
    SECRET,
    SPOILING,
    WITHOUT_EFFECT,
    Outside,
    call_of,
    outside,
    reports,
    values_of,
)
from evaluating import ROOT, SECTION, Evaluation, evaluate
from fault_server import FaultServer, Handler, Request, completion

from privileges import may_make_namespaces
from toolgain.bfcl import data
from toolgain.evaluation import sandbox_setup
from toolgain.evaluation.rounds import STEPS
from toolgain.evaluation.validity import CODE

pytestmark = pytest.mark.slow

USERS = [0, 54321] if os.geteuid() == 0 else [os.geteuid()]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="toolgain-evaluation-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def hostile(name: str, at_last: str | None = None) -> Callable[[Request, Handler], bool]:
    """A server whose multi-turn answers are calls of `name`, and once, when the harness has said
    what came of it, a call of `at_last`."""
    left = [at_last] if at_last else []
    documents = data.installed_data(ROOT / ".venvs" / "bfcl") / data.FUNCTION_DOCS
    evaluated = {
        json.loads(line)["name"]
        for path in documents.iterdir()
        for line in path.read_text().splitlines()
    }

    def answer(request: Request, handler: Handler) -> bool:
        offered = {tool["function"]["name"] for tool in request.body.get("tools", [])}
        if request.canary or not offered or not offered <= evaluated:
            return False
        last = request.body["messages"][-1]
        called: str | None = name
        if last["role"] == "tool":
            called = left.pop() if left and last["content"].startswith("{") else None
        message: dict[str, Any] = {"role": "assistant", "content": "Done.", "tool_calls": None}
        if called:
            function = {"name": called, "arguments": json.dumps({"object": 1})}
            call = {"id": "call_1", "type": "function", "function": function}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        handler.answer(200, completion(message, request.body))
        return True

    return answer


@pytest.mark.parametrize("user", USERS)
def test_nothing_gets_out_and_no_score_is_forged(
    user: int, undisturbed: Evaluation, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sandbox_setup.layers().open:
        pytest.skip(f"this kernel leaves open: {sandbox_setup.layers().open}")
    if user and not may_make_namespaces(user):
        pytest.skip("this machine gives no namespaces to users without rights")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    out = place / "out"
    os.chown(place, user, user)
    with outside(user) as made:
        ways = INSIDE | WITHOUT_EFFECT | REFUSED
        values = values_of(made, os.getpid(), ways)
        spoiling = values_of(made, os.getpid(), {"spoil the results": SPOILING})
        server = FaultServer(hostile(call_of(values, RUN), call_of(spoiling, RUN)))
        with server:
            evaluation = evaluate(server, out, user=user)
        ends = reports(server.bodies)
        assert ends, f"no hostile call was evaluated: {evaluation.stderr[-2000:]}"
        for end in ends:
            done = {name for name, said in end.items() if said.startswith("done")}
            out_of_it = {name: end[name] for name in REFUSED if name in done}
            assert not out_of_it, evaluation.stderr[-2000:]
            missing = {name: end.get(name) for name in INSIDE if name not in done}
            assert not missing, end
        nothing_happened_outside(made, server)
        left = [p for p in psutil.process_iter() if f"{MARK}-stays" in " ".join(arguments(p))]
        assert left == [], "a process outlived the evaluation"
    nothing_is_left_in(place)
    assert "retry round" in evaluation.stderr, "the harness was not killed"
    assert "all is well" in evaluation.stderr
    assert not any(sign in evaluation.stderr for sign in "\x1b\x07\r")
    assert any(CODE in text for text in evaluation.summary["warnings"])
    # Either the true scores, or none that count.
    truth = {row.key: row.valid for row in undisturbed.items if "multi_turn" not in row.category}
    if evaluation.exit_code == 0:
        for row in evaluation.items:
            assert row.valid == truth.get(row.key, False), row.key


def nothing_happened_outside(made: Outside, server: FaultServer) -> None:
    assert SECRET not in json.dumps([body["messages"] for body in server.bodies]), "was read"
    assert made.kept.read_text() == "as it was"
    assert made.kept.stat().st_nlink == made.secret.stat().st_nlink == 1
    assert made.kept.stat().st_mode & 0o777 == 0o666
    assert not made.executed.exists(), "planted code ran"
    for folder in ("/tmp", "/dev/shm"):
        assert not Path(folder, f"{made.folder.name}-planted").exists(), folder
    assert made.reached == []
    assert made.victim.poll() is None


def nothing_is_left_in(folder: Path) -> None:
    """No link, pipe or device in the results, and nothing secret."""
    for path in folder.rglob("*"):
        assert path.is_dir() or path.is_file(), path
        assert not path.is_symlink(), f"{path} was swapped"
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
            assert path.stat().st_mode & 0o077 == 0 or path.parent == folder, path


def test_nothing_gets_out_of_the_harness_s_container(
    asked: Callable[..., tuple[FaultServer, Evaluation]],
    undisturbed: Evaluation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a stand-in for srun whose container looks like this machine; docs/reliability.md says what
    was seen in a real one."""
    if sandbox_setup.layers().open:
        pytest.skip(f"this kernel leaves open: {sandbox_setup.layers().open}")
    srun = tmp_path / "slurm" / "srun"
    srun.parent.mkdir()
    srun.write_text('#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n')
    srun.chmod(0o755)
    programs = f"{srun.parent}:{ROOT / '.venvs/bfcl/bin'}"
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with outside(os.geteuid()) as made:
        values = values_of(made, os.getpid(), REFUSED)
        server, evaluation = asked(
            hostile(call_of(values, RUN)), harness_container="/images/bfcl.sqsh"
        )
        ends = reports(server.bodies)
        assert ends, f"no hostile call was evaluated: {evaluation.stderr[-2000:]}"
        for end in ends:
            worked = {name: said for name, said in end.items() if said.startswith("done")}
            assert worked == {}
        nothing_happened_outside(made, server)
    assert evaluation.exit_code == 0, evaluation.stderr
    assert evaluation.summary["sandbox"] == {"open": [], "missing": []}
    truth = {row.key: row.valid for row in undisturbed.items if "multi_turn" not in row.category}
    assert truth.items() <= {row.key: row.valid for row in evaluation.items}.items()


def forging(code: str) -> Callable[[Request, Handler], bool]:
    """A server whose multi-turn answers run `code`."""
    return hostile(call_of({}, f"{code}\ndef report(object):\n    return str(object)\n"))


def test_forged_scores_and_rows_are_reported_and_do_not_count(
    asked: Callable[..., tuple[FaultServer, Evaluation]], undisturbed: Evaluation
) -> None:
    """A process that stays beside the scorer rewrites each score file, and one row of answers."""
    # Without functions: what `exec` imports inside of a function's frame is no global of theirs.
    code = """
import os, json, glob, time
if not os.path.exists('forging') and os.fork() == 0:
    open('forging', 'w').close()
    os.setsid(), os.closerange(0, 99)
    while True:
        try:
            for path in glob.glob('harness/**/BFCL_v3_simple_result.json', recursive=True):
                row = json.loads(open(path).readline())
                if 'forged' not in str(row):
                    row['result'] = [{'forged': '{}'}]
                    open(path, 'w').write(json.dumps(row) + chr(10))
            for path in glob.glob('harness/**/*_score.json', recursive=True):
                head = json.loads(open(path).readline())
                if head['correct_count'] != head['total_count']:
                    head.update(accuracy=1.0, correct_count=head['total_count'])
                    open(path, 'w').write(json.dumps(head))
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(0.001)
"""
    _, evaluation = asked(forging(code))
    assert evaluation.exit_code == 3, evaluation.stderr
    reasons = " ".join(evaluation.summary["reasons"])
    assert "result rows hold answers that the server never gave" in reasons
    assert "scores are others when the same rows are scored again" in reasons
    truth = {row.key: row.valid for row in undisturbed.items}
    for row in evaluation.items:
        if row.category == "simple":
            assert (row.valid, row.error_type) == (False, "no_request")
        elif "multi_turn" not in row.category:
            assert row.valid == truth[row.key], row.key
        else:
            assert not row.valid, row.key


def test_an_evaluation_ends_though_a_call_ends_the_harness_in_every_round(
    asked: Callable[..., tuple[FaultServer, Evaluation]], undisturbed: Evaluation
) -> None:
    """What the call returned is new every time, so each round has new answers.

    One item after the other: the call of one must not end the harness before another's answer.
    """
    code = """
import os
if os.path.exists('once'):
    os.kill(os.getpid(), 9)
open('once', 'w').close()
def report(object):
    return os.urandom(8).hex()
"""
    retry = {**SECTION["retry"], "rounds": 1}
    _, evaluation = asked(hostile(call_of({}, code)), retry=retry, parallelism=1)
    assert evaluation.exit_code == 3, evaluation.stderr
    assert f"the last {STEPS} retry rounds completed none" in evaluation.stderr
    truth = {row.key: row.valid for row in undisturbed.items if "multi_turn" not in row.category}
    assert truth.items() <= {row.key: row.valid for row in evaluation.items}.items()


def arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
