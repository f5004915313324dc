"""The rehearse stage: the environment's real servers, the model's real answers, a verdict.

REQUIRED INPUTS
    --config, and the rows that it names (or --tasks), and a model
OUTPUTS
    rehearsal.json
BESIDE IT
    a folder of logs, one for each Gym server and one for the model server, and the record again
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from statistics import fmean, pstdev
from typing import TypeVar

import click

from toolgain.common import processes
from toolgain.common.amounts import in_percent
from toolgain.common.errors import NotValidError, StageError
from toolgain.common.files import now
from toolgain.common.progress import duration_words
from toolgain.config.sections import NemoRl, TrainingSection, Trl
from toolgain.environments import gym
from toolgain.environments.gym import Environment
from toolgain.environments.play import Rollout, play
from toolgain.environments.relay import Relay, relaying
from toolgain.environments.rollouts import Row
from toolgain.records.record import write_record
from toolgain.records.rehearsal import CheckedRows, Rehearsal, StepEstimate
from toolgain.rehearsal import findings, inputs
from toolgain.rehearsal.inputs import Given, Inputs
from toolgain.rehearsal.model_health import watched
from toolgain.serving import server
from toolgain.serving.server import Endpoint, python_version_of

log = logging.getLogger(__name__)

Drawn = TypeVar("Drawn")

ROWS, ROLLOUTS = 32, 4
"""What is played where neither the command line nor the configuration says."""
NOTHING_AT_ONCE = 16
"""Rollouts of a model that does nothing; they wait for Gym alone."""
MOST_CHECKED = 2000
"""Rows that such a model plays; of more, a draw."""


def rehearse_environment(
    given: Given,
    out: Path,
    *,
    rows: int | None,
    rollouts: int | None,
    gym_env: Path,
    trl_env: Path,
) -> Rehearsal:
    """Rehearse and write `out`.

    Raises:
        UserError: bad input; nothing has been written.
        StageError: a server ended or did not answer; it is named.
        NotValidError: the record says that a training run on this would not work.
    """
    asked = inputs.read_inputs(given)
    settings = asked.section.gym
    rows = rows or settings.rehearsal_rows or ROWS
    rollouts = rollouts or (settings.rehearsal_rollouts if settings.rehearsal_rows else ROLLOUTS)
    logs = out.absolute().with_name(f"{out.stem}-logs")
    with processes.stopping_in_time(), relaying(settings.max_turns) as relay:
        started = time.monotonic()
        with gym.running_environment(
            environment=gym_env,
            config_paths=asked.config_paths,
            overrides={**MODEL_SERVER, **settings.overrides},
            base_url=relay.url,
            key=relay.key,
            folder=logs,
            stage="rehearse",
            health_timeout_s=settings.health_timeout_s,
            busy_timeout_s=settings.busy_timeout_s,
        ) as environment:
            start_s = time.monotonic() - started
            log.info("rehearse: %d Gym servers after %.0f s", len(environment.servers), start_s)
            record = rehearsed(
                environment, relay, asked, rows, rollouts, partial(_model, asked, logs, trl_env)
            )
    record = record.model_copy(
        update={
            "run": given.run,
            "gym_version": python_version_of(gym_env, "nemo-gym"),
            "start_s": round(start_s, 1),
        }
    )
    # Snakemake takes the output of a failed rule away.
    kept = logs / "rehearsal.json"
    write_record(kept, record)
    write_record(out, record)
    click.echo(rehearsal_summary(record))
    if record.verdict != "trainable":
        raise NotValidError(f"rehearse: not trainable: {'; '.join(record.reasons)}. See {kept}.")
    return record


MODEL_SERVER: Mapping[str, gym.Value] = {
    "policy_model.responses_api_models.vllm_model.return_token_id_information": False
}
"""Token ids are for a trainer; a plain endpoint has none to give."""


def rehearsed(
    environment: Environment,
    relay: Relay,
    asked: Inputs,
    rows: int,
    times: int,
    model: Callable[[], AbstractContextManager[Endpoint]],
) -> Rehearsal:
    """Rehearse with servers that run.

    Args:
        relay: What the environment's model server calls.
        rows: Rows that the model plays.
        times: Rollouts of each.
        model: Gives the model server, once it is needed.

    Raises:
        StageError: a server ended or did not answer; it is named.
    """
    relay.endpoint, relay.ends_rollouts = None, asked.section.settings.ENDS_ROLLOUTS
    checked, playable = _check_rows(environment, relay, asked)
    chosen = _draw(playable, rows, asked.section.seed)
    played: list[Rollout] = []
    wall_s = 0.0
    if chosen:
        limit_s = asked.section.gym.health_timeout_s
        with model() as unwatched, watched(unwatched, relay, limit_s) as relay.endpoint:
            log.info("rehearse: %d rows, %d rollouts of each", len(chosen), times)
            started = time.monotonic()
            played = play(
                environment,
                relay,
                chosen,
                times=times,
                at_once=asked.at_once,
                timeout_s=asked.section.gym.rollout_timeout_s,
                sampling=_sampling(asked.section),
                prefix=f"model-{time.monotonic_ns()}",
            )
            wall_s = time.monotonic() - started
    return _record(environment, asked, checked, played, len(chosen), times, wall_s)


def _check_rows(
    environment: Environment, relay: Relay, asked: Inputs
) -> tuple[CheckedRows, list[Row]]:
    """Play every row with a model that does nothing; which of the training rows can be played."""
    every = [
        (split, line, row)
        for split, rows in asked.rows.items()
        for line, row in enumerate(rows, start=1)
    ]
    drawn = _draw(every, MOST_CHECKED, asked.section.seed)
    rollouts = play(
        environment,
        relay,
        [row for _, _, row in drawn],
        times=1,
        at_once=NOTHING_AT_ONCE,
        timeout_s=asked.section.gym.rollout_timeout_s,
        sampling={},
        prefix=f"nothing-{time.monotonic_ns()}",
    )
    checked = findings.checked_rows(
        [(split, line) for split, line, _ in drawn], rollouts, len(every)
    )
    log.info(
        "rehearse: %d of %d rows can be played", checked.checked - checked.unplayable, len(drawn)
    )
    playable = [
        row
        for rollout, (split, _, row) in zip(rollouts, drawn, strict=True)
        if rollout.reward is not None and split == "train"
    ]
    return checked, playable


def _draw(values: list[Drawn], count: int, seed: int) -> list[Drawn]:
    """At most `count` of the values, in their order."""
    if len(values) <= count:
        return values
    chosen = sorted(random.Random(f"rehearse-{seed}").sample(range(len(values)), count))
    return [values[index] for index in chosen]


@contextmanager
def _model(asked: Inputs, logs: Path, trl_env: Path) -> Iterator[Endpoint]:
    """The model server, ready.

    Raises:
        StageError: it does not answer.
    """
    if asked.weights is None:
        name = asked.model_name or "policy"
        endpoint = server.existing(asked.serve, "baseline", name, None)
        if last := server.wait_ready(endpoint):
            raise StageError(f"rehearse: {endpoint.base_url} does not answer: {last}.")
        yield endpoint
        return
    folder, log_file = logs / "model", logs / "model-server.log"
    with server.serving(
        asked.serve, asked.weights, "policy", folder, trl_env, log_file
    ) as endpoint:
        if last := server.wait_ready(endpoint):
            raise StageError(f"rehearse: the model server is not ready: {last}; see {log_file}.")
        yield endpoint


def _sampling(section: TrainingSection) -> dict[str, object]:
    """Rollouts are sampled as the training samples them."""
    if isinstance(section.settings, Trl):
        settings = section.settings
        return {
            "temperature": settings.temperature,
            "max_output_tokens": settings.max_completion_length,
        }
    return {"temperature": 1.0}


def _record(
    environment: Environment,
    asked: Inputs,
    checked: CheckedRows,
    played: list[Rollout],
    rows: int,
    times: int,
    wall_s: float,
) -> Rehearsal:
    section = asked.section
    agents = {name: agent.max_steps for name, agent in environment.agents.items()}
    reasons, warnings = findings.judge_rehearsal(
        checked, played, agents, section.gym.max_turns, section.settings.ENDS_ROLLOUTS
    )
    good = [rollout for rollout in played if rollout.reward is not None]
    rewards = findings.rewards_of(played)
    spread = findings.spread
    used = {rollout.agent for rollout in played if rollout.agent}
    limits = [agents[name] or section.gym.max_turns for name in used]
    used_by = section.settings
    sequence = used_by.max_total_sequence_length if isinstance(used_by, NemoRl) else None
    completion = used_by.max_completion_length if isinstance(used_by, Trl) else None
    size = section.settings.rollouts_per_step
    return Rehearsal(
        run=None,
        verdict="not_trainable" if reasons else "trainable",
        reasons=reasons,
        warnings=warnings,
        model=asked.model,
        config_paths=asked.config_paths,
        agents=agents,
        gym_version=None,
        rows=checked,
        rows_played=rows,
        rollouts_per_row=times,
        failed=len(played) - len(good),
        errors=findings.errors(played),
        reward_mean=fmean(rewards) if rewards else None,
        reward_std=pstdev(rewards) if rewards else None,
        groups_without_spread=findings.without_spread(played),
        answers=findings.rollout_counts(played),
        turns=spread((r.calls.turns for r in good), max(limits, default=None)),
        tool_calls=spread(r.calls.tool_calls for r in good),
        prompt_tokens=spread(
            (r.calls.longest_prompt for r in good), sequence or asked.serve.max_model_len
        ),
        answer_tokens=spread((r.calls.answer_tokens for r in good), completion),
        seconds=spread((r.seconds for r in good), section.gym.rollout_timeout_s),
        start_s=0.0,
        step=StepEstimate(
            rollouts=size,
            seconds=round(wall_s * size / len(good), 1) if good else None,
            at_once=asked.at_once,
        ),
        seed=section.seed,
        finished=now(),
    )


def rehearsal_summary(record: Rehearsal) -> str:
    """What the rehearsal came to, in a few lines."""
    rows, lines = record.rows, []
    lines.append(f"rows that Gym can play: {rows.checked - rows.unplayable} of {rows.checked}")
    if rows.reward_for_nothing is not None:
        lines.append(f"reward for doing nothing: {rows.reward_for_nothing:.2f}")
    if record.reward_mean is not None:
        lines.append(
            f"reward of the model: {record.reward_mean:.2f} (standard deviation "
            f"{record.reward_std or 0:.2f}) in {record.rows_played} rows x "
            f"{record.rollouts_per_row} rollouts, {record.failed} failed"
        )
    if record.groups_without_spread is not None:
        lines.append(
            f"rows without a spread, which give no gradient: "
            f"{in_percent(record.groups_without_spread)}"
        )
    if record.turns and record.tool_calls and record.answer_tokens:
        lines.append(
            f"per rollout: {record.turns.mean:.1f} answers, {record.tool_calls.mean:.1f} tool "
            f"calls, {record.answer_tokens.mean:.0f} tokens"
        )
    if record.step.seconds is not None:
        lines.append(
            f"the {record.step.rollouts} rollouts of a step, at this pace: "
            f"{duration_words(record.step.seconds)}"
        )
    lines += [f"look at: {warning}" for warning in record.warnings]
    lines.append(f"verdict: {record.verdict.replace('_', ' ')}")
    return "\n".join(lines)
