"""Make what a NeMo RL run needs, small: a checkout that keeps the contract, a model, data."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

from toolgain.config.sections import ClusterSection, TrainingSection
from toolgain.training.nemo_rl.refs import PROGRAM, WORKPLACE_YAML

SOURCE = Path(__file__).parent / "checkout"


def checkout(folder: Path, ref: str = "v0.7.0", **faults: Any) -> Path:
    """A NeMo RL checkout of our own making, with the YAML keys of `ref`, that fails as asked."""
    shutil.copytree(SOURCE, folder)
    assert (folder / PROGRAM).is_file()
    if ref == "v0.5.0":
        path = folder / WORKPLACE_YAML
        config = yaml.safe_load(path.read_text())
        config["data"] = {"train_jsonl_fpath": "a", "validation_jsonl_fpath": "b"}
        del config["grpo"]["val_at_end"]
        del config["checkpointing"]["checkpoint_dir"]
        del config["checkpointing"]["save_optimizer"]
        del config["policy"]["megatron_cfg"]["checkpoint"]
        config["policy"]["generation"]["vllm_cfg"]["tool_parser_plugin"] = "???"
        path.write_text(yaml.safe_dump(config))
    (folder / "faults.json").write_text(json.dumps(faults))
    return folder


def model(folder: Path) -> Path:
    """A Hugging Face folder with two small tensors in two shards and a chat template."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({"architectures": ["SomeForCausalLM"], "model_type": "some"})
    )
    template = "{{ tools | tojson }}{% for m in messages %}{{ m }}{% endfor %}"
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1]}))
    shards = {"model-00001-of-00002.safetensors": "a", "model-00002-of-00002.safetensors": "b"}
    for file, name in shards.items():
        save_file({name: np.ones((4, 4), dtype=np.float32)}, folder / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, name in shards.items()}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def row(number: int, prepared: bool = True) -> dict[str, Any]:
    """A row of Workplace Assistant data as Gym prepares it."""
    found: dict[str, Any] = {
        "id": number,
        "responses_create_params": {
            "input": [
                {"role": "system", "content": "Today is Thursday."},
                {"role": "user", "content": f"Delete my meeting number {number}."},
            ],
            "tools": [
                {"type": "function", "name": "calendar_delete_event", "parameters": {}},
                {"type": "function", "name": "calendar_search_events", "parameters": {}},
            ],
            "parallel_tool_calls": False,
        },
        "ground_truth": [{"name": "calendar_delete_event", "arguments": '{"event_id": "1"}'}],
        "category": "workplace_assistant_calendar",
        "environment_name": "workplace_assistant",
    }
    if prepared:
        found["agent_ref"] = {
            "type": "responses_api_agents",
            "name": "workplace_assistant_simple_agent",
        }
    return found


def data(folder: Path, train: int = 60, validation: int = 8) -> tuple[Path, Path]:
    """Prepared training and validation files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    first = 0
    for name, count in (("train", train), ("validation", validation)):
        path = folder / f"{name}.jsonl"
        rows = [json.dumps(row(first + number)) for number in range(count)]
        path.write_text("\n".join(rows) + "\n")
        files.append(path)
        first += count
    return files[0], files[1]


def training(**values: Any) -> TrainingSection:
    """A frozen training section: 10 steps of 6 prompts, validated and saved every 2."""
    nemo = {
        "num_prompts_per_step": 6,
        "num_generations_per_prompt": 4,
        "val_period": 2,
        "save_period": 2,
        "tensor_parallel_size": 1,
    }
    return TrainingSection.model_validate(
        {"backend": "nemo_rl", "smoke_steps": 2, "nemo_rl": {**nemo, **values}}
    )


def cluster(root: Path, **values: Any) -> ClusterSection:
    """A cluster section for a checkout: short times, this Python, an image that no one opens."""
    site = {
        "root": str(root),
        "python": sys.executable,
        "converter_python": sys.executable,
        "vllm_python": sys.executable,
        "setup_minutes": 0.2,
        "step_minutes": 0.05,
        "save_minutes": 0.15,
        "margin_minutes": 0.1,
        "poll_seconds": 0.5,
        "env": {"HYDRA_FULL_ERROR": "1"},
    }
    values.setdefault("container", "nvcr.io#nvidia/nemo-rl:v0.7.0")
    values.setdefault("gpus_per_node", 8)
    site.update(values.pop("nemo_rl", {}))
    return ClusterSection.model_validate({**values, "nemo_rl": site})
