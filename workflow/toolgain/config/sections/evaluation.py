"""`evaluation`: BFCL v3, the same for the baseline and every run."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from toolgain.config.sections.base import Positive, Section, Share
from toolgain.config.sections.serving import Serve

# The harness reads meaning into the served name: "o1" drops the temperature, "fc" changes the
# prompting, and a digit, space, `:`, `+` or `,` breaks the multi-turn scoring without a word.
ALIAS = re.compile(r"^[a-z][a-z_]*$")
ALIAS_FORBIDDEN = ("o1", "fc")


REQUESTS_PER_COPY = 32
"""Requests that one model copy is given at once, where the configuration does not say."""


class Subset(Section):
    """How many items are drawn from each category. A subset is never comparable with
    published scores, and cannot show that the single-turn scores held within a small margin: with
    the sizes below, 7 points for non-live and 19 for live; all 4441 items, 0.4 and 2.2."""

    non_live: Positive = Field(10, description="Items from each of the 7 non-live categories.")
    live: Positive = Field(10, description="Items from each of the 6 live categories.")
    multi_turn: Positive = Field(
        3, description="Scenarios; each is asked in all 4 multi-turn categories."
    )
    categories: dict[str, Positive] = Field(
        {}, description="Sizes for single categories, in place of their group's."
    )
    seed: int = Field(1, description="Seed of the stratified draw.")


class Sampling(Section):
    """The sampling that the server is asked for; what it really received is recorded."""

    temperature: Annotated[float, Field(ge=0, le=2)] = Field(0.0, description="0 is greedy.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Nucleus sampling.")
    max_tokens: Positive | None = Field(
        None, description="Maximum number of tokens of one answer; null: the server's limit."
    )
    seed: int | None = Field(None, description="Seed sent with each request.")


class Retry(Section):
    """Retries of what the infrastructure failed to answer."""

    rounds: Annotated[int, Field(ge=0)] = Field(
        3,
        description="Retry rounds in a row that answer nothing new before the evaluation ends; ten "
        "times as many may answer steps of conversations and complete no item.",
    )
    max_hours: Annotated[float, Field(gt=0)] | None = Field(
        24.0,
        description="Hours of the evaluation, without interruptions, after which no retry "
        "starts; null: no limit.",
    )
    backoff_s: Annotated[float, Field(ge=0)] = Field(
        20.0, description="Wait before the first round; it doubles with each."
    )
    request_timeout_s: Annotated[float, Field(gt=0)] = Field(
        900.0, description="Timeout of one request, which is then retried."
    )
    request_attempts: Positive = Field(
        3, description="Attempts of one request before its item counts as failed in this round."
    )


class EvaluationSection(Section):
    """BFCL v3 by NeMo Evaluator, the same for the baseline and every run."""

    alias: str = Field("policy", description="Served model name, the same for all evaluations.")
    subset: Subset | None = Field(None, description="Draw a subset; null: all 4441 items.")
    repeats: Positive = Field(
        1, description="Evaluations of the same weights; 2 or more give a noise floor."
    )
    parallelism: Positive | None = Field(
        None,
        description="Maximum number of concurrent requests of the harness; null: "
        f"{REQUESTS_PER_COPY} for each model copy of the server (data_parallel_size).",
    )
    sampling: Sampling = Field(Sampling(), description="Sampling of the answers.")
    serve: Serve = Field(Serve(), description="The model server.")
    canary: Literal["stop", "warn"] = Field(
        "stop",
        description="`stop`: where the canary proves that the server does not parse tool calls, "
        "nothing is evaluated; `warn`: it is evaluated all the same, with a warning.",
    )
    trial: bool = Field(
        True,
        description="Ask the base model the canary and one item of each category before any "
        "training: what would make every evaluation invalid ends the workflow there.",
    )
    max_response_bytes: Positive = Field(
        8 * 2**20,
        description="Maximum size of a response in bytes; a larger one is cut and has failed.",
    )
    retry: Retry = Field(Retry(), description="Retries of what failed.")
    max_error_share: Share = Field(
        0.005, description="Above this share of failed items an evaluation is not valid."
    )
    max_overflow_share: Share = Field(
        0.02, description="The same for items whose prompt was longer than the server's context."
    )
    sandbox: Literal["require", "best_effort"] = Field(
        "best_effort",
        description="The harness evaluates what the model wrote. `require`: only where the kernel "
        "can isolate it entirely; `best_effort`: as far as it can; what stays open is reported.",
    )
    harness_container: str | None = Field(
        None,
        description="NVIDIA's BFCL container in place of the harness environment: "
        "`nvcr.io#nvidia/eval-factory/bfcl@sha256:...`, or a .sqsh file.",
    )

    @property
    def requests_at_once(self) -> int:
        """`parallelism`, with its default filled in."""
        return self.parallelism or REQUESTS_PER_COPY * self.serve.data_parallel_size

    @field_validator("harness_container")
    @classmethod
    def _harness_is_pinned(cls, image: str | None) -> str | None:
        if image and not re.search(r"@sha256:[0-9a-f]{64}$", image) and not image.endswith(".sqsh"):
            raise ValueError(
                f"{image!r} may be another harness tomorrow: name the image by its digest "
                "(`...@sha256:<64 digits>`) or give a .sqsh file"
            )
        return image

    @field_validator("alias")
    @classmethod
    def _harness_reads_alias_right(cls, alias: str) -> str:
        if not ALIAS.match(alias) or any(part in alias for part in ALIAS_FORBIDDEN):
            raise ValueError(
                f"the harness misreads the alias {alias!r}: use lower-case letters and `_` only, "
                "without `o1` or `fc`, such as `policy`"
            )
        return alias
