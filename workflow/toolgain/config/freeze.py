"""What each stage may see of the configuration: its own frozen file, and nothing else.

A stage reads `results/config/<stage>.json`. The file changes only when a value in it changes, so
a comment, a reordering or another stage's key starts nothing again.
"""

from pathlib import Path

from toolgain.common.files import canonical_json, digest, read_json, write_text
from toolgain.config.sections import Config, Section, SectionType, parse_section


def section_of(config: Config, stage: str) -> dict[str, object]:
    """What the stage of this name may see; `training/<run>` for the training of a run."""
    kind, _, run = stage.partition("/")
    if kind == "training":
        return config.training_of(run).frozen()
    section: Section = getattr(config, kind)
    if kind == "comparison":
        section = section.model_copy(update={"recipes": config.recipes})
    if kind == "evaluation":
        image = {"container": config.serving_image}
        serve = config.evaluation.serve.model_copy(update=image)
        # Whether a trial comes first changes no evaluation.
        section = section.model_copy(update={"serve": serve, "trial": True})
    return section.model_dump()


def frozen_sections(config: Config) -> dict[str, dict[str, object]]:
    """The frozen section of each stage, by the name of its file below results/config."""
    names = ["model", "evaluation", "comparison", "report"]
    names += [f"training/{run}" for run in config.runs]
    return {name: section_of(config, name) for name in names}


def frozen(config: Config, stage: str) -> str:
    """Canonical JSON of the section of `stage`."""
    return canonical_json(section_of(config, stage))


def read_section(model: type[SectionType], path: Path) -> SectionType:
    """The frozen section in `path`, checked again: people start single stages by hand.

    Raises:
        UserError: the file is missing, or a key or value of it is not allowed.
    """
    return parse_section(model, read_json(path, "config"), f"config: {path}")


CLUSTER = Path("results/config/cluster.json")
TRIAL = Path("results/config/trial.json")
"""Frozen sections that are no reason to run anything: where things are and how big a job is, and
how a trial evaluation asks. Stages read them, but they are written at the start of every workflow
and stand in no rule's input. As an input, even an `ancient` one, a change would hide the missing
outputs behind it from Snakemake's plan, or train a finished run again."""


def write_for_this_start(config: Config) -> None:
    """Freeze the sections that stand in no rule, for the jobs of this start."""
    write_text(CLUSTER, frozen(config, "cluster") + "\n")
    if config.evaluation.trial:
        write_text(TRIAL, frozen(config, "evaluation") + "\n")
    else:
        TRIAL.unlink(missing_ok=True)


def settings_of_trial(config: Config) -> str:
    """Digest of the settings that a trial tries: how the model is served and asked."""
    section = section_of(config, "evaluation")
    names = ("alias", "canary", "harness_container", "sampling", "serve")
    return digest([section[name] for name in names])
