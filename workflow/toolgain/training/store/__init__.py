"""What a training run leaves behind: checkpoints, curves, launches, the lease on its folder."""
