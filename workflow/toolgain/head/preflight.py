"""Checks before any job starts: one line per finding, exit code 2, nothing written."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolgain.common.errors import ExitCode, UserError
from toolgain.config.sections import Config, parse_config
from toolgain.head import retrain_guard
from toolgain.models import base
from toolgain.slurm import preflight as slurm


def config_or_exit(values: dict[str, Any]) -> Config:
    """The typed configuration for a Snakefile; a bad one ends Snakemake with a clear line."""
    try:
        return parse_config(values)
    except UserError as error:
        _exit([str(error)])
        raise


def check_or_exit(config: Config, workflow: Any = None) -> None:
    """End Snakemake with a line per finding unless everything that a run needs is there.

    Args:
        config: the configuration.
        workflow: Snakemake's workflow with its plan, which is then checked too: against
            retraining a finished run, and on a cluster with what Slurm has.
    """
    found = list(findings(config))
    # `--touch` plans nothing: it accepts files as they are.
    if workflow is not None and not workflow.touch:
        found += retrain_guard.findings(workflow, config)
        found += slurm.plan_findings(workflow, config)
    if found:
        _exit(found)


def findings(config: Config) -> Iterator[str]:
    """What is missing for a run of this configuration, as lines for its user."""
    try:
        base.files_of(Path(config.model.path))
    except UserError as error:
        yield str(error)
    template = config.model.chat_template
    if template and not Path(template).is_file():
        yield f"model.chat_template: {template} is not a file."
    needed = {"bfcl": config.environments.bfcl}
    if config.training.backend == "trl" or config.evaluation.serve.backend == "transformers":
        needed["trl"] = config.environments.trl
    for name, folder in needed.items():
        if not (Path(folder) / "bin" / "python").exists():
            yield f"environments.{name}: {folder} holds no Python environment; run `make setup`."
    if any(config.training_of(run).backend == "nemo_rl" for run in config.runs):
        from toolgain.head import doctor

        yield from doctor.findings(config)


def _exit(lines: list[str]) -> None:
    for line in lines:
        print(f"toolgain: {line}", file=sys.stderr)
    sys.exit(ExitCode.BAD_INPUT)
