"""What the workflow costs beside the work: on the Slurm cluster, and for many runs.

    sudo .venv/bin/python benchmarks/cluster.py [stage ...]

stages    Four stages of two minutes one after another, as Slurm jobs with the production profile.
          Everything beside the two minutes is the workflow's: waiting in the idle queue, the start
          of Snakemake in the job, and the time until its head notices the end. Needs root and the
          packages of the test cluster (`make cluster`).
plan      The plan of a configuration with 1,000 runs.

Writes benchmarks/results/cluster.json.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SECONDS = 120
STAGES = 4

SNAKEFILE = f"""
rule all:
    input: "{STAGES}.done"

rule stage:
    input: lambda w: [] if w.n == "1" else f"{{int(w.n) - 1}}.done"
    output: "{{n}}.done"
    wildcard_constraints: n="[0-9]+"
    resources: mem_mb=500, runtime=10
    shell: "date +%s.%N > {{wildcards.n}}.begin; sleep {SECONDS}; date +%s.%N > {{output}}"
"""


def stages() -> dict[str, Any]:
    """Seconds that each stage takes beside its work, with the share of each cause."""
    sys.path.insert(0, str(ROOT / "tests" / "slurm"))
    import cluster

    with cluster.session(), tempfile.TemporaryDirectory(dir=cluster.SHARED) as name:
        folder = Path(name)
        (folder / "Snakefile").write_text(SNAKEFILE)
        begin = time.time()
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--profile", str(ROOT / "slurm"), "--nocolor"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "SLURM_ACCOUNT": cluster.ACCOUNT},
        )
        wall = time.time() - begin
        if done.returncode != 0:
            raise SystemExit(done.stderr[-3000:])
        log = done.stderr + done.stdout
        jobs = re.findall(r"SLURM jobid (\d+)", log)
        seen = finished(log)
        rows = []
        for number, job in enumerate(jobs, start=1):
            submitted, started, ended = slurm_times(job)
            work_begin = float((folder / f"{number}.begin").read_text())
            work_end = float((folder / f"{number}.done").read_text())
            rows.append(
                {
                    "queue": started - submitted,
                    "start of the job": work_begin - started,
                    "end of the job": ended - work_end,
                    "noticing the end": seen[number - 1] - ended,
                    "all": seen[number - 1] - submitted - (work_end - work_begin),
                }
            )
    added = wall - STAGES * SECONDS
    return {
        "stages": STAGES,
        "seconds_of_work_each": SECONDS,
        "wall_s": round(wall, 1),
        "added_s": round(added, 1),
        "added_per_stage_s": round(added / STAGES, 1),
        "share_of_an_hour": round(added / 3600, 4),
        "mean_s": {key: round(statistics.mean(row[key] for row in rows), 1) for key in rows[0]},
    }


def finished(log: str) -> list[float]:
    """When Snakemake noticed the end of each stage, from its log (whole seconds)."""
    pattern = r"^\[(.+)\]\nFinished jobid: \d+ \(Rule: stage\)"
    return [
        datetime.strptime(stamp, "%a %b %d %H:%M:%S %Y").timestamp()
        for stamp in re.findall(pattern, log, re.MULTILINE)
    ]


def slurm_times(job: str) -> tuple[float, float, float]:
    """Submission, start and end of a Slurm job (whole seconds)."""
    command = ["sacct", "-X", "-n", "-P", "--format=Submit,Start,End", f"--jobs={job}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    submit, start, end = (
        datetime.fromisoformat(part).timestamp() for part in text.strip().split("|")
    )
    return submit, start, end


def plan(runs: int = 1000) -> dict[str, Any]:
    """Seconds to build the plan of a configuration with many runs."""
    with tempfile.TemporaryDirectory() as name:
        config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
        config["runs"] = {f"run{number:04}": {"seed": number} for number in range(runs)}
        for key in ("bfcl", "trl"):
            config.setdefault("environments", {})[key] = str(ROOT / ".venvs" / key)
        config["model"]["path"] = str(ROOT / config["model"]["path"])
        path = Path(name) / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-d", name]
        command += ["--profile", str(ROOT / "profiles/local"), "-n", "--quiet", "all"]
        command += ["--configfile", str(path)]
        times = []
        for _ in range(3):
            begin = time.monotonic()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.monotonic() - begin)
    return {"runs": runs, "seconds": round(min(times), 2), "of": [round(t, 2) for t in times]}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="*", choices=["stages", "plan"], default=["stages", "plan"])
    measured: dict[str, Any] = {}
    for what in parser.parse_args().what:
        measured[what] = {"stages": stages, "plan": plan}[what]()
        print(what, json.dumps(measured[what], indent=1), flush=True)
    out = ROOT / "benchmarks" / "results" / "cluster.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(out.read_text()) if out.exists() else {}
    out.write_text(json.dumps(before | measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
