"""tasks.json: the training and validation tasks, counted and compared with BFCL's items."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from toolgain.common.errors import UserError
from toolgain.common.files import file_digest
from toolgain.records.record import Count, Part, Record, Share


class Contamination(Part):
    """What the tasks share with BFCL v3."""

    name_overlap: Share | None = Field(
        description="Share of tasks with a function name of BFCL; null: not compared."
    )
    ngram_overlap: Share | None = Field(
        description="Share of tasks with 8 words in a row of BFCL; null: not compared."
    )
    limit: Share = Field(description="training.tasks.max_ngram_overlap.")
    compared_items: Count = Field(description="BFCL items compared with; 0: not compared.")
    shared_names: list[str] = Field([], description="Up to three examples.")
    shared_ngrams: list[str] = Field([], description="Up to three examples.")


class Tasks(Record):
    """The two task files beside it, train.jsonl and validation.jsonl."""

    train: Count = Field(description="Training tasks.")
    validation: Count = Field(description="Validation tasks.")
    sha256: dict[str, str] = Field(
        {},
        description="SHA-256 of the files, by name without `.jsonl`: `train` and `validation`, and "
        "`gym/train` and `gym/validation` where the tasks lie there as rows of NeMo Gym too.",
    )
    contamination: Contamination | None = Field(None, description="What they share with BFCL v3.")
    no_tool_share: Share | None = Field(
        None,
        description="Share of tasks that expect no call. In a NeMo Gym environment doing nothing "
        "can earn a reward in others too: `rows.rewarded_for_nothing` of rehearsal.json.",
    )
    seed: int | None = Field(None, description="Seed of the generated tasks; null: none are.")
    kinds: dict[str, dict[str, Count]] = Field(
        {}, description="Tasks of each kind, by file (generated tasks)."
    )
    functions: dict[str, Count] = Field(
        {}, description="Different functions, by file (generated tasks)."
    )
    shared_functions: Count | None = Field(
        None, description="Functions in both files; null: prepared data of NeMo Gym."
    )
    longest_prompt_chars: Count | None = Field(
        None, description="Longest prompt in characters; null: prepared data of NeMo Gym."
    )
    agents: dict[str, dict[str, Count]] = Field(
        {}, description="Rows of each agent, by file (prepared data of NeMo Gym)."
    )
    tools: Count | None = Field(
        None, description="Different tools; null: generated tasks, which `functions` counts."
    )
    same_prompt_in_both: Count | None = Field(
        None, description="Prompts in both files; null: generated tasks."
    )
    sources: dict[str, str] = Field(
        {}, description="Paths that the files were copied from (prepared data of NeMo Gym)."
    )


def check_task_files(record: Path, sha256: Mapping[str, str]) -> None:
    """Check that the files beside tasks.json are those that it describes.

    Args:
        record: tasks.json.
        sha256: Its digests, by the file's name without `.jsonl`.

    Raises:
        UserError: a file is missing or has been changed.
    """
    for name in {"train": "", "validation": "", **sha256}:
        path = record.parent / f"{name}.jsonl"
        if not path.is_file():
            raise UserError(
                f"--tasks: {path} is missing beside {record.name}; make the tasks again "
                "(snakemake ... --forcerun tasks)."
            )
        if name in sha256 and sha256[name] != file_digest(path):
            raise UserError(
                f"--tasks: {path} is not the file that {record.name} describes (its SHA-256 "
                "differs); make the tasks again (snakemake ... --forcerun tasks)."
            )
