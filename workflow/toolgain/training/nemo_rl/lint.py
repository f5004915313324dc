"""Findings about a NeMo RL training before it costs anything, each with its arithmetic.

Every rule here is one that upstream does not check, or checks only after the GPUs are taken.
Sources of the rules: docs/nemo-rl.md.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from toolgain.common.amounts import in_gib
from toolgain.common.errors import UserError
from toolgain.config.sections import NemoRlSite
from toolgain.environments.required_fields import required_fields
from toolgain.training.nemo_rl.gym import Rows
from toolgain.training.nemo_rl.overrides import lookup
from toolgain.training.nemo_rl.plan import RunNumbers
from toolgain.training.nemo_rl.refs import Ref
from toolgain.training.nemo_rl.schema import Schema

# Bytes on disk for one parameter in a checkpoint: weights, fp32 master copy, two Adam moments.
BYTES_PER_PARAMETER = {"megatron": 14, "dtensor": 12, "dtensor_v2": 12}
BYTES_OF_BF16 = 2


@dataclass(frozen=True)
class Finding:
    """One checked thing."""

    name: str
    ok: bool
    message: str
    """The arithmetic where it is ok; what is wrong and what to do where it is not."""


def lint_numbers(numbers: RunNumbers, ref: Ref) -> list[Finding]:
    """All findings that need no machine."""
    return [
        *cadence(numbers, ref),
        batch(numbers),
        parallel(numbers),
        tensor_parallel_batches(numbers),
        keep_top_k(numbers),
        async_save(numbers),
        save_format(numbers),
        validation_samples(numbers),
    ]


def cadence(numbers: RunNumbers, ref: Ref) -> list[Finding]:
    """Whether every checkpoint falls on a validation, and whether there is one at all."""
    save, val, total = numbers.save_period, numbers.val_period, numbers.total_steps
    found = []
    rest = save % val
    found.append(
        Finding(
            "save period",
            rest == 0,
            f"save_period {save} = {save // val} x val_period {val}"
            if rest == 0
            else f"save_period {save} mod val_period {val} = {rest}: a checkpoint carries "
            f"val:accuracy only if its step was validated; set save_period to "
            f"{' or '.join(map(str, sorted({val, (save // val + 1) * val})))}.",
        )
    )
    if total is None:
        return found
    per_epoch = f"{numbers.rows} rows // {numbers.prompts} prompts"
    steps = f"min({numbers.max_steps}, {numbers.epochs} epochs x {per_epoch}) = {total} steps"
    if total == 0:
        message = (
            f"{steps}: fewer rows than num_prompts_per_step; lower num_prompts_per_step to "
            f"{numbers.rows} or below."
        )
        return [*found, Finding("steps", False, message)]
    for name, period in (("val_period", val), ("save_period", save)):
        found.append(
            Finding(
                f"{name} within the steps",
                period <= total,
                f"{name} {period} <= {steps}"
                if period <= total
                else f"{name} {period} > {steps}: no checkpoint would carry val:accuracy; set "
                f"val_period and save_period to {total} or below.",
            )
        )
    at_end = numbers.val_at_end and ref.has_val_at_end
    last = total % val == 0
    found.append(
        Finding(
            "last step",
            at_end or last,
            "the last step is validated (val_at_end)"
            if at_end
            else f"last step {total} mod val_period {val} = {total % val}"
            + (
                ""
                if last
                else f": NeMo RL {ref.name} saves the last step without val:accuracy, as it knows "
                f"no val_at_end; set max_num_steps to {total - total % val or val}."
            ),
        )
    )
    return found


def required_keys(schema: Schema, used: Mapping[str, Any]) -> Finding:
    """Whether the resolved configuration has every key that upstream's classes require."""
    lacking = schema.missing(used)
    if not lacking:
        said = (
            "NeMo RL's classes require no further key"
            if schema.validated
            else "this NeMo RL does not hold its configuration against its classes"
        )
        return Finding("required keys", True, said)
    return Finding(
        "required keys",
        False,
        f"NeMo RL would refuse the configuration before its first step: it lacks "
        f"{', '.join(map(str, lacking))}; set them in training.nemo_rl.overrides.",
    )


