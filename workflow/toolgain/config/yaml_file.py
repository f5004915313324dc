"""A configuration file as its keys and values, or one line that names the file and the place."""

from pathlib import Path
from typing import Any

import yaml

from toolgain.common.amounts import two_readings
from toolgain.common.errors import UserError
from toolgain.common.files import read_text, reason
from toolgain.common.yaml_text import LARGEST, Loader, parse_yaml


class _ConfigLoader(Loader):
    """Refuses `2:30` without quotes, which YAML 1.1 takes for a number of base 60."""

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """The number that `node` says; `4:00:00` is one of seconds, which a duration accepts."""
        found: int = self.construct_yaml_int(node)
        first, *others = str(node.value).replace("_", "").split(":")
        if len(others) == 1:
            raise yaml.constructor.ConstructorError(
                problem=f"without quotes YAML reads {node.value} as the number {found}. As a time, "
                f"{two_readings(int(first), int(others[0]))}; as a text, put it in quotes",
                problem_mark=node.start_mark,
            )
        return found


_ConfigLoader.add_constructor("tag:yaml.org,2002:int", _ConfigLoader.whole_number)


def read_config_file(path: Path) -> dict[str, Any]:
    """The keys of a YAML (or JSON) file.

    Raises:
        UserError: the file is missing, is not YAML (with the line), or holds no keys.
    """
    try:
        text = read_text(path, LARGEST)
    except FileNotFoundError:
        raise UserError(
            f"config: {path} does not exist (from {Path.cwd()}); start in the repository's root, "
            "or name your file with --configfile."
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(
            f"config: {path} is not UTF-8, line {line}: {error.object[error.start]:#04x} begins no "
            "character; save it as UTF-8."
        ) from None
    except OSError as error:
        raise UserError(f"config: {path} cannot be read: {reason(error)}.") from error
    try:
        values = parse_yaml(text, _ConfigLoader)
    except yaml.YAMLError as error:
        raise UserError(f"config: {path}{_place(error, text)}.") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"config: {path} cannot be a configuration: {reason(error)}.") from None
    if not isinstance(values, dict) or not values:
        raise UserError(f"config: {path} holds no keys, such as `model:`; see config/README.md.")
    return values


def _place(error: yaml.YAMLError, text: str) -> str:
    """Where in the text, and what is wrong there."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f" is not YAML: {' '.join(str(error).split())}"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: mark.column + 1]:
        return f", line {mark.line + 1}: a tab where YAML takes spaces only; indent with spaces"
    problem = getattr(error, "problem", None) or "not YAML"
    if isinstance(error, yaml.constructor.ConstructorError):
        # YAML as such; what it says is refused.
        return f", line {mark.line + 1}: {problem}"
    return f" is not YAML, line {mark.line + 1}, column {mark.column + 1}: {problem}"
