"""Evaluations before and after, compared item by item, or the reasons why they cannot be.

In: evaluation folders, or plain harness folders.
Out: comparison.json.
"""
