"""A NeMo RL training checked before its start: versions, overrides, arithmetic, disk."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from toolgain.common.errors import UserError
from toolgain.config.sections import ClusterSection, NemoRl, TrainingSection
from toolgain.training.nemo_rl import gym, lint, plan, refs, schema, watch
from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.store import checkpoints, saves

Report = Callable[[int, int, float | None, float | None], None]
"""Called with step, planned steps, last reward and last accuracy."""


@dataclass(frozen=True)
class Prepared:
    """A training run that was found fit to start."""

    ref: refs.Ref
    root: Path
    config: Path
    overrides: list[ov.Override]
    numbers: plan.RunNumbers
    planned: int
    findings: list[lint.Finding]
    versions: dict[str, str]


@dataclass(frozen=True)
class LaunchRequest:
    """The arguments of `train`, once they are paths."""

    section: TrainingSection
    weights: Path
    train: Path
    validation: Path
    name: str
    folder: Path
    nodes: int
    smoke: bool
    cluster: ClusterSection
    report: Report = lambda *_: None

    @property
    def logs(self) -> Path:
        """Where NeMo RL makes a folder `exp_NNN` for each launch."""
        return self.folder / "logs"


def prepare_launch(
    request: LaunchRequest, seconds_left: float | None, rows: int | None = None
) -> Prepared:
    """Check everything that can be known before the start and build the overrides.

    Args:
        request: The training.
        seconds_left: Seconds until the time limit; None without one.
        rows: Training rows; None: those of `request.train`.

    Raises:
        UserError: lists every finding, with its arithmetic.
    """
    nemo, folder = request.section.nemo_rl, request.folder
    ref, root, config, base, versions = checkout(nemo, request.cluster)
    rows = saves.validation_items(request.train) if rows is None else rows
    place = plan.Place(
        model=request.weights,
        train_file=request.train,
        validation_file=request.validation,
        checkpoints=folder,
        nodes=request.nodes,
        gpus_per_node=request.cluster.gpus_per_node,
        run=request.name,
    )
    smoke_steps = request.section.smoke_steps if request.smoke else 0
    classes = schema.read_schema(root)
    asked = plan.overrides(
        *(nemo, request.section.seed, ref, base, place, rows, smoke_steps, classes),
        gym=request.section.gym,
    )
    findings = [lint.log_folder(folder), lint.required_keys(classes, ov.apply(base, asked))]
    if seconds_left is not None:
        value, finding = lint.must_save_by(
            seconds_left, request.cluster.nemo_rl, _longest_step(folder)
        )
        findings.append(finding)
        asked.append(ov.Override("checkpointing.checkpoint_must_save_by", value))
    numbers = plan.run_numbers(ov.apply(base, asked), rows)
    used = ov.apply(base, asked)
    findings += lint.lint_numbers(numbers, ref)
    findings += [*lint.modes(used), lint.step_limits(used, root / refs.GYM_FOLDER)]
    files = {path: gym.read_gym_rows(path) for path in _data_files(request)}
    if files:
        findings += lint.rows_and_environment(used, root / refs.GYM_FOLDER, files)
    findings.append(_disk(numbers, request.weights, folder))
    lint.refuse_findings(findings)
    assert numbers.total_steps is not None
    return Prepared(ref, root, config, asked, numbers, numbers.total_steps, findings, versions)


def _data_files(request: LaunchRequest) -> list[Path]:
    """The files of rows that are there; none where neither is."""
    tasks = request.section.tasks
    # Before a job, what lies at `request.train` can be of another configuration.
    asked = [Path(name) for name in (tasks.train_file, tasks.validation_file) if name]
    found = [path for path in asked if path.is_file()]
    return found or [path for path in (request.train, request.validation) if path.is_file()]


def checkout(
    nemo: NemoRl, cluster: ClusterSection
) -> tuple[refs.Ref, Path, Path, DictConfig, dict[str, str]]:
    """The NeMo RL version, its checkout, the YAML and its content, and the versions found.

    Raises:
        UserError: checkout, image, Gym or YAML is missing or of another version.
    """
    ref, root = refs.REFS[nemo.ref], root_of(nemo, cluster)
    versions = _versions_of_checkout(ref, root)
    versions["nemo_gym_commit"] = refs.check_gym(ref, root) or "no git history"
    if changed := refs.uncommitted_changes(root / refs.GYM_FOLDER):
        versions["nemo_gym_uncommitted_changes"] = changed
    refs.check_image(ref, cluster.container)
    versions["container"] = str(cluster.container)
    config = yaml_file_of(nemo, root)
    return ref, root, config, ov.load_yaml(config), versions


def root_of(nemo: NemoRl, cluster: ClusterSection) -> Path:
    """The folder of the NeMo RL checkout.

    Raises:
        UserError: none is named.
    """
    named = cluster.nemo_rl.root
    if not named:
        raise UserError(
            "cluster.nemo_rl.root names no NeMo RL checkout; clone it on the shared file system "
            f"with `git clone --recursive --branch {nemo.ref} https://github.com/NVIDIA-NeMo/RL`."
        )
    return Path(named).resolve()


def yaml_file_of(nemo: NemoRl, root: Path) -> Path:
    """The upstream YAML: of the checkout, or at an absolute path."""
    config = Path(nemo.config)
    return config if config.is_absolute() else root / config


def _versions_of_checkout(ref: refs.Ref, root: Path) -> dict[str, str]:
    """Version, commit, and the digest of what the checkout differs in from it.

    Raises:
        UserError: it is not a checkout, or one of another version.
    """
    commit = refs.check_checkout(ref, root)
    versions = {"nemo_rl": ref.name, "nemo_rl_commit": commit or "no git history"}
    if changed := refs.uncommitted_changes(root):
        versions["nemo_rl_uncommitted_changes"] = changed
    return versions


def _disk(numbers: plan.RunNumbers, model: Path, directory: Path) -> lint.Finding:
    existing = directory
    while not existing.exists():
        existing = existing.parent
    present = sorted(directory.glob("step_*")) if directory.is_dir() else []
    measured = checkpoints.size_of(present[-1]) if present else None
    weights = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    free = shutil.disk_usage(existing).free
    return lint.disk(numbers, weights, free, len(present), measured or None)


def _longest_step(folder: Path) -> float | None:
    """The longest step of the launches so far, in seconds; None before two steps were done."""
    curves = watch.Curves(folder / "logs")
    curves.read()
    return max(curves.step_times(), default=None)
