"""Every verb that reads files, with a place for the file that is bad."""

import json
from pathlib import Path

RUN = ("--run", "grpo", "--out", "OUT")
VERBS = {
    "model": ("model", "--config", "FILE", "--out", "OUT"),
    "tasks": ("tasks", "--config", "FILE", "--out", "OUT"),
    "tasks, cluster": ("tasks", "--config", "NEMO", "--cluster", "FILE", "--out", "OUT"),
    "train, config": (
        *("train", "--config", "FILE", "--weights", "ABSENT", "--tasks", "ABSENT", *RUN),
    ),
    "train, weights": (
        *("train", "--config", "EMPTY", "--weights", "FILE", "--tasks", "ABSENT", *RUN),
    ),
    "train, tasks": (
        *("train", "--config", "EMPTY", "--weights", "MODEL", "--tasks", "FILE", *RUN),
    ),
    "select": ("select", "FILE", "--out", "OUT"),
    "export, best": ("export", "--best", "FILE", "--base", "MODEL", "--out", "OUT"),
    "export, base": ("export", "--best", "BEST", "--base", "FILE", "--out", "OUT"),
    "evaluate, config": ("evaluate", "--config", "FILE", "--weights", "ABSENT", "--out", "OUT"),
    "evaluate, weights": ("evaluate", "--weights", "FILE", "--out", "OUT"),
    "trial, config": ("trial", "--config", "FILE", "--weights", "ABSENT", "--out", "OUT"),
    "compare, config": ("compare", "ABSENT", "ABSENT", "--config", "FILE", "--out", "OUT"),
    "compare, summary": ("compare", "SUMMARY", "SUMMARY", "--out", "OUT"),
    "compare, manifest": ("compare", "MANIFEST", "MANIFEST", "--out", "OUT"),
    "verdict": ("verdict", "FILE"),
    "report": ("report", "FILE", "--results", "HERE", "--out", "OUT"),
    "report, config": ("report", "ABSENT", "--config", "FILE", "--out", "OUT"),
}
"""Command lines by verb and role; `place_of` says what the words in capitals stand for."""


def place_of(folder: Path) -> dict[str, Path]:
    """Files and folders for the words of `VERBS`; FILE is yet to be made."""
    found = {name: folder / name.lower() for name in ("FILE", "OUT", "ABSENT")}
    found |= {name: folder / f"{name.lower()}.json" for name in ("EMPTY", "NEMO", "MODEL", "BEST")}
    found["HERE"] = folder
    found["EMPTY"].write_text('{"backend": "trl"}')
    found["NEMO"].write_text('{"backend": "nemo_rl"}')
    found["MODEL"].write_text(json.dumps({"path": str(folder), "digest": "0"}))
    found["BEST"].write_text(json.dumps({"path": str(folder / "step_1"), "step": 1}))
    for name, file in (("SUMMARY", "summary.json"), ("MANIFEST", "manifest.json")):
        inside = found[name] = folder / name.lower()
        inside.mkdir()
        (inside / "summary.json").write_text("{}")
        (inside / "manifest.json").write_text("{}")
        (inside / "items.csv").write_text("category,id\n")
        (inside / file).unlink()
        (inside / file).symlink_to(found["FILE"])
    return found
