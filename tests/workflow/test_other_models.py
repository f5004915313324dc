"""Models of other people: another family and another markup through the whole chain."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
from small_chain import ROOT, SMALL, Chain

from toolgain.models.response_templates import NAMED
from unit.markups import NO_TOOLS, TEMPLATES

pytestmark = pytest.mark.slow


def llama(folder: Path, markup: str) -> Path:
    """A tiny Llama that writes its calls in a markup."""
    paths = [ROOT / "workflow", ROOT / "tests" / "unit"]
    environment = {"PYTHONPATH": ":".join(map(str, paths)), "HF_HUB_OFFLINE": "1"}
    python = ROOT / ".venvs" / "trl" / "bin" / "python"
    program = ROOT / "tests" / "training" / "tiny_model.py"
    subprocess.run(
        [str(python), str(program), str(folder), markup],
        env=os.environ | environment | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return folder


def test_a_llama_with_its_own_markup_goes_through_the_chain(tmp_path: Path) -> None:
    config = deepcopy(SMALL)
    config["model"] = {"path": str(llama(tmp_path / "llama", "llama3_json"))}
    config["training"]["smoke_steps"] = 1
    config["evaluation"]["trial"] = True
    # So tiny a model calls at every question, and what nobody offered.
    config["evaluation"]["canary"] = "warn"
    config["evaluation"]["sampling"] = {"max_tokens": 24}
    config["training"]["trl"]["learning_rate"] = 1e-3
    chain = Chain(tmp_path, config)
    done = chain.run("all")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    # Read in the training: else each call would have been text, a refusal.
    curves = chain.read("runs/grpo/manifest.json")["curves"]
    assert max(value for _, value in curves["train/called"]) > 0
    assert chain.read("runs/grpo/smoke.json")["passed"] is True
    assert chain.read("trial.json")["items"] == 17
    # And by the server.
    baseline = chain.read("evaluations/baseline/summary.json")
    assert baseline["valid"], baseline["reasons"]
    assert baseline["canary"]["parsed_call"] is True
    assert chain.read("comparison.json")["verdict"] != "not_comparable"
    export = chain.read("runs/grpo/export.json")
    assert 0 < export["weights_changed"] <= 1 and 0 < export["update_kept"] <= 1


def test_a_llama_whose_template_writes_no_tools_goes_to_its_report_with_one_of_hermes(
    tmp_path: Path,
) -> None:
    """As SmolLM2: refused as it is, and taken with `model.chat_template`."""
    model = llama(tmp_path / "llama", "hermes")
    settings = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": NO_TOOLS}))
    (model / "chat_template.jinja").write_text(NO_TOOLS)
    config = deepcopy(SMALL)
    config["model"] = {"path": str(model)}
    config["evaluation"] |= {"canary": "warn", "sampling": {"max_tokens": 24}}
    config["training"]["trl"]["learning_rate"] = 1e-3
    chain = Chain(tmp_path, config)
    refused = chain.run("all")
    assert refused.returncode == 2
    assert "writes no tools" in refused.stderr and "model.chat_template" in refused.stderr

    hermes = tmp_path / "hermes.jinja"
    hermes.write_text(TEMPLATES["hermes"])
    chain.config["model"]["chat_template"] = str(hermes)
    done = chain.run("all")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    baseline = chain.read("evaluations/baseline/summary.json")
    assert baseline["valid"], baseline["reasons"]
    assert baseline["canary"]["parsed_call"] is True
    assert chain.read("comparison.json")["verdict"] != "not_comparable"
    assert (tmp_path / "results/report.html").is_file()


def test_a_server_that_reads_no_call_ends_the_run_before_the_training(tmp_path: Path) -> None:
    """The demo model, which calls well, served with a reader of another markup."""
    reader = deepcopy(NAMED["hermes"])
    reader["fields"]["tool_calls"] |= {
        "open_pattern": "<function_call>",
        "close": "</function_call>",
    }
    (tmp_path / "reader.json").write_text(json.dumps(reader))
    config = deepcopy(SMALL)
    config["model"]["response_template"] = str(tmp_path / "reader.json")
    config["evaluation"]["trial"] = True
    chain = Chain(tmp_path, config)
    done = chain.run("train")
    assert done.returncode == 1
    block = " ".join(done.stderr.rpartition("toolgain: 1 stage failed.")[2].split())
    assert "response_template does not read the call that its chat template writes" in block
    assert "set model.response_template" in block and "log: logs/trial.log" in block
    assert not (tmp_path / "results/work/training").exists()
    # The row of the failed stage says the same.
    status = [str(Path(sys.executable).with_name("toolgain")), "status"]
    shown = subprocess.run(status, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "set model.response_template" in " ".join(shown.stdout.split()), shown.stdout
