"""A stand-in for NeMo RL's GRPO program, written for the tests.

It takes the same arguments (read with the real Hydra parser), keeps the same cadence of saves and
validations, retention, checkpoint layouts, TensorBoard names and messages, and resumes from its
newest checkpoint. It trains nothing: a checkpoint holds the base model with the last digits of its
first weight changed. `faults.json` in the checkout asks it to fail in the ways that users reported.
"""

import argparse
import json
import math
import os
import re
import shutil
import socket
import sys
import time
from pathlib import Path

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

ROOT = Path(__file__).parents[2]


def load():
    """The configuration: the YAML with the command line's overrides applied as upstream does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    arguments, words = parser.parse_known_args()
    config = OmegaConf.load(arguments.config)
    OmegaConf.register_new_resolver("mul", lambda a, b: a * b)
    OmegaConf.set_struct(config, True)
    parsed = OverridesParser.create().parse_overrides(words)
    ConfigLoaderImpl._apply_overrides_to_config(overrides=parsed, cfg=config)
    return OmegaConf.to_container(config, resolve=True)


def faults():
    """What is to go wrong; one with `once` only in the first launch."""
    path = ROOT / "faults.json"
    asked = json.loads(path.read_text()) if path.exists() else {}
    if asked.pop("once", False):
        path.write_text("{}")
    return asked


def next_folder(base):
    """exp_NNN after those that are there."""
    base.mkdir(parents=True, exist_ok=True)
    numbers = [int(p.name[4:]) for p in base.iterdir() if re.fullmatch(r"exp_\d+", p.name)]
    return base / f"exp_{max(numbers, default=0) + 1:03d}"


class Curves:
    """TensorBoard scalars."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.writer = EventFileWriter(str(folder), flush_secs=1)

    def add(self, step, **values):
        summary = Summary(
            value=[
                Summary.Value(tag=k.replace("__", "/"), simple_value=v) for k, v in values.items()
            ]
        )
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self.writer.flush()


def newest(folder):
    """The newest step_N, or 0."""
    steps = [int(p.name[5:]) for p in folder.glob("step_*") if re.fullmatch(r"step_\d+", p.name)]
    return max(steps, default=0)


def trained(config, step):
    """The base model's weight files as bytes, by name; the first weight's last digits changed."""
    files = {p.name: p.read_bytes() for p in sorted(shards(config))}
    first = min(files)
    data = bytearray(files[first])
    data[8 + int.from_bytes(data[:8], "little")] ^= 1 + step % 100
    return files | {first: bytes(data)}


def shards(config):
    """The base model's weight files."""
    return Path(config["policy"]["model_name"]).glob("*.safetensors")


def save(config, step, total, accuracy, asked):
    """Write tmp_step_N and rename it, in the layout of the configured backend."""
    folder = Path(config["checkpointing"]["checkpoint_dir"])
    temporary = folder / f"tmp_step_{step}"
    shutil.rmtree(temporary, ignore_errors=True)
    weights = temporary / "policy" / "weights"
    info = {
        "consumed_samples": step * config["grpo"]["num_prompts_per_step"],
        "current_step": step,
        "current_epoch": 0,
        "total_steps": step,
        "val_reward": -99999999.0 if accuracy is None else accuracy,
    }
    if accuracy is not None and not asked.get("no_metric"):
        info["val:accuracy"] = math.nan if asked.get("nan_metric") else accuracy
    files = trained(config, step)
    policy = config["policy"]
    if policy["megatron_cfg"]["enabled"]:
        inner = weights / "iter_0000000"
        inner.mkdir(parents=True)
        (inner / "metadata.json").write_text("{}")
        for number, data in enumerate(files.values()):
            (inner / f"__{number}_0.distcp").write_bytes(data)
        (weights / "latest_checkpointed_iteration.txt").write_text("0")
    elif policy["dtensor_cfg"]["_v2"]:
        inner = weights / "model" / "consolidated"
        inner.mkdir(parents=True)
        for name, data in files.items():
            (inner / name).write_bytes(data)
        for path in Path(policy["model_name"]).glob("*.json"):
            shutil.copy(path, inner)
    else:
        weights.mkdir(parents=True)
        (weights / ".metadata").write_text("{}")
        for number, data in enumerate(files.values()):
            (weights / f"__{number}_0.distcp").write_bytes(data)
    (temporary / "training_info.json").write_text(json.dumps(info))
    used = json.loads(json.dumps(config))
    for key, value in asked.get("other_config", {}).items():
        node = used
        *parents, last = key.split(".")
        for name in parents:
            node = node[name]
        node[last] = value
    (temporary / "config.yaml").write_text(yaml.safe_dump(used))
    if asked.get("die_in_save") == step:
        os._exit(9)
    final = folder / f"step_{step}"
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    retain(folder, config["checkpointing"]["keep_top_k"])


