"""What `toolgain compare` writes of two tables, and of BFCL folders compared by group."""

from typing import Literal

from pydantic import ConfigDict, Field

from toolgain.records.record import Part


class TableChange(Part):
    """The change of a mean score, in points."""

    model_config = ConfigDict(extra="forbid")

    n: int = Field(description="Items.")
    baseline: float = Field(description="Mean score before, in percent.")
    trained: float = Field(description="Mean score after, in percent.")
    delta: float = Field(description="Change, in points.")
    ci95: tuple[float, float] = Field(description="Two-sided interval of the change, in points.")
    p: float = Field(description="Two-sided; agrees with the interval.")
    p_holm: float = Field(description="Corrected for the number of groups; the same without.")
    gained: int = Field(description="Items that rose.")
    lost: int = Field(description="Items that fell.")
    p_mcnemar: float = Field(description="Exact, of gained and lost; it knows no clusters.")


class TableComparison(Part):
    """What `toolgain compare before.csv after.csv` writes."""

    model_config = ConfigDict(extra="forbid")

    schema_: Literal[1] = Field(
        1, alias="schema", serialization_alias="schema", description="Version of the file's form."
    )
    kind: Literal["table"] = Field("table", description="What was compared.")
    verdict: Literal["improved", "regressed", "no_clear_change"] = Field(
        description="Of the mean score."
    )
    sentence: str = Field(description="The same in words.")
    baseline: str = Field(description="The table before.")
    trained: str = Field(description="The table after.")
    alpha: float = Field(0.05, description="Two-sided error level; intervals are of 1 - alpha.")
    clusters: int = Field(description="Number of clusters; without a column `cluster`, of items.")
    overall: TableChange = Field(description="The change of the mean score.")
    groups: dict[str, TableChange] = Field(
        description="Its change by group; empty without a column `group`."
    )
    notes: list[str] = Field([], description="What a reader must know of the scores.")


class GroupComparison(Part):
    """What `toolgain compare` writes of folders without an official Overall of v3."""

    model_config = ConfigDict(extra="forbid")

    schema_: Literal[1] = Field(
        1, alias="schema", serialization_alias="schema", description="Version of the file's form."
    )
    kind: Literal["groups"] = Field("groups", description="What was compared.")
    benchmark: Literal["BFCL v3", "BFCL v4"] = Field(description="The benchmark.")
    verdict: Literal["improved", "regressed", "no_clear_change"] | None = Field(
        description="Of `primary`; null where no group was asked for."
    )
    primary: str | None = Field(description="The group that the verdict is of, or `overall`.")
    sentence: str = Field(description="The same in words.")
    baseline: str = Field(description="The folder before.")
    trained: str = Field(description="The folder after.")
    alpha: float = Field(0.05, description="Two-sided error level; intervals are of 1 - alpha.")
    overall: TableChange | None = Field(description="The official v4 Overall; null: `no_overall`.")
    no_overall: str | None = Field(description="Why there is no Overall; null: there is one.")
    groups: dict[str, TableChange] = Field(description="Those of which both hold every category.")
    categories: dict[str, TableChange] = Field(description="Those that both hold.")
    warnings: list[str] = Field(description="What to know though it can be compared.")
    checks_impossible: list[str] = Field(
        description="Checks for which a side does not hold the facts."
    )
