"""How the harness is started, watched and kept from secrets; a script stands in for it here."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from toolgain.common import processes, supervise
from toolgain.common.errors import UserError
from toolgain.evaluation import box, sandbox_setup
from toolgain.evaluation.harness import (
    HarnessFolders,
    HarnessSettings,
    answer_folders,
    ask_with_harness,
    gateway_config,
    reported_overall,
    run_config,
    score_with_harness,
)
from toolgain.serving.server import Endpoint

needs_files = pytest.mark.skipif(
    not sandbox_setup.layers().files, reason="no file system of its own on this kernel"
)
ENDPOINT = Endpoint("http://127.0.0.1:9/v1", "a model, with=signs", "sk-secret", 5)


def settings(folder: Path, script: str, stall_s: float = 60) -> HarnessSettings:
    """Settings whose harness is a shell script."""
    program = folder / "env" / "bin" / "nemo-evaluator"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    shutil.copy(program, program.with_name("bfcl"))
    # The gateway, which waits for requests; here it reads its secrets and gets none.
    python = program.with_name("python")
    python.write_text("#!/bin/bash\nwc -c < .secrets > ../length.txt; exec sleep 600\n")
    python.chmod(0o755)
    return HarnessSettings(
        bfcl_env=folder / "env",
        alias="policy",
        parallelism=4,
        sampling={"temperature": 0.0},
        timeout_s=5,
        attempts=2,
        stall_s=stall_s,
        layers=sandbox_setup.layers(),
    )


def outcome(folder: Path, script: str, stall_s: float = 60, asking: bool = False) -> str | None:
    """What is said of a harness that is `script`."""
    folders = HarnessFolders(folder / "work")
    folders.data.mkdir(parents=True, exist_ok=True)
    log = folders.log

    def progress() -> int:
        return log.stat().st_size if log.exists() else 0

    made = settings(folder, script, stall_s)
    if asking:
        return ask_with_harness(made, folders, ENDPOINT, ["simple"], progress)
    return score_with_harness(made, folders, ["simple"], progress)


def test_config_leaves_nothing_to_the_harness_that_it_would_misread(tmp_path: Path) -> None:
    folders = HarnessFolders(tmp_path)
    made = run_config(settings(tmp_path, ""), folders, "http://127.0.0.1:7/v1/chat/completions")
    config, endpoint = made["config"], made["target"]["api_endpoint"]
    assert config["type"] == "bfclv3_ast"
    assert config["params"]["task"] == "multi_turn,ast"
    assert config["params"]["extra"] == {"native_calling": True}
    assert "limit_samples" not in config["params"]
    assert endpoint["model_id"] == "policy"
    # No adapter inside the sandbox: the gateway is outside.
    assert endpoint["adapter_config"]["mode"] == "client"
    assert "a model, with=signs" not in json.dumps(made)


def test_gateway_asks_with_the_settings_of_the_evaluation(tmp_path: Path) -> None:
    folders = HarnessFolders(tmp_path)
    made = gateway_config(settings(tmp_path, ""), folders, ENDPOINT, tmp_path / ".secrets")
    # No cache, no interceptor of theirs that would ask the server.
    (one,) = made["adapter"]["interceptors"]
    assert one["name"] == "toolgain"
    assert one["config"]["model"] == "a model, with=signs"
    assert one["config"]["sampling"] == {"temperature": 0.0}
    assert "sk-secret" not in json.dumps(made)


def test_exit_code_0_without_results_is_a_failure(tmp_path: Path) -> None:
    problem = outcome(tmp_path, "echo all is well")
    assert problem == "the harness ended without results: all is well"


def test_results_of_an_earlier_try_are_not_taken(tmp_path: Path) -> None:
    output = tmp_path / "work" / "harness"
    output.mkdir(parents=True)
    (output / "results.yml").write_text("old")
    assert outcome(tmp_path, "exit 0") is not None
    assert not (output / "results.yml").exists()


def test_harness_that_fails_is_quoted(tmp_path: Path) -> None:
    problem = outcome(tmp_path, "echo bfcl: command not found; exit 1")
    assert problem == "the harness ended with exit 1: bfcl: command not found"


def test_harness_without_progress_is_ended(tmp_path: Path) -> None:
    started = time.monotonic()
    problem = outcome(tmp_path, "sleep 300 & sleep 300", stall_s=1)
    assert problem == "the harness made no progress for 1 s"
    assert time.monotonic() - started < 60


def test_harness_that_writes_its_results_has_ended_well(tmp_path: Path) -> None:
    assert outcome(tmp_path, "mkdir -p harness && touch harness/results.yml") is None


def test_environment_has_the_tools_and_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "a-secret")
    assert outcome(tmp_path, "env; touch harness/results.yml") is None
    lines = (tmp_path / "work" / "harness.log").read_text().splitlines()
    env = dict(line.split("=", 1) for line in lines if "=" in line)
    assert "a-secret" not in env.values()
    assert env["NEMO_EVALUATOR_TELEMETRY_LEVEL"] == "0"
    assert env["HF_HUB_OFFLINE"] == "1"
    assert env["BFCL_DATA_DIR"] == str(tmp_path / "work" / "data")
    assert env["PATH"].startswith(str(tmp_path / "env" / "bin"))
    assert env["HOME"].startswith(str(tmp_path / "work"))


def test_key_comes_through_a_pipe_and_stays_nowhere(tmp_path: Path) -> None:
    outcome(tmp_path, "sleep 3", asking=True)
    told = json.dumps({"key": "sk-secret", "proxies": {}})
    assert int((tmp_path / "work" / "length.txt").read_text()) == len(told)
    left = [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert left
    assert not [path for path in left if b"sk-secret" in path.read_bytes()]
    assert not list((tmp_path / "work").rglob(".secrets"))


@pytest.mark.parametrize("name", ["with space", "a,b", "a=b", "a;b", "$HOME"])
def test_folder_that_the_harness_cannot_quote_is_refused(tmp_path: Path, name: str) -> None:
    folders = HarnessFolders(tmp_path / name)
    with pytest.raises(UserError, match="without quotes"):
        ask_with_harness(settings(tmp_path, ""), folders, ENDPOINT, [], lambda: 0)
    assert not (tmp_path / name).exists()


def test_harness_whose_folder_is_filled_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box, "MAX_ENTRIES", 1000)
    problem = outcome(tmp_path, "seq 2000 | xargs touch; exec sleep 600")
    assert "holds more than 1000 files" in str(problem)
    assert not (tmp_path / "work" / "box").exists()


@needs_files
def test_expected_answers_are_seen_by_the_scorer_alone(tmp_path: Path) -> None:
    """Both where the items lie, of which all else is seen, and in the installed harness."""
    script = "cat ../data/*/* ../../env/lib/python3*/site-packages/bfcl/data/*/*"
    folders = HarnessFolders(tmp_path / "work")
    made = settings(tmp_path, script)
    installed = tmp_path / "env/lib/python3.11/site-packages/bfcl/data"
    for path in (folders.data, installed):
        for name in ("possible_answer", "multi_turn_func_doc"):
            (path / name).mkdir(parents=True)
            (path / name / "x.json").write_text(f"{name}\n")
    assert len(answer_folders(made, folders)) == 2
    ask_with_harness(made, folders, ENDPOINT, [], lambda: 0)
    assert "possible_answer\n" not in folders.log.read_text()
    assert "multi_turn_func_doc\n" in folders.log.read_text()
    score_with_harness(made, folders, [], lambda: 0)
    assert folders.log.read_text().count("possible_answer\n") == 2


@needs_files
def test_a_work_folder_in_memory_is_as_good_as_any() -> None:
    """The harness has a /dev/shm of its own, in which the work folder and the items lie."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        assert outcome(Path(name), "ls ../data && touch harness/results.yml") is None