def batch(numbers: RunNumbers) -> Finding:
    """Whether the rollouts of a step divide into global batches, and those over the ranks."""
    rollouts = numbers.prompts * numbers.generations
    size = numbers.global_batch
    if size < 1 or rollouts % size:
        return Finding(
            "batch",
            False,
            f"{numbers.prompts} prompts x {numbers.generations} generations = {rollouts} is not a "
            f"multiple of train_global_batch_size {size}; set it to {rollouts}.",
        )
    if numbers.world % numbers.model_parallel:
        return Finding("batch", False, "not checked: the parallel sizes do not fit the GPUs.")
    share = numbers.data_parallel * numbers.micro_batch
    ranks = (
        f"{numbers.world} GPUs / {numbers.model_parallel} = {numbers.data_parallel} data-parallel "
        f"ranks, x {numbers.micro_batch} micro batch = {share}"
    )
    if size % share == 0:
        return Finding("batch", True, f"global batch {size} = {size // share} x {share} ({ranks})")
    near = [n for n in _near_prompts(numbers, share) if n]
    advice = " or ".join(str(n) for n in near)
    return Finding(
        "batch",
        False,
        f"global batch {size} mod {share} = {size % share} ({ranks}): NeMo RL stops at the first "
        f"step; set num_prompts_per_step to {advice}, or use another number of nodes.",
    )


def _near_prompts(numbers: RunNumbers, share: int) -> list[int]:
    fits = [
        n for n in range(1, numbers.prompts * 2 + share + 1) if n * numbers.generations % share == 0
    ]
    below = [n for n in fits if n < numbers.prompts]
    above = [n for n in fits if n > numbers.prompts]
    return [*below[-1:], *above[:1]]


def parallel(numbers: RunNumbers) -> Finding:
    """Whether whole copies of the policy fit the GPUs."""
    product = (
        f"tensor {numbers.tensor_parallel} x pipeline {numbers.pipeline_parallel} x context "
        f"{numbers.context_parallel} = {numbers.model_parallel}"
    )
    world = f"{numbers.nodes} nodes x {numbers.gpus_per_node} GPUs = {numbers.world}"
    if numbers.world and numbers.world % numbers.model_parallel == 0:
        return Finding("parallel sizes", True, f"{world} is a multiple of {product}")
    return Finding(
        "parallel sizes",
        False,
        f"{world} is not a multiple of {product}; lower tensor_parallel_size, "
        "pipeline_parallel_size or context_parallel_size, or use more GPUs.",
    )


def tensor_parallel_batches(numbers: RunNumbers) -> Finding:
    """Tensor parallel 4 and above wants equal micro batches."""
    text = (
        f"tensor parallel {numbers.tensor_parallel}, train micro batch {numbers.micro_batch}, log "
        f"probability batch {numbers.logprob_batch}"
    )
    ok = numbers.tensor_parallel < 4 or numbers.micro_batch == numbers.logprob_batch
    advice = "" if ok else ": NeMo RL refuses unequal ones from 4 on; set micro_batch_size."
    return Finding("micro batches", ok, text + advice)


def keep_top_k(numbers: RunNumbers) -> Finding:
    """keep_top_k must be a number: null is refused from v0.7.0 on and keeps all before."""
    kept = numbers.keep_top_k
    ok = isinstance(kept, int) and not isinstance(kept, bool) and kept >= 1
    return Finding(
        "keep_top_k",
        ok,
        f"{kept} best checkpoints and the latest are kept"
        if ok
        else f"keep_top_k is {kept!r}; set a number of 1 or more (a large one keeps all).",
    )


def async_save(numbers: RunNumbers) -> Finding:
    """Asynchronous Megatron saves wrote stale weights (NeMo RL issue 3312)."""
    ok = not (numbers.async_save and numbers.backend == "megatron")
    return Finding(
        "async_save",
        ok,
        "checkpoints are written before the next step"
        if ok
        else "policy.megatron_cfg.checkpoint.async_save is true: such checkpoints held stale "
        "weights (NeMo RL issue 3312); set it to false.",
    )


