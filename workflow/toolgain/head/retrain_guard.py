"""Refuse a plan that would train a finished run again for no reason of the training's own.

A run is finished when its manifest says so. It is trained again when its training section, its
base model or its tasks changed: a different run in truth, with a checkpoint folder of its own. Any
other reason (a file's time, a rule's text, a lost .snakemake folder) is not worth GPU days.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolgain.common.files import parse_json, read_text
from toolgain.config.freeze import frozen
from toolgain.config.sections import Config

FROZEN = Path("results/config")
COUNTED_AS_DONE = "Finished (was: "
WISH = "TOOLGAIN_RETRAIN"
"""Environment variable that names the runs, separated by commas, to be trained again."""


def retraining_findings(workflow: Any, config: Config) -> Iterator[str]:
    """A line for each finished run that the plan would train again.

    Args:
        workflow: Snakemake's workflow with its plan.
        config: the configuration that the plan was made for.
    """
    if not unchanged(config, "model"):
        return
    wished = {name.strip() for name in os.environ.get(WISH, "").split(",")}
    for job in workflow.dag.needrun_jobs(exclude_finished=False):
        if job.rule.name != "train_run":
            continue
        run = job.wildcards.run
        manifest = Path("results/runs") / run / "manifest.json"
        if run in wished or not finished(manifest):
            continue
        if not unchanged(config, f"training/{run}"):
            continue
        if workflow.dag.reason(job).incomplete_output:
            # Its Snakemake was killed. The job finds all steps done and describes them again.
            continue
        # A dry run counts every job of its plan as finished before it is asked.
        said = str(workflow.dag.reason(job))
        if said.startswith(COUNTED_AS_DONE):
            said = said.removeprefix(COUNTED_AS_DONE).removesuffix(")")
        reason = " ".join(said.split())
        missing = " ".join(str(path) for path in job.input if not Path(path).exists())
        again = f"`snakemake --profile ... {missing}`, then " if missing else ""
        yield (
            f"run {run!r} is finished ({manifest}) and neither its training section nor the model "
            f"changed, but this plan would train it again: {reason}. To keep the training: {again}"
            f"`snakemake --profile ... --touch {manifest}`. To train again all the same: "
            f"{WISH}={run}."
        )


def finished(manifest: Path) -> bool:
    """Whether `manifest` records a training run that reached its last step."""
    try:
        record = parse_json(read_text(manifest))
    except (OSError, ValueError):
        return False
    planned = record.get("planned_steps") if isinstance(record, dict) else None
    return planned is not None and planned == record.get("total_steps")


def unchanged(config: Config, stage: str) -> bool:
    """Whether the section of `stage` is the one that the last run froze."""
    try:
        before = read_text(FROZEN / f"{stage}.json")
    except OSError:
        return False
    return before.strip() == frozen(config, stage)
