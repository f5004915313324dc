"""
toolgain: did the training make the model better at calling tools, and how sure are we?

    freeze -> model -> evaluate (baseline) -----------------------------------------+
           -> tasks, trial -> smoke -> train -> select -> export -> evaluate (run) -+-> compare -> report

REQUIRED INPUTS:

    config/config.yaml, or the file given with --configfile     the configuration
    model.path of the configuration                             a Hugging Face model folder
    .venvs/bfcl, .venvs/trl                                     environments, from `make setup`

OUTPUTS:

    results/report.html         the answer, for people
    results/comparison.json     the answer, for programs

Targets: all, baseline, train, evaluate, compare, report, demo_model.
"""

import atexit
import gc
import os
import sys
from pathlib import Path

from toolgain.config.freeze import frozen, settings_of_trial, write_for_this_start
from toolgain.head import command_line, hangup, interrupt
from toolgain.head.last_words import print_at_exit
from toolgain.head.preflight import (
    check_dry_run,
    check_or_exit,
    config_or_exit,
    readable_or_exit,
)
from toolgain.slurm import resources
from toolgain.head.targets import passing_force_on, rehearsal_of, results_of, trial_of

if not config:
    readable_or_exit("config/config.yaml")

    configfile: "config/config.yaml"


CONFIG = config_or_exit(config)
RUNS = sorted(CONFIG.runs)
SUBJECTS = ["baseline", *RUNS]
TRIED = settings_of_trial(CONFIG)
ASKED = resources.asked(CONFIG, command_line.on_slurm())
# Of any run or subject. Naming them all would cost a plan of 1,000 runs a fifth of its time.
NAME = r"[A-Za-z][A-Za-z0-9_-]*"

# A plan consists of objects that stay. Looking for garbage among those of 1,000 runs, while they are
# made and once more at the end, takes a quarter of the time.
gc.set_threshold(100_000, 20, 100)
atexit.register(gc.freeze)

# What is written is private, also the folders that Snakemake makes itself.
os.umask(0o077)
# The commands are those of the environment that runs Snakemake.
shell.prefix(f"export PATH={Path(sys.executable).parent}:$PATH; ")


report: "workflow/report/workflow.rst"


wildcard_constraints:
    run=NAME,
    subject=NAME,


# A dry run has no `onstart`; what it finds stands below the plan.
atexit.register(check_dry_run, CONFIG, workflow, Path.cwd())


onstart:
    hangup.survive()
    interrupt.end_once()
    check_or_exit(CONFIG, workflow)
    # By no rule: where things are and how big a job is must not be a reason to run anything.
    write_for_this_start(CONFIG)


onerror:
    print_at_exit(workflow)


localrules:
    all,
    baseline,
    train,
    evaluate,


include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/checkpoint.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/demo_model.smk"


rule all:
    default_target: True
    input:
        results_of(CONFIG),


rule baseline:
    input:
        "results/evaluations/baseline/summary.json",


rule train:
    input:
        expand("results/runs/{run}/export.json", run=RUNS),


rule evaluate:
    input:
        passing_force_on(
            workflow,
            target="evaluate",
            rule="evaluate_model",
            files=expand("results/evaluations/{subject}/summary.json", subject=SUBJECTS),
        ),
