"""What the log of a failed program says was its cause."""

from pathlib import Path

import pytest

from toolgain.common.logs import first_error

VLLM = """\
INFO 11-28 05:00:00 [api_server.py:1] vLLM API server
(Worker pid=12) ERROR 11-28 05:00:09 [multiproc_executor.py:772] WorkerProc failed to start.
(Worker pid=12) ERROR 11-28 05:00:09 [multiproc_executor.py:772] Traceback (most recent call last):
(Worker pid=12) ERROR 11-28 05:00:09 [multiproc_executor.py:772]   File "w.py", line 3, in load
(Worker pid=12) ERROR 11-28 05:00:09 [multiproc_executor.py:772]     raise ValueError("too long")
(Worker pid=12) ERROR 11-28 05:00:09 [multiproc_executor.py:772] ValueError: No memory for the cache
(EngineCore pid=9) ERROR 11-28 05:00:10 [core.py:9] EngineCore failed to start.
Traceback (most recent call last):
  File "core.py", line 8, in main
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


def test_the_cause_is_named_and_not_its_consequence(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(VLLM)
    assert first_error(log) == "ValueError: No memory for the cache"


@pytest.mark.parametrize("text", ["", "INFO all is well\n", "INFO 0 errors\nWARNING slow\n"])
def test_a_log_without_an_error_names_none(tmp_path: Path, text: str) -> None:
    log = tmp_path / "server.log"
    log.write_text(text)
    assert first_error(log) is None


def test_a_missing_log_names_none(tmp_path: Path) -> None:
    assert first_error(tmp_path / "none.log") is None


# As vLLM 0.20.0 wrote it on a machine without a GPU; the engine core was killed.
KILLED = """\
(APIServer pid=63) ERROR 11-28 10:57:20 [hermes_tool_parser.py:139] Error in extracting tool call.
(APIServer pid=63) ERROR 11-28 10:57:20 [hermes_tool_parser.py:139] Traceback (most recent call last):
(APIServer pid=63) ERROR 11-28 10:57:20 [hermes_tool_parser.py:139] json.decoder.JSONDecodeError: Unterminated string
(APIServer pid=63) INFO:     127.0.0.1:33858 - "POST /v1/chat/completions HTTP/1.1" 200 OK
(Worker pid=31) INFO 11-28 10:57:41 [multiproc_executor.py:775] Parent process exited, terminating worker queues
(Worker pid=31) Process VllmWorker-0:
(Worker pid=31) Traceback (most recent call last):
(APIServer pid=63) ERROR 11-28 10:57:41 [async_llm.py:699] Traceback (most recent call last):
(Worker pid=31)     torch._C._cuda_init()
(Worker pid=31) RuntimeError: Found no NVIDIA driver on your system.
(APIServer pid=63) ERROR 11-28 10:57:41 [async_llm.py:699] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.
(APIServer pid=63) INFO:     127.0.0.1:33854 - "POST /v1/chat/completions HTTP/1.1" 500 Internal Server Error
"""  # noqa: E501


def test_a_killed_engine_is_named_and_no_error_that_was_survived(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(KILLED)
    said = first_error(log)
    assert said and "EngineDeadError" in said
    # A cause of the engine's own comes before what follows from it.
    own = "(EngineCore pid=30) ERROR 11-28 10:57:40 [core.py:9] torch.OutOfMemoryError: CUDA\n"
    log.write_text(KILLED.replace("(Worker", own + "(Worker", 1))
    said = first_error(log)
    assert said and "torch.OutOfMemoryError" in said


def test_errors_of_an_earlier_start_are_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(KILLED)
    begin = log.stat().st_size
    log.write_text(KILLED + VLLM)
    assert first_error(log, begin) == "ValueError: No memory for the cache"


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (
            "slurmstepd-n1: error: execve(): /no/such/vllm: No such file or directory\n"
            "srun: error: n1: task 0: Exited with exit code 2\n",
            "execve(): /no/such/vllm: No such file or directory",
        ),
        (
            "slurmstepd-n1: error: pyxis: container start failed with error code: 1\n"
            "slurmstepd-n1: error: pyxis: printing enroot log file:\n"
            "slurmstepd-n1: error: pyxis:     enroot-mount: failed to create directory: /a/b\n"
            "slurmstepd-n1: error: spank: required plugin spank_pyxis.so: task_init() failed\n"
            "srun: error: n1: task 0: Exited with exit code 1\n",
            "pyxis:     enroot-mount: failed to create directory: /a/b",
        ),
    ],
)
def test_what_kept_a_container_from_starting_is_named(
    tmp_path: Path, lines: str, cause: str
) -> None:
    """As Slurm 22.05 with pyxis 0.24.0 and enroot 4.1.2 wrote them."""
    log = tmp_path / "server.log"
    log.write_text(lines)
    assert first_error(log) == cause
