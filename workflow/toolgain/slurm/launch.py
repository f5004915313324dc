"""Start a program once per GPU or process, on this machine or on every node of the allocation.

One node: torchrun here. Several nodes: srun starts one torchrun on each, and they find each other
at a port of the first node. srun ends all of them when one fails (`--kill-on-bad-exit`), and with
srun ends everything that it started.
"""

import os
import sys

from toolgain.common.errors import UserError
from toolgain.slurm.allocation import Allocation, current, node_address

# Below the ports that systems give out by themselves (32768 and above on Linux).
FIRST_PORT, PORTS = 20000, 12000


def launch_command(
    program: list[str], nodes: int, processes: int, threads: int | None = None
) -> list[str]:
    """The command that runs `program` in `processes` processes on each of `nodes` nodes.

    Args:
        program: a Python interpreter and its arguments, `[python, "-m", "module", ...]`.
        nodes: nodes of the training; more than one needs a Slurm allocation.
        processes: processes on each node: its GPUs, or 1 without any.
        threads: CPU threads of each process; none: an equal share of the node's.

    Raises:
        UserError: the allocation does not have that many nodes.
    """
    found = current()
    if nodes > 1:
        have = 0 if found is None else len(found.nodes)
        if found is None or have < nodes:
            where = (
                f"Slurm job {found.job_id} has {have}" if found else "there is no Slurm job here"
            )
            raise UserError(
                f"training: {nodes} nodes are needed, {where}. Use --profile slurm, or --nodes 1."
            )
    count = threads or threads_per_process(found, processes)
    with_threads = ["env", f"OMP_NUM_THREADS={count}", f"MKL_NUM_THREADS={count}"]
    if nodes == 1:
        if processes == 1:
            return program
        return [*with_threads, *torchrun(program, ["--standalone"], 1, processes)]
    assert found is not None
    port = FIRST_PORT + int(found.job_id) % PORTS
    rendezvous = [
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={node_address(found.nodes[0])}:{port}",
        f"--rdzv-id={found.job_id}-{found.restarts}",
        "--rdzv-conf=join_timeout=300",
    ]
    return [
        *srun(found, nodes),
        *with_threads,
        *torchrun(program, rendezvous, nodes, processes),
    ]


def srun(found: Allocation, nodes: int) -> list[str]:
    """srun with one task on each of the first `nodes` nodes, which has all that the node has."""
    arguments = [
        "srun",
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={found.cpus_per_node}",
        f"--nodelist={','.join(found.nodes[:nodes])}",
        "--overlap",
        "--kill-on-bad-exit=1",
    ]
    if found.gpus_per_node:
        arguments.append(f"--gres=gpu:{found.gpus_per_node}")
    return arguments


def torchrun(program: list[str], where: list[str], nodes: int, processes: int) -> list[str]:
    """torchrun around `program`, with the program's own interpreter."""
    interpreter, *arguments = program
    return [
        *(interpreter, "-m", "torch.distributed.run"),
        *(f"--nnodes={nodes}", f"--nproc-per-node={processes}", "--max-restarts=0"),
        *where,
        *arguments,
    ]


def threads_per_process(found: Allocation | None, processes: int) -> int:
    """CPU threads for each process: an equal share of the node's CPUs that this job may use.

    Snakemake sets OMP_NUM_THREADS to the rule's `threads`, which is 1 for a multi-node rule, and
    srun would carry it to every rank.
    """
    here = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    available = here if found is None else min(found.cpus_per_node, here)
    return max(1, available // processes)
