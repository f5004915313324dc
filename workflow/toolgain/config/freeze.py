"""What each stage may see of the configuration: its own frozen file, and nothing else.

A stage reads `results/config/<stage>.json`. The file changes only when a value in it changes, so
a comment, a reordering or another stage's key starts nothing again.
"""

from typing import Any

from toolgain.common.files import canonical_json
from toolgain.config.sections import Config


def section_of(config: Config, stage: str) -> dict[str, Any]:
    """What the stage of this name may see; `training/<run>` for the training of a run."""
    kind, _, run = stage.partition("/")
    if kind != "training":
        section: dict[str, Any] = getattr(config, kind).model_dump()
        if kind == "comparison":
            section["recipes"] = config.recipes
        return section
    training = config.training_of(run)
    section = training.model_dump(exclude={"trl", "nemo_rl"})
    section[training.backend] = getattr(training, training.backend).model_dump()
    return section


def stages(config: Config) -> dict[str, dict[str, Any]]:
    """The frozen section of each stage, by the name of its file below results/config."""
    # `cluster` says where things are and how big a job is: read by stages, a reason to rerun none.
    names = ["model", "evaluation", "comparison", "report", "cluster"]
    names += [f"training/{run}" for run in config.runs]
    return {name: section_of(config, name) for name in names}


def frozen(config: Config, stage: str) -> str:
    """Canonical JSON of the section of `stage`."""
    return canonical_json(section_of(config, stage))
