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
