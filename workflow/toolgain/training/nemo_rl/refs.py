"""The supported NeMo RL versions, and where their keys, files and habits part.

One version names one tuple: NeMo RL commit, container image, NeMo Gym commit. The three must
belong together: the image holds the Python environments that the code of that commit asks for.
"""

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.common.files import file_digest
from toolgain.config.sections import ClusterSection
from toolgain.slurm.containers import is_file_image, located_image

WORKPLACE_YAML = "examples/nemo_gym/grpo_workplace_assistant_nemotron_nano_v2_9b.yaml"
PROGRAM = "examples/nemo_gym/run_grpo_nemo_gym.py"
GYM_FOLDER = "3rdparty/Gym-workspace/Gym"
GYM_DATA = "data/workplace_assistant"
"""Where Gym's preparation writes, below its folder."""


@dataclass(frozen=True, kw_only=True)
class Ref:
    """What one NeMo RL version is and does; the defaults are what v0.7.0 does."""

    name: str
    commit: str | None
    """Commit of the tag, or its beginning; None where it moves (`main`) or is not known."""
    gym_commit: str | None
    """Commit of the Gym submodule, or its beginning."""
    image: str | None
    """NVIDIA's image of this version; None: there is none, only one built from the commit."""
    vllm: str | None
    """None for `main`: the versions move with it."""
    train_data_key: str = "data.train.data_path"
    validation_data_key: str = "data.validation.data_path"
    has_val_at_end: bool = True
    """Whether `grpo.val_at_end` is read; v0.5.0 ignores it without a word."""
    has_save_optimizer: bool = True
    parser_plugin_is_mandatory: bool = False
    """v0.5.0 holds `tool_parser_plugin: ???`, which reaches the worker as the text `???`."""
    has_async_save: bool = False
    """Whether Megatron saves asynchronously by default (RL issue 3312: stale weights)."""
    log_folder_has_restart: bool = True
    """Whether ray.sub writes `<job>-<restart>-logs` after a requeue."""
    driver_in_head: bool = True
    """Whether ray.sub runs COMMAND inside the head container, not in a step of its own."""
    environment_is_logged: bool = False
    """Whether ray.sub's head and worker logs print the whole environment."""
    converter_takes_model_name: bool = True
    gym_python: str = "3.12"
    """Python version that Gym itself asks for, for its preparation of the data."""
    gym_prepares: str = "gym dataset collate"
    """The command of that preparation; before Gym 0.4.0 it was `ng_prepare_data`, with the same
    arguments, and has been deprecated since."""
    gym_refuses_a_model: bool = False
    """Whether that preparation has a model of its own and refuses a second one."""
    policy_backends: tuple[str, ...] = ("megatron", "dtensor", "dtensor_v2")
    """Training backends of the policy that this version has and whose keys are known for it."""
    keys_beyond_yaml: tuple[str, ...] = ()
    """Keys that this version reads though neither its YAML nor its typed classes hold them."""
    required_beyond_yaml: Mapping[str, bool] = field(default_factory=dict)
    """Keys of the Megatron policy that this version refuses to start without though its own YAML
    lacks them, and the value that does nothing."""


_COMMON_KEYS = (
    "policy.generation.vllm_cfg.tool_parser_plugin",
    "checkpointing.model_save_format",
    "checkpointing.save_consolidated",
    "checkpointing.is_async",
    "logger.wandb.entity",
    "logger.wandb.group",
    "logger.wandb.tags",
    "policy.megatron_cfg.enabled",
    "policy.dtensor_cfg.enabled",
    "policy.generation.vllm_cfg.http_server_serving_chat_kwargs.reasoning_parser",
    "policy.generation.vllm_cfg.http_server_serving_chat_kwargs.chat_template",
)

_KEYS_OF_MAIN = (
    *_COMMON_KEYS,
    "checkpointing.ft_keep_latest_k",
    "checkpointing.ft_save_period",
)

_MEGATRON_REQUIRES = {"policy.megatron_cfg.moe_per_layer_logging": False}

