"""The tensors of model folders, looked at block by block: what a training run changed in them."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from toolgain.models.weights import read_safetensors_header

BLOCK = 1 << 26
"""Bytes of a tensor that are looked at together."""
NUMBERS = 1 << 22
"""Numbers of a tensor that are computed with together."""


class Tensor:
    """A tensor in a safetensors file, read only when looked at."""

    def __init__(self, path: Path, header: dict[str, Any], begin: int) -> None:
        self.dtype: str = header["dtype"]
        self.shape: tuple[int, ...] = tuple(header["shape"])
        first, last = header["data_offsets"]
        self._place = (path, begin + first, last - first)

    def __len__(self) -> int:
        return int(self._place[2])

    def blocks(self, kind: str = "u1") -> "np.memmap[Any, Any]":
        """The bytes as an array of `kind`, mapped, not read."""
        path, offset, size = self._place
        count = size // np.dtype(kind).itemsize
        return np.memmap(path, dtype=kind, mode="r", offset=offset, shape=(count,))


def tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of all safetensors files of a folder, by name."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        header, begin = read_safetensors_header(path)
        for name, entry in header.items():
            if name != "__metadata__":
                found[name] = Tensor(path, entry, begin)
    return found


Values = np.ndarray[Any, np.dtype[np.float64]]


def tensor_values(tensor: Tensor, begin: int, end: int) -> Values | None:
    """The numbers `begin` to `end` of a tensor; None: it holds no F64, F32, F16 or BF16."""
    if tensor.dtype == "BF16":
        wide = tensor.blocks("<u2")[begin:end].astype("<u4") << 16
        return wide.view("<f4").astype(np.float64)
    kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}.get(tensor.dtype)
    return None if kind is None else tensor.blocks(kind)[begin:end].astype(np.float64)


def changed_and_kept(
    base: Path, exported: Path, trained: Path | None
) -> tuple[float, float | None]:
    """What a training run changed in a model, and what of it the exported model kept.

    Args:
        base: folder of the model before the training.
        exported: folder of the exported model, of the same tensors.
        trained: folder of the weights as they were trained, in full precision; None: unknown.

    Returns:
        The share of weights that differ between `base` and `exported`, and the part of the update
        that survives the rounding: 1 - |exported - trained| / |trained - base|, with Euclidean
        norms over all weights. 1: nothing is lost, 0: everything. None where `trained` is not
        known or equals the base.
    """
    before, after = tensors(base), tensors(exported)
    full = tensors(trained) if trained else {}
    count = changed = 0
    update = lost = 0.0
    for name in sorted(before.keys() & after.keys()):
        one, other, exact = before[name], after[name], full.get(name)
        # What was rounded when the checkpoint was written cannot be told any more.
        exact = exact if exact and exact.dtype in ("F32", "F64") else None
        size = math.prod(one.shape)
        for begin in range(0, size, NUMBERS):
            end = min(begin + NUMBERS, size)
            left, right = tensor_values(one, begin, end), tensor_values(other, begin, end)
            if left is None or right is None:
                continue
            count += end - begin
            changed += int(np.count_nonzero(left != right))
            middle = tensor_values(exact, begin, end) if exact else None
            if middle is not None:
                update += float(np.square(middle - left).sum())
                lost += float(np.square(middle - right).sum())
    kept = 1 - math.sqrt(lost / update) if update else None
    return changed / max(count, 1), None if kept is None else max(0.0, kept)
