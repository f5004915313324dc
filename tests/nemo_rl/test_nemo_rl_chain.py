"""`snakemake --profile slurm all` with backend nemo_rl: from the base model to the report.

The training runs over three hosts in a checkout of our own making; the harness, the server, the
demo model, Slurm and Snakemake are real.
"""

import os
import re
from pathlib import Path
from typing import Any

import made
import pytest

from slurm import cluster as machine
from slurm.conftest import MODEL, Site, tiny
from toolgain.config.sections import parse_config
from toolgain.head import handovers

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def configuration(folder: Path) -> dict[str, Any]:
    """The tiny evaluation of the drills, and a NeMo RL training over three hosts."""
    root = made.checkout(folder / "nemo-rl")
    train, validation = made.data(folder / "data")
    found = made.cluster(root, gpus_per_node=machine.GPUS).model_dump()
    return tiny(
        training={
            "backend": "nemo_rl",
            "smoke_steps": 2,
            "tasks": {"train_file": str(train), "validation_file": str(validation)},
            "nemo_rl": made.training().nemo_rl.model_dump(),
        },
        cluster={
            "account": machine.ACCOUNT,
            "partition": machine.PARTITION,
            "nodes": 3,
            "gpus_per_node": machine.GPUS,
            "cpus_per_node": 8,
            "memory_gb_per_node": 2,
            "container": found["container"],
            "nemo_rl": {**found["nemo_rl"], "hf_home": str(folder)},
        },
    )


def test_the_whole_chain_with_nemo_rl(cluster: None, tmp_path: Path) -> None:
    site = Site(tmp_path, configuration(tmp_path))
    site.succeed("all", seconds=1500)
    manifest = site.trained()
    assert manifest["backend"] == "nemo_rl"
    assert len(manifest["hosts"]) == 3
    assert manifest["cost"]["gpus"] == 3 * machine.GPUS
    assert_shown_beforehand_is_what_the_job_handed_over(site, manifest["handover"])
    best = site.read("results/runs/grpo/best.json")
    assert best["step"] == 10
    export = site.read("results/runs/grpo/export.json")
    assert export["kind"] == "megatron"
    assert export["tensors_changed"] == 1
    assert (Path(export["path"]) / "tokenizer.json").is_file() == (
        Path(MODEL) / "tokenizer.json"
    ).is_file()
    comparison = site.read("results/comparison.json")
    assert comparison["verdict"] in ("no_clear_change", "improved", "regressed", "not_comparable")
    assert (tmp_path / "results/report.html").stat().st_size > 10_000
    # Nothing to do a second time.
    assert site.run("-n", "all") == 0
    assert "Nothing to be done" in site.log


def assert_shown_beforehand_is_what_the_job_handed_over(site: Site, handed: dict[str, Any]) -> None:
    """`toolgain train --show-command` says what the job did, but for what only a job knows."""
    here = Path.cwd()
    os.chdir(site.folder)
    try:
        shown = handovers.shown_handover(parse_config(site.config), "grpo", None, smoke=False)
    finally:
        os.chdir(here)
    assert shown.notes == ()
    known = {"JOBID": handed["environment"]["SLURM_JOB_ID"]}
    hosts = handed["environment"]["SLURM_JOB_NODELIST"].split(",")
    known |= {f"NODE{number}": host for number, host in enumerate(hosts, start=1)}

    def told(text: str) -> str:
        for word, value in known.items():
            text = text.replace(word, value)
        # The time that has passed since the job began, in seconds.
        return re.sub(r"\d\d:\d\d:\d\d:\d\d", "TIME", text)

    said = shown.handover.model_dump()
    assert [told(line) for line in said["overrides"]] == [told(n) for n in handed["overrides"]]
    assert told(said["command"]) == told(handed["command"])
    for part in ("nodes", "gpus_per_node", "program", "mounts"):
        assert said[part] == handed[part]
    assert {name: told(value) for name, value in said["environment"].items()} == {
        name: told(value) for name, value in handed["environment"].items()
    }
