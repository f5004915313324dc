"""Training tasks: generated or of the user's own, their reward, their distance from BFCL.

In: the training section.
Out: tasks.json, train.jsonl, validation.jsonl.
"""
