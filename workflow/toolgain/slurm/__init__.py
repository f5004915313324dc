"""Slurm: resources, allocations, queue, accounting, containers, and launching over several hosts.

In: the cluster section, SLURM_* variables, and what Slurm answers.
Out: command lines, environments, records of jobs.
"""
