"""`training.tasks`: what is trained on."""

from typing import Annotated

from pydantic import Field, model_validator

from toolgain.config.sections.base import Positive, Section, Share

ROOM_FOR_TOOLS, ROOM_FOR_WORDY_TOOLS = 500, 1200
"""Characters of a prompt in which one in a hundred draws of several tools finds room, and of those
described at length one in twenty; with less, drawing them would take forever."""


class TasksSection(Section):
    """The training tasks. The generated ones are for the TRL backend."""

    seed: int = Field(1, description="Seed of the generated tasks.")
    train: Positive = Field(2000, description="Number of training tasks.")
    validation: Positive = Field(96, description="Number of validation tasks.")
    no_tool_share: Share = Field(0.35, description="Share of tasks that no tool can serve.")
    wordy_share: Share = Field(
        0.0,
        description="Share of tasks whose tools are described at length, with more tools, odd "
        "names and values. They need a `max_prompt_chars` of 1200 or more.",
    )
    everyday_share: Share = Field(
        0.0,
        description="Share of the training tasks over tools of everyday services, written by hand, "
        "with questions in other words than the tools' own.",
    )
    max_prompt_chars: Annotated[int, Field(ge=ROOM_FOR_TOOLS)] = Field(
        700, description="Maximum length of a prompt, in characters."
    )
    max_ngram_overlap: Share = Field(
        0.01, description="Maximum share of tasks with a word 8-gram or function name of BFCL."
    )
    train_file: str | None = Field(
        None,
        description="Training tasks of your own in place of the generated ones: for trl in the "
        "form of workflow/schemas/task.schema.json, for nemo_rl prepared rows of NeMo Gym.",
    )
    validation_file: str | None = Field(
        None, description="The same for validation; both files are given, or none."
    )

    @model_validator(mode="after")
    def _wordy_tasks_have_room(self) -> "TasksSection":
        if self.wordy_share > 0 and self.max_prompt_chars < ROOM_FOR_WORDY_TOOLS:
            raise ValueError(
                f"max_prompt_chars {self.max_prompt_chars} is too short for tools described at "
                f"length (wordy_share {self.wordy_share:g}); give {ROOM_FOR_WORDY_TOOLS} or more"
            )
        return self
