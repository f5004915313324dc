"""A stand-in for NeMo RL's DCP converter, written for the tests: one fp32 pytorch_model.bin.

It reads torch's distributed checkpoints, and the files that the stand-in for the training writes.
"""

import argparse
import shutil
from pathlib import Path

import torch
import yaml
from safetensors.torch import load
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

parser = argparse.ArgumentParser()
parser.add_argument("--config")
parser.add_argument("--dcp-ckpt-path")
parser.add_argument("--hf-ckpt-path")
arguments = parser.parse_args()
config = yaml.safe_load(Path(arguments.config).read_text())
out = Path(arguments.hf_ckpt_path)
out.mkdir(parents=True)
weights = Path(arguments.dcp_ckpt_path)
if not (weights / ".metadata").exists():
    raise FileNotFoundError(f"No metadata file found in {weights}")
if (weights / ".metadata").read_bytes() == b"{}":
    state = {}
    for path in sorted(weights.glob("*.distcp")):
        state |= {name: value.float() for name, value in load(path.read_bytes()).items()}
    torch.save({"model": state}, out / "pytorch_model.bin")
else:
    dcp_to_torch_save(weights, out / "pytorch_model.bin")
shutil.copy(Path(config["policy"]["model_name"]) / "config.json", out)
