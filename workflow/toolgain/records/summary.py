"""summary.json of an evaluation: its scores, and whether they are a measurement."""

from pydantic import Field, JsonValue

from toolgain.config.sections import Subset
from toolgain.records.record import Count, Part, Record


class CanaryReply(Part):
    """A canary's question and its answer."""

    question: str = Field(description="Question.")
    tools: list[str] = Field([], description="Names of the tools that were offered.")
    answer: JsonValue = Field(
        None, description="What the harness's decoder made of it: calls, or text; null: no answer."
    )
    decoded: str | None = Field(
        None,
        description="The kind that the decoder gives it: `call`, `text`, ...; null: no answer.",
    )
    kind: str = Field(description="`ok`, or the kind of the failure.")
    status: int | None = Field(None, description="HTTP status; null: no response.")
    model: str | None = Field(None, description="Model that the server named; null: none.")
    normalised: list[str] = Field([], description="What was brought into another form, by kind.")


class Canary(Part):
    """What the canary requests showed."""

    answered: bool = Field(description="The server answers: not every response was a failure.")
    parsed_call: bool = Field(
        False, description="The harness decoded a tool call: the server's tool parser works."
    )
    call_as_text: bool = Field(
        False,
        description="A whole call in the model's own markup came back as text, and none parsed: "
        "the parser is missing or the wrong one.",
    )
    text: bool = Field(
        False, description="A text without a call came back: the server does not force calls."
    )
    failure: str = Field(
        "", description="Without an answer: what happened, and the cure where one is known."
    )
    failure_kind: str = Field("", description="The kind of that failure.")
    markup: str = Field("", description="The tag that proves a call as text.")
    unanswered: Count = Field(
        0, description="Questions whose response, with status 200, held no answer."
    )
    seen: list[CanaryReply] = Field([], description="Each request.")


class CategoryScore(Part):
    """A category's score."""

    accuracy: float | None = Field(None, description="Mean over items and repeats, in percent.")
    correct: Count | None = Field(None, description="Right answers, over all repeats.")
    n: Count | None = Field(None, description="Answers, over all repeats.")
    population: Count | None = Field(None, description="Items of the category in BFCL v3.")


class StrictScore(Part):
    """The scores without credit for calls not parsed or decoded, and empty or cut answers."""

    overall: float | None = Field(None, description="The Overall, in percent.")
    groups: dict[str, float | None] = Field({}, description="By group, in percent.")


class SandboxState(Part):
    """What the kernel could not give to the harness's sandbox."""

    open: list[str] = Field([], description="What stays open to the harness.")
    missing: list[str] = Field([], description="What is missing.")


class Summary(Record):
    """The scores of an evaluation, and its validity."""

    subject: str = Field(description="`baseline`, or the name of the run.")
    n: Count | None = Field(None, description="Items.")
    overall: float | None = Field(
        None, description="The official Overall in percent; null: a category is missing."
    )
    groups: dict[str, float | None] = Field(
        {}, description="The official score of each group in percent; null: a category is missing."
    )
    categories: dict[str, CategoryScore] = Field({}, description="By category.")
    strict: StrictScore | None = Field(None, description="The strict scores.")
    subset: Subset | None = Field(
        None, description="evaluation.subset, by which items were drawn; null: all 4441 items."
    )
    valid: bool = Field(description="Whether the scores are a measurement of the model.")
    reasons: list[str] = Field([], description="Why they are not; empty where they are.")
    warnings: list[str] = Field([], description="What to know though it is valid.")
    errors: dict[str, Count] = Field({}, description="Items without an answer, by kind of failure.")
    flags: dict[str, Count] = Field({}, description="Answers by flag, as in items.csv.")
    retried: Count = Field(0, description="Items that failed and were retried.")
    rounds: Count = Field(0, description="Retry rounds.")
    requests: Count = Field(0, description="Requests answered.")
    retried_requests: Count = Field(0, description="Requests that took more than one attempt.")
    failed_attempts: dict[str, Count] = Field({}, description="Failed attempts, by kind.")
    normalised: dict[str, Count] = Field(
        {}, description="Requests whose answer or conversation was brought into another form."
    )
    models: dict[str, Count] = Field(
        {}, description="Answers by the name that the server gives to its model."
    )
    sampling_seen: list[dict[str, JsonValue]] = Field(
        [], description="The different samplings that the server was sent."
    )
    repeats: Count = Field(1, description="Answers to each item.")
    sandbox: SandboxState | None = Field(None, description="State of the harness's sandbox.")
    canary: Canary | None = Field(None, description="What the canary showed.")
    harness_overall: float | None = Field(
        None, description="The harness's own Overall in percent; null: it reported none."
    )
