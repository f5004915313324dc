"""What a job will hand to ray.sub, said without a job; tests/nemo_rl compares it with a job's."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made
import pytest
import yaml
from click.testing import CliRunner

import run_records
from toolgain.cli import cli
from toolgain.common.errors import UserError
from toolgain.config.sections import Config, parse_config
from toolgain.head import handovers
from toolgain.report.provenance import provenance
from toolgain.report.sources import EvaluationFolder, RunFolder, Sources
from toolgain.training.nemo_rl import lint


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a checkout, a model and data, and a shell full of things."""
    made.checkout(tmp_path / "rl")
    made.model(tmp_path / "model")
    made.data(tmp_path / "data", train=64)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "8888")
    monkeypatch.setenv("UV_INDEX_URL", "https://host.example/simple")
    monkeypatch.setenv("MY_API_KEY", "marked")
    monkeypatch.setenv("SLURM_ACCOUNT", "research")
    monkeypatch.delenv("SLURM_PARTITION", raising=False)
    return tmp_path


def configuration(folder: Path, **nemo: Any) -> Config:
    return parse_config(raw(folder, **nemo))


def raw(folder: Path, **nemo: Any) -> dict[str, Any]:
    training = made.training(num_prompts_per_step=32, **nemo).model_dump()
    training["tasks"] = {
        "train_file": str(folder / "data/train.jsonl"),
        "validation_file": str(folder / "data/validation.jsonl"),
    }
    cluster = made.cluster(folder / "rl", nemo_rl={"hf_home": str(folder), "python": "uv run x"})
    return {
        "model": {"path": str(folder / "model")},
        "training": training,
        "cluster": cluster.model_dump() | {"nodes": 2, "cpus_per_node": 32, "train_time": "2h"},
    }


@pytest.mark.parametrize("nodes", [1, 2, 8])
def test_every_number_of_nodes_has_its_command_environment_and_overrides(
    here: Path, nodes: int
) -> None:
    shown = handovers.shown_handover(configuration(here), "grpo", nodes, smoke=False).handover
    assert f"++cluster.num_nodes={nodes}" in shown.overrides
    assert shown.environment["SLURM_JOB_NUM_NODES"] == str(nodes)
    assert shown.environment["SLURM_JOB_NODELIST"].split(",")[-1] == f"NODE{nodes}"
    assert shown.environment["CPUS_PER_WORKER"] == "32"
    assert shown.environment["SLURM_JOB_ACCOUNT"] == "research"
    assert shown.environment["SLURM_JOB_PARTITION"] == "PARTITION"
    assert f"{here}:{here}" in shown.mounts
    assert "120 min - 0.2 set-up" in shown.time_budget
    # The shell text holds every override, as a shell reads it.
    words = shlex.split(shown.command.partition("exec ")[2].replace("\\\n", ""))
    assert words[-len(shown.overrides) :] == shown.overrides
    assert words[:3] == ["uv", "run", "x"]


def test_nothing_of_the_shell_s_own_is_shown_or_handed_on(here: Path) -> None:
    shown = handovers.shown_handover(configuration(here), "grpo", None, smoke=False).handover
    assert "PATH" in shown.inherited
    assert "marked" not in "\n".join(shown.lines())
    for name in ("PORT", "UV_INDEX_URL", "MY_API_KEY"):
        assert name not in shown.inherited
        assert name not in shown.environment


def test_a_smoke_training_has_one_node_and_a_folder_of_its_own(here: Path) -> None:
    shown = handovers.shown_handover(configuration(here), "grpo", None, smoke=True)
    assert shown.handover.nodes == 1
    assert "++grpo.max_num_steps=2" in shown.handover.overrides
    assert any(line.endswith("FINGERPRINT-smoke'") for line in shown.handover.overrides)
    assert "FINGERPRINT stands for" in shown.notes[0]


def test_what_would_refuse_the_job_refuses_to_show_it(here: Path) -> None:
    with pytest.raises(UserError, match="set num_prompts_per_step to"):
        handovers.shown_handover(configuration(here), "grpo", 5, smoke=False)
    trl = parse_config(raw(here) | {"training": {"backend": "trl"}})
    with pytest.raises(UserError, match="only nemo_rl hands a command"):
        handovers.shown_handover(trl, "grpo", None, smoke=False)
    with pytest.raises(UserError, match="no run trains with"):
        handovers.print_all(trl, None, None, smoke=False)


def test_what_would_refuse_its_submission_refuses_to_print_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[int] = []

    def too_long(config: Config, limit: int, files: dict[str, Path]) -> Iterator[lint.Finding]:
        said.append(limit)
        assert files["train"] == here / "data/train.jsonl"
        yield lint.Finding("prompt lengths", False, "the longest has 9000")

    handovers.print_all(configuration(here), None, None, smoke=False)
    with monkeypatch.context() as patch:
        patch.setattr(handovers, "prompt_findings", too_long)
        with pytest.raises(UserError, match="prompt lengths: the longest has 9000"):
            handovers.print_all(configuration(here), None, None, smoke=False)
    assert said == [8192]
    # The real check, with a template that begins with the number of turns.
    settings = here / "model/tokenizer_config.json"
    template = "{{ messages | length }}" + json.loads(settings.read_text())["chat_template"]
    settings.write_text(json.dumps({"chat_template": template}))
    with pytest.raises(UserError, match="earlier turns: the chat template rewrites"):
        handovers.print_all(configuration(here), None, None, smoke=False)


def test_the_verb_prints_it_and_asks_for_nothing_else(here: Path) -> None:
    (here / "c.yaml").write_text(yaml.safe_dump(raw(here)))
    said = CliRunner().invoke(cli, ["train", "--show-command", "--config", "c.yaml"])
    assert said.exit_code == 0, said.output
    assert "# run grpo\n" in said.output
    assert f"program: bash {here / 'rl'}/ray.sub" in said.output
    assert "  exec uv" in said.output
    said = CliRunner().invoke(cli, ["train", "--smoke"])
    assert said.exit_code == 2
    assert "Missing option '--config'" in said.output


def test_the_report_says_what_was_handed_over(here: Path) -> None:
    shown = handovers.shown_handover(configuration(here), "grpo", None, smoke=False).handover
    by_nemo_rl = run_records.manifest(backend="nemo_rl", handover=shown.model_dump())
    runs = {
        "grpo": RunFolder("grpo", EvaluationFolder("grpo"), by_nemo_rl),
        "other": RunFolder("other", EvaluationFolder("other"), run_records.manifest()),
        "failed": RunFolder("failed", EvaluationFolder("failed")),
    }
    compared: Any = SimpleNamespace(baseline=None)
    found = provenance(Sources(compared, EvaluationFolder("baseline"), runs, {}, None, (), {}))
    [(run, text)] = found.handovers
    assert run == "grpo"
    assert "++cluster.num_nodes=2" in text
