"""BFCL v3 as nvidia-bfcl has it: items, categories, the official Overall, harness folders.

In: the data of an installed harness, and its result and score folders.
Out: items, one outcome per item, scores.
"""
