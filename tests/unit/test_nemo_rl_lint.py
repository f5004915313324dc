"""The lint: each finding with its arithmetic, held against what upstream does."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from toolgain.common.errors import UserError
from toolgain.config.sections import NemoRlSite
from toolgain.training.nemo_rl import lint
from toolgain.training.nemo_rl.plan import RunNumbers
from toolgain.training.nemo_rl.refs import REFS

GOOD = RunNumbers(
    nodes=2,
    gpus_per_node=8,
    prompts=64,
    generations=16,
    global_batch=1024,
    micro_batch=1,
    logprob_batch=1,
    backend="megatron",
    tensor_parallel=2,
    pipeline_parallel=1,
    context_parallel=1,
    rows=1255,
    epochs=1,
    max_steps=1_000_000,
    val_period=5,
    save_period=5,
    val_at_end=True,
    keep_top_k=3,
    async_save=False,
    model_save_format=None,
    max_val_samples=None,
)
NEW, OLD = REFS["v0.7.0"], REFS["v0.5.0"]


def wrong(numbers: RunNumbers, ref: str = "v0.7.0") -> dict[str, str]:
    """Name and message of every finding that is not ok."""
    return {f.name: f.message for f in lint.lint_numbers(numbers, REFS[ref]) if not f.ok}


def test_the_defaults_are_fine_on_two_nodes() -> None:
    assert wrong(GOOD) == {}


def test_the_shipped_periods_are_refused_with_the_arithmetic() -> None:
    # The upstream YAML validates every 10 and saves every 6 of 19 steps.
    found = wrong(replace(GOOD, val_period=10, save_period=6, val_at_end=False))
    assert found["save period"].startswith("save_period 6 mod val_period 10 = 6: ")
    assert "set save_period to 10." in found["save period"]
    assert "1255 rows // 64 prompts) = 19 steps" in lint.lint_numbers(GOOD, NEW)[1].message


def simulated(numbers: RunNumbers, ref_has_val_at_end: bool) -> list[tuple[int, bool]]:
    """Upstream's cadence: (step of a save, whether it carries val:accuracy)."""
    total = numbers.total_steps
    assert total is not None
    saves = []
    for step in range(1, total + 1):
        last = step == total
        validated = step % numbers.val_period == 0 or (
            last and numbers.val_at_end and ref_has_val_at_end
        )
        if last or step % numbers.save_period == 0:
            saves.append((step, validated))
    return saves


@given(
    rows=st.integers(1, 400),
    prompts=st.integers(1, 40),
    epochs=st.integers(1, 3),
    val_period=st.integers(1, 12),
    save_period=st.integers(1, 24),
    max_steps=st.integers(1, 60),
    val_at_end=st.booleans(),
    ref=st.sampled_from(["v0.5.0", "v0.7.0"]),
)
def test_what_passes_carries_an_accuracy_in_every_save(
    rows: int,
    prompts: int,
    epochs: int,
    val_period: int,
    save_period: int,
    max_steps: int,
    val_at_end: bool,
    ref: str,
) -> None:
    numbers = replace(
        GOOD,
        rows=rows,
        prompts=prompts,
        epochs=epochs,
        val_period=val_period,
        save_period=save_period,
        max_steps=max_steps,
        val_at_end=val_at_end,
    )
    passed = all(finding.ok for finding in lint.cadence(numbers, REFS[ref]))
    saves = simulated(numbers, REFS[ref].has_val_at_end)
    if passed:
        assert saves
        assert all(validated for _, validated in saves)
        assert any(step % save_period == 0 for step, _ in saves)
    else:
        # A refusal is never for nothing: a save without a metric, or none on its period.
        useless = not saves or not all(validated for _, validated in saves)
        assert (
            useless
            or save_period % val_period
            or save_period > saves[-1][0]
            or (val_period > saves[-1][0])
        )


@given(
    nodes=st.integers(1, 12),
    gpus=st.sampled_from([1, 2, 4, 8]),
    prompts=st.integers(1, 96),
    generations=st.sampled_from([2, 4, 8, 16]),
    tensor=st.sampled_from([1, 2, 4]),
    micro=st.integers(1, 4),
)
def test_a_batch_that_passes_divides_and_the_advice_is_right(
    nodes: int, gpus: int, prompts: int, generations: int, tensor: int, micro: int
) -> None:
    numbers = replace(
        GOOD,
        nodes=nodes,
        gpus_per_node=gpus,
        prompts=prompts,
        generations=generations,
        global_batch=prompts * generations,
        tensor_parallel=tensor,
        micro_batch=micro,
    )
    assume(numbers.world % tensor == 0)
    finding = lint.batch(numbers)
    share = numbers.data_parallel * micro
    assert finding.ok == (prompts * generations % share == 0)
    if not finding.ok:
        advice = finding.message.split("set num_prompts_per_step to ")[1].split(", or use")[0]
        for number in advice.split(" or "):
            fixed = replace(numbers, prompts=int(number), global_batch=int(number) * generations)
            assert lint.batch(fixed).ok


