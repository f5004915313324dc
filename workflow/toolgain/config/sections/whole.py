"""The whole configuration: every section, and what must hold between them."""

from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from toolgain.common.errors import UserError
from toolgain.common.files import canonical_json
from toolgain.config.sections.base import Section
from toolgain.config.sections.cluster import ClusterSection
from toolgain.config.sections.comparison import ComparisonSection
from toolgain.config.sections.environments import EnvironmentsSection
from toolgain.config.sections.evaluation import EvaluationSection
from toolgain.config.sections.messages import findings_of
from toolgain.config.sections.model import ModelSection
from toolgain.config.sections.report import ReportSection
from toolgain.config.sections.training import RunSection, TrainingSection, deciding


class Config(Section):
    """The configuration of a toolgain workflow."""

    model: ModelSection = Field(description="The model before the training.")
    evaluation: EvaluationSection = Field(EvaluationSection(), description="BFCL v3.")
    training: TrainingSection = Field(TrainingSection(), description="GRPO.")
    runs: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")], RunSection] = Field(
        {"grpo": RunSection()}, description="The training runs, by name."
    )
    comparison: ComparisonSection = Field(ComparisonSection(), description="The statistics.")
    report: ReportSection = Field(ReportSection(), description="The report.")
    cluster: ClusterSection = Field(ClusterSection(), description="The cluster.")
    environments: EnvironmentsSection = Field(EnvironmentsSection(), description="Environments.")

    @model_validator(mode="after")
    def _runs_are_trainings(self) -> "Config":
        if not self.runs:
            raise ValueError("runs is empty; name at least one run, such as `runs: {grpo: {}}`")
        if "baseline" in self.runs:
            raise ValueError("runs: `baseline` is the name of the model before the training")
        # Made here, so that what is wrong with one of them is wrong with the configuration.
        _ = self._trainings
        return self

    @model_validator(mode="after")
    def _headline_is_declared(self) -> "Config":
        recipes, primary = self.recipes, self.comparison.primary
        named = [run for runs in recipes.values() for run in runs]
        for run in named:
            if run not in self.runs:
                raise ValueError(f"comparison.recipes: there is no run {run!r} in `runs`")
        if len(set(named)) < len(named):
            raise ValueError("comparison.recipes: a run is in two recipes, or twice in one")
        choices = list(dict.fromkeys([*self.runs, *recipes]))
        if primary is not None and primary not in choices:
            raise ValueError(
                f"comparison.primary: there is no run or recipe {primary!r}; "
                f"there is: {', '.join(choices)}"
            )
        if primary is None and len(recipes) > 1:
            raise ValueError(
                f"comparison.primary: the runs are of {len(recipes)} recipes "
                f"({'; '.join(recipes)}). Name the run whose change is the answer, or name the "
                "recipes (comparison.recipes) and one of them"
            )
        return self

    @property
    def serving_image(self) -> str | None:
        """The container image that vLLM serves in; None where it runs without one."""
        serve = self.evaluation.serve
        if serve.container is None and serve.server.on_gpus:
            return self.cluster.container or None
        return serve.container or None

    @property
    def recipes(self) -> dict[str, list[str]]:
        """The runs of each recipe: as given, or those that differ by the seed alone.

        Every run stands in one; a recipe without a name of its own is called after its runs.
        """
        given = self.comparison.recipes
        alone = [run for run in self.runs if not any(run in runs for runs in given.values())]
        if given:
            return {**given, **{run: [run] for run in alone}}
        same: dict[str, list[str]] = {}
        for run, training in self._trainings.items():
            recipe = deciding(training) | {"seed": None}
            same.setdefault(canonical_json(recipe), []).append(run)
        return {_recipe_name(runs): runs for runs in same.values()}

    @cached_property
    def _trainings(self) -> dict[str, TrainingSection]:
        return {run: self._training(run, section) for run, section in self.runs.items()}

    def _training(self, run: str, section: RunSection) -> TrainingSection:
        merged = _merged(self.training.model_dump(), section.training)
        if section.seed is not None:
            merged["seed"] = section.seed
        try:
            return TrainingSection.model_validate(merged)
        except ValidationError as error:
            raise ValueError(findings_of(error, TrainingSection, f"runs.{run}.training.")) from None

    def training_of(self, run: str) -> TrainingSection:
        """The training section of `run`, with the run's seed and overrides put in.

        Raises:
            UserError: there is no such run.
        """
        if run not in self.runs:
            raise UserError(f"runs: there is no run {run!r}; there is: {', '.join(self.runs)}.")
        return self._trainings[run]


def _recipe_name(runs: list[str]) -> str:
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    return ", ".join(runs[:3]) + more


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if nested else value
    return result
