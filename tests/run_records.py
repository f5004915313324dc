"""Whole records of a run, as a training run and its export leave them; `over` replaces keys."""

import json
from typing import Any

from toolgain.records.checkpoint import Best, Export
from toolgain.records.training import Manifest


def manifest(**over: Any) -> Manifest:
    """manifest.json of a run; its parts as they stand in the file."""
    return Manifest.model_validate_json(json.dumps(_MANIFEST | over))


def best(**over: Any) -> Best:
    """best.json of a run."""
    return Best.model_validate_json(json.dumps(_BEST | over))


def export(**over: Any) -> Export:
    """export.json of a run."""
    return Export.model_validate_json(json.dumps(_EXPORT | over))


_MANIFEST: dict[str, Any] = {
    "run": "grpo",
    "fingerprint": "5eed",
    "backend": "trl",
    "seed": 1,
    "config_digest": "c0ffee",
    "weights": {"path": "/models/base", "digest": "ba5e"},
    "checkpoint_dir": "results/work/training/5eed",
    "planned_steps": 6,
    "total_steps": 6,
    "segments": [],
    "hosts": ["node001"],
    "world_size": 1,
    "health": [],
    "periods": {"val_period": 2, "save_period": 2, "keep_top_k": 1},
    "tasks": {"train": 64, "validation": 16},
    "versions": {"trl": "1.0"},
    "times": {
        "started": "2026-11-18T10:00:00+00:00",
        "finished": "2026-11-18T11:00:00+00:00",
        "wall_s": 3600.0,
        "lost_s": 0.0,
        "stages": {"checkpoints": 60.0, "steps": 3000.0},
    },
    "cost": {"nodes": 1, "gpus": 0, "gpu_hours": 0.0},
    "slurm": None,
    "slurm_jobs": [],
}

_BEST: dict[str, Any] = {"step": 6, "path": "results/work/training/5eed/step_6", "accuracy": 0.5}

_EXPORT: dict[str, Any] = {
    "path": "results/runs/grpo/model",
    "digest": "7ea1",
    "base_digest": "ba5e",
    "checkpoint": "results/work/training/5eed/step_6",
    "step": 6,
    "kind": "hugging_face",
    "bytes": 1000,
    "checks": {},
    "exported": "2026-11-18T11:05:00+00:00",
}