def save_format(numbers: RunNumbers) -> Finding:
    """model_save_format is for DTensor v2 alone; others fail at the first save."""
    chosen = numbers.model_save_format
    ok = chosen is None or numbers.backend == "dtensor_v2"
    return Finding(
        "model_save_format",
        ok,
        f"{chosen or 'not set'} with {numbers.backend}"
        if ok
        else f"checkpointing.model_save_format is {chosen!r} with {numbers.backend}: NeMo RL "
        "fails at the first save; leave it out, or set policy_backend to dtensor_v2.",
    )


def validation_samples(numbers: RunNumbers) -> Finding:
    """NeMo Gym runs validate on the whole file; a limit is refused at start."""
    limit = numbers.max_val_samples
    ok = limit is None
    return Finding(
        "max_val_samples",
        ok,
        "the whole validation file is used"
        if ok
        else f"grpo.max_val_samples is {limit}: NeMo RL refuses it with NeMo Gym; shorten the "
        "validation file instead.",
    )


def modes(used: Mapping[str, Any]) -> list[Finding]:
    """Ways of training that fail with NeMo Gym, or that leave nothing to choose from."""
    filtering = bool(lookup(used, "grpo.overlong_filtering"))
    in_time = bool(lookup(used, "grpo.async_grpo.enabled"))
    return [
        Finding(
            "overlong_filtering",
            not filtering,
            "off"
            if not filtering
            else "grpo.overlong_filtering is true: with NeMo Gym NeMo RL fails at the first step "
            "(NeMo RL issue 2163); set it to false.",
        ),
        Finding(
            "async_grpo",
            not in_time,
            "off"
            if not in_time
            else "grpo.async_grpo.enabled is true: every checkpoint then says total_steps 0, and "
            "none can be told finished or chosen; set it to false.",
        ),
    ]


NO_MAPPING = "env.nemo_gym of the YAML is no mapping; correct the file of training.nemo_rl.config"


