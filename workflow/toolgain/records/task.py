"""A line of a task file of one's own: what the model is asked, and the calls that are right."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, field_validator

from toolgain.records.record import Part

_STRICT = ConfigDict(
    frozen=True, strict=True, extra="forbid", allow_inf_nan=False, populate_by_name=True
)

Name = Annotated[str, Field(min_length=1)]


class TextPart(Part):
    """A part of a message's content."""

    model_config = _STRICT

    type: Literal["text"] = Field(description="Text is all that the tasks take.")
    text: str = Field(description="The text.")


class ExpectedCall(Part):
    """A call that is right; it is compared exactly, values and their types."""

    model_config = _STRICT

    name: Name = Field(description="Name of one of the task's tools.")
    arguments: dict[str, JsonValue] = Field(
        description="Arguments that the tool's `parameters` allow."
    )


class EarlierFunction(Part):
    """The function of a call in an earlier answer."""

    name: Name = Field(description="Name of the tool.")
    arguments: dict[str, JsonValue] | str = Field(description="An object, or one as JSON text.")


class EarlierCall(Part):
    """A call in an earlier answer of the conversation, in OpenAI's form."""

    id: str | None = Field(
        None, description="By which the message with its result names it; null: none."
    )
    type: Literal["function"] = Field("function", description="A call of a function.")
    function: EarlierFunction = Field(description="The call.")


class Message(Part):
    """A message of the prompt, in OpenAI's form."""

    model_config = _STRICT

    role: Literal["system", "user", "assistant", "tool"] = Field(
        description="Whose message it is; `tool`: the result of a call."
    )
    content: str | list[TextPart] | None = Field(None, description="Text, or parts of text.")
    tool_calls: list[EarlierCall] | None = Field(
        None, description="Calls of an earlier answer, of an assistant's message alone."
    )
    tool_call_id: str | None = Field(
        None, description="The call that is answered, of a tool's message alone."
    )
    name: str | None = Field(None, description="Name of the tool that answers.")

    @field_validator("content", mode="before")
    @classmethod
    def _is_text(cls, content: object) -> object:
        # Else the finding would be that a list is no text.
        for part in content if isinstance(content, list) else ():
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            if kind != "text":
                raise ValueError(f"a part of it is of type {kind}, and tasks are of text alone")
        return content


class Function(Part):
    """A function that is offered, in OpenAI's form; other keys go to the chat template too."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)

    name: Name = Field(description="Name of the tool.")
    description: str | None = Field(None, description="What it does, for the model.")
    parameters: dict[str, JsonValue] | None = Field(
        None, description="JSON Schema of the arguments, an object; null: it takes none."
    )


class OfferedTool(Part):
    """A tool that is offered, in OpenAI's form."""

    type: Literal["function"] = Field("function", description="A function.")
    function: Function = Field(description="The function.")


class TaskLine(Part):
    """One task."""

    model_config = _STRICT

    id: str | int | None = Field(None, description="Different in each line; null: its number.")
    kind: Literal["call", "multiple", "parallel", "none"] | None = Field(
        None,
        description="`none`: no call is right; `parallel`: several calls; `multiple`: one call, "
        "several tools; `call`: one call. Null: what `expected` and `tools` say.",
    )
    prompt: Annotated[list[Message], Field(min_length=1)] = Field(
        description="The conversation so far: system messages and several turns are allowed; the "
        "last message is a user's or a tool's."
    )
    tools: list[OfferedTool] = Field(description="The tools offered.")
    expected: list[ExpectedCall] = Field(
        description="The calls that are right, in any order; empty: none is."
    )
