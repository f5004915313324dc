"""
Train each run with GRPO, behind a trial evaluation of the base model, a smoke training of a few steps,
and where the training uses NeMo Gym a rehearsal of its environment (training.gym.rehearsal_rows).

REQUIRED INPUTS:

    results/config/training/{run}.json
    results/model.json
    results/tasks/{run}/tasks.json

OUTPUTS:

    results/runs/{run}/rehearsal.json       rows played in the environment's real servers
    results/trial.json                      one item of each category, asked of the base model
    results/runs/{run}/smoke.json           the smoke training that gates the long one
    results/runs/{run}/manifest.json        written last: steps, curves, segments, health, cost

The checkpoints lie in results/work/training/<fingerprint>, which is not declared: Snakemake would
delete it before a retry, and with it everything that a killed training resumes from.
"""


rule trial:
    input:
        weights="results/model.json",
    output:
        "results/trial.json",
    log:
        "logs/trial.log",
    benchmark:
        "results/benchmarks/trial.tsv"
    # All trainings wait for it.
    priority: 1
    resources:
        **ASKED.evaluate,
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain trial \
            --config results/config/trial.json \
            --weights {input.weights:q} \
            --settings {TRIED:q} \
            --bfcl-env {CONFIG.environments.bfcl:q} \
            --trl-env {CONFIG.environments.trl:q} \
            --out {output:q}
        """


rule rehearse:
    input:
        config="results/config/training/{run}.json",
        evaluation="results/config/evaluation.json",
        weights="results/model.json",
        tasks="results/tasks/{run}/tasks.json",
    output:
        "results/runs/{run}/rehearsal.json",
    log:
        "logs/rehearse/{run}.log",
    benchmark:
        "results/benchmarks/rehearse/{run}.tsv"
    resources:
        **ASKED.evaluate,
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain rehearse \
            --config {input.config:q} \
            --evaluation {input.evaluation:q} \
            --cluster results/config/cluster.json \
            --weights {input.weights:q} \
            --tasks {input.tasks:q} \
            --run {wildcards.run:q} \
            --gym-env {CONFIG.environments.gym:q} \
            --trl-env {CONFIG.environments.trl:q} \
            --out {output:q}
        """


rule smoke:
    input:
        config="results/config/training/{run}.json",
        weights="results/model.json",
        tasks="results/tasks/{run}/tasks.json",
        trial=lambda w: trial_of(CONFIG, workflow),
        rehearsal=lambda w: rehearsal_of(CONFIG, w.run),
    output:
        "results/runs/{run}/smoke.json",
    log:
        "logs/smoke/{run}.log",
    benchmark:
        "results/benchmarks/smoke/{run}.tsv"
    resources:
        **ASKED.smoke,
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain train \
            --smoke \
            --config {input.config:q} \
            --cluster results/config/cluster.json \
            --weights {input.weights:q} \
            --tasks {input.tasks:q} \
            --run {wildcards.run:q} \
            --trl-env {CONFIG.environments.trl:q} \
            --gym-env {CONFIG.environments.gym:q} \
            --out {output:q}
        """


rule train_run:
    input:
        config="results/config/training/{run}.json",
        weights="results/model.json",
        tasks="results/tasks/{run}/tasks.json",
        trial=lambda w: trial_of(CONFIG, workflow),
        smoke=lambda w: (
            f"results/runs/{w.run}/smoke.json"
            if CONFIG.training_of(w.run).smoke_steps
            else rehearsal_of(CONFIG, w.run)
        ),
    output:
        "results/runs/{run}/manifest.json",
    log:
        "logs/train/{run}.log",
    benchmark:
        "results/benchmarks/train/{run}.tsv"
    resources:
        **ASKED.train,
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain train \
            --config {input.config:q} \
            --cluster results/config/cluster.json \
            --weights {input.weights:q} \
            --tasks {input.tasks:q} \
            --run {wildcards.run:q} \
            --nodes {resources.nodes} \
            --trl-env {CONFIG.environments.trl:q} \
            --gym-env {CONFIG.environments.gym:q} \
            --out {output:q}
        """
