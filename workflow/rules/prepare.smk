"""
Freeze what each stage may see of the configuration; check the base model; make the tasks.

REQUIRED INPUTS:

    the configuration
    the folder named by model.path

OUTPUTS:

    results/config/{stage}.json             sections of the configuration, one file per stage
    results/config/training/{run}.json      the training section of one run
    results/model.json                      path and digest of the base model
    results/tasks/{run}/tasks.json          training and validation tasks (beside it), compared
                                            with BFCL's items
"""


localrules:
    freeze,
    freeze_training,
    model,
    tasks,


rule freeze:
    output:
        "results/config/{stage}.json",
    log:
        "logs/freeze/{stage}.log",
    wildcard_constraints:
        stage="model|evaluation|comparison|report",
    params:
        section=lambda w: frozen(CONFIG, w.stage),
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain freeze \
            --section {params.section:q} \
            --out {output:q}
        """


rule freeze_training:
    output:
        "results/config/training/{run}.json",
    log:
        "logs/freeze/training-{run}.log",
    params:
        section=lambda w: frozen(CONFIG, f"training/{w.run}"),
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain freeze \
            --section {params.section:q} \
            --out {output:q}
        """


rule model:
    input:
        config="results/config/model.json",
    output:
        "results/model.json",
    log:
        "logs/model.log",
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain model \
            --config {input.config:q} \
            --out {output:q}
        """


rule tasks:
    input:
        config="results/config/training/{run}.json",
    output:
        "results/tasks/{run}/tasks.json",
    log:
        "logs/tasks/{run}.log",
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain tasks \
            --config {input.config:q} \
            --cluster results/config/cluster.json \
            --bfcl-env {CONFIG.environments.bfcl:q} \
            --out results/tasks/{wildcards.run:q}
        """
