"""Upstream's own checkpoint, converted by its own converter: nothing of NeMo RL is a stand-in.

Its `save_checkpoint` writes what two FSDP processes on the CPU trained for a step; the export calls
its `convert_dcp_to_hf.py`. Both run in `.venvs/trl`, not in NeMo RL's image.
"""

import os
from pathlib import Path

import dcp
import pytest

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("NEMO_RL_ROOT"), reason="NEMO_RL_ROOT names no checkout"),
    pytest.mark.skipif(not dcp.PYTHON.exists(), reason="needs torch: make setup"),
]


def test_a_checkpoint_of_upstream_s_is_exported_bit_by_bit(tmp_path: Path) -> None:
    root = Path(os.environ["NEMO_RL_ROOT"]).resolve()
    step = dcp.trained(tmp_path, root)
    assert (step / "policy/optimizer/.metadata").is_file()
    found = dcp.exported(tmp_path, step, root)
    assert found["kind"] == "dcp"
    assert found["checks"]["rounded_exactly"] and found["checks"]["nothing_left_out"]
    assert dcp.unequal(found, step) == []
    assert "Saved HF checkpoint to" in (tmp_path / "run/export.log").read_text()
