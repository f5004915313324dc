"""trial.json: the trial evaluation that comes before every training."""

from pydantic import Field

from toolgain.records.record import Count, Record
from toolgain.records.training import Cost


class Trial(Record):
    """The base model was asked the canary and one item of each category; written if it passed."""

    weights: str = Field(description="Digest of the base model; an endpoint's URL where it serves.")
    settings: str = Field(description="Digest of the settings by which it was served and asked.")
    items: Count = Field(description="Items asked.")
    with_calls: Count = Field(description="Answers that hold a call.")
    finished: str = Field(description="End, ISO 8601 in UTC.")
    slurm_jobs: list[str] = Field([], description="Every Slurm job that worked on it.")
    cost: Cost | None = Field(None, description="What they used; null: no accounting answered.")
