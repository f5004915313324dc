"""
Compare the evaluations before and after, and write the report.

REQUIRED INPUTS:

    results/evaluations/baseline/, results/evaluations/{run}/
    results/runs/{run}/manifest.json, best.json, export.json

OUTPUTS:

    results/comparison.json     the answer, for programs
    results/report.html         the answer, for people; results/report.md beside it
"""


localrules:
    compare,
    report,


rule compare:
    input:
        config="results/config/comparison.json",
        evaluations=expand("results/evaluations/{subject}/summary.json", subject=SUBJECTS),
    output:
        report(
            "results/comparison.json",
            caption="../report/comparison.rst",
            category="Comparison",
            labels={"what": "The numbers, as JSON"},
        ),
    log:
        "logs/compare.log",
    params:
        folders=expand("results/evaluations/{subject}", subject=SUBJECTS),
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain compare {params.folders:q} \
            --config {input.config:q} \
            --bfcl-env {CONFIG.environments.bfcl:q} \
            --out {output:q} \
            || [ $? -eq 3 ] # not comparable: written all the same, and the report says why
        """


rule report:
    input:
        config="results/config/report.json",
        comparison="results/comparison.json",
        manifests=expand("results/runs/{run}/{name}.json", run=RUNS, name=["manifest", "best"]),
    output:
        html=report(
            "results/report.html",
            caption="../report/report.rst",
            category="Comparison",
            labels={"what": "The report"},
        ),
        markdown=report(
            "results/report.md",
            caption="../report/markdown.rst",
            category="Comparison",
            labels={"what": "The same for a pull request"},
        ),
    log:
        "logs/report.log",
    shell:
        r"""
        exec &> >(tee -i {log:q})

        toolgain report {input.comparison:q} \
            --results results \
            --config {input.config:q} \
            --out {output.html:q}
        """
