"""The test cluster of tests/slurm, for the contract tests of the NeMo RL path."""

from slurm.conftest import cluster

__all__ = ["cluster"]
