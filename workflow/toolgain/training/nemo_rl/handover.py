"""What a training job hands to upstream's ray.sub, and the same said beforehand, without a job.

Both come from `variables`, so that what `toolgain train --show-command` prints is what a job does.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from toolgain.config.sections import minutes
from toolgain.records.training import Handover
from toolgain.serving import tool_parser
from toolgain.slurm import containers
from toolgain.slurm.allocation import Allocation
from toolgain.training.nemo_rl.plan import RunNumbers
from toolgain.training.nemo_rl.preparation import LaunchRequest, Prepared, prepare_launch
from toolgain.training.nemo_rl.raysub import ray_sub_command, ray_sub_environment, wandb_key_file

JOB, NODE = "JOBID", "NODE"
"""What stands for a job's id and its nodes' names where there is no job yet."""


def variables(
    request: LaunchRequest,
    prepared: Prepared,
    found: Allocation,
    log_folder: Path,
    inherited: Mapping[str, str],
) -> dict[str, str]:
    """The environment of ray.sub.

    Args:
        request: The training.
        prepared: What was found and decided for it.
        found: The allocation, of the training's nodes alone.
        log_folder: Where ray.sub makes its folder `<job>-logs`.
        inherited: The environment of this process.

    Raises:
        UserError: a path cannot be handed on, or W&B has no key.
    """
    site = request.cluster.nemo_rl
    wandb = "off" if request.smoke else request.section.nemo_rl.wandb
    key_file = wandb_key_file(inherited, prepared.ref, wandb)
    text = ray_sub_command(
        prepared.ref, prepared.root, prepared.config, prepared.overrides, site, wandb, key_file
    )
    needed = [
        prepared.root,
        Path.cwd(),
        request.folder,
        request.train.parent,
        request.validation.parent,
        *containers.folders_behind(request.weights),
        tool_parser.PLUGIN.parent,
        prepared.config.parent,
        *([Path(site.hf_home)] if site.hf_home else []),
        *([Path(key_file).parent] if key_file else []),
    ]
    values = ray_sub_environment(
        inherited,
        found,
        prepared.root,
        str(request.cluster.container),
        containers.mounts(site.mounts, needed),
        text,
        log_folder,
        request.cluster.gpus_per_node,
        site,
        account=request.cluster.account or inherited.get("SLURM_ACCOUNT"),
    )
    if wandb == "online" and not key_file:
        values["WANDB_API_KEY"] = inherited["WANDB_API_KEY"]
    return values


def handover(
    request: LaunchRequest,
    prepared: Prepared,
    values: Mapping[str, str],
    inherited: Mapping[str, str],
) -> Handover:
    """The record of what ray.sub is given; of what is only taken over it has the names.

    Args:
        request: The training.
        prepared: What was found and decided for it.
        values: The whole environment of ray.sub.
        inherited: The environment of this process.
    """
    set_here = {*request.cluster.nemo_rl.env, *names_of_slurm(values)}
    own = {
        name: value
        for name, value in values.items()
        if name in set_here or inherited.get(name) != value
    }
    secret = {name for name in values if containers.is_secret(name)}
    budget = [item.message for item in prepared.findings if item.name == "time limit"]
    return Handover(
        nodes=request.nodes,
        gpus_per_node=request.cluster.gpus_per_node,
        program=["bash", str(prepared.root / "ray.sub")],
        command=values["COMMAND"],
        environment={
            name: value
            for name, value in sorted(own.items())
            if name not in ("COMMAND", "MOUNTS") and name not in secret
        },
        inherited=sorted({*values} - {*own} | secret),
        mounts=values["MOUNTS"].split(","),
        overrides=[item.render() for item in prepared.overrides],
        time_budget=budget[0] if budget else "none: a smoke training saves at its last step alone",
    )


def names_of_slurm(values: Mapping[str, str]) -> set[str]:
    """The names that say where the job is; a job has some of them already."""
    return {name for name in values if name.startswith("SLURM_")} - {"SLURM_CONF"}


def beforehand(request: LaunchRequest, rows: int) -> tuple[Handover, RunNumbers]:
    """What a job of this training would hand to ray.sub, without a job, and its numbers.

    A job's id and its nodes' names are not known: `JOBID` and `NODE1`, ... stand for them; its time
    limit counts as whole.

    Args:
        request: The training; its task files need not be there yet.
        rows: Training rows.

    Raises:
        UserError: what would refuse the job at its start.
    """
    around = os.environ
    cluster, nodes = request.cluster, request.nodes
    limit = minutes(cluster.smoke_time if request.smoke else cluster.train_time) * 60
    prepared = prepare_launch(request, None if request.smoke else limit, rows)
    found = Allocation(
        job_id=JOB,
        nodes=tuple(f"{NODE}{number + 1}" for number in range(nodes)),
        cpus=cluster.cpus_per_node * nodes,
        gpus=cluster.gpus_per_node * nodes,
        end=None,
        restarts=0,
        account=cluster.account or around.get("SLURM_ACCOUNT") or "ACCOUNT",
        partition=cluster.partition or around.get("SLURM_PARTITION") or "PARTITION",
    )
    log_folder = request.folder / "launches" / f"001-job-{JOB}"
    values = variables(request, prepared, found, log_folder, around)
    return handover(request, prepared, values, around), prepared.numbers


def of_nodes(found: Allocation, hosts: tuple[str, ...]) -> Allocation:
    """The part of an allocation that a training run on `hosts` uses."""
    return replace(found, nodes=hosts, cpus=found.cpus_per_node * len(hosts))
