"""Turn converted weights into safetensors of the base model's number types.

A program of its own, run with the container's Python: it needs torch and safetensors alone.

    python -m toolgain.checkpoint.to_safetensors WEIGHTS BASE_FOLDER OUT_FOLDER

WEIGHTS is the `pytorch_model.bin` of upstream's converter, or a folder of safetensors. Both hold
the fp32 master weights. They are rounded to the base's types (bf16), tensor by tensor, in the
base's shards. Prints one line of JSON: counts, and whether every stored tensor is the rounded one,
read back.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def shards_of(base: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Tensor names of each weight file of the base model, and the number type of each tensor."""
    shards: dict[str, list[str]] = {}
    types: dict[str, str] = {}
    for path in sorted(base.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            shards[path.name] = names
            for name in names:
                types[name] = file.get_slice(name).get_dtype()
    return shards, types


TYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


class Folder(Mapping[str, torch.Tensor]):
    """The tensors of a folder's safetensors files, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._where: dict[str, Path] = {}
        for path in folder.glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                self._where |= dict.fromkeys(file.keys(), path)

    def __getitem__(self, name: str) -> torch.Tensor:
        with safe_open(self._where[name], framework="pt") as file:
            found: torch.Tensor = file.get_tensor(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


def state_dict_of(source: Path) -> Mapping[str, torch.Tensor]:
    """The weights by name."""
    if source.is_dir():
        return Folder(source)
    state: Mapping[str, Any] = torch.load(source, map_location="cpu", mmap=True, weights_only=True)
    return state["model"] if set(state) == {"model"} else state


def write_safetensors(source: Path, base: Path, out: Path) -> dict[str, Any]:
    """Write the shards and the index; returns what is printed."""
    state = state_dict_of(source)
    shards, types = shards_of(base)
    missing = sorted(set(types) - set(state))
    extra = sorted(set(state) - set(types))
    index: dict[str, str] = {}
    total, exact = 0, True
    for name, names in shards.items():
        tensors = {}
        for key in names:
            if key in state:
                tensors[key] = state[key].to(TYPES.get(types[key], state[key].dtype)).contiguous()
        save_file(tensors, out / name, metadata={"format": "pt"})
        with safe_open(out / name, framework="pt") as file:
            exact = exact and all(
                torch.equal(file.get_tensor(key), tensor) for key, tensor in tensors.items()
            )
        index |= dict.fromkeys(tensors, name)
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if len(shards) > 1:
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2)
        (out / "model.safetensors.index.json").write_text(text + "\n")
    return {"missing": missing[:5], "extra": extra[:5], "tensors": len(index), "exact": exact}


if __name__ == "__main__":
    print(json.dumps(write_safetensors(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))))