@pytest.mark.parametrize("asking", [True, False])
def test_rows_are_taken_over_from_asking_alone(tmp_path: Path, asking: bool) -> None:
    script = """
        for kind in result score; do
            mkdir -p harness/$kind/policy
            echo '{"id": "simple_0"}' > harness/$kind/policy/BFCL_v3_simple_$kind.json
        done
        touch harness/results.yml
    """
    assert outcome(tmp_path, script, asking=asking) is None
    rows = tmp_path / "work/harness/result/policy/BFCL_v3_simple_result.json"
    assert rows.exists() == asking


def test_environment_without_harness_is_named(tmp_path: Path) -> None:
    from toolgain.evaluation.harness import harness_program

    with pytest.raises(UserError, match=r"--bfcl-env: .*nemo-evaluator does not exist"):
        harness_program(tmp_path)


def test_overall_of_the_harness_is_read_for_provenance_only(tmp_path: Path) -> None:
    assert reported_overall(tmp_path) is None
    (tmp_path / "score").mkdir()
    (tmp_path / "score" / "data_overall.csv").write_text("Rank,Overall Acc\n1,16.76%\n")
    assert reported_overall(tmp_path) == 16.76


def supervised(claim: Path, script: str) -> list[str]:
    return [sys.executable, "-P", "-I", supervise.__file__, str(claim), "bash", "-c", script]


