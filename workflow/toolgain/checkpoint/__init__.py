"""The best checkpoint of a training run, exported as a Hugging Face folder.

In: a run's manifest and its checkpoint folder.
Out: best.json, export.json and the model beside it, checked.
"""
