"""Overrides of an upstream YAML: typed, quoted for Hydra's grammar and for the shell, checked.

Upstream never refuses a misspelt key: with `++` it is set and read by nobody. So every key is
looked up in the YAML of the chosen version and in upstream's typed classes first, and the first
checkpoint's config.yaml is compared with what was asked for.
"""

import difflib
import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from toolgain.common.errors import UserError
from toolgain.training.nemo_rl.refs import Ref
from toolgain.training.nemo_rl.schema import Schema

Value = None | bool | int | float | str | list[Any] | dict[str, Any]

KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*")
_NAME = re.compile(r"[A-Za-z_][\w-]*")
# Names that Hydra would read as values.
_WORDS = ("null", "true", "false", "nan", "inf")

# Below these, upstream takes any key: arguments that are handed on to vLLM, Gym, W&B or torch.
OPEN_SECTIONS = (
    "policy.generation.vllm_kwargs.",
    "policy.hf_config_overrides.",
    "policy.optimizer.",
    "policy.tokenizer.chat_template_kwargs.",
    "policy.megatron_cfg.env_vars.",
    "policy.dtensor_cfg.env_vars.",
    "env.nemo_gym.",
    "logger.wandb.",
)

# Keys that upstream sets itself, whatever was asked for, and where it does.
REWRITTEN = {
    "grpo.val_batch_size": "main of examples/nemo_gym/run_grpo_nemo_gym.py, from the validation "
    "file",
    "env.nemo_gym.is_trajectory_collection": "main of examples/nemo_gym/run_grpo_nemo_gym.py, "
    "which then trains nothing",
    "policy.megatron_cfg.train_iters": "setup of nemo_rl/algorithms/grpo.py, from the steps",
    "policy.generation.model_name": "setup of nemo_rl/algorithms/grpo.py, from policy.model_name",
    "policy.generation.vllm_cfg.hf_overrides": "setup of nemo_rl/algorithms/grpo.py, from "
    "policy.hf_config_overrides",
    "policy.generation.vllm_kwargs.hf_overrides": "setup of nemo_rl/algorithms/grpo.py, from "
    "policy.hf_config_overrides",
    "policy.generation.stop_token_ids": "setup_nemo_gym_config of nemo_rl/environments/nemo_gym.py",
    "policy.generation.stop_strings": "setup_nemo_gym_config of nemo_rl/environments/nemo_gym.py",
    "policy.generation.vllm_cfg.async_engine": "setup_nemo_gym_config of "
    "nemo_rl/environments/nemo_gym.py",
    "policy.generation.vllm_cfg.expose_http_server": "setup_nemo_gym_config of "
    "nemo_rl/environments/nemo_gym.py",
    "policy.generation.vllm_cfg.load_format": "configure_generation_config of "
    "nemo_rl/models/generation/__init__.py",
    "policy.generation._pad_token_id": "configure_generation_config of "
    "nemo_rl/models/generation/__init__.py",
}
# Read, and then taken out of the configuration, so that a checkpoint's config.yaml lacks them.
TAKEN_OUT = ("env.nemo_gym.invalid_tool_call_patterns", "env.nemo_gym.thinking_tags")

# A name that differs in one of these says how it is spelt in another version.
RENAMED = {
    "data.train_jsonl_fpath": "data.train.data_path",
    "data.validation_jsonl_fpath": "data.validation.data_path",
    "data.train.data_path": "data.train_jsonl_fpath",
    "data.validation.data_path": "data.validation_jsonl_fpath",
}


@dataclass(frozen=True)
class Override:
    """One key of the upstream configuration, set or deleted."""

    key: str
    value: Value = None
    delete: bool = False

    def render(self) -> str:
        """The override in Hydra's grammar: `++key=value`, or `~key`."""
        return f"~{self.key}" if self.delete else f"++{self.key}={literal(self.value)}"


