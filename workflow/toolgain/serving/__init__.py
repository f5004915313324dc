"""Model servers: `transformers serve`, `vllm serve`, or an endpoint that is already up.

In: the serve section and a model folder.
Out: a URL with a key made for this job.
"""
