"""Targets that stand for a stage of every run.

Snakemake takes a rule with wildcards in `--forcerun` but not as a target, and forcing a target
without wildcards does not force what it asks for. `snakemake evaluate --forcerun evaluate` must
mean every evaluation, so the target's input function passes the force on.
"""

from collections.abc import Callable
from typing import Any

from toolgain.config.sections import Config


def rehearsal_of(config: Config, run: str) -> list[str]:
    """The rehearsal that stands before the training of `run`, where one does."""
    return [f"results/runs/{run}/rehearsal.json"] if config.training_of(run).rehearses else []


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