# A process that leaves its group and session and forgets its environment, and whose parent ends.
ESCAPED = "(env -i setsid bash -c 'echo $$ > {pid}; exec sleep 600' &); "


def test_supervised_tree_ends_with_its_starter(tmp_path: Path) -> None:
    """Even when the starter is killed and cannot clean up."""
    command = supervised(tmp_path / "claim", f"sleep 600 & echo $! > {tmp_path}/pid; wait")
    starter = (
        "import subprocess, time\n"
        f"p = subprocess.Popen({command!r}, stdin=subprocess.PIPE)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", starter])
    pid = wait_for_pid(tmp_path / "pid")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_gone(pid)


@pytest.mark.parametrize("killed", [False, True])
def test_no_process_outlives_its_block(tmp_path: Path, killed: bool) -> None:
    """Whatever it does to its group, session and environment, and without its supervisor too."""
    script = ESCAPED.format(pid=tmp_path / "pid") + f"echo $$ > {tmp_path}/own; exec sleep 600"
    command = processes.Command(["bash", "-c", script])
    env = processes.scrubbed_environment(None, tmp_path)
    claim = tmp_path / "claim"
    with processes.running(command, env, tmp_path / "log", claim) as supervisor:
        pids = [wait_for_pid(tmp_path / "pid"), wait_for_pid(tmp_path / "own")]
        if killed:
            supervisor.kill()
            supervisor.wait(60)
    for pid in pids:
        wait_gone(pid)
    assert not claim.exists()


def test_a_tree_that_ends_at_once_is_not_waited_for(tmp_path: Path) -> None:
    """Orphans that have ended stay members of the group until the supervisor has asked for them."""
    script = f"sleep 600 & sleep 600 & echo $$ > {tmp_path}/pid; exec sleep 600"
    hours = (
        "import sys; from pathlib import Path; from toolgain.common import supervise; "
        "supervise.GRACE_S = 3600.0; sys.exit(supervise.supervise(Path(sys.argv[1]), sys.argv[2:]))"
    )
    command = [sys.executable, "-c", hours, str(tmp_path / "claim"), "bash", "-c", script]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    wait_for_pid(tmp_path / "pid")
    process.communicate(timeout=600)
    assert process.returncode == 143


def test_next_attempt_ends_what_a_killed_one_left(tmp_path: Path) -> None:
    """Supervisor and starter are both gone; the claim names the sessions."""
    claim = tmp_path / "claim"
    process = subprocess.Popen(
        supervised(claim, f"sleep 600 & echo $! > {tmp_path}/pid; wait"), stdin=subprocess.PIPE
    )
    pid = wait_for_pid(tmp_path / "pid")
    # The supervisor names the processes once it has started them.
    wait_until(lambda: claim.exists() and claim.read_text().endswith("]]"), f"{claim}")
    process.kill()
    process.wait(60)
    assert processes.end_leftovers(claim) >= 1
    wait_gone(pid)
    assert processes.end_leftovers(claim) == 0


def wait_for_pid(file: Path) -> int:
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"), f"{file}")
    return int(file.read_text())


def wait_until(written: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not written():
        assert time.monotonic() < deadline, f"{what} was not written"
        time.sleep(0.05)


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    # It may go between two looks; who is to reap it is not ours to say.
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, f"process {pid} is still there"
            time.sleep(0.05)


def test_exit_status_passes_the_supervisor(tmp_path: Path) -> None:
    command = processes.Command(["bash", "-c", "exit 7"])
    env = processes.scrubbed_environment(None, tmp_path)
    with processes.running(command, env, tmp_path / "log", tmp_path / "claim") as process:
        assert process.wait(60) == 7
