"""Multi-node GRPO with NeMo RL and NeMo Gym through upstream's ray.sub.

The facts about upstream that this room stands on are in docs/nemo-rl.md, each with how it was
checked.
"""
