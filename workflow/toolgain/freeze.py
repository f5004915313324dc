"""What each stage may see of the configuration: its own frozen file, and nothing else.

A stage reads `results/config/<stage>.json`. The file changes only when a value in it changes, so
a comment, a reordering or another stage's key starts nothing again.
"""

from typing import Any

from toolgain.config import Config
from toolgain.files import canonical_json


def stages(config: Config) -> dict[str, dict[str, Any]]:
    """The frozen section of each stage, by the name of its file below results/config."""
    sections: dict[str, dict[str, Any]] = {
        "model": config.model.model_dump(),
        "evaluation": config.evaluation.model_dump(),
        "comparison": config.comparison.model_dump(),
        "report": config.report.model_dump(),
        # Where things are and how big a job is: read by the stages, a reason for none to rerun.
        "cluster": config.cluster.model_dump(),
    }
    for run in config.runs:
        training = config.training_of(run)
        section = training.model_dump(exclude={"trl", "nemo_rl"})
        section[training.backend] = getattr(training, training.backend).model_dump()
        sections[f"training/{run}"] = section
    return sections


def frozen(config: Config, stage: str) -> str:
    """Canonical JSON of the section of `stage`."""
    return canonical_json(stages(config)[stage])
