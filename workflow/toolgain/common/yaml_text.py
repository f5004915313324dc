"""YAML within bounds: a small file, few levels, and no more values than its text has room for.

An alias (`*name`) costs two characters and may stand for all that was written before, so that ten
lines can hold a thousand million values, which everything that goes through them then visits.
"""

from pathlib import Path
from typing import Any

import yaml

from toolgain.common.files import read_text

LARGEST = 1 << 20
"""Bytes; configurations have a few thousand."""
DEEPEST = 64
MOST_VALUES = 100_000


class Loader(yaml.SafeLoader):
    """YAML's plain values; a key that stands twice is refused, where PyYAML takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The keys and values of `node`."""
        first: dict[str, int] = {}
        for key, _ in node.value:
            # `<<` takes the keys of other mappings over, as often as one likes.
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key `{key.value}` stands on line {first[key.value]} already; one "
                    "of the two would be lost",
                    problem_mark=key.start_mark,
                )
            first[key.value] = line
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The value of a YAML file; raises as `parse_yaml` does, and OSError."""
    return parse_yaml(read_text(path, LARGEST))


def parse_yaml(text: str, loader: type[Loader] = Loader) -> Any:
    """The value of a YAML text.

    Args:
        text: of the whole file.
        loader: makes the values; one of this module's, or one made from it.

    Raises:
        yaml.YAMLError: it is not YAML.
        ValueError: it is nested too deeply, its aliases stand for too much, or a value of it (such
            as the 31st of June) does not exist.
    """
    try:
        value = yaml.load(text, Loader=loader)
        _measure(value, {})
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from None
    return value


def _measure(value: object, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values `value` holds, counted as often as they are visited, and on how many levels.

    Args:
        known: what was measured before, by identity.
    """
    if not isinstance(value, dict | list):
        return 1, 0
    if id(value) in known:
        return known[id(value)]
    # What holds itself has no end.
    known[id(value)] = 0, DEEPEST
    inside = value.values() if isinstance(value, dict) else value
    count, levels = 1, 0
    for one in inside:
        more, below = _measure(one, known)
        count, levels = count + more, max(levels, below + 1)
    if levels > DEEPEST:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    if count > MOST_VALUES:
        raise ValueError(f"its aliases stand for more than {MOST_VALUES} values")
    known[id(value)] = count, levels
    return count, levels
