"""
Evaluate the model before the training and every run's exported model on BFCL v3.

REQUIRED INPUTS:

    results/config/evaluation.json
    results/model.json, or results/runs/{run}/export.json

OUTPUTS:

    results/evaluations/{subject}/summary.json          scores and the validity record
    results/evaluations/{subject}/items.csv             one row per item
    results/evaluations/{subject}/questions.jsonl.gz    questions, tools and expected calls
    results/evaluations/{subject}/manifest.json         versions, digests, times

The harness's own files lie in results/work/evaluations/<weights>-<config>, which is not declared,
so that a killed evaluation resumes from its last good item.
"""


rule evaluate_model:
    input:
        config="results/config/evaluation.json",
        weights=lambda w: (
            "results/model.json"
            if w.subject == "baseline"
            else f"results/runs/{w.subject}/export.json"
        ),
    output:
        summary="results/evaluations/{subject}/summary.json",
        table="results/evaluations/{subject}/items.csv",
        questions="results/evaluations/{subject}/questions.jsonl.gz",
        manifest="results/evaluations/{subject}/manifest.json",
    log:
        "logs/evaluate/{subject}.log",
    benchmark:
        "results/benchmarks/evaluate/{subject}.tsv"
    resources:
        **ASKED.evaluate,
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain evaluate \
            --config {input.config:q} \
            --weights {input.weights:q} \
            --allow-invalid \
            --bfcl-env {CONFIG.environments.bfcl:q} \
            --trl-env {CONFIG.environments.trl:q} \
            --out results/evaluations/{wildcards.subject:q}
        """
