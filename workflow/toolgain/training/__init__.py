"""One GRPO training run, from a frozen section to a manifest that is written last.

In: the training section, weights and tasks.
Out: checkpoints and TensorBoard files in results/work/training, manifest.json.
"""
