"""What every section of the configuration shares."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    OF_THE_USER: ClassVar[tuple[str, ...] | None] = None
    """In a section about the place, the keys that its user decides; the others are its
    administrator's. None: a section that is the user's altogether."""
    WITHOUT_EFFECT: ClassVar[tuple[str, ...]] = ()
    """In a trainer's section, the keys that do not change what is trained."""
    EXPORT_GPUS: ClassVar[int] = 0
    """In a trainer's section, the GPUs that the export of its checkpoints needs."""
