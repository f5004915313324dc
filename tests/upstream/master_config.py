"""Upstream's own MasterConfig on files of overrides: `master_config.py CHECKOUT YAML FILE...`.

Its configuration loader, Hydra's parser and its pydantic classes are the real ones. The packages
that train (torch, Ray, Megatron, ...) are empty modules: the classes only name their types. For
each file it prints `accepted`, or the errors as JSON. A line `!key` takes a key out at the end.
"""

import importlib.abc
import importlib.machinery
import json
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import MagicMock

import typing_extensions


class Anything(type):
    """The type of a class that is not there: any attribute, any parameters."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=name)

    def __getitem__(cls, _: object) -> "Anything":
        return cls


class Absent(types.ModuleType):
    """A package that is not installed: every capital name in it is a class, others anything."""

    __path__: ClassVar[list[str]] = []
    __version__ = "5.0.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__file__":
            raise AttributeError(name)
        if name[:1].isupper():
            made = Anything(name, (), {})
            setattr(self, name, made)
            return made
        return MagicMock(name=name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an empty module for every package but those that do the work here."""

    REAL = frozenset({"nemo_rl", "packaging", "pydantic", "pydantic_core", "annotated_types"})
    REAL |= {"typing_extensions", "typing_inspection", "omegaconf", "hydra", "antlr4", "yaml"}
    REAL |= {"_yaml", "attr", "attrs"}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        top = name.split(".")[0]
        if top in self.REAL or top in sys.stdlib_module_names:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return Absent(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def main(root: Path, yaml: Path, files: Sequence[Path]) -> None:
    """Load, override, validate, as upstream's program does."""
    sys.path.insert(0, str(root))
    sys.meta_path.insert(0, Finder())
    # pydantic takes these from typing_extensions before Python 3.12.
    for name in ("TypedDict", "NotRequired", "Required"):
        setattr(typing, name, getattr(typing_extensions, name))
    from nemo_rl.algorithms.grpo import MasterConfig  # type: ignore[import-not-found]
    from nemo_rl.utils import config as loader  # type: ignore[import-not-found]
    from omegaconf import OmegaConf
    from pydantic import ValidationError

    if hasattr(loader, "register_omegaconf_resolvers"):
        loader.register_omegaconf_resolvers()
    elif not OmegaConf.has_resolver("mul"):
        # Up to v0.5.0 the program itself registers this one.
        OmegaConf.register_new_resolver("mul", lambda a, b: a * b)
    for file in files:
        lines = file.read_text().splitlines()
        config = loader.load_config(str(yaml))
        config = loader.parse_hydra_overrides(config, [x for x in lines if not x.startswith("!")])
        plain: Any = OmegaConf.to_container(config, resolve=True)
        for *parents, name in [line[1:].split(".") for line in lines if line.startswith("!")]:
            section = plain
            for parent in parents:
                section = section[parent]
            del section[name]
        try:
            MasterConfig(**plain)
        except ValidationError as error:
            found = [{"key": list(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
            print(json.dumps(found))
        else:
            print("accepted")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