def literal(value: Value) -> str:
    """`value` as Hydra reads it back with the same type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UserError(f"training.nemo_rl.overrides: {value} is not a finite number.")
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return "[" + ",".join(literal(item) for item in value) + "]"
    bad = [name for name in value if not _NAME.fullmatch(name) or name.lower() in _WORDS]
    if bad:
        raise UserError(
            f"training.nemo_rl.overrides: Hydra takes no quoted keys in a mapping, so {bad[0]!r} "
            "cannot be set; put it into a YAML file of your own and name that as "
            "training.nemo_rl.config."
        )
    return "{" + ",".join(f"{name}:{literal(item)}" for name, item in value.items()) + "}"


def _quoted(text: str) -> str:
    # In Hydra's quotes only a quote is escaped, and the backslashes right before one.
    body = re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", text)
    trailing = len(body) - len(body.rstrip("\\"))
    return "'" + body + "\\" * trailing + "'"


def shell_words(overrides: Iterable[Override]) -> list[str]:
    """The overrides as words that a shell hands on unchanged."""
    return [shlex.quote(override.render()) for override in overrides]


def load_yaml(path: Path) -> DictConfig:
    """The upstream configuration at `path`, with its `defaults:` merged in as upstream does.

    Raises:
        UserError: the file is missing, no YAML mapping, or inherits in a circle.
    """
    return _load(path, ())


def _load(path: Path, seen: tuple[Path, ...]) -> DictConfig:
    if path in seen:
        raise UserError(f"training.nemo_rl.config: {path} inherits from itself.")
    try:
        config = OmegaConf.load(path)
    except FileNotFoundError:
        raise UserError(
            f"training.nemo_rl.config: {path} does not exist; name a YAML of the NeMo RL "
            "checkout, such as examples/nemo_gym/grpo_workplace_assistant_nemotron_nano_v2_9b.yaml."
        ) from None
    except (yaml.YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"training.nemo_rl.config: {path} is not YAML: {said}") from error
    if not isinstance(config, DictConfig):
        raise UserError(f"training.nemo_rl.config: {path} holds no mapping.")
    parents = config.pop("defaults", None)
    if parents is None:
        return config
    names = list(parents) if isinstance(parents, ListConfig) else [parents]
    base = OmegaConf.create({})
    for name in names:
        base = _merge(base, _load(path.parent / str(name), (*seen, path)))
    return _merge(base, config)


def _merge(base: DictConfig, over: DictConfig) -> DictConfig:
    for key in [str(name) for name in over]:
        if OmegaConf.is_missing(over, key):
            continue
        value = over[key] if not OmegaConf.is_interpolation(over, key) else None
        # Upstream's marker for "in place of the parent's section, not merged into it".
        if isinstance(value, DictConfig) and value.get("_override_", False):
            value.pop("_override_")
            base.pop(key, None)
    merged = OmegaConf.merge(base, over)
    assert isinstance(merged, DictConfig)
    return merged


def dotted_keys(config: DictConfig) -> set[str]:
    """Every dotted key of `config`, sections included."""
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    return set(_dotted(plain, ""))


def _dotted(node: Mapping[Any, Any], prefix: str) -> Iterable[str]:
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{name}.")


def leaves(override: Override) -> list[str]:
    """The dotted keys that an override sets, those inside a mapping included."""
    if isinstance(override.value, dict) and override.value:
        return list(_dotted(override.value, f"{override.key}."))
    return [override.key]


def check_keys(
    overrides: Iterable[Override],
    config: DictConfig,
    ref: Ref,
    where: str,
    schema: Schema | None = None,
) -> None:
    """Refuse keys that the chosen version does not know.

    Args:
        overrides: What is to be set or deleted.
        config: The YAML they apply to.
        ref: The NeMo RL version, for the keys it reads beyond its YAML.
        where: Name of the YAML in the message.
        schema: Upstream's typed classes; their keys are known too.

    Raises:
        UserError: names each unknown key with the nearest that exists.
    """
    known = dotted_keys(config)
    allowed = known | {*ref.keys_beyond_yaml, *ref.required_beyond_yaml}
    allowed |= schema.keys() if schema else set()
    parents = {name[: name.rindex(".") + 1] for name in allowed if "." in name}
    problems = []
    for override in overrides:
        key = override.key
        if not KEY.fullmatch(key):
            problems.append(f"`{key}` is not a dotted key such as grpo.val_period")
        elif override.delete and key not in known:
            problems.append(
                f"`{key}` cannot be deleted, the YAML has no such key{_near(key, known)}"
            )
        elif not override.delete:
            # A mapping at a key that upstream declares is checked key by key; elsewhere it may be
            # a value, such as environment variables.
            names = leaves(override) if f"{key}." in parents else [key]
            problems += [
                f"unknown key `{name}`{_near(name, allowed)}"
                for name in names
                if name not in allowed and not f"{name}.".startswith(OPEN_SECTIONS)
            ]
    if problems:
        raise UserError(
            f"training.nemo_rl.overrides for NeMo RL {ref.name} ({where}): "
            + "; ".join(problems).removesuffix("?")
            + ("? " if problems[-1].endswith("?") else ". ")
            + "NeMo RL itself would ignore it."
        )


def _near(key: str, names: set[str]) -> str:
    renamed = RENAMED.get(key)
    if renamed in names:
        return f"; this version calls it `{renamed}`"
    found = difflib.get_close_matches(key, sorted(names), n=1, cutoff=0.5)
    return f"; did you mean `{found[0]}`?" if found else ""


def apply(config: DictConfig, overrides: Iterable[Override]) -> dict[str, Any]:
    """The configuration that upstream trains with: overrides applied, then all `${}` resolved.

    Raises:
        UserError: an interpolation cannot be resolved, or a section is no mapping.
    """
    for name, function in _RESOLVERS.items():
        OmegaConf.register_new_resolver(name, function, replace=True)
    result = OmegaConf.create(OmegaConf.to_container(config, resolve=False))
    assert isinstance(result, DictConfig)
    for override in overrides:
        if override.delete:
            parent, _, name = override.key.rpartition(".")
            section = OmegaConf.select(result, parent) if parent else result
            if isinstance(section, DictConfig):
                section.pop(name, None)
        else:
            _set(result, override)
    try:
        resolved = OmegaConf.to_container(result, resolve=True)
    except OmegaConfBaseException as error:
        message = " ".join(str(error).split())
        raise UserError(
            f"training.nemo_rl: the configuration cannot be resolved: {message}; set what is "
            "missing in the YAML of training.nemo_rl.config, or in training.nemo_rl.overrides."
        ) from None
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _set(config: DictConfig, override: Override) -> None:
    try:
        OmegaConf.update(config, override.key, override.value, merge=False, force_add=True)
    except (OmegaConfBaseException, TypeError, ValueError):
        raise UserError(
            f"training.nemo_rl: `{override.key}` cannot be set, since a part of it is no mapping "
            "in the YAML of training.nemo_rl.config; correct that file."
        ) from None


# The resolvers that upstream registers.
_RESOLVERS: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "max": lambda a, b: max(a, b),
}


def lookup(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """The value at a dotted key of a plain, resolved configuration."""
    node: Any = config
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return default
        node = node[name]
    return node


def differences(overrides: Iterable[Override], used: Mapping[str, Any]) -> list[str]:
    """How the config.yaml of a checkpoint differs from what was asked for, one line a key."""
    absent = object()
    lines = []
    for override in overrides:
        got = lookup(used, override.key, absent)
        if override.delete:
            if got is not absent:
                lines.append(f"{override.key}: asked to be deleted, trained with {got!r}")
            continue
        asked = override.value
        if (isinstance(asked, str) and "${" in asked) or override.key in TAKEN_OUT:
            continue
        if got is absent:
            lines.append(f"{override.key}: asked {asked!r}, absent in the training")
        elif not _same(asked, got):
            lines.append(f"{override.key}: asked {asked!r}, trained with {got!r}")
    return lines


def _same(asked: Any, got: Any) -> bool:
    if isinstance(asked, float) or isinstance(got, float):
        try:
            return math.isclose(float(asked), float(got), rel_tol=1e-12)
        except (TypeError, ValueError):
            return False
    return bool(asked == got)
