"""The typed classes of upstream's configuration, read from the source of a checkout.

NeMo RL hands its resolved YAML to `MasterConfig`, which from v0.7.0 on refuses a missing key, and
reads keys that no YAML of its own holds. Both are written in these classes alone. They cannot be
imported on a login node (torch, Ray, Megatron), so their source is parsed, never run.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolgain.common.files import read_text

UPSTREAM = "nemo_rl"
"""NeMo RL's own package."""

MASTER = ("nemo_rl/algorithms/grpo.py", "MasterConfig")
"""Where the configuration of GRPO is declared."""

_MODELS = ("TypedDict", "BaseModel")
_OPEN = ("Any", "dict", "Dict", "Mapping", "object")


@dataclass(frozen=True)
class Field:
    """One declared key."""

    types: tuple[str, ...]
    """The alternatives: `int`, `None`, `Literal[True]`, `list`, or the name of a class."""
    required: bool
    line: int


@dataclass(frozen=True)
class Class:
    """One class, with the keys that it inherits."""

    file: str
    """Below the checkout."""
    fields: Mapping[str, Field]
    validated: bool
    """Whether it is a pydantic model; a TypedDict is checked only where a model holds it."""
    subclasses: tuple[str, ...] = ()
    """Classes whose keys may stand in its place too, as VllmConfig's for GenerationConfig."""


@dataclass(frozen=True)
class Missing:
    """A required key that a configuration lacks."""

    key: str
    types: tuple[str, ...]
    file: str
    line: int

    def __str__(self) -> str:
        kinds = " or ".join(name.rpartition(":")[2] for name in self.types)
        return f"`{self.key}` ({kinds}; required by {self.file}:{self.line})"


