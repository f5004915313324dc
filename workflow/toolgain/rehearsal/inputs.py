"""What a rehearsal is made of: the training section, the rows, the model."""

from dataclasses import dataclass
from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.common.files import read_jsonl
from toolgain.config.freeze import read_section
from toolgain.config.sections import (
    ClusterSection,
    Config,
    EvaluationSection,
    Serve,
    TrainingSection,
    load_config,
    parse_section,
)
from toolgain.environments.rollouts import Row
from toolgain.models.base import check_files
from toolgain.records.model import Model
from toolgain.records.record import read_record
from toolgain.records.tasks import Tasks, check_task_files
from toolgain.tasks import gym_rows
from toolgain.training.backend import trainer
from toolgain.training.nemo_rl import gym as prepared
from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.nemo_rl.refs import REFS


@dataclass(frozen=True)
class Given:
    """The files and options of the command line."""

    config: Path
    """A workflow configuration (YAML), or a frozen training section (JSON)."""
    evaluation: Path | None = None
    """The frozen evaluation section, beside a frozen training section."""
    cluster: Path | None = None
    tasks: Path | None = None
    """tasks.json, with the two files of rows beside it."""
    run: str | None = None
    weights: Path | None = None
    endpoint: str | None = None
    model: str | None = None
    api_key_env: str | None = None


@dataclass(frozen=True)
class Inputs:
    """What is rehearsed."""

    section: TrainingSection
    serve: Serve
    at_once: int
    """Requests that the model server is given at once."""
    config_paths: list[str]
    rows: dict[str, list[Row]]
    """By file: `train` and `validation`; of one's own rows, perhaps `train` alone."""
    weights: Path | None
    """None: an endpoint is asked."""
    model: str
    """Folder of the weights, or the endpoint's URL."""
    model_name: str | None
    """Name at the endpoint."""


def read_inputs(given: Given) -> Inputs:
    """Read and check everything before the first process starts.

    Raises:
        UserError: an input is missing or cannot be right.
    """
    training, evaluation, cluster, config = _sections(given)
    serve = evaluation.serve
    if given.endpoint:
        if not given.model:
            raise UserError("rehearse: --endpoint needs --model NAME, as the server knows it.")
        values = serve.model_dump(exclude_unset=True) | {
            "backend": "endpoint",
            "url": given.endpoint,
            "api_key_env": given.api_key_env or serve.api_key_env,
        }
        serve = parse_section(EvaluationSection, {"serve": values}, "rehearse").serve
    weights = None
    if serve.server.ours:
        named = given.weights or (Path(config.model.path) if config else None)
        if named is None:
            raise UserError(
                "rehearse: name the model, with --weights FOLDER or --endpoint URL --model NAME."
            )
        weights = _folder(named)
    return Inputs(
        section=training,
        serve=serve,
        at_once=evaluation.requests_at_once,
        config_paths=_config_paths(training, cluster),
        rows=_rows(given, training, cluster),
        weights=weights,
        model=str(weights) if weights else str(serve.url),
        model_name=given.model or evaluation.alias,
    )


def _sections(
    given: Given,
) -> tuple[TrainingSection, EvaluationSection, ClusterSection, Config | None]:
    if given.config.suffix == ".json":
        return (
            read_section(TrainingSection, given.config),
            read_section(EvaluationSection, given.evaluation)
            if given.evaluation
            else EvaluationSection(),
            read_section(ClusterSection, given.cluster) if given.cluster else ClusterSection(),
            None,
        )
    config = load_config(given.config)
    run = given.run or next(iter(config.runs))
    return config.training_of(run), config.evaluation, config.cluster, config


def _folder(named: Path) -> Path:
    """A model folder, or the one that model.json or export.json names."""
    folder = named if named.is_dir() else Path(read_record(Model, named, "--weights").path)
    check_files(folder)
    return folder.absolute()


def _config_paths(training: TrainingSection, cluster: ClusterSection) -> list[str]:
    """The environment's YAML files: those configured, else those of NeMo RL's YAML."""
    if training.gym.config_paths:
        return training.gym.config_paths
    if not trainer(training).NEEDS_CLUSTER:
        raise UserError(
            "training.gym.config_paths names no environment; give the YAML files of one, such as "
            "resources_servers/workplace_assistant/configs/workplace_assistant.yaml."
        )
    root, asked = cluster.nemo_rl.root, training.nemo_rl.overrides.get("env.nemo_gym.config_paths")
    if asked is None and root is not None:
        path = Path(training.nemo_rl.config)
        yaml = ov.load_yaml(path if path.is_absolute() else Path(root) / path)
        asked = ov.lookup(ov.apply(yaml, []), "env.nemo_gym.config_paths")
    if isinstance(asked, list) and asked:
        return [str(path) for path in asked]
    return [path for path in prepared.CONFIGS if not path.startswith("responses_api_models/")]


def _rows(given: Given, training: TrainingSection, cluster: ClusterSection) -> dict[str, list[Row]]:
    if given.tasks:
        check_task_files(given.tasks, read_record(Tasks, given.tasks, "--tasks").sha256)
        # toolgain's own tasks lie there as rows; prepared rows are the tasks themselves.
        own = given.tasks.parent / gym_rows.FOLDER
        folder = own if own.is_dir() else given.tasks.parent
        files = {split: folder / f"{split}.jsonl" for split in prepared.SPLITS}
    elif trainer(training).NEEDS_CLUSTER and not training.tasks.train_file:
        root = cluster.nemo_rl.root
        ref = REFS[training.nemo_rl.ref]
        files = prepared.find(ref, Path(root).resolve() if root else None, training.tasks)
    else:
        named = {"train": training.tasks.train_file, "validation": training.tasks.validation_file}
        files = {split: Path(name) for split, name in named.items() if name}
        if "train" not in files:
            raise UserError(
                "training.tasks.train_file names no rows; give Gym's prepared rows, or --tasks "
                "tasks.json, which `toolgain tasks` writes."
            )
    found: dict[str, list[Row]] = {}
    for split, path in files.items():
        rows = read_jsonl(path, f"{split} rows")
        found[split] = [row if isinstance(row, dict) else {} for row in rows]
    if not found["train"]:
        raise UserError(f"training data: {files['train']} holds no rows.")
    return found
