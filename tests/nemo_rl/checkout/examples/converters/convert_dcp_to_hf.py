"""A stand-in for NeMo RL's DCP converter, written for the tests: one fp32 pytorch_model.bin."""

import argparse
import shutil
from pathlib import Path

import torch
import yaml
from safetensors.torch import load

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
state = {}
for path in sorted(weights.glob("*.distcp")):
    state |= {name: value.float() for name, value in load(path.read_bytes()).items()}
torch.save({"model": state}, out / "pytorch_model.bin")
shutil.copy(Path(config["policy"]["model_name"]) / "config.json", out)