REFS: dict[str, Ref] = {
    ref.name: ref
    for ref in (
        Ref(
            name="v0.5.0",
            commit="6c7089300fded94abfa49bb9cbf9eb357d862461",
            gym_commit="c192ee407ff71046015d11da7c8960082bd62418",
            image="nvcr.io/nvidia/nemo-rl:v0.5.0",
            vllm="0.11.2",
            train_data_key="data.train_jsonl_fpath",
            validation_data_key="data.validation_jsonl_fpath",
            has_val_at_end=False,
            has_save_optimizer=False,
            parser_plugin_is_mandatory=True,
            log_folder_has_restart=False,
            driver_in_head=False,
            environment_is_logged=True,
            converter_takes_model_name=False,
            gym_prepares="ng_prepare_data",
            keys_beyond_yaml=(*_COMMON_KEYS, "checkpointing.checkpoint_dir"),
        ),
        Ref(
            name="v0.6.0",
            commit="5fb588932bf835506a8a5bac01de4f8c7ab0a065",
            gym_commit="1a4912e231bb2795b062f7de97496caaf382c7f6",
            image="nvcr.io/nvidia/nemo-rl:v0.6.0",
            vllm="0.17.1",
            log_folder_has_restart=False,
            driver_in_head=False,
            environment_is_logged=True,
            gym_prepares="ng_prepare_data",
            gym_refuses_a_model=True,
            keys_beyond_yaml=_COMMON_KEYS,
        ),
        Ref(
            name="v0.7.0",
            commit="81aa43dda4765b0429cf31dab44441e4e4383911",
            gym_commit="d67ad6611cfe21dbaeb301c59e59df32ce22ec50",
            image="nvcr.io/nvidia/nemo-rl:v0.7.0",
            vllm="0.20.0",
            keys_beyond_yaml=_COMMON_KEYS,
            required_beyond_yaml=_MEGATRON_REQUIRES,
        ),
        Ref(
            name="v0.8.0",
            # The versions are from its release notes. Not read, but taken from main as of
            # 2026-08-22: every key, file name and habit. Doctor reads the checkout's classes.
            # Its API reference lists no DTensorConfig but an AutomodelConfig, and PRs 4207 and 4198
            # took DTensor v1 away: the keys of that backend have changed and were not read. Of
            # 7b235d3ef, a commit with vLLM 0.29.0 and ray>=2.58.0 whose date was not seen, the
            # classes of the policy were read: what Megatron requires is the same, and
            # `dtensor_cfg` is `automodel_cfg`.
            policy_backends=("megatron",),
            commit=None,
            gym_commit="1f8afc7",
            image="nvcr.io/nvidia/nemo-rl:v0.8.0",
            vllm="0.29.0",
            has_async_save=True,
            gym_python="3.13.14",
            keys_beyond_yaml=_KEYS_OF_MAIN,
            required_beyond_yaml=_MEGATRON_REQUIRES,
        ),
        Ref(
            name="main",
            # PR 4207 of September 2026 refuses DTensor v1.
            policy_backends=("megatron", "dtensor_v2"),
            commit=None,
            gym_commit=None,
            image=None,
            vllm=None,
            has_async_save=True,
            gym_python="3.13.14",
            keys_beyond_yaml=_KEYS_OF_MAIN,
            required_beyond_yaml=_MEGATRON_REQUIRES,
        ),
    )
}


def commit_of(folder: Path) -> str | None:
    """The git commit that `folder` is the top of, or None where it is not a git checkout."""
    if not (folder / ".git").exists():
        return None
    return _git(folder, "rev-parse", "HEAD")


def _git(folder: Path, *words: str) -> str | None:
    """What git says in `folder`; None where it fails or says nothing."""
    return _git_bytes(folder, *words).decode(errors="replace").strip() or None


def _git_bytes(folder: Path, *words: str) -> bytes:
    """What git says in `folder`; nothing where it fails."""
    found = _run_git(folder, *words)
    return found.stdout if found.returncode == 0 else b""


def _run_git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-c", f"safe.directory={folder}", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, check=False)


SOURCES = frozenset({".py", ".sh", ".sub", ".toml", ".yaml", ".yml"})
"""Suffixes of files that a training run reads; logs and data may lie in a checkout too."""


def uncommitted_changes(root: Path) -> str | None:
    """`sha256 ...` of what a checkout differs in from its commit; None: in nothing.

    A source file that git does not track counts with its name and content, unless it is ignored.
    A submodule has a digest of its own. Where git cannot compare (an object is missing, say), that
    is what is returned: such a checkout is not a clean one.
    """
    if commit_of(root) is None:
        return None
    exact = ("--ignore-submodules", "--binary", "--full-index", "--no-ext-diff", "--no-textconv")
    compared = _run_git(root, "diff", "HEAD", *exact)
    if compared.returncode != 0:
        said = compared.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        return f"not known: `git diff` failed: {said[0]}"
    differs = hashlib.sha256(compared.stdout)
    listed = _git_bytes(root, "ls-files", "-z", "--others", "--exclude-standard").split(b"\0")
    paths = [root / os.fsdecode(name) for name in sorted(listed) if name]
    found = [path for path in paths if path.suffix in SOURCES and path.is_file()]
    for path in found:
        differs.update(os.fsencode(path.relative_to(root)) + b"\0" + file_digest(path).encode())
    return f"sha256 {differs.hexdigest()}" if compared.stdout or found else None


