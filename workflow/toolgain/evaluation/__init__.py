"""One evaluation of a model: server, canary, harness in its sandbox, retry rounds, validity.

In: the frozen evaluation section and a model folder or an endpoint.
Out: summary.json, items.csv, questions.jsonl.gz, manifest.json.
"""
