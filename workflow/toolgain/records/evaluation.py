"""manifest.json of an evaluation: what was evaluated, by what, when, and at what cost."""

from pydantic import Field, JsonValue

from toolgain.records.record import Part, Record
from toolgain.records.training import Cost


class EvaluatedWeights(Part):
    """The model that was evaluated."""

    path: str = Field(description="Folder, or the URL of an endpoint.")
    digest: str | None = Field(
        None,
        description="Digest of the folder's files; null: an endpoint, which shows none.",
    )
    name: str | None = Field(None, description="Name shown in the report.")


class EvaluationTimes(Part):
    """When the evaluation took place."""

    started: str = Field(description="ISO 8601 in UTC.")
    finished: str = Field(description="ISO 8601 in UTC.")
    wall_s: float = Field(description="Seconds of this start of it.")
    stages: dict[str, float] = Field({}, description="Seconds of its parts, by name.")


class EvaluationManifest(Record):
    """Where the scores of an evaluation come from."""

    subject: str = Field(description="`baseline`, or the name of the run.")
    weights: EvaluatedWeights = Field(description="The model that was evaluated.")
    config_digest: str | None = Field(None, description="Digest of the evaluation section.")
    comparable: dict[str, JsonValue] = Field(
        {},
        description="What must be equal on both sides of a comparison, by name; null: not known.",
    )
    versions: dict[str, str | None] = Field({}, description="Versions of the software.")
    times: EvaluationTimes | None = Field(None, description="When it took place.")
    cost: Cost | None = Field(None, description="What it used.")
    slurm: dict[str, str] | None = Field(
        None, description="The last Slurm job; null: outside of Slurm."
    )
    slurm_jobs: list[str] = Field([], description="Every Slurm job that worked on it.")
    host: str | None = Field(None, description="Host that it ended on.")
    work_dir: str | None = Field(None, description="Folder of the harness's own files.")
    commit: str | None = Field(None, description="Commit of toolgain; null: no git checkout.")
