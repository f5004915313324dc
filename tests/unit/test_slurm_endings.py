"""What sbatch's refusals and squeue's reasons to wait mean, in the words that Slurm prints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgain.slurm.endings import Refusal, refusal_in
from toolgain.slurm.waiting import USUAL, why_it_waits

SNAKEMAKE = (
    "SLURM sbatch failed. The error message was '{}'.\n    sbatch call:\n        sbatch --parsable "
    '--qos=nope -D /work --wrap="..."\n'
)


@pytest.mark.parametrize(
    ("printed", "said", "advice"),
    [
        (
            "sbatch: error: Batch job submission failed: Invalid qos specification",
            "Invalid qos specification",
            "name a QOS that you may use",
        ),
        ("allocation failure: Invalid qos specification", "Invalid qos specification", "a QOS"),
        (
            "allocation failure: Invalid license specification",
            "Invalid license specification",
            "`scontrol show licenses`",
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition "
            "combination specified",
            "Invalid account or account/partition combination specified",
            "SLURM_ACCOUNT or cluster.account",
        ),
        (
            "sbatch: error: invalid partition specified: nope\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
            "invalid partition specified: nope; Invalid partition name specified",
            "SLURM_PARTITION or cluster.partition",
        ),
        (
            "sbatch: error: Batch job submission failed: Required partition not available "
            "(inactive or drain)",
            "Required partition not available (inactive or drain)",
            "`sinfo` lists the partitions and their state",
        ),
        (
            "sbatch: error: Batch job submission failed: Requested time limit is invalid "
            "(missing or exceeds some limit)",
            "Requested time limit is invalid (missing or exceeds some limit)",
            "lower the stage's time in `cluster`",
        ),
        (
            "sbatch: error: CPU count per node can not be satisfied\nsbatch: error: Batch job "
            "submission failed: Requested node configuration is not available",
            "count per node can not be satisfied; Requested node configuration is not available",
            "no node has what the stage asks for",
        ),
        (
            "sbatch: error: Invalid generic resource (gres) specification",
            "Invalid generic resource (gres) specification",
            "cluster.gpus_per_node",
        ),
        ("allocation failure: Invalid feature specification", "Invalid feature", "no node has"),
        ("sbatch: unrecognized option '--frob'\nTry \"sbatch --help\"", "--frob", "slurm_extra"),
        (
            "sbatch: error: A job needs a project code.\nsbatch: error: Batch job submission "
            "failed: Unspecified error",
            "A job needs a project code.; Unspecified error",
            "ask the administrator",
        ),
    ],
)
def test_a_refusal_is_told_in_sbatch_s_words_and_with_what_to_do(
    printed: str, said: str, advice: str
) -> None:
    for text in (printed, SNAKEMAKE.format(printed)):
        refusal = refusal_in(text)
        assert said in refusal.said
        assert "sbatch" not in refusal.said and "\n" not in refusal.said
        assert not refusal.passing
        assert advice in refusal.advice("train_run")


@pytest.mark.parametrize(
    "printed",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller "
        "(connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job "
        "violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
    ],
)
def test_what_time_mends_is_tried_again(printed: str) -> None:
    assert refusal_in(SNAKEMAKE.format(printed)).passing


def test_a_job_that_never_came_to_sbatch_is_told_apart() -> None:
    refusal = refusal_in("Job submission failed with exception: [Errno 28] No space left on device")
    assert refusal.cause == ("the job could not be submitted: [Errno 28] No space left on device.")
    assert refusal.advice("export").startswith("mend the cause")


@given(st.text())
def test_whatever_sbatch_prints_is_one_line(printed: str) -> None:
    assert len(refusal_in(printed).cause.splitlines()) == 1


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("PartitionDown", "takes no jobs now"),
        ("PartitionInactive", "takes no jobs now"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", "down, drained or reserved"),
        ("ReqNodeNotAvail, Reserved for maintenance", "down, drained or reserved"),
        ("Nodes required for job are DOWN, DRAINED or reserved", "down, drained or reserved"),
        ("Licenses", "licenses"),
        ("JobHeldUser", "scontrol release"),
        ("JobHeldAdmin", "administrator"),
        ("launch failed requeued held", "administrator"),
        ("AssocMaxJobsLimit", "once other jobs have ended"),
        ("QOSMaxJobsPerUserLimit", "once other jobs have ended"),
        ("AssocGrpGRES", "once other jobs have ended"),
        ("QOSMaxCpuPerUserLimit", "once other jobs have ended"),
        ("AssocGrpBillingMinutes", "used up"),
        ("AssocGrpCPUMinutesLimit", "used up"),
        ("PartitionTimeLimit", "will never start"),
        ("PartitionNodeLimit", "will never start"),
        ("QOSMaxWallDurationPerJobLimit", "will never start"),
        ("AssocMaxWallDurationPerJobLimit", "will never start"),
        ("QOSMaxCpuPerJobLimit", "will never start"),
        ("InvalidQOS", "will never start"),
        ("AccountNotAllowed", "will never start"),
        ("BadConstraints", "will never start"),
        ("DependencyNeverSatisfied", "will never start"),
        ("A new reason", "manual"),
    ],
)
def test_a_job_that_waits_for_more_than_its_turn_is_explained(reason: str, words: str) -> None:
    assert words in str(why_it_waits(reason))


@pytest.mark.parametrize("reason", sorted(USUAL))
def test_a_job_that_waits_for_its_turn_is_not(reason: str) -> None:
    assert why_it_waits(reason) is None


def test_a_refusal_without_words_is_a_sentence_too() -> None:
    assert refusal_in("") == Refusal("it gave no reason")
