"""model.json: the model before the training."""

from pydantic import Field

from toolgain.records.record import Record


class Model(Record):
    """A model folder, as the stages after `model` and `export` know it."""

    path: str = Field(description="Folder of the model, absolute.")
    digest: str = Field(description="SHA-256 over the names and digests in `files`, in hex.")
    name: str | None = Field(
        None, description="Name shown in the report; null: the report shows the folder's."
    )
    files: dict[str, str] = Field(
        {}, description="SHA-256 of each file that decides what the model answers, by file name."
    )
    trust_remote_code: bool = Field(
        False,
        description="Whether the model's own Python code may run (`model.trust_remote_code`).",
    )