def servers_of(used: Mapping[str, Any], gym: Path) -> dict[str, dict[str, Any]] | str:
    """The sections of the environment's servers as Gym merges them; a text: why they are unknown.

    Args:
        used: The resolved upstream configuration.
        gym: Folder of the Gym checkout, which its YAML files are relative to.
    """
    settings = lookup(used, "env.nemo_gym", {}) or {}
    if not isinstance(settings, Mapping):
        return NO_MAPPING
    paths = [gym / str(path) for path in settings.get("config_paths") or []]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        return f"there is no {missing[0]}"
    merged: Any = OmegaConf.create({})
    try:
        for path in paths:
            merged = OmegaConf.merge(merged, OmegaConf.load(path))
        own = {key: value for key, value in settings.items() if key != "config_paths"}
        plain = OmegaConf.to_container(OmegaConf.merge(merged, own), resolve=False)
    except (OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
        return " ".join(str(error).split())[:200]
    assert isinstance(plain, dict)
    return {str(top): section for top, section in plain.items() if isinstance(section, dict)}


def agents_of(servers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The agents among the servers: by name, each kind's settings."""
    kind = "responses_api_agents"
    found = {top: section.get(kind) for top, section in servers.items()}
    return {top: agent for top, agent in found.items() if isinstance(agent, dict)}


def rows_and_environment(
    used: Mapping[str, Any], gym: Path, files: Mapping[Path, Rows]
) -> list[Finding]:
    """Whether the environment can play the rows, as far as its files say.

    Args:
        used: The resolved upstream configuration.
        gym: Folder of the Gym checkout.
        files: The rows of each data file.
    """
    named = {agent for rows in files.values() for agent in rows.agents}
    return [row_agents(used, gym, named), row_fields(used, gym, files)]


def row_agents(used: Mapping[str, Any], gym: Path, named: Collection[str]) -> Finding:
    """Whether the environment has the agents that the rows name; Gym finds out in the first step.

    Args:
        used: The resolved upstream configuration.
        gym: Folder of the Gym checkout.
        named: Names of the agents in the rows.
    """
    name, servers = "agents of the rows", servers_of(used, gym)
    if isinstance(servers, str):
        return Finding(name, True, f"not checked, {servers}")
    agents = agents_of(servers)
    foreign = sorted(set(named) - set(agents))
    if foreign:
        return Finding(
            name,
            False,
            f"the rows name the agent {foreign[0]}, which the environment does not have (it has "
            f"{', '.join(sorted(agents)) or 'none'}): name its YAML in training.gym.config_paths.",
        )
    return Finding(name, True, ", ".join(sorted(named)) or "no rows to look at")


def row_fields(used: Mapping[str, Any], gym: Path, files: Mapping[Path, Rows]) -> Finding:
    """Whether the rows have what the verifier of their environment requires (a ground truth, say).

    Of the agents, `simple_agent` hands a row on as it is; what others make of it is not known.

    Args:
        used: The resolved upstream configuration.
        gym: Folder of the Gym checkout, whose servers' source is read.
        files: The rows of each data file.
    """
    name, servers = "fields of the rows", servers_of(used, gym)
    if isinstance(servers, str):
        return Finding(name, True, f"not checked, {servers}")
    named = {agent for rows in files.values() for agent in rows.agents}
    sources = {agent: _verifier_of(servers, agent, gym) for agent in named}
    required = {source: required_fields(source) for source in sources.values() if source}
    for file, rows in files.items():
        for row, number in zip(rows.rows, rows.lines, strict=True):
            source = sources[row["agent_ref"]["name"]]
            lacking = [each for each in required[source] if each.lacks(row)] if source else []
            if source and lacking:
                return Finding(
                    name,
                    False,
                    f"{file}, line {number} has no {' and no '.join(f.name for f in lacking)}, "
                    f"which its verifier requires ({source.relative_to(gym)}:{lacking[0].line}): "
                    "NeMo Gym would play the row and then fail with HTTP 500; prepare the data "
                    "again, or take such rows out.",
                )
    known = [
        f"{source.parent.name} asks for {', '.join(each.name for each in fields)}"
        for source, fields in required.items()
        if fields
    ]
    return Finding(name, True, "; ".join(sorted(known)) or "no verifier is known to ask for any")


def _verifier_of(servers: Mapping[str, Mapping[str, Any]], agent: str, gym: Path) -> Path | None:
    """The source of the server that verifies the rows of an agent; None where it is not known."""
    simple = agents_of(servers).get(agent, {}).get("simple_agent")
    named = simple.get("resources_server") if isinstance(simple, dict) else None
    section = servers.get(str(named.get("name"))) if isinstance(named, dict) else None
    programs = section.get("resources_servers") if section else None
    if not isinstance(programs, dict) or len(programs) != 1:
        return None
    [(program, settings)] = programs.items()
    start = settings.get("entrypoint") if isinstance(settings, dict) else None
    source = gym / "resources_servers" / str(program) / str(start or "app.py")
    return source if source.is_file() else None


def step_limits(used: Mapping[str, Any], gym: Path) -> Finding:
    """Whether Gym's agents end a rollout after some steps; one without a limit made 2,703 calls.

    Args:
        used: The resolved upstream configuration.
        gym: Folder of the Gym checkout.
    """
    name, servers = "limit of steps", servers_of(used, gym)
    if isinstance(servers, str):
        return Finding(name, servers != NO_MAPPING, f"not checked, {servers}")
    agents = {
        f"{top}.responses_api_agents.simple_agent": agent["simple_agent"]
        for top, agent in agents_of(servers).items()
        if isinstance(agent.get("simple_agent"), dict)
    }
    endless = [key for key, agent in agents.items() if not agent.get("max_steps")]
    if endless:
        return Finding(
            name,
            False,
            f"Gym's agent has no max_steps, so that a rollout may never end: set "
            f"`{endless[0]}.max_steps` in training.gym.overrides.",
        )
    said = ", ".join(f"{key.split('.')[0]} {agent['max_steps']}" for key, agent in agents.items())
    return Finding(name, True, said or "no simple_agent is configured")


def save_budget(limit_s: float, site: NemoRlSite, step_s: float | None = None) -> float:
    """Seconds that `checkpoint_must_save_by` may name.

    Upstream's clock starts when the first step begins, is read once per step, and leaves no room
    for the save itself. So set-up, one step, the save and a margin come off the time limit.

    Args:
        limit_s: Seconds until the time limit.
        site: `cluster.nemo_rl`.
        step_s: Longest step measured so far; None: the configured estimate.
    """
    step = site.step_minutes * 60 if step_s is None else step_s
    fixed = (site.setup_minutes + site.save_minutes + site.margin_minutes) * 60
    return float(limit_s - fixed - step)


def must_save_by(
    limit_s: float, site: NemoRlSite, step_s: float | None = None
) -> tuple[str, Finding]:
    """`checkpoint_must_save_by` in upstream's form, DD:HH:MM:SS, and the arithmetic.

    With nothing left the finding is not ok and the value is 00:00:00:00.
    """
    budget = save_budget(limit_s, site, step_s)
    step = site.step_minutes if step_s is None else step_s / 60
    sum_ = (
        f"{limit_s / 60:g} min - {site.setup_minutes:g} set-up - {step:.1f} one step - "
        f"{site.save_minutes:g} save - {site.margin_minutes:g} margin = "
        f"{budget / 60:.1f} min"
    )
    if budget <= step * 60:
        needed = (limit_s - budget) / 60 + step
        return "00:00:00:00", Finding(
            "time limit",
            False,
            f"{sum_}, too short for one step and its save; give the job at least "
            f"{needed:.0f} min (cluster.train_time), or lower cluster.nemo_rl.setup_minutes if the "
            "start-up was measured to be shorter.",
        )
    return four_fields(budget), Finding("time limit", True, f"checkpoint_must_save_by: {sum_}")


def four_fields(seconds: float) -> str:
    """Seconds as DD:HH:MM:SS, the four fields that upstream reads."""
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{days:02d}:{hours:02d}:{minutes:02d}:{secs:02d}"


def disk(
    numbers: RunNumbers,
    weights_bytes: int,
    free_bytes: int,
    present: int,
    measured: int | None = None,
) -> Finding:
    """Whether keep_top_k + 2 checkpoints fit: the best, the latest, and the one being written.

    Args:
        numbers: The training.
        weights_bytes: Size of the base model's weights in 16 bits.
        free_bytes: Free space where the checkpoints go.
        present: Checkpoints that are there already.
        measured: Size of one of them, where there is one.
    """
    per = BYTES_PER_PARAMETER[numbers.backend]
    size = measured or weights_bytes // BYTES_OF_BF16 * per
    kept = numbers.keep_top_k if isinstance(numbers.keep_top_k, int) else 1
    count = max(0, kept + 2 - present)
    needed = count * size
    how = (
        f"measured {in_gib(size)}"
        if measured
        else f"{in_gib(weights_bytes)} of 16-bit weights / 2 x {per} bytes = {in_gib(size)}"
    )
    text = f"{count} more checkpoints x {how} = {in_gib(needed)}; free: {in_gib(free_bytes)}"
    ok = needed <= free_bytes
    advice = "" if ok else "; lower keep_top_k, or put the work folder on a larger file system."
    return Finding("disk space", ok, text + advice)


def refuse_findings(found: Iterable[Finding]) -> None:
    """Raise one error that lists every finding that is not ok.

    Raises:
        UserError: at least one is not.
    """
    bad = [f"{item.name}: {item.message}" for item in found if not item.ok]
    if bad:
        raise UserError("training.nemo_rl: " + " | ".join(bad))


def log_folder(path: Path) -> Finding:
    """Upstream numbers its launches by the first `exp_<digit>` anywhere in the path."""
    bad = [part for part in path.parts if _numbered(part)]
    return Finding(
        "log folder",
        not bad,
        "no exp_<number> in the path"
        if not bad
        else f"{path} has `{bad[0]}` in its path: NeMo RL would take it for the number of a launch "
        "and write all launches into one folder; use another work folder.",
    )


def _numbered(part: str) -> bool:
    _, found, tail = part.partition("exp_")
    return bool(found) and tail[:1].isdigit()
