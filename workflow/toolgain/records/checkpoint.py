"""best.json and export.json of a run: the checkpoint that was chosen, and the model made of it."""

from typing import Literal

from pydantic import Field

from toolgain.records.model import Model
from toolgain.records.record import Count, Part, Record, Share
from toolgain.records.training import Cost

ENOUGH_KEPT = 0.5
"""Below this part of the update, the exported model is not the one that was trained."""

Check = bool | int | str | None
"""What a check of the exported model came to."""


class Choice(Part):
    """A checkpoint."""

    step: Count = Field(description="Step.")
    path: str = Field(description="Folder of the checkpoint.")


class Candidate(Choice):
    """A checkpoint with a validation accuracy."""

    accuracy: float = Field(description="Validation accuracy from 0 to 1.")
    standard_error: float | None = Field(
        None, description="Of the accuracy; null: the number of validation tasks is not known."
    )


class Passed(Part):
    """A folder that was not a candidate."""

    path: str = Field(description="Folder.")
    reason: str = Field(description="Why.")


class Best(Candidate, Record):
    """The choice of a checkpoint, by validation accuracy alone."""

    initial_accuracy: float | None = Field(
        None, description="Validation accuracy before the training, from 0 to 1; null: unknown."
    )
    beats_initial: bool | None = Field(
        None, description="Whether the best is above it; null: it is unknown."
    )
    within_noise: bool | None = Field(
        None,
        description="Whether the two best differ by at most one standard error of their "
        "difference; null: there is one candidate, or the standard errors are unknown.",
    )
    validation_items: Count | None = Field(None, description="Validation tasks; null: unknown.")
    metric: Literal["val:accuracy"] = Field("val:accuracy", description="What was compared.")
    candidates: list[Candidate] = Field([], description="All candidates by rising step.")
    passed_over: list[Passed] = Field([], description="What was not a candidate, and why.")


class Export(Model):
    """The exported model, checked against the base."""

    base_digest: str = Field(description="Digest of the base model.")
    checkpoint: str = Field(description="Folder of the checkpoint that was exported.")
    step: Count = Field(description="Its step.")
    kind: Literal["hugging_face", "consolidated", "megatron", "dcp"] = Field(
        description="What the checkpoint held."
    )
    dtype: str | None = Field(
        None, description="Number type of the weights; null: as the base's, tensor by tensor."
    )
    tensors: Count | None = Field(None, description="Tensors of the model.")
    tensors_changed: Count | None = Field(None, description="Those that differ from the base's.")
    weights_changed: Share | None = Field(
        None, description="Share of the weights, single numbers, that differ from the base's."
    )
    update_kept: Share | None = Field(
        None,
        description="Part of the update that survives the rounding to the number type: "
        "1 - |exported - trained| / |trained - base|; null: the checkpoint holds no weights in "
        "full precision.",
    )
    bytes: Count = Field(description="Size of the folder in bytes.")
    checks: dict[str, Check] = Field(
        description="What was checked: true, false, a count, or in words why it was not; null: "
        "nothing to say."
    )
    exported: str = Field(description="ISO 8601 in UTC.")
    slurm_jobs: list[str] = Field([], description="Every Slurm job that worked on it.")
    cost: Cost | None = Field(None, description="What they used; null: no accounting answered.")
