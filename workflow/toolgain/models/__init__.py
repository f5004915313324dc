"""A model folder: its digest, and its chat template.

In: model.path.
Out: results/model.json.
"""
