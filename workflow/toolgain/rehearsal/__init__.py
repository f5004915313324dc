"""The rehearsal: rows of a NeMo Gym environment played by the model before it is trained.

In: the training section, rows with `agent_ref`, a model.
Out: rehearsal.json, with the verdict: trainable, or not and why.
"""