@dataclass(frozen=True)
class Schema:
    """The classes that `MasterConfig` leads to, by `file:name`; empty where there are none."""

    classes: Mapping[str, Class] = field(default_factory=dict)

    @property
    def validated(self) -> bool:
        """Whether upstream refuses a missing key at its start."""
        master = self.classes.get(":".join(MASTER))
        return master is not None and master.validated

    def keys(self) -> set[str]:
        """Every dotted key that a class declares."""
        return set(self._keys(":".join(MASTER), "", ()))

    def _keys(self, name: str, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
        for each in self._with_subclasses(name):
            if each in above:
                continue
            for key, declared in self.classes[each].fields.items():
                yield prefix + key
                for kind in declared.types:
                    yield from self._keys(kind, f"{prefix}{key}.", (*above, each))

    def _with_subclasses(self, name: str) -> Iterator[str]:
        if name in self.classes:
            yield name
            for child in self.classes[name].subclasses:
                yield from self._with_subclasses(child)

    def missing(self, config: Mapping[Any, object]) -> list[Missing]:
        """The required keys that `config` lacks; none where upstream validates nothing.

        Args:
            config: The resolved configuration, as it reaches `MasterConfig`.
        """
        if not self.validated:
            return []
        return self._missing(":".join(MASTER), config, "")[1]

    def _missing(
        self, name: str, node: Mapping[Any, object], prefix: str
    ) -> tuple[int, list[Missing]]:
        """How many literals of a class differ from `node`, and the required keys it lacks."""
        found: list[Missing] = []
        other = 0
        for key, declared in self.classes[name].fields.items():
            if key not in node:
                if declared.required:
                    file = self.classes[name].file
                    found.append(Missing(prefix + key, declared.types, file, declared.line))
                continue
            value = node[key]
            literals = [kind for kind in declared.types if kind.startswith("Literal[")]
            if literals and len(literals) == len(declared.types):
                other += f"Literal[{value!r}]" not in literals
            if not isinstance(value, Mapping):
                continue
            tried = [
                self._missing(kind, value, f"{prefix}{key}.")
                for kind in declared.types
                if kind in self.classes
            ]
            opaque = any(kind.split("[")[0] in _OPEN for kind in declared.types)
            if tried and not opaque:
                # The alternative whose literals fit (`enabled`), then the one that lacks least.
                found += min(tried, key=lambda each: (each[0], len(each[1])))[1]
        return other, found


def read_schema(root: Path) -> Schema:
    """The classes of the checkout at `root`; an empty schema where it has no such file."""
    if not (root / MASTER[0]).is_file():
        return Schema()
    reader = _ClassReader(root)
    reader.take(*MASTER)
    reader.take_subclasses()
    return Schema(reader.classes)


class _ClassReader:
    """Follows annotations from class to class over the files of a checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.classes: dict[str, Class] = {}
        self._modules: dict[str, dict[str, ast.stmt]] = {}
        self._imports: dict[str, dict[str, tuple[str, str]]] = {}

    def take(self, file: str, name: str) -> str | None:
        """Read a class and those that it names; its `file:name`, or None where it is no model."""
        where = self._defined(file, name)
        if where is None:
            return None
        file, statement = where
        if not isinstance(statement, ast.ClassDef):
            return None
        label = f"{file}:{statement.name}"
        if label in self.classes:
            return label
        kind = self._model(file, statement)
        if kind is None:
            return None
        self.classes[label] = Class(file, {}, kind == "BaseModel")  # ends a circle
        fields = self._fields(file, statement, kind)
        self.classes[label] = Class(file, fields, kind == "BaseModel")
        return label

    def take_subclasses(self) -> None:
        """Read every class of the checkout that extends one that was taken."""
        done: set[str] = set()
        texts = {path: read_text(path) for path in self.root.glob("nemo_rl/**/*.py")}
        while waiting := set(self.classes) - done:
            done |= waiting
            names = {label.rpartition(":")[2] for label in waiting} - {"MasterConfig"}
            pattern = re.compile(rf"^class (\w+)\([^)]*\b(?:{'|'.join(names)})\b", re.M)
            for path, text in sorted(texts.items()):
                file = path.relative_to(self.root).as_posix()
                for found in pattern.finditer(text) if names else ():
                    self._take_subclass(file, found[1])

    def _take_subclass(self, file: str, name: str) -> None:
        child = self.take(file, name)
        where = self._defined(file, name)
        if child is None or where is None or not isinstance(where[1], ast.ClassDef):
            return
        for base in where[1].bases:
            parent = self.take(file, base.id) if isinstance(base, ast.Name) else None
            if parent is not None:
                known = self.classes[parent]
                children = tuple(sorted({*known.subclasses, child}))
                self.classes[parent] = Class(known.file, known.fields, known.validated, children)

    def _model(self, file: str, statement: ast.ClassDef) -> str | None:
        """TypedDict or BaseModel, whichever a class comes from."""
        for base in statement.bases:
            name = _last_name(base)
            if name in _MODELS:
                return name
            where = self._defined(file, name) if name else None
            if where and isinstance(where[1], ast.ClassDef):
                found = self._model(where[0], where[1])
                if found:
                    return found
        return None

    def _fields(self, file: str, statement: ast.ClassDef, kind: str) -> dict[str, Field]:
        fields: dict[str, Field] = {}
        for base in statement.bases:
            label = self.take(file, _last_name(base) or "")
            if label:
                fields |= self.classes[label].fields
        total = not any(
            word.arg == "total" and isinstance(word.value, ast.Constant) and not word.value.value
            for word in statement.keywords
        )
        for line in statement.body:
            if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
                continue
            if _last_name(line.annotation) == "ClassVar" or line.target.id == "model_config":
                continue
            wrapper = _last_name(line.annotation)
            required = total if kind == "TypedDict" else _has_no_default(line.value)
            if wrapper in ("NotRequired", "Required"):
                required = wrapper == "Required"
            types = tuple(dict.fromkeys(self._types(file, line.annotation)))
            fields[line.target.id] = Field(types, required, line.lineno)
        return fields

    def _types(self, file: str, node: ast.expr) -> Iterator[str]:
        """The alternatives of an annotation."""
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield from self._types(file, ast.parse(node.value, mode="eval").body)
            else:
                yield repr(node.value)
        elif isinstance(node, ast.BinOp):
            yield from self._types(file, node.left)
            yield from self._types(file, node.right)
        elif isinstance(node, ast.Subscript):
            yield from self._subscript(file, node)
        else:
            yield from self._named(file, _last_name(node) or ast.unparse(node))

    def _subscript(self, file: str, node: ast.Subscript) -> Iterator[str]:
        outer = _last_name(node.value) or ""
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if outer == "Literal":
            for value in inner:
                text = repr(value.value) if isinstance(value, ast.Constant) else ast.unparse(value)
                yield f"Literal[{text}]"
        elif outer in ("Optional", "Union", "NotRequired", "Required", "Annotated"):
            for part in inner[:1] if outer == "Annotated" else inner:
                yield from self._types(file, part)
            if outer == "Optional":
                yield "None"
        else:
            yield outer

    def _named(self, file: str, name: str) -> Iterator[str]:
        where = self._defined(file, name)
        if where is None:
            yield name
        elif isinstance(where[1], ast.ClassDef):
            yield self.take(*where[:1], where[1].name) or name
        elif isinstance(where[1], ast.Assign | ast.AnnAssign) and where[1].value:
            yield from self._types(where[0], where[1].value)

    def _defined(self, file: str, name: str) -> tuple[str, ast.stmt] | None:
        """The file and statement that define a name as seen in `file`."""
        seen = set()
        while (file, name) not in seen:
            seen.add((file, name))
            self._parse(file)
            if name in self._modules[file]:
                return file, self._modules[file][name]
            if name not in self._imports[file]:
                return None
            file, name = self._imports[file][name]
        return None

    def _parse(self, file: str) -> None:
        if file in self._modules:
            return
        names: dict[str, ast.stmt] = {}
        imports: dict[str, tuple[str, str]] = {}
        for line in _statements(ast.parse(read_text(self.root / file))):
            if isinstance(line, ast.ClassDef):
                names[line.name] = line
            elif isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                names[line.targets[0].id] = line
            elif isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                names[line.target.id] = line
            elif isinstance(line, ast.ImportFrom):
                source = self._module(file, line)
                for alias in line.names if source else ():
                    imports[alias.asname or alias.name] = (source or "", alias.name)
        self._modules[file], self._imports[file] = names, imports

    def _module(self, file: str, line: ast.ImportFrom) -> str | None:
        """The file of a module of the checkout that is imported from."""
        if line.level:
            folder = Path(file).parents[line.level - 1]
        elif (line.module or "").split(".")[0] == UPSTREAM:
            folder = Path()
        else:
            return None
        path = folder.joinpath(*(line.module or "").split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if (self.root / candidate).is_file():
                return candidate.as_posix()
        return None


def _statements(module: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a module, with those below `if` and `try` at its top."""
    waiting = list(module.body)
    while waiting:
        line = waiting.pop(0)
        yield line
        if isinstance(line, ast.If | ast.Try):
            waiting = [*line.body, *line.orelse, *waiting]


def _last_name(node: ast.expr) -> str | None:
    """`C` of `C`, `a.b.C` and `C[...]`."""
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None


def _has_no_default(value: ast.expr | None) -> bool:
    if value is None:
        return True
    if isinstance(value, ast.Call) and _last_name(value.func) == "Field":
        named = {word.arg for word in value.keywords}
        first = value.args[0] if value.args else None
        if first is None:
            return not named & {"default", "default_factory"}
        value = first
    return isinstance(value, ast.Constant) and value.value is Ellipsis