def said_version(commit: str | None, changes: str | None) -> str:
    """A checkout's commit in a line for the screen, and whether what runs is that commit."""
    said = commit[:9] if commit else "a copy without git history: what it holds is not compared"
    if changes:
        said += f", with uncommitted changes ({changes}), which the training runs"
    return said


def check_checkout(ref: Ref, root: Path) -> str | None:
    """The commit of the NeMo RL checkout at `root`, found to be `ref`.

    Returns:
        The commit, or None where the checkout has no git history (a copy).

    Raises:
        UserError: `root` is not a NeMo RL checkout, or one of another version.
    """
    missing = [name for name in ("ray.sub", PROGRAM) if not (root / name).is_file()]
    if missing:
        raise UserError(
            f"cluster.nemo_rl.root: {root} is not a NeMo RL checkout: it has no "
            f"{' and no '.join(missing)}; clone it with `git clone --recursive --branch "
            f"{ref.name} https://github.com/NVIDIA-NeMo/RL {root}`."
        )
    commit = commit_of(root)
    tagged = None if ref.commit or not ref.image else _git(root, "rev-parse", f"{ref.name}^{{}}")
    if commit and tagged and commit != tagged:
        raise UserError(
            f"training.nemo_rl.ref is {ref.name} ({tagged[:9]}), but {root} is at {commit[:9]}; "
            f"run `git -C {root} checkout {ref.name} && git -C {root} submodule update --init "
            "--recursive`, or set ref to the version of the checkout."
        )
    if commit and ref.commit and not commit.startswith(ref.commit):
        other = next(
            (r.name for r in REFS.values() if r.commit and commit.startswith(r.commit)), ""
        )
        known = f" ({other})" if other else ""
        raise UserError(
            f"training.nemo_rl.ref is {ref.name} ({ref.commit[:9]}), but {root} is at "
            f"{commit[:9]}{known}; run `git -C {root} checkout {ref.name} && git -C {root} "
            "submodule update --init --recursive`, or set ref to the version of the checkout."
        )
    return commit


def check_gym(ref: Ref, root: Path) -> str | None:
    """The commit of the Gym submodule of the checkout at `root`; None where it has no history.

    Raises:
        UserError: Gym is missing, or is not the commit that this NeMo RL version pins.
    """
    folder = root / GYM_FOLDER
    if not (folder / "resources_servers").is_dir():
        raise UserError(
            f"NeMo Gym: {folder} has no resources_servers; run "
            f"`git -C {root} submodule update --init --recursive`."
        )
    commit = commit_of(folder)
    pinned = ref.gym_commit or _pinned_gym(root)
    if commit and pinned and not commit.startswith(pinned):
        raise UserError(
            f"NeMo Gym: {folder} is at {commit[:9]}, but NeMo RL {ref.name} pins {pinned[:9]}; "
            f"run `git -C {root} submodule update --init --recursive`."
        )
    return commit


def _pinned_gym(root: Path) -> str | None:
    words = (_git(root, "ls-tree", "HEAD", GYM_FOLDER) or "").split()
    return words[2] if len(words) > 2 and words[1] == "commit" else None


_IMAGE_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")


def check_image(ref: Ref, container: str | None) -> None:
    """Refuse a container image whose name says another NeMo RL version.

    Raises:
        UserError: no image is named, its file is missing, or its name holds another version.
    """
    if not container:
        raise UserError(
            "cluster.container names no NeMo RL image; "
            + (f"{ref.image} belongs to {ref.name}: " if ref.image else "")
            + "import it with `enroot import` and give the absolute path of the .sqsh file."
        )
    path = is_file_image(container)
    if path and not Path(container).is_file():
        raise UserError(
            f"cluster.container: {container} does not exist; give the path of a .sqsh "
            "file that every node sees, or an image such as nvcr.io#nvidia/nemo-rl:TAG."
        )
    name = Path(container).name if path else container
    said = _IMAGE_VERSION.search(name)
    if said and ref.image and f"v{said[1]}" != ref.name:
        raise UserError(
            f"cluster.container: {container} says v{said[1]}, but training.nemo_rl.ref is "
            f"{ref.name}; use {ref.image}, or set ref to the version of the image."
        )


def located(cluster: ClusterSection) -> ClusterSection:
    """The cluster section with its paths absolute: the nodes work in another folder than this."""
    site = cluster.nemo_rl
    absolute = {
        name: str(Path(path).resolve())
        for name, path in (("root", site.root), ("hf_home", site.hf_home))
        if path
    }
    return cluster.model_copy(
        update={
            "container": located_image(cluster.container),
            "nemo_rl": site.model_copy(update=absolute),
        }
    )
