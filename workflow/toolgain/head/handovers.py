"""What the workflow's training jobs will hand to ray.sub, told from the configuration alone."""

from dataclasses import dataclass
from pathlib import Path

import click

from toolgain.common.errors import UserError
from toolgain.common.files import read_text
from toolgain.config.freeze import frozen
from toolgain.config.sections import Config
from toolgain.head.prompt_checks import prompt_findings
from toolgain.records.model import Model
from toolgain.records.record import read_record
from toolgain.records.training import Handover
from toolgain.training.backend import trainer
from toolgain.training.nemo_rl import gym, handover, lint, refs
from toolgain.training.nemo_rl.preparation import LaunchRequest
from toolgain.training.store import saves
from toolgain.training.train import fingerprint

RESULTS = Path("results")
FINGERPRINT = "FINGERPRINT"
"""What stands for the name of the checkpoint folder while model and tasks are not recorded."""


@dataclass(frozen=True)
class Shown:
    """A handover, and what of it a job may still change."""

    handover: Handover
    notes: tuple[str, ...]
    sequence_length: int
    """Tokens of a prompt and its answers together, at most."""
    files: dict[str, Path]
    """The data file of each split."""


def shown_handover(config: Config, run: str, nodes: int | None, smoke: bool) -> Shown:
    """What the job of a run hands to ray.sub.

    Args:
        config: The configuration.
        run: Name of the run.
        nodes: Nodes of the training; None: those of a job of the workflow.
        smoke: The smoke training in place of the long one.

    Raises:
        UserError: the run is not trained with NeMo RL, or what would refuse the job at its start.
    """
    section = config.training_of(run)
    if not trainer(section).NEEDS_CLUSTER:
        raise UserError(
            f"--show-command: run {run} trains with training.backend {section.backend}; only "
            "nemo_rl hands a command to ray.sub."
        )
    notes: list[str] = []
    base = _base(config, notes)
    tasks = (RESULTS / "tasks" / run).resolve()
    train, validation = tasks / "train.jsonl", tasks / "validation.jsonl"
    folder = RESULTS.resolve() / "work" / "training"
    # What lies there can be of another configuration, such as the demo's.
    unchanged = _unchanged(config, f"training/{run}")
    prepared = train.is_file() and validation.is_file() and unchanged
    if base and prepared:
        name = fingerprint(section, base, train, validation)[:12]
    else:
        name = FINGERPRINT
        notes.append(
            f"{FINGERPRINT} stands for the checkpoint folder's name, which follows from the "
            "recorded model and tasks."
        )
    if prepared:
        files = {"train": train, "validation": validation}
    else:
        root = config.cluster.nemo_rl.root
        files = gym.find(
            refs.REFS[section.nemo_rl.ref], Path(root).resolve() if root else None, section.tasks
        )
    rows = saves.validation_items(files["train"])
    request = LaunchRequest(
        section=section,
        weights=Path(base.path if base else config.model.path).resolve(),
        train=train,
        validation=validation,
        name=run,
        folder=folder / (name + ("-smoke" if smoke else "")),
        nodes=nodes or (1 if smoke else config.cluster.nodes),
        smoke=smoke,
        cluster=refs.located(config.cluster),
    )
    said, numbers = handover.beforehand(request, rows)
    return Shown(said, tuple(notes), numbers.sequence_length, files)


def _base(config: Config, notes: list[str]) -> Model | None:
    """The recorded base model; None, with a note, where the workflow has yet to record it."""
    path = RESULTS / "model.json"
    if path.is_file() and _unchanged(config, "model"):
        return read_record(Model, path, "model")
    if config.model.patch != "none" or config.model.chat_template:
        notes.append(
            f"{config.model.path} stands for its private copy with the changed chat template, "
            "which a run makes below results/work/models."
        )
    return None


def _unchanged(config: Config, stage: str) -> bool:
    """Whether the last run's frozen section of a stage is the present one."""
    path = RESULTS / "config" / f"{stage}.json"
    return path.is_file() and read_text(path).strip() == frozen(config, stage).strip()


def print_all(config: Config, run: str | None, nodes: int | None, smoke: bool) -> None:
    """Print the handover of one run, or of every run of NeMo RL.

    Raises:
        UserError: what would refuse the job, at its start or, like prompts that do not fit, before
            it is submitted.
    """
    on_cluster = [one for one in config.runs if trainer(config.training_of(one)).NEEDS_CLUSTER]
    runs = [run] if run else on_cluster
    if not runs:
        raise UserError(
            "--show-command: no run trains with training.backend nemo_rl, and only that one hands "
            "a command to ray.sub."
        )
    for name in runs:
        shown = shown_handover(config, name, nodes, smoke)
        lint.refuse_findings(prompt_findings(config, shown.sequence_length, shown.files))
        click.echo(f"# run {name}{', smoke training' if smoke else ''}")
        for note in shown.notes:
            click.echo(f"# {note}")
        for line in shown.handover.lines():
            click.echo(line)
