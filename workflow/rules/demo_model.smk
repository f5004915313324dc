"""
Rebuild the shipped demo model from its seed: `snakemake demo_model`.

REQUIRED INPUTS:

    .venvs/trl                              torch and transformers, from `make setup`

OUTPUTS:

    results/demo-model/model/               the model, to be compared with resources/demo-model
    results/demo-model/work/                the pre-training's state; a killed run goes on from it

Not part of `all`. It takes one to two hours on two cores and about 3 GiB of memory.
"""


rule demo_model:
    output:
        directory("results/demo-model/model"),
    log:
        "logs/demo_model.log",
    benchmark:
        "results/benchmarks/demo_model.tsv"
    threads: 2
    params:
        seed=1,
    shell:
        r"""
        exec &> >(tee {log:q})

        toolgain demo-model \
            --seed {params.seed:q} \
            --trl-env {CONFIG.environments.trl:q} \
            --out {output:q}
        """
