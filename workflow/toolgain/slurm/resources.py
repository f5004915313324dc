"""What each stage asks Slurm for, from the `cluster` section."""

from dataclasses import dataclass, field

from toolgain.config.sections import ClusterSection, Config, minutes

Resources = dict[str, str | int]
"""What Snakemake is told, by its names of resources."""


@dataclass(frozen=True)
class Asked:
    """What the rules of a workflow ask for. Without Slurm: a training run's node alone."""

    train: Resources = field(default_factory=lambda: {"nodes": 1})
    smoke: Resources = field(default_factory=dict)
    export: Resources = field(default_factory=dict)
    evaluate: Resources = field(default_factory=dict)


def asked(config: Config, on_slurm: bool) -> Asked:
    """What the rules ask for, of Slurm or of one machine."""
    if not on_slurm:
        return Asked()
    return Asked(
        for_training(config), for_smoke(config), for_export(config), for_evaluation(config)
    )


def for_training(config: Config) -> Resources:
    """A training run: whole nodes, and the rule in the batch step.

    `mpi` is what keeps Snakemake's plugin from putting the rule into a step of one task on one
    node. With it the plugin wants more than one task per node; the launcher starts one.
    """
    cluster = config.cluster
    return {
        "nodes": cluster.nodes,
        **_whole_node(cluster),
        "runtime": minutes(cluster.train_time),
    }


def for_smoke(config: Config) -> Resources:
    """The smoke training: the same on one node, for a short while."""
    cluster = config.cluster
    return {"nodes": 1, **_whole_node(cluster), "runtime": minutes(cluster.smoke_time)}


def for_export(config: Config) -> Resources:
    """The export: one node, with the GPUs that a trainer's converter asks for on loading."""
    cluster = config.cluster
    gpus = max(config.training_of(run).settings.EXPORT_GPUS for run in config.runs)
    return {
        **_place(cluster),
        **_gpus(min(gpus, cluster.gpus_per_node)),
        "mem_mb": cluster.export_memory_gb * 1000,
        "runtime": minutes(cluster.export_time),
    }


def for_evaluation(config: Config) -> Resources:
    """An evaluation: server and harness on one node, with the server's GPUs."""
    cluster = config.cluster
    return {
        **_place(cluster),
        **_gpus(evaluation_gpus(config)),
        "cpus_per_task": cluster.evaluate_cpus,
        "mem_mb": cluster.evaluate_memory_gb * 1000,
        "runtime": minutes(cluster.evaluate_time),
    }


def evaluation_gpus(config: Config) -> int:
    """GPUs of one evaluation: those of its server."""
    if config.cluster.evaluate_gpus is not None:
        return config.cluster.evaluate_gpus
    serve = config.evaluation.serve
    return serve.tensor_parallel_size * serve.data_parallel_size if serve.server.on_gpus else 0


def _whole_node(cluster: ClusterSection) -> Resources:
    tasks = max(2, cluster.gpus_per_node)
    extra = {"slurm_extra": "--exclusive"} if cluster.exclusive else {}
    return {
        **_place(cluster),
        **_gpus(cluster.gpus_per_node),
        **extra,
        "mpi": "srun",
        "tasks_per_node": tasks,
        "cpus_per_task": max(1, cluster.cpus_per_node // tasks),
        "mem_mb": cluster.memory_gb_per_node * 1000,
    }


def _gpus(count: int) -> Resources:
    # Per node; the plugin's own `gpu` is per job and may be split unevenly over the nodes.
    return {"gres": f"gpu:{count}"} if count else {}


def _place(cluster: ClusterSection) -> Resources:
    names = {"slurm_account": cluster.account, "slurm_partition": cluster.partition}
    return {key: value for key, value in names.items() if value is not None}
