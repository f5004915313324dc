"""
Choose the best checkpoint of each run and export it as a Hugging Face folder.

REQUIRED INPUTS:

    results/runs/{run}/manifest.json
    results/model.json

OUTPUTS:

    results/runs/{run}/best.json        the choice, all candidates, and what was passed over
    results/runs/{run}/export.json      path and digest of the exported model, and its checks
"""


localrules:
    select,


rule select:
    input:
        "results/runs/{run}/manifest.json",
    output:
        "results/runs/{run}/best.json",
    log:
        "logs/select/{run}.log",
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain select {input:q} \
            --out {output:q}
        """


rule export:
    input:
        best="results/runs/{run}/best.json",
        base="results/model.json",
    output:
        "results/runs/{run}/export.json",
    log:
        "logs/export/{run}.log",
    benchmark:
        "results/benchmarks/export/{run}.tsv"
    resources:
        **ASKED.export,
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain export \
            --best {input.best:q} \
            --base {input.base:q} \
            --cluster results/config/cluster.json \
            --trl-env {CONFIG.environments.trl:q} \
            --out {output:q}
        """