def test_three_nodes_do_not_divide_1024_rollouts() -> None:
    message = wrong(replace(GOOD, nodes=3))["batch"]
    assert message.startswith(
        "global batch 1024 mod 12 = 4 (24 GPUs / 2 = 12 data-parallel ranks, x 1 micro batch = 12)"
    )
    assert "set num_prompts_per_step to 63 or 66" in message


@pytest.mark.parametrize(
    ("change", "name", "text"),
    [
        ({"rows": 30}, "steps", "lower num_prompts_per_step to 30"),
        ({"val_period": 20, "save_period": 20}, "val_period within the steps", "20 > min("),
        ({"global_batch": 1000}, "batch", "is not a multiple of train_global_batch_size 1000"),
        ({"tensor_parallel": 3}, "parallel sizes", "16 is not a multiple of tensor 3"),
        (
            {"tensor_parallel": 4, "logprob_batch": 2},
            "micro batches",
            "refuses unequal ones from 4 on",
        ),
        ({"keep_top_k": None}, "keep_top_k", "set a number of 1 or more"),
        ({"async_save": True}, "async_save", "issue 3312"),
        ({"model_save_format": "safetensors"}, "model_save_format", "fails at the first save"),
        ({"max_val_samples": 64}, "max_val_samples", "refuses it with NeMo Gym"),
    ],
)
def test_each_finding_says_what_to_do(change: dict[str, object], name: str, text: str) -> None:
    found = wrong(replace(GOOD, **change))  # type: ignore[arg-type]
    assert text in found[name]


def test_an_old_version_wants_the_last_step_validated() -> None:
    found = wrong(GOOD, "v0.5.0")
    assert "knows no val_at_end; set max_num_steps to 15" in found["last step"]
    assert wrong(replace(GOOD, max_steps=15), "v0.5.0") == {}


def test_the_save_format_is_for_dtensor_v2() -> None:
    assert wrong(replace(GOOD, backend="dtensor_v2", model_save_format="safetensors")) == {}


SITE = NemoRlSite()


def test_the_time_limit_leaves_room_for_set_up_step_save_and_margin() -> None:
    value, finding = lint.must_save_by(24 * 3600, SITE)
    assert finding.ok
    # 1440 - 45 - 10 - 10 - 10 = 1365 minutes
    assert value == "00:22:45:00"
    assert (
        "1440 min - 45 set-up - 10.0 one step - 10 save - 10 margin = 1365.0 min" in finding.message
    )


def test_a_measured_step_takes_the_place_of_the_estimate() -> None:
    value, _ = lint.must_save_by(24 * 3600, SITE, step_s=1800)
    assert value == "00:22:25:00"


def test_a_time_limit_without_room_for_one_step_is_refused() -> None:
    value, finding = lint.must_save_by(80 * 60, SITE)
    assert value == "00:00:00:00"
    assert not finding.ok
    assert "give the job at least 85 min" in finding.message


@given(st.floats(0, 30 * 86400))
def test_a_duration_has_four_fields_that_upstream_adds_up_again(seconds: float) -> None:
    days, hours, minutes, rest = map(int, lint.four_fields(seconds).split(":"))
    assert days * 86400 + hours * 3600 + minutes * 60 + rest == int(seconds)


def test_the_disk_holds_the_best_the_latest_and_the_one_being_written() -> None:
    weights = 18 * 2**30
    fits = lint.disk(GOOD, weights, 700 * 2**30, present=0)
    assert fits.ok
    # 9e9 parameters x 14 bytes, five times
    assert fits.message.startswith("5 more checkpoints x 18.0 GiB of 16-bit weights / 2 x 14 bytes")
    full = lint.disk(GOOD, weights, 400 * 2**30, present=0)
    assert not full.ok
    assert "lower keep_top_k" in full.message
    assert lint.disk(GOOD, weights, 400 * 2**30, present=3, measured=100 * 2**30).ok


@pytest.mark.parametrize(("path", "ok"), [("/a/exp_12/logs", False), ("/a/exp_b/logs", True)])
def test_a_numbered_folder_above_would_confuse_upstream(path: str, ok: bool) -> None:
    assert lint.log_folder(Path(path)).ok is ok


def test_all_findings_come_in_one_message() -> None:
    found = lint.lint_numbers(replace(GOOD, nodes=3, keep_top_k=None), NEW)
    with pytest.raises(UserError, match=r"batch: .* \| keep_top_k: "):
        lint.refuse_findings(found)
