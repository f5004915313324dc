"""What the processor of this machine can do. Needs torch: for the trl environment alone."""

from __future__ import annotations

import torch


def has_bf16(device: str) -> bool:
    """Whether a device ("cpu" or "cuda") computes in bfloat16 by itself.

    One without instructions for it emulates them, at 2 GFLOP/s a core where float32 makes 70.
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())