def retain(folder, keep):
    """Keep the best and the latest, as upstream does."""
    found = {}
    for path in folder.glob("step_*"):
        value = json.loads((path / "training_info.json").read_text()).get("val:accuracy")
        found[int(path.name[5:])] = -math.inf if value is None or math.isnan(value) else value
    best = sorted(found, key=lambda step: (found[step], step), reverse=True)[:keep]
    for step in found:
        if step not in best and step != max(found):
            shutil.rmtree(folder / f"step_{step}")


def seconds(text):
    """DD:HH:MM:SS."""
    days, hours, minutes, rest = map(int, text.split(":"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def cluster_nodes():
    """How many hosts Ray has, where there is a Ray."""
    if not os.environ.get("TEST_RAY"):
        return
    import subprocess

    code = (
        "import ray; ray.init(address='auto', logging_level='ERROR'); "
        "print(len(ray.nodes()), int(ray.cluster_resources()['worker_units']))"
    )
    done = subprocess.run(
        [os.environ["TEST_RAY"] + "/bin/python", "-c", code], capture_output=True, text=True
    )
    print("Ray has (hosts, worker_units):", done.stdout.strip() or done.stderr[-500:], flush=True)


def main():
    """Train, that is: count steps."""
    config, asked = load(), faults()
    grpo, checkpointing = config["grpo"], config["checkpointing"]
    print("Applied CLI overrides on", socket.gethostname(), flush=True)
    cluster_nodes()
    folder = Path(checkpointing["checkpoint_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    curves = Curves(next_folder(Path(config["logger"]["log_dir"])) / "tensorboard")
    data = config["data"]
    data_path = data.get("train_jsonl_fpath") or data["train"]["data_path"]
    rows = sum(
        1 for line in Path(data_path).read_text().splitlines() if json.loads(line)["agent_ref"]
    )
    per_epoch = rows // grpo["num_prompts_per_step"]
    total = min(grpo["max_num_steps"], grpo["max_num_epochs"] * per_epoch)
    begun = time.time()
    limit = checkpointing["checkpoint_must_save_by"]
    step = newest(folder)
    if step == 0 and grpo["val_at_start"]:
        curves.add(0, validation__accuracy=0.25)
    while step < total:
        step += 1
        print(f"{'=' * 25} Step {step}/{total} {'=' * 25}", flush=True)
        time.sleep(asked.get("step_seconds", 0.2))
        if asked.get("hang_at") == step:
            print("waiting for the environment", flush=True)
            time.sleep(3600)
        if asked.get("die_at") == step:
            sys.exit(asked.get("exit_code", 1))
        if asked.get("out_of_memory_at") == step:
            print(
                "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", flush=True
            )
            sys.exit(1)
        reward = 0.0 if step >= asked.get("zero_from", total + 1) else 0.3 + 0.02 * step
        loss = math.nan if asked.get("nan_at") == step else 0.1
        valid = 0.0 if asked.get("empty_at") == step else 8.0
        curves.add(step, train__reward=reward, train__loss=loss, train__global_valid_seqs=valid)
        last = step == total
        timed_out = limit is not None and time.time() - begun >= seconds(limit)
        accuracy = None
        if step % grpo["val_period"] == 0 or (last and grpo.get("val_at_end")):
            print(f"▶ Starting validation at step {step}...", flush=True)
            accuracy = 0.25 + 0.01 * step
            curves.add(step, validation__accuracy=accuracy)
        if last or timed_out or step % checkpointing["save_period"] == 0:
            print(f"Saving checkpoint for step {step}...", flush=True)
            save(config, step, total, accuracy, asked)
        if timed_out:
            print("Timeout has been reached, stopping training early", flush=True)
            return
    print("Max number of steps has been reached, stopping training early", flush=True)


if __name__ == "__main__":
    main()
