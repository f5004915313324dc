"""What runs in Snakemake's own process or looks at all stages: preflight, targets, status, doctor.

In: the configuration and results/.
Out: findings and tables on the screen.
"""
