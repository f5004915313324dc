"""`report`: the report page."""

from typing import Annotated

from pydantic import Field

from toolgain.config.sections.base import Section


class ReportSection(Section):
    """The report page."""

    title: str = Field("Did the training help?", description="Title of the page.")
    anchors: bool = Field(True, description="Show published scores with their conditions.")
    max_megabytes: Annotated[float, Field(ge=1, le=100)] = Field(
        5.0,
        description="Maximum size of the page. Above it long answers are cut, then the items of "
        "later runs are left out. At most 20 runs show their items.",
    )
