"""
Train each run with GRPO, behind a smoke training of a few steps.

REQUIRED INPUTS:

    results/config/training/{run}.json
    results/model.json
    results/tasks/{run}/tasks.json

OUTPUTS:

    results/runs/{run}/smoke.json           the smoke training that gates the long one
    results/runs/{run}/manifest.json        written last: steps, curves, segments, health, cost

The checkpoints lie in results/work/training/<fingerprint>, which is not declared: Snakemake would
delete it before a retry, and with it everything that a killed training resumes from.
"""


rule smoke:
    input:
        config="results/config/training/{run}.json",
        weights="results/model.json",
        tasks="results/tasks/{run}/tasks.json",
    output:
        "results/runs/{run}/smoke.json",
    log:
        "logs/smoke/{run}.log",
    benchmark:
        "results/benchmarks/smoke/{run}.tsv"
    resources:
        **resources.smoke(CONFIG),
    shell:
        r"""
        exec &> >(tee {log:q})

        toolgain train \
            --smoke \
            --config {input.config:q} \
            --cluster results/config/cluster.json \
            --weights {input.weights:q} \
            --tasks {input.tasks:q} \
            --run {wildcards.run:q} \
            --trl-env {CONFIG.environments.trl:q} \
            --out {output:q}
        """


rule train_run:
    input:
        config="results/config/training/{run}.json",
        weights="results/model.json",
        tasks="results/tasks/{run}/tasks.json",
        smoke=lambda w: (
            f"results/runs/{w.run}/smoke.json" if CONFIG.training_of(w.run).smoke_steps else []
        ),
    output:
        "results/runs/{run}/manifest.json",
    log:
        "logs/train/{run}.log",
    benchmark:
        "results/benchmarks/train/{run}.tsv"
    resources:
        **resources.train(CONFIG),
    shell:
        r"""
        exec &> >(tee {log:q})

        toolgain train \
            --config {input.config:q} \
            --cluster results/config/cluster.json \
            --weights {input.weights:q} \
            --tasks {input.tasks:q} \
            --run {wildcards.run:q} \
            --nodes {resources.nodes} \
            --trl-env {CONFIG.environments.trl:q} \
            --out {output:q}
        """
