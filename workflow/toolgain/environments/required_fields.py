"""Fields of a row that an environment's verifier requires, read from the source of Gym.

Gym hands a row to the server that verifies it as the body of a request. A row without a field that
the request's class requires is refused there, after its rollout was played: HTTP 422 from the
server, HTTP 500 from the agent. The class cannot be imported where Gym is not installed, so its
source is parsed, never run.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolgain.common.errors import UserError
from toolgain.common.files import read_text

METHODS = ("seed_session", "verify")
"""What an agent calls with the row as the body."""


@dataclass(frozen=True)
class Required:
    """A field that a row must have."""

    name: str
    nullable: bool
    """Whether null will do."""
    line: int

    def lacks(self, row: Mapping[str, object]) -> bool:
        """Whether a row does without it."""
        return self.name not in row or (row[self.name] is None and not self.nullable)


def required_fields(server: Path) -> list[Required]:
    """What the requests of the server at `server` (its app.py) require of a row.

    Classes of Gym itself, from which those of a server inherit, require what every row has. Nothing
    is known, and so nothing is required, where the source cannot be read, where a field has another
    name in the row, and of a class that changes its rows before they are checked.
    """
    try:
        module = ast.parse(read_text(server))
    except (UserError, OSError, SyntaxError, ValueError):
        return []
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    found: dict[str, Required] = {}
    for name in _bodies(classes.values()):
        found |= _fields(name, classes, ())
    return sorted(found.values(), key=lambda each: each.line)


def _bodies(classes: Iterable[ast.ClassDef]) -> Iterator[str]:
    """Names of the classes of `body` in the methods that get a row."""
    for owner in classes:
        for node in owner.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in METHODS:
                for argument in node.args.args:
                    if argument.arg == "body" and isinstance(argument.annotation, ast.Name):
                        yield argument.annotation.id


def _fields(
    name: str, classes: Mapping[str, ast.ClassDef], above: tuple[str, ...]
) -> dict[str, Required]:
    """The required fields of a class, with those that it inherits in its own file."""
    if name not in classes or name in above:
        return {}
    node = classes[name]
    found: dict[str, Required] = {}
    for base in node.bases:
        if isinstance(base, ast.Name):
            found |= _fields(base.id, classes, (*above, name))
    for line in node.body:
        if isinstance(line, ast.FunctionDef) and _changes_rows(line):
            return {}
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        field, kind = line.target.id, ast.unparse(line.annotation)
        found.pop(field, None)
        if not field.startswith("_") and "ClassVar" not in kind and _has_no_default(line.value):
            found[field] = Required(field, _takes_null(kind), line.lineno)
    return found


def _changes_rows(method: ast.FunctionDef) -> bool:
    said = [ast.unparse(each) for each in method.decorator_list]
    return any(text.startswith("model_validator") and "after" not in text for text in said)


def _has_no_default(value: ast.expr | None) -> bool:
    """Whether a field without a value is an error; not where another name may bring one."""
    if value is None or (isinstance(value, ast.Constant) and value.value is ...):
        return True
    if not isinstance(value, ast.Call) or ast.unparse(value.func).rpartition(".")[2] != "Field":
        return False
    given = {word.arg for word in value.keywords}
    if given & {"default", "default_factory", "alias", "validation_alias", None}:
        return False
    return not value.args or ast.unparse(value.args[0]) == "..."


def _takes_null(kind: str) -> bool:
    return any(word in kind for word in ("None", "Optional", "Any", "object"))
