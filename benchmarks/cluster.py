"""What the workflow costs beside the work: on the Slurm cluster, and for many runs.

    sudo .venv/bin/python benchmarks/cluster.py [stage ...]

stages    Four stages of two minutes one after another, as Slurm jobs with the production profile.
          Everything beside the two minutes is the workflow's: waiting in the idle queue, the start
          of Snakemake in the job, and the time until its head notices the end. Needs root and the
          packages of the test cluster (`make cluster`).
plan      The plan of a configuration with 1,000 runs: the command that builds it (`--rulegraph`),
          of that the building itself, and the command that prints it job by job as well (`-n`);
          beside it the same of a trivial workflow with as many jobs.
many      Comparing 200 finished evaluations of all items, and their report, as two commands;
          `--evaluations` takes another number.

Writes benchmarks/results/cluster.json.
"""

import argparse
import functools
import json
import os
import re
import resource
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
ROUNDS = 5

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
    """Processor seconds for the plan of a configuration with many runs, and for a trivial one."""
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    config["runs"] = {f"run{number:04}": {"seed": number} for number in range(runs)}
    config["environments"] = {key: str(ROOT / ".venvs" / key) for key in ("bfcl", "trl")}
    config["model"]["path"] = str(ROOT / config["model"]["path"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        ours = ["-s", str(ROOT / "Snakefile"), "--configfile", str(path)]
        jobs = int(re.findall(r"^total +(\d+)", snakemake(folder, "-n", *ours)[0], re.M)[-1])
        trivial = folder / "Snakefile"
        trivial.write_text(TRIVIAL.format(runs=runs, stages=jobs // runs))
        workflows = {"": ours, "trivial_": ["-s", str(trivial)]}
        # In turn, since the machine is not always as fast.
        rounds = [
            {
                prefix + what: value
                for prefix, workflow in workflows.items()
                for what, value in planned(folder, workflow).items()
            }
            for _ in range(ROUNDS)
        ]
        ratios = [one["built_s"] / one["trivial_built_s"] for one in rounds]
        return {
            "runs": runs,
            "jobs": jobs,
            **{what: spread([one[what] for one in rounds]) for what in rounds[0]},
            "built_by_trivial": spread(ratios),
        }


def planned(folder: Path, workflow: list[str]) -> dict[str, float]:
    """Seconds for the plan of a workflow."""
    _, built, building = snakemake(folder, "--rulegraph", *workflow)
    _, printed, _ = snakemake(folder, "-n", *workflow)
    return {"building_wall_s": building, "built_s": built, "built_and_printed_s": printed}


def spread(values: list[float]) -> dict[str, float]:
    """The least, the median and the largest of several."""
    found = {"least": min(values), "median": statistics.median(values), "most": max(values)}
    return {name: round(value, 2) for name, value in found.items()}


TRIVIAL = """
rule all:
    input: expand("stage{stages}/{{run}}", run=range({runs}))

for stage in range(1, {stages} + 1):
    rule:
        name: f"stage{{stage}}"
        input: [f"stage{{stage - 1}}/{{{{run}}}}"] if stage > 1 else []
        output: f"stage{{stage}}/{{{{run}}}}"
        shell: "touch {{output}}"
"""


def snakemake(folder: Path, *arguments: str) -> tuple[str, float, float]:
    """What Snakemake says, its processor seconds, and the seconds since it began to build."""
    command = [sys.executable, "-m", "snakemake", "-d", str(folder), "--cores", "1", *arguments]
    before, began = os.times(), time.perf_counter()
    with (folder / "said").open("w+") as out:
        with subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stderr or ():
                if line.startswith("Building DAG"):
                    began = time.perf_counter()
        ended, after = time.perf_counter(), os.times()
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        out.seek(0)
        spent = after.children_user + after.children_system
        spent -= before.children_user + before.children_system
        return out.read(), round(spent, 2), round(ended - began, 2)


def many(count: int = 200) -> dict[str, Any]:
    """Seconds of `toolgain compare` with `count` finished evaluations, and of their report.

    By the clock and of the processor; both commands as a user gives them, their start included.
    """
    from compare import evaluation, median

    from toolgain.bfcl import data

    items = data.flat(data.load_full(data.installed_data(ROOT / ".venvs" / "bfcl")))
    toolgain = Path(sys.executable).with_name("toolgain")
    with tempfile.TemporaryDirectory() as name:
        results = Path(name)
        (results / "evaluations").mkdir()
        baseline, *trained = (
            evaluation(results / "evaluations" / subject, items, seed, 1)
            for seed, subject in enumerate(
                ["baseline", *(f"run{number}" for number in range(1, count))], start=1
            )
        )
        comparison = results / "comparison.json"
        commands: dict[str, list[str | Path]] = {
            "compare": ["compare", baseline, *trained, "--out", comparison],
            "report": ["report", comparison, "--results", results, "--out", results / "page.html"],
        }
        found: dict[str, Any] = {"evaluations": count}
        for verb, arguments in commands.items():
            line = [toolgain, *arguments]
            command = functools.partial(subprocess.run, line, check=True, capture_output=True)
            wall, processor = median(command, 1)
            found |= {f"{verb}_wall_s": round(wall, 1), f"{verb}_cpu_s": round(processor, 1)}
    for unit in ("wall_s", "cpu_s"):
        found[f"all_{unit}"] = round(found[f"compare_{unit}"] + found[f"report_{unit}"], 1)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {**found, "memory_mb": round(peak / 1000)}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    measures = {"stages": stages, "plan": plan, "many": many}
    parser.add_argument("what", nargs="*", choices=list(measures), default=list(measures))
    parser.add_argument("--evaluations", type=int, default=200, help="of the measure `many`")
    arguments = parser.parse_args()
    measures["many"] = functools.partial(many, arguments.evaluations)
    measured: dict[str, Any] = {}
    for what in arguments.what:
        measured[what] = measures[what]()
        print(what, json.dumps(measured[what], indent=1), flush=True)
    out = ROOT / "benchmarks" / "results" / "cluster.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(out.read_text()) if out.exists() else {}
    out.write_text(json.dumps(before | measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
