"""Each stage sees its own part of the configuration, and only that."""

from typing import Any

from toolgain.config.freeze import frozen_sections
from toolgain.config.sections import parse_config

BASE: dict[str, Any] = {"model": {"path": "some/model"}, "training": {"backend": "trl"}}


def changed(values: dict[str, Any]) -> set[str]:
    """The stages whose frozen section differs from that of the plain configuration."""
    before, after = (
        frozen_sections(parse_config(BASE)),
        frozen_sections(parse_config({**BASE, **values})),
    )
    return {stage for stage in before if before[stage] != after[stage]}


def test_an_evaluation_key_reaches_the_evaluation_alone() -> None:
    assert changed({"evaluation": {"repeats": 2}}) == {"evaluation"}


def test_a_training_key_reaches_the_training_alone() -> None:
    assert changed({"training": {"backend": "trl", "seed": 7}}) == {"training/grpo"}


def test_a_key_of_the_other_backend_reaches_nothing() -> None:
    assert changed({"training": {"backend": "trl", "nemo_rl": {"ref": "v0.6.0"}}}) == set()


def test_where_the_work_is_done_reaches_no_stage_that_would_rerun_for_it() -> None:
    assert changed({"cluster": {"nodes": 4}, "environments": {"trl": "/elsewhere"}}) == set()


def test_vllm_serves_in_the_image_of_the_cluster_unless_one_is_named() -> None:
    def image(serve: dict[str, str]) -> object:
        values = {"cluster": {"container": "/nemo-rl.sqsh"}, "evaluation": {"serve": serve}}
        frozen: Any = frozen_sections(parse_config({**BASE, **values}))["evaluation"]
        return frozen["serve"]["container"]

    assert image({"backend": "vllm"}) == "/nemo-rl.sqsh"
    assert image({"backend": "vllm", "container": "/vllm.sqsh"}) == "/vllm.sqsh"
    # Set, and left empty: vLLM of this machine.
    assert image({"backend": "vllm", "container": ""}) is None
    assert image({"backend": "transformers"}) is None
