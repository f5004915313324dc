"""`environments`: the folders of the stages' Python environments."""

from pydantic import Field

from toolgain.config.sections.base import Section


class EnvironmentsSection(Section):
    """Folders of the stages' Python environments; `make setup` makes them."""

    OF_THE_USER = ()

    bfcl: str = Field(".venvs/bfcl", description="Environment of the harness.")
    trl: str = Field(".venvs/trl", description="Environment of TRL and `transformers serve`.")
    gym: str = Field(".venvs/gym", description="Environment of NeMo Gym; `make setup-gym`.")
