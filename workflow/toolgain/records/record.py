"""What all records share: strict types, one reader and one writer.

A reader passes over keys that it does not know, so that a newer file can be read, and refuses a
wrong type in one line. A number of the wrong kind is never converted: `"3"` is not 3.
"""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolgain.common.characters import without_half_escapes
from toolgain.common.errors import UserError
from toolgain.common.files import read_json_text, write_json

Count = Annotated[int, Field(ge=0, lt=2**53)]
"""A number of things, which every program that reads JSON can hold."""

Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """An object inside a record."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        allow_inf_nan=False,
        populate_by_name=True,
        # Most commands need few of the records that they could.
        defer_build=True,
    )


class Record(Part):
    """A JSON file with a type."""

    version: int = Field(1, alias="schema", description="Version of the file's form.")


PartType = TypeVar("PartType", bound=Part)


def read_record(kind: type[PartType], path: Path, what: str) -> PartType:
    """The record in `path`; `what` names the file's role in the error.

    Raises:
        UserError: the file is missing, is not JSON, or is not a record of this kind: one line with
            the key, its value and what is allowed.
    """
    # Half a character, which a model may have written, is an escape that pydantic refuses.
    text = without_half_escapes(read_json_text(path, what))
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{what}: {path}: {finding(error)}.") from None


def finding(error: ValidationError) -> str:
    """The first finding of a validation, and how many more there are."""
    first, *others = error.errors(include_url=False, include_context=False)
    key = ".".join(map(str, first["loc"])) or "the content"
    value = " ".join(repr(first["input"]).split())
    shown = value if len(value) <= 60 else value[:60] + "..."
    more = f" ({len(others)} more of the kind)" if others else ""
    if first["type"] == "missing":
        return f"`{key}` is missing{more}"
    return f"`{key}` is {shown}: {first['msg'][0].lower()}{first['msg'][1:]}{more}"


def write_record(path: Path, record: Part) -> None:
    """Write a record in one step."""
    write_json(path, record.model_dump(mode="json", by_alias=True))
