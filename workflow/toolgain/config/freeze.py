"""What each stage may see of the configuration: its own frozen file, and nothing else.

A stage reads `results/config/<stage>.json`. The file changes only when a value in it changes, so
a comment, a reordering or another stage's key starts nothing again.
"""

from pathlib import Path
from typing import Any

from toolgain.common.files import canonical_json, write_text
from toolgain.config.sections import Config


def section_of(config: Config, stage: str) -> dict[str, Any]:
    """What the stage of this name may see; `training/<run>` for the training of a run."""
    kind, _, run = stage.partition("/")
    if kind != "training":
        section: dict[str, Any] = getattr(config, kind).model_dump()
        if kind == "comparison":
            section["recipes"] = config.recipes
        if kind == "evaluation":
            section["serve"]["container"] = config.serving_image
        return section
    training = config.training_of(run)
    section = training.model_dump(exclude={"trl", "nemo_rl"})
    section[training.backend] = getattr(training, training.backend).model_dump()
    return section


def stages(config: Config) -> dict[str, dict[str, Any]]:
    """The frozen section of each stage, by the name of its file below results/config."""
    names = ["model", "evaluation", "comparison", "report"]
    names += [f"training/{run}" for run in config.runs]
    return {name: section_of(config, name) for name in names}


def frozen(config: Config, stage: str) -> str:
    """Canonical JSON of the section of `stage`."""
    return canonical_json(section_of(config, stage))


CLUSTER = Path("results/config/cluster.json")
"""The frozen `cluster` section: where things are and how big a job is. Stages read it, but it is
written at the start of every workflow and stands in no rule's input. As an input, even an
`ancient` one, its change would hide the missing outputs behind it from Snakemake's plan."""


def write_cluster(config: Config, path: Path = CLUSTER) -> None:
    """Freeze the `cluster` section for the jobs of this start."""
    write_text(path, frozen(config, "cluster") + "\n")
