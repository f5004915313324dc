"""The JSON files that one stage leaves for the next, each with a type.

In: what a stage has to say.
Out: results/*.json, checked when they are written and again when they are read. Their JSON Schemas
in workflow/schemas/ and their tables in docs/results.md are generated from the types here.
"""
