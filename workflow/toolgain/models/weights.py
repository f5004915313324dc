"""Weight files of a model folder, looked at without reading a tensor.

Only the standard library is needed, so that the training programs can use it too.
"""

import json
import math
from pathlib import Path
from typing import Any

from toolgain.common.files import opened, read_text, reason

LFS_POINTER = b"version https://git-lfs"
MAX_HEADER_BYTES = 100_000_000
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}


def folder_problem(folder: Path) -> str | None:
    """Why the weights in a Hugging Face model `folder` cannot be loaded, or None."""
    for path in sorted(folder.glob("*.safetensors")):
        if problem := safetensors_problem(path):
            return f"{path.name} {problem}"
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return None
    try:
        shards = json.loads(read_text(index))["weight_map"].values()
        missing = sorted({str(name) for name in shards if not (folder / str(name)).is_file()})
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return f"{index.name} {_index_pointer(index) or 'is not an index of weights'}"
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"{missing[0]}{more} of {index.name} is missing; finish the download"
    return None


LENGTHENED = {"linear", "dynamic", "yarn"}
"""Kinds of rotary embeddings whose `factor` lengthens the context beyond what config.json says."""


def context_of(folder: Path) -> int | None:
    """Tokens of the longest context that a model folder's config.json allows, or None: unknown.

    As vLLM derives it: `max_position_embeddings`, times the factor of its rotary embeddings.
    """
    try:
        config = json.loads(read_text(folder / "config.json"))
        text = config.get("text_config") or config
        length = int(text["max_position_embeddings"])
        rope = text.get("rope_scaling") or text.get("rope_parameters") or {}
        if rope.get("rope_type", rope.get("type")) in LENGTHENED and "factor" in rope:
            start = int(rope.get("original_max_position_embeddings") or length)
            length = max(length, int(start * float(rope["factor"])))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    return length


def safetensors_problem(path: Path) -> str | None:
    """Why a safetensors file is not whole (its header says how long it must be), or None."""
    try:
        if pointer := _pointer(path):
            return pointer
        header, begin = read_safetensors_header(path)
        end = max((_end(t) for name, t in header.items() if name != "__metadata__"), default=0)
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        return f"cannot be read: {reason(error)}"
    expected = begin + end
    if size != expected:
        return f"is cut off: {size} bytes of {expected}"
    return None


def read_safetensors_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file and the offset of its data, without reading tensors.

    Format: https://huggingface.co/docs/safetensors (8 bytes of length, then JSON).

    Raises:
        ValueError: this is not a safetensors header.
    """
    with opened(path, limit=None) as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= MAX_HEADER_BYTES:
            raise ValueError("it is not a safetensors file")
        text = file.read(length)
    if len(text) != length:
        raise ValueError("its header is cut off")
    try:
        header = json.loads(text)
    except RecursionError:
        header = None
    if not isinstance(header, dict):
        raise ValueError("its header holds no JSON object")
    return header, 8 + length


def _end(tensor: object) -> int:
    """Where a tensor's data ends, in bytes after the header.

    Raises:
        ValueError: the header's entry cannot be that of a tensor.
    """
    try:
        begin, end = tensor["data_offsets"]  # type: ignore[index]
        shape, bits = tensor["shape"], _BITS.get(tensor["dtype"])  # type: ignore[index]
        whole = all(type(n) is int and n >= 0 for n in (begin, end, *shape))
        if (
            whole
            and begin <= end
            and (bits is None or 8 * (end - begin) == bits * math.prod(shape))
        ):
            return int(end)
    except (KeyError, TypeError, ValueError):
        pass
    raise ValueError("its header describes a tensor that cannot be")


def _index_pointer(index: Path) -> str | None:
    try:
        return _pointer(index)
    except OSError as error:
        return f"cannot be read: {reason(error)}"


def _pointer(path: Path) -> str | None:
    with opened(path, limit=None) as file:
        if file.read(len(LFS_POINTER)) != LFS_POINTER:
            return None
    return "is a pointer of Git LFS, not the file; run `git lfs pull` in the folder"
