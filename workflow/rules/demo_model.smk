"""
Pre-train the demo model from its seed: `snakemake demo_model`.

REQUIRED INPUTS:

    .venvs/trl                              torch and transformers, from `make setup`

OUTPUTS:

    results/demo-model/model/               the model, to be compared with resources/demo-model
    results/demo-model/work/                the pre-training's state; a killed run resumes from it

Not part of `all`. Two CPU cores see about 20 million tokens an hour; for the whole budget of the
recipe use a GPU, tools/pretrain_demo_model.sh.
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
        tokens=20_000_000,
        batch_tokens=4096,
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain demo-model \
            --seed {params.seed:q} \
            --set tokens={params.tokens:q} \
            --set batch_tokens={params.batch_tokens:q} \
            --threads {threads:q} \
            --trl-env {CONFIG.environments.trl:q} \
            --out {output:q}
        """
