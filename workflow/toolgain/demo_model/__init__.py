"""The demo model: the text it is pre-trained on, and the programs that make it.

In: a seed.
Out: a Hugging Face folder, resources/demo-model.
"""
