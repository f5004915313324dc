"""What the report's page says of a rehearsal."""

from pathlib import Path

from toolgain.records.record import read_record, write_record
from toolgain.records.rehearsal import Answers, CheckedRows, Rehearsal, Spread, StepEstimate
from toolgain.report.rehearsal import rehearsal_lines

RECORD = Rehearsal(
    run="grpo",
    verdict="trainable",
    reasons=[],
    warnings=["2 of 40 answers were empty"],
    model="resources/demo-model",
    config_paths=["resources_servers/xlam_fc/configs/xlam_fc.yaml"],
    agents={"xlam_fc_simple_agent": 1},
    gym_version="0.4.0",
    rows=CheckedRows(
        checked=96,
        there=96,
        unplayable=0,
        examples=[],
        reward_for_nothing=0.35,
        rewarded_for_nothing=0.35,
    ),
    rows_played=8,
    rollouts_per_row=4,
    failed=1,
    errors={"no reward after 900 s": 1},
    reward_mean=0.5,
    reward_std=0.5,
    groups_without_spread=0.25,
    answers=Answers(
        turns=40,
        tool_calls=20,
        calls_as_text=0,
        broken_arguments=0,
        empty=2,
        cut=0,
        overflows=0,
        endless=0,
    ),
    turns=Spread(mean=1.25, median=1, largest=2, limit=6),
    tool_calls=Spread(mean=0.6, median=1, largest=2, limit=None),
    prompt_tokens=None,
    answer_tokens=None,
    seconds=None,
    start_s=58.0,
    step=StepEstimate(rollouts=64, seconds=120.0, at_once=8),
    seed=1,
    finished="2026-01-01T00:00:00+00:00",
)


def test_a_rehearsal_is_shown_line_by_line(tmp_path: Path) -> None:
    write_record(tmp_path / "rehearsal.json", RECORD)
    shown = rehearsal_lines(read_record(Rehearsal, tmp_path / "rehearsal.json", "rehearsal"))
    assert shown and shown.trainable and shown.warnings == ("2 of 40 answers were empty",)
    lines = {line.what: line.found for line in shown.lines}
    assert lines["Rows that Gym can play"] == "96 of 96 tried, of 96 rows"
    assert lines["Rollouts that failed"] == "1 (1 times: no reward after 900 s)"
    assert lines["Answers in a rollout"] == "mean 1.2, largest 2, limit 6"
    assert (
        lines["The 64 rollouts of a step would take"] == "2 min 00 s at the pace of the rehearsal"
    )


def test_without_a_rehearsal_there_is_nothing() -> None:
    assert rehearsal_lines(None) is None
