"""What is wrong with a configuration, in a line per finding: key, value, and what is allowed."""

import difflib
from datetime import date
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from toolgain.config.sections.base import Section

_EXPECTED = {
    "model_type": "keys are",
    "dict_type": "keys are",
    "list_type": "a list is",
    "string_type": "a text is",
}
"""What a value of another kind stands in the place of, by pydantic's name of the error."""


def shortened(value: object) -> str:
    """A value as it is shown in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


def findings_of(error: ValidationError, model: type[Section], prefix: str = "") -> str:
    """What pydantic found in a `model`, whose keys stand below `prefix`."""
    return "; ".join(_line(item, model, prefix) for item in error.errors())


def _line(item: ErrorDetails, model: type[Section], prefix: str) -> str:
    location = [str(part) for part in item["loc"] if part != "[key]"]
    key = prefix + ".".join(location)
    if item["type"] == "extra_forbidden":
        names = _fields_at(model, location[:-1])
        near = difflib.get_close_matches(location[-1], names, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"allowed: {', '.join(names)}"
        return f"unknown key `{key}`; {hint}"
    if item["type"] == "value_error":
        message = item["msg"].removeprefix("Value error, ")
        return f"`{key}`: {message}" if key else message
    if item["type"] == "missing":
        return f"`{key}` is missing"
    if item["type"] == "string_type" and isinstance(item["input"], int | float | date):
        return (
            f"`{key}` is {item['input']!r}, where a text is expected: YAML reads some texts as "
            "numbers, dates or true and false (00123 as 83); put it in quotes"
        )
    if expected := _EXPECTED.get(item["type"]):
        names = _fields_at(model, location)
        such = f", such as `{names[0]}`" if names and "keys" in expected else ""
        return f"`{key}` is {shortened(item['input'])}, where {expected} expected{such}"
    return f"`{key}` is {item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}"


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """The field names of the section that `location` leads to."""
    section: type[BaseModel] | None = model
    names = iter(location)
    for name in names:
        field = section.model_fields.get(name) if section else None
        section = _section_in(field.annotation) if field else section
        if field and get_origin(field.annotation) is dict:
            # A name of the user's own, such as a run's.
            next(names, None)
    return list(section.model_fields) if section else []


def _section_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_section_in(part) for part in get_args(annotation))
    return next((section for section in found if section), None)
