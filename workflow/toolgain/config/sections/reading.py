"""Read a configuration, or one section of it, and say what is wrong with it."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from toolgain.common.errors import UserError
from toolgain.config import yaml_file
from toolgain.config.sections.base import Section
from toolgain.config.sections.messages import findings_of
from toolgain.config.sections.whole import Config


def parse_config(values: dict[str, Any], where: str = "config") -> Config:
    """The typed configuration of raw `values`.

    Raises:
        UserError: a key is unknown or a value is not allowed; one line per finding, each with
            the key, its value and what is allowed.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: " + findings_of(error, Config)) from None


SectionType = TypeVar("SectionType", bound=Section)


def parse_section(model: type[SectionType], values: Any, where: str) -> SectionType:
    """One section, checked by itself: for the verbs that people use without a workflow.

    Raises:
        UserError: as for `parse_config`.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: " + findings_of(error, model)) from None


def load_config(path: Path, *over: Path) -> Config:
    """Read and check a YAML configuration file, with others on top of it.

    Sections are merged key by key and every other value is replaced, as Snakemake does with the
    files of `--configfile`.
    """
    values = yaml_file.read_config_file(path)
    for other in over:
        values = _merged(values, yaml_file.read_config_file(other))
    return parse_config(values, " ".join(map(str, (path, *over))))


def _merged(below: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in over.items():
        known = result.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            result[key] = _merged(known, value)
        else:
            result[key] = value
    return result
