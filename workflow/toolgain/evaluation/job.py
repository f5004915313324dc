"""What one evaluation is made from: settings, weights, items, folders; checked before it starts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from toolgain.bfcl import data
from toolgain.bfcl.data import Items
from toolgain.common.errors import UserError
from toolgain.common.files import reason
from toolgain.common.yaml_text import read_yaml
from toolgain.config.sections import EvaluationSection, parse_section
from toolgain.evaluation import sandbox_setup
from toolgain.evaluation.budget import Budget
from toolgain.evaluation.harness import HarnessFolders, check_folder, harness_program
from toolgain.evaluation.identity import (
    EvaluatedModel,
    chat_template_text,
    comparable,
    read_weights,
    work_key,
)
from toolgain.evaluation.sandbox import Layers
from toolgain.serving.server import check_context


@dataclass(frozen=True)
class EvaluationJob:
    """Everything that one evaluation is made from."""

    out: Path
    subject: str
    section: EvaluationSection
    weights: EvaluatedModel
    items: Items
    source: Path
    """Data folder of the harness."""
    bfcl_env: Path
    trl_env: Path
    comparable: dict[str, JsonValue]
    work: Path
    """Work folder without the number of the repeat."""
    layers: Layers
    """What this kernel gives to the sandbox."""

    @property
    def sampling(self) -> dict[str, JsonValue]:
        """The sampling put into every request."""
        wanted = self.section.sampling.model_dump()
        return {name: value for name, value in wanted.items() if value is not None}

    @property
    def size(self) -> int:
        """Items to ask, over all repeats."""
        return sum(map(len, self.items.values())) * self.section.repeats

    @property
    def chat_template(self) -> str | None:
        """Text of the model's chat template; None for an endpoint."""
        return None if self.weights.digest is None else chat_template_text(self.weights.folder)

    def folders(self, repeat: int) -> HarnessFolders:
        """The folders of one repeat, from 0 on."""
        return HarnessFolders(self.work.with_name(f"{self.work.name}-r{repeat}"))


@dataclass
class Ledger:
    """What is found out on the way."""

    budget: Budget
    times: dict[str, float] = field(default_factory=dict)
    rounds: int = 0
    slurm_jobs: list[str] = field(default_factory=list)
    """Every Slurm job that has worked on the evaluation, first to last."""

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Add the seconds of the block to those of `stage`, also where it fails."""
        started = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - started
            self.times[stage] = round(self.times.get(stage, 0.0) + spent, 2)


def evaluation_section(
    config: Path | None, endpoint: str | None, api_key_env: str | None, subset: int | None
) -> EvaluationSection:
    """The evaluation section, with the command line's values put in."""
    values: dict[str, Any] = {}
    if config is not None:
        values = _read_config(config)
    serve = values.get("serve", {})
    if not isinstance(serve, dict):
        # Refused as it is, by name.
        return parse_section(EvaluationSection, values, str(config))
    if endpoint:
        serve = {**serve, "backend": "endpoint", "url": endpoint}
    if api_key_env:
        serve = {**serve, "api_key_env": api_key_env}
    values["serve"] = serve
    if subset is not None:
        values["subset"] = dict.fromkeys(("non_live", "live", "multi_turn"), subset)
    return parse_section(EvaluationSection, values, str(config or "evaluation"))


def _read_config(path: Path) -> dict[str, Any]:
    """An evaluation section: frozen JSON, or YAML that holds it under its name or is it."""
    try:
        values = read_yaml(path)
    except FileNotFoundError:
        raise UserError(f"--config: {path} does not exist.") from None
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"--config: {path} cannot be read: {reason(error)}.") from error
    if not isinstance(values, dict):
        raise UserError(f"--config: {path} holds no keys.")
    section = values.get("evaluation", values)
    if not isinstance(section, dict):
        raise UserError(f"--config: {path}: `evaluation` holds no keys.")
    return section


def prepare_evaluation(
    out: Path,
    section: EvaluationSection,
    weights: Path | None,
    endpoint: str | None,
    model_name: str | None,
    bfcl_env: Path,
    trl_env: Path,
    trust_remote_code: bool = False,
) -> EvaluationJob:
    """Check everything before the first process starts.

    Raises:
        UserError: an input is missing or cannot be right.
    """
    subject = out.name
    if section.serve.server.ours and weights is None:
        raise UserError(
            "evaluate: name what to evaluate, with --weights FILE (a model folder, or the JSON "
            "that `toolgain model` or `toolgain export` writes) or --endpoint URL --model NAME."
        )
    if endpoint and not model_name:
        raise UserError("evaluate: --endpoint needs --model NAME, the name that the server knows.")
    root = _work_root(out)
    check_folder(root)
    harness_program(bfcl_env)
    source = data.installed_data(bfcl_env)
    items = data.load_full(source)
    if section.subset is not None:
        subset = section.subset.model_dump()
        items = data.draw(items, data.sizes_of(subset), section.subset.seed)
    found = read_weights(weights, model_name or section.alias, section.serve.url, trust_remote_code)
    if section.serve.server.ours:
        check_context(section.serve, found.folder)
    facts = comparable(section, items, found, bfcl_env, trl_env)
    return EvaluationJob(
        out=out.absolute(),
        subject=subject,
        section=section,
        weights=found,
        items=items,
        source=source,
        bfcl_env=bfcl_env.absolute(),
        trl_env=trl_env.absolute(),
        comparable=facts,
        work=root / work_key(found, facts),
        layers=sandbox_setup.checked_layers(section),
    )


def _work_root(out: Path) -> Path:
    """results/work/evaluations for results/evaluations/{subject}; else a folder inside `out`."""
    out = out.absolute()
    if out.parent.name == "evaluations":
        return out.parent.parent / "work" / "evaluations"
    return out / "work"
