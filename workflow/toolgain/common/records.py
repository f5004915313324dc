"""Records: the JSON files that one stage leaves for the next, each with a type."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolgain.common.errors import UserError
from toolgain.common.files import read_json, write_json


class Record(BaseModel):
    """A JSON file with a type. A key that is not known is passed over, a wrong type refused."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    version: int = Field(1, alias="schema", description="Version of the file's form.")


RecordType = TypeVar("RecordType", bound=Record)


def read_record(kind: type[RecordType], path: Path, what: str) -> RecordType:
    """The record in `path`; `what` names the file's role in the error.

    Raises:
        UserError: the file is missing, is not JSON, or is no record of this kind: one line with
            the key, its value and what is allowed.
    """
    values = read_json(path, what)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{what}: {path}: {finding(error)}.") from None


def finding(error: ValidationError) -> str:
    """The first finding of a validation, and how many more there are."""
    first, *others = error.errors(include_url=False, include_context=False)
    key = ".".join(map(str, first["loc"])) or "the content"
    value = repr(first["input"])
    shown = value if len(value) <= 60 else value[:60] + "..."
    more = f" ({len(others)} more)" if others else ""
    if first["type"] == "missing":
        return f"`{key}` is missing{more}"
    return f"`{key}` is {shown}: {first['msg'][0].lower()}{first['msg'][1:]}{more}"


def write_record(path: Path, record: Record) -> None:
    """Write a record in one step; floats that are not finite become null."""
    write_json(path, record.model_dump(by_alias=True))
