"""Upstream's own checkpoint, converted by its own converter: nothing of NeMo RL is a stand-in.

Its `save_checkpoint` writes what two FSDP processes on the CPU trained for a step; the export calls
its `convert_dcp_to_hf.py`. Both run in `.venvs/trl`, not in NeMo RL's image. Its
`AutomodelCheckpointManager` (DTensor v2) runs in a Python that AUTOMODEL_PYTHON names:
nemo-automodel 0.4.0 (`pip install --no-deps`), torch 2.10, transformers 5.5.0, datasets; for main
the commit of Automodel that its submodule names, and torch 2.11.
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
    assert len(list((step / "policy/weights").glob("*.distcp"))) == 2
    assert (step / "policy/optimizer/.metadata").is_file()
    found = dcp.exported(tmp_path, step, root)
    assert found["kind"] == "dcp"
    assert found["checks"]["rounded_exactly"] and found["checks"]["nothing_left_out"]
    assert dcp.unequal(found, step) == []
    assert "Saved HF checkpoint to" in (tmp_path / "run/export.log").read_text()


@pytest.mark.skipif("AUTOMODEL_PYTHON" not in os.environ, reason="AUTOMODEL_PYTHON names no Python")
def test_automodel_s_consolidated_folder_is_exported_bit_by_bit(tmp_path: Path) -> None:
    root = Path(os.environ["NEMO_RL_ROOT"]).resolve()
    # As toolgain's overrides set them.
    asked = {"model_save_format": "safetensors", "save_consolidated": True, "is_async": False}
    step = dcp.trained(tmp_path, root, asked, Path(os.environ["AUTOMODEL_PYTHON"]))
    found = dcp.exported(tmp_path, step, root)
    assert found["kind"] == "consolidated"
    assert found["checks"]["rounded_exactly"] and found["checks"]["nothing_left_out"]
    assert dcp.unequal(found, step) == []
