"""Checks before any job starts: a line per finding, all at once, exit code 2, nothing written.

A dry run shows the plan and then the same lines, and ends with the same exit code.
"""

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolgain.common.errors import ExitCode, UserError
from toolgain.common.screen import for_terminal
from toolgain.config import yaml_file
from toolgain.config.sections import Config, parse_config
from toolgain.head import command_line, retrain_guard
from toolgain.slurm import preflight as slurm


def readable_or_exit(path: str) -> None:
    """End Snakemake with a clear line where a configuration file is missing or is not YAML."""
    try:
        yaml_file.read_config_file(Path(path))
    except UserError as error:
        print(f"toolgain: {error}", file=sys.stderr)
        sys.exit(ExitCode.BAD_INPUT)


def config_or_exit(values: dict[str, Any]) -> Config:
    """The typed configuration for a Snakefile; a bad one ends Snakemake with a clear line."""
    try:
        return parse_config(values)
    except UserError as error:
        print(f"toolgain: {error}", file=sys.stderr)
        sys.exit(ExitCode.BAD_INPUT)


def check_or_exit(config: Config, workflow: Any) -> None:
    """End Snakemake with a line per finding unless everything that its plan needs is there."""
    found = list(start_findings(config, workflow))
    if found:
        _say(found, "Nothing was started.")
        sys.exit(ExitCode.BAD_INPUT)


def check_dry_run(config: Config, workflow: Any, folder: Path) -> None:
    """Say at the end of a dry run what would keep its plan from starting, with exit code 2.

    To be called at the exit of the process, and before all that is to happen then: Snakemake has
    no hook at the end of a dry run.

    Args:
        config: the configuration.
        workflow: Snakemake's workflow.
        folder: the working folder of the run, which Snakemake has left by then.
    """
    if not workflow.dryrun or getattr(workflow, "dag", None) is None:
        return
    os.chdir(folder)
    found = list(start_findings(config, workflow))
    if found:
        _say(found, "This plan cannot start yet.")
        logging.shutdown()
        sys.stderr.flush()
        # Nothing else changes the exit code of a process that is at its exit.
        os._exit(ExitCode.BAD_INPUT)


def start_findings(config: Config, workflow: Any) -> Iterator[str]:
    """What keeps the plan of a Snakemake workflow from running, as lines for its user."""
    from toolgain.head import doctor

    # `--touch` plans nothing: it accepts files as they are.
    on_slurm = command_line.on_slurm() and not workflow.touch
    requests = slurm.requests_of(workflow) if on_slurm else []
    planned = workflow.dag.needrun_jobs(exclude_finished=False)
    trains = any(job.rule.name in ("smoke", "train_run") for job in planned)
    lines = list(doctor.checks(config, requests, trains))
    if not workflow.touch:
        lines += [
            doctor.CheckLine("finished run", False, message)
            for message in retrain_guard.retraining_findings(workflow, config)
        ]
    for line in lines:
        if not line.ok:
            yield f"{line.name}: {line.message} ({line.page})"


def _say(found: list[str], end: str) -> None:
    sys.stdout.flush()
    for line in found:
        print(for_terminal(f"toolgain: {line}"), file=sys.stderr)
    count = "1 thing" if len(found) == 1 else f"{len(found)} things"
    print(f"toolgain: {count} to fix first. {end}", file=sys.stderr)
