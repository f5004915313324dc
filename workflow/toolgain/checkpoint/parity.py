"""Whether two Hugging Face folders answer alike, greedily, on a GPU.

A program of its own, run with the container's Python: it needs torch and transformers alone.

    python -m toolgain.checkpoint.parity CONVERTED EXPORTED [--trust-remote-code]

CONVERTED is what upstream's converter wrote, with its own configuration; EXPORTED is what will be
served. Prints one line of JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from toolgain.checkpoint.export_trl import greedy_answers
from toolgain.common.files import read_text


def compare_answers(converted: Path, exported: Path, device: str, trust: bool) -> dict[str, Any]:
    """Compare the greedy answers to the same tokens; kernels that give no answer twice say so."""
    config = json.loads(read_text(exported / "config.json"))
    dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
    tokenizer = AutoTokenizer.from_pretrained(exported, trust_remote_code=trust)
    found = []
    for folder in (converted, exported):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, trust_remote_code=trust)
        model = model.eval().to(device)
        found += [greedy_answers(model, tokenizer) for _ in range(2)]
        # Two models may not fit one GPU.
        del model
        torch.cuda.empty_cache()
    once, again, exported_once, exported_again = found
    if (once, exported_once) != (again, exported_again):
        return {"parity": "not checked, a model did not answer the same twice"}
    return {"greedy_answers_equal": once == exported_once, "prompts_compared": len(once)}


if __name__ == "__main__":
    if torch.cuda.is_available():
        trusted = "--trust-remote-code" in sys.argv[3:]
        print(json.dumps(compare_answers(Path(sys.argv[1]), Path(sys.argv[2]), "cuda", trusted)))
    else:
        print(json.dumps({"parity": "not checked, no GPU"}))
