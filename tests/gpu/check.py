"""GRPO with TRL on a GPU: `check.py FOLDER [--cpu]`, started by run.sh beside this file.

Every line is `ok` or ends the program. The last line is a JSON object with what was measured.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import training_place
from training_place import ROOT, Place

MODEL = ROOT / "resources/demo-model"
STEPS = 6
TOOLGAIN = Path(sys.executable).with_name("toolgain")

DEVICE = """
import json, torch
name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
print(json.dumps({"torch": torch.__version__, "gpu": name}))
"""
PARITY = """
import json, sys, pathlib
from toolgain.checkpoint.parity import compare_answers
one, other = map(pathlib.Path, sys.argv[1:3])
print(json.dumps(compare_answers(one, other, sys.argv[3], False)))
"""


def main(folder: Path, on_cpu: bool) -> None:
    device = "cpu" if on_cpu else "cuda"
    found = json_of("-c", DEVICE)
    assert on_cpu or found["gpu"], "torch sees no GPU"
    said("device", found)
    # The environment that run.sh made holds all that both of toolgain's hold.
    training_place.TRL_ENV = Path(sys.executable).parent.parent
    training_place.TOOLGAIN = TOOLGAIN
    place = training_place.new_place(folder, MODEL)
    place.configure(
        smoke_steps=0,
        max_steps=STEPS,
        learning_rate=1e-3,
        val_period=3,
        save_period=3,
        keep_top_k=2,
        bf16=True,
        max_completion_length=24,
        # On a GPU nothing waits for them.
        threads=1,
    )
    begin = time.monotonic()
    stopped_at = stopped(place)
    said("stopped", {"step": stopped_at})
    done = place.train()
    assert done.returncode == 0, done.stdout + done.stderr
    found["seconds_of_training"] = round(time.monotonic() - begin)
    manifest = place.read()
    check_resume(manifest, stopped_at)
    logs = "".join(path.read_text() for path in place.checkpoints.rglob("train.log"))
    assert "resumes from" in logs
    if not on_cpu:
        # On a CPU that has no bfloat16 it is float32.
        assert logs.count("bfloat16 autocast") == 2, logs[-2000:]
        assert manifest["world_size"] == 1
    said("resumed", {"segments": [(s["first_step"], s["last_step"]) for s in manifest["segments"]]})
    found |= exported(place, device)
    print(json.dumps(found))


def stopped(place: Place) -> int:
    """Start the training, tell it to stop after its second step; the step that it saved."""
    process = place.start()
    while not past(place, 2):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 75, output
    steps = [int(path.name.partition("_")[2]) for path in place.checkpoints.glob("step_*")]
    assert steps and 2 <= max(steps) < STEPS, steps
    return max(steps)


def past(place: Place, step: int) -> bool:
    work = place.folder / "results/work/training"
    found = [json.loads(path.read_text()) for path in work.glob("*/progress.json")]
    return bool(found and found[0]["step"] >= step)


def check_resume(manifest: dict[str, Any], stopped_at: int) -> None:
    """Each step was trained once, and the second segment begins where the first one ended."""
    assert manifest["total_steps"] == STEPS
    assert [step for step, _ in manifest["curves"]["train/reward"]] == list(range(1, STEPS + 1))
    first, second = manifest["segments"]
    assert (first["last_step"], second["first_step"]) == (stopped_at, stopped_at + 1)
    assert (second["last_step"], second["end"]) == (STEPS, "finished")


def exported(place: Place, device: str) -> dict[str, Any]:
    """Select, export, and compare the greedy answers of checkpoint and export on the device."""
    run, base = place.manifest.parent, place.folder / "results/model.json"
    best, out = run / "best.json", run / "export.json"
    toolgain("select", str(place.manifest), "--out", str(best))
    toolgain(
        *("export", "--best", str(best), "--base", str(base), "--out", str(out)),
        *("--trl-env", str(training_place.TRL_ENV)),
    )
    export = json.loads(out.read_text())
    assert export["checks"]["greedy_answers_equal"] is True
    assert export["weights_changed"] > 0
    weights = Path(export["checkpoint"]) / "policy/weights"
    parity = json_of("-c", PARITY, str(weights), export["path"], device)
    assert parity.get("greedy_answers_equal") is True, parity
    said(f"greedy answers on {device}", parity)
    return {"weights_changed": export["weights_changed"], "dtype": export["dtype"], **parity}


def toolgain(*words: str) -> None:
    done = subprocess.run([TOOLGAIN, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def json_of(*words: str) -> dict[str, Any]:
    """The last line of a program in this Python."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def said(name: str, what: object) -> None:
    print(f"ok  {name}: {json.dumps(what)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--cpu" in sys.argv[2:])
