"""Multi-node GRPO with NeMo RL and NeMo Gym on a Slurm cluster, served by vLLM.

The facts about upstream that this package stands on are in docs/nemo-rl.md, each with how it was
checked.
"""
