"""A stand-in for NeMo RL's Megatron converter, written for the tests: same arguments and habits."""

import argparse
import shutil
from pathlib import Path

import yaml

parser = argparse.ArgumentParser()
parser.add_argument("--config")
parser.add_argument("--hf-model-name")
parser.add_argument("--megatron-ckpt-path")
parser.add_argument("--hf-ckpt-path")
arguments = parser.parse_args()
config = yaml.safe_load(Path(arguments.config).read_text())
base = Path(arguments.hf_model_name or config["policy"]["model_name"])
out = Path(arguments.hf_ckpt_path)
out.mkdir(parents=True)  # refuses a folder that exists, as the real one does
for number, path in enumerate(sorted(base.glob("*.safetensors"))):
    shutil.copy(Path(arguments.megatron_ckpt_path) / f"__{number}_0.distcp", out / path.name)
for path in base.glob("*.index.json"):
    shutil.copy(path, out)
shutil.copy(base / "config.json", out)
