"""Facts about upstream's configuration: names, types, required or not; no line of its code.

`python tests/nemo_rl/facts.py CHECKOUT REF` writes tests/nemo_rl/facts/REF.json, so that every
recipe is checked against every version where no checkout is at hand. `make test-upstream` finds
out whether the file still says what the checkout does.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from toolgain.training.nemo_rl import overrides as ov
from toolgain.training.nemo_rl import refs, schema

FOLDER = Path(__file__).parent / "facts"
MAIN = "7ea279abfbeb698b092856d0dab61e7cf39bc909"
"""The commit of `main` that its facts are of."""
DAPO_YAML = "examples/nemo_gym/grpo_dapo17k_bytedtsinghua_qwen3_4binstruct_nf.yaml"
YAMLS = (refs.WORKPLACE_YAML, DAPO_YAML)
# Values of a type, for a YAML that has the keys of upstream's and nothing else of it.
EXAMPLES = {"int": 1, "float": 1.0, "str": "text", "list": [], "dict": {}, "missing": "???"}
EXAMPLES |= {"true": True, "false": False, "null": None}


def extract(root: Path) -> dict[str, Any]:
    """The facts of the checkout at `root`."""
    found = schema.read_schema(root)
    yamls = {name: root / name for name in YAMLS if (root / name).is_file()}
    return {
        "yamls": {
            name: dict(_kinds(ov.apply(ov.load_yaml(path), []), "")) for name, path in yamls.items()
        },
        "classes": {
            name: {
                "validated": each.validated,
                "subclasses": list(each.subclasses),
                "fields": {
                    key: f"{'required' if known.required else 'optional'} {' | '.join(known.types)}"
                    for key, known in each.fields.items()
                },
            }
            for name, each in sorted(found.classes.items())
        },
    }


def _kinds(node: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _kinds(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _kind(value)


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return "missing" if value == "???" else type(value).__name__


def known(ref: str) -> dict[str, Any]:
    """The facts of a version that are kept here."""
    found: dict[str, Any] = json.loads((FOLDER / f"{ref}.json").read_text())
    return found


def schema_of(facts: dict[str, Any]) -> schema.Schema:
    """The typed classes, without the lines of their file."""
    return schema.Schema(
        {
            name: schema.Class(
                file=name.rpartition(":")[0],
                fields={
                    key: schema.Field(
                        types=tuple(text.split(" ", 1)[1].split(" | ")),
                        required=text.startswith("required"),
                        line=0,
                    )
                    for key, text in each["fields"].items()
                },
                validated=each["validated"],
                subclasses=tuple(each["subclasses"]),
            )
            for name, each in facts["classes"].items()
        }
    )


def yaml_of(facts: dict[str, Any], name: str) -> DictConfig:
    """A YAML with the keys and types of upstream's."""
    config = OmegaConf.create({})
    for key, kind in facts["yamls"][name].items():
        OmegaConf.update(config, key, EXAMPLES[kind], force_add=True)
    return config


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(extract(Path(sys.argv[1])), indent=1, sort_keys=True)
    (FOLDER / f"{sys.argv[2]}.json").write_text(text + "\n")
