"""Training environments of NeMo Gym: its real servers, and rows played through its real agents.

In: the configuration paths of an environment, rows with `agent_ref`, a model endpoint.
Out: rollouts with the reward of Gym's own verifier.
"""
