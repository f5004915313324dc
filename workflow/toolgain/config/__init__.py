"""The typed configuration, and the part of it that each stage may see.

In: config/*.yaml.
Out: sections, and results/config/*.json.
"""
