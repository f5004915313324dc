"""Targets that stand for a stage of every run.

Snakemake takes a rule with wildcards in `--forcerun` but not as a target, and forcing a target
without wildcards does not force what it asks for. `snakemake evaluate --forcerun evaluate` must
mean every evaluation, so the target's input function passes the force on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolgain.common.errors import UserError
from toolgain.config.freeze import settings_of_trial
from toolgain.config.sections import Config
from toolgain.records.record import read_record
from toolgain.records.trial import Trial

TRIAL = Path("results/trial.json")
OF_ALL = ("model.json", "comparison.json", "report.html", "report.md")
OF_RUN = ("manifest.json", "best.json", "export.json")
OF_EVALUATION = ("summary.json", "items.csv", "questions.jsonl.gz", "manifest.json")


def results_of(config: Config) -> list[str]:
    """Every result of the chain, which `all` asks for by name.

    Snakemake makes no file again that was deleted where all that came of it is there still. What
    only stands before a training (trial, smoke, rehearsal) a finished run does not need.
    """
    found = [f"results/{name}" for name in OF_ALL]
    for run in config.runs:
        found += [f"results/tasks/{run}/tasks.json"]
        found += [f"results/runs/{run}/{name}" for name in OF_RUN]
    for subject in ("baseline", *config.runs):
        found += [f"results/evaluations/{subject}/{name}" for name in OF_EVALUATION]
    return found


def rehearsal_of(config: Config, run: str) -> list[str]:
    """The rehearsal that stands before the training of `run`, where one does."""
    return [f"results/runs/{run}/rehearsal.json"] if config.training_of(run).rehearses else []


def trial_of(config: Config, workflow: Any) -> list[str]:
    """The trial evaluation that stands before every training, where one does.

    One of other settings is forced to run again, so long as no run is finished: a new trial would
    be a reason to train a finished run again, and that run's evaluations say more than a trial.
    """
    if not config.evaluation.trial:
        return []
    finished = any(Path("results/runs", run, "manifest.json").exists() for run in config.runs)
    if TRIAL.exists() and not finished and not _tried(config):
        workflow.dag.forcerules.add(workflow.get_rule("trial"))
    return [str(TRIAL)]


def _tried(config: Config) -> bool:
    try:
        return read_record(Trial, TRIAL, "trial").settings == settings_of_trial(config)
    except UserError:
        return False


def passing_force_on(
    workflow: Any, target: str, rule: str, files: list[str]
) -> Callable[[Any], list[str]]:
    """An input function for the rule `target` that asks for `files`, made by `rule`.

    Where the target is forced, so is `rule`. Input functions run while Snakemake builds its
    graph, after it has read `--forcerun` and before it decides what needs to run.
    """

    def inputs(_wildcards: Any) -> list[str]:
        if target in workflow.dag_settings.forcerun:
            workflow.dag.forcerules.add(workflow.get_rule(rule))
        return files

    return inputs
