"""An unfinished workflow and an edit at once: the plan is what each of the two asks for."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from plans import Job, outputs, planned
from small_chain import ROOT, SMALL, Chain

from toolgain.config.freeze import settings_of_trial
from toolgain.config.sections import parse_config
from toolgain.records.record import write_record
from toolgain.records.trial import Trial

pytestmark = pytest.mark.slow

EDITS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "model": {"name": "another name"},
    "evaluation": {"parallelism": 2},
    "training": {"seed": 5},
    "runs": {"second": {"seed": 7}},
    "comparison": {"draws": 2000},
    "report": {"title": "Another title"},
    "cluster": {"memory_gb_per_node": 800, "train_time": "2d"},
    "environments": {"trl": str(ROOT / ".venvs" / ".." / ".venvs" / "trl")},
}
"""An edit of every section of the configuration."""

NO_REASON_TO_RUN = ("cluster", "environments")

STAGES = {
    "model": ("results/model.json",),
    "tasks": ("results/tasks/grpo/tasks.json",),
    "trial": ("results/trial.json",),
    "smoke": ("results/runs/grpo/smoke.json",),
    "train_run": ("results/runs/grpo/manifest.json",),
    "select": ("results/runs/grpo/best.json",),
    "export": ("results/runs/grpo/export.json",),
    **{
        f"evaluate_model {subject}": tuple(
            f"results/evaluations/{subject}/{name}"
            for name in ("summary.json", "items.csv", "questions.jsonl.gz", "manifest.json")
        )
        for subject in ("baseline", "grpo")
    },
    "compare": ("results/comparison.json",),
    "report": ("results/report.html", "results/report.md"),
}
"""Every stage of a run, in the order of the chain, and what it writes."""


def edited(section: str) -> dict[str, Any]:
    config = deepcopy(SMALL)
    config["training"]["smoke_steps"] = 2
    config["evaluation"]["trial"] = True
    for key, value in EDITS[section].items():
        config.setdefault(section, {})[key] = value
    return config


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """A folder that Snakemake takes for a finished workflow."""
    chain = Chain(tmp_path_factory.mktemp("plans"), edited("nothing"))
    frozen = [f"results/config/{name}.json" for name in ("model", "evaluation", "comparison")]
    frozen += ["results/config/report.json", "results/config/training/grpo.json"]
    for name in (*frozen, *(name for names in STAGES.values() for name in names)):
        path = chain.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    tried = Trial(
        weights="",
        settings=settings_of_trial(parse_config(chain.config)),
        items=17,
        with_calls=9,
        finished="",
    )
    write_record(chain.folder / "results/trial.json", tried)
    accepted = chain.run("--touch", "--forceall", "all")
    assert accepted.returncode == 0, accepted.stderr
    for section in EDITS:
        (chain.folder / f"{section}.yaml").write_text(yaml.safe_dump(edited(section)))
    return chain


def plans(chain: Chain, sections: list[str], missing: tuple[str, ...] = ()) -> list[set[Job]]:
    """What would run after an edit of each section while the outputs of some stages are missing."""
    command = ["--snakefile", str(Path(__file__).parents[2] / "Snakefile")]
    command += ["--directory", str(chain.folder), "--rerun-triggers", "mtime", "params", "input"]
    command += ["-n", "all", "--configfile"]
    names = [name for stage in missing for name in STAGES[stage]]
    with away(chain.folder, names):
        screens = outputs([[*command, str(chain.folder / f"{name}.yaml")] for name in sections])
    assert all(code == 0 for code, _ in screens), screens
    return [planned(screen) for _, screen in screens]


class away:  # noqa: N801
    """Files of a folder, put aside for a while."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.paths = [folder / name for name in names]

    def __enter__(self) -> None:
        for path in self.paths:
            path.rename(path.with_name(f".away-{path.name}"))

    def __exit__(self, *_: object) -> None:
        for path in self.paths:
            path.with_name(f".away-{path.name}").rename(path)


@pytest.fixture(scope="module")
def alone(chain: Chain) -> Iterator[dict[str, set[Job]]]:
    """What an edit of each section asks for by itself."""
    yield dict(zip(EDITS, plans(chain, list(EDITS)), strict=True))


def test_a_finished_workflow_has_nothing_to_do(alone: dict[str, set[Job]]) -> None:
    assert alone["nothing"] == set()


@pytest.mark.parametrize("section", NO_REASON_TO_RUN)
def test_where_the_work_is_done_is_no_reason_to_run(
    alone: dict[str, set[Job]], section: str
) -> None:
    assert alone[section] == set()


BEFORE_A_TRAINING = ("trial", "smoke")
"""What a finished run does not need, and `all` does not make again."""


def test_every_deleted_result_is_made_again(chain: Chain) -> None:
    """Each file by itself, while all that came of it is there still."""
    for stage, names in STAGES.items():
        for name in names:
            with away(chain.folder, [name]):
                (plan,) = plans(chain, ["nothing"])
            rules = {rule for rule, _ in plan}
            assert (stage.split()[0] in rules) == (stage not in BEFORE_A_TRAINING), (name, plan)


@pytest.mark.parametrize("stage", STAGES)
def test_an_edit_hides_nothing_that_is_missing(
    chain: Chain, alone: dict[str, set[Job]], stage: str
) -> None:
    """Neither where one stage's output is missing, nor where the chain has not come so far."""
    names = list(STAGES)
    unfinished = tuple(names[names.index(stage) :])
    for missing in {(stage,), unfinished}:
        unedited, *found = plans(chain, list(EDITS), missing)
        if missing == unfinished:
            assert {rule for rule, _ in unedited} >= {name.split()[0] for name in unfinished}
        for section, plan in zip(list(EDITS)[1:], found, strict=True):
            assert plan >= unedited | alone[section], (section, missing)
            if section in NO_REASON_TO_RUN:
                assert plan == unedited, (section, missing)


def test_a_trial_of_other_settings_is_repeated_until_a_run_is_finished(chain: Chain) -> None:
    """An edit of how the model is asked, of what is trained, and of neither."""
    edits = {
        "asked": {"evaluation": {"sampling": {"max_tokens": 50}}},
        "faster": {"evaluation": {"parallelism": 3}},
    }
    for name, edit in edits.items():
        config = edited("nothing")
        config["evaluation"] |= edit["evaluation"]
        (chain.folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    trial = ("trial", "results/trial.json")
    asked, faster = plans(chain, list(edits), ("train_run",))
    assert trial in asked and trial not in faster
    assert {rule for rule, _ in asked} >= {"smoke", "train_run", "select"}
    asked, faster = plans(chain, list(edits))
    assert trial not in asked and "train_run" not in {rule for rule, _ in asked}
