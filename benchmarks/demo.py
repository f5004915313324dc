"""Where the time of the demo goes: wall time, processor time and memory of each stage.

    make demo && .venv/bin/python benchmarks/demo.py

Reads what Snakemake measured for each job (results/benchmarks). Machines differ by a factor, so
the whole is also given as a multiple of a yardstick that one core works off here, and the
processor time of all stages as a share of what two cores had to give: the rest was waited.
"""

import csv
import hashlib
import json
import time
from pathlib import Path

CORES = 2
"""Cores of profiles/local."""


def rows(folder: Path) -> list[tuple[str, float, float, float]]:
    """Stage, wall seconds, processor seconds and peak resident MiB of each benchmarked job."""
    found = []
    for path in sorted(folder.rglob("*.tsv")):
        with path.open() as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        stage = str(path.relative_to(folder).with_suffix(""))
        processor, memory = (
            float(row[key]) if row[key] not in ("-", "NA") else 0.0
            for key in ("cpu_time", "max_rss")
        )
        found.append((stage, float(row["s"]), processor, memory))
    return found


def yardstick() -> float:
    """Seconds of one core for a fixed piece of work: ten million steps of Python and 1 GiB hashed.

    The faster of two, on a machine that should do nothing else.
    """
    block = bytes(2**20)
    times = []
    for _ in range(2):
        started = time.perf_counter()
        total = 0
        for number in range(10_000_000):
            total += number & 7
        digest = hashlib.sha256()
        for _ in range(1024):
            digest.update(block)
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Print the table."""
    table = rows(Path("results/benchmarks"))
    times = [path.stat().st_mtime for path in Path("results").glob("config/*.json")]
    wall = Path("results/report.html").stat().st_mtime - min(times)
    print(f"{'stage':<24} {'wall s':>8} {'share':>7} {'cpu s':>8} {'peak MiB':>9}")
    for stage, seconds, processor, memory in sorted(table, key=lambda row: -row[1]):
        print(f"{stage:<24} {seconds:8.1f} {seconds / wall:7.0%} {processor:8.1f} {memory:9.0f}")
    total, used = sum(row[1] for row in table), sum(row[2] for row in table)
    print(f"{'sum over stages':<24} {total:8.1f} {total / wall:7.0%} {used:8.1f}")
    print(f"{'of two cores':<24} {'':8} {'':7} {used / wall / CORES:8.0%}")
    print(f"{'wall clock':<24} {wall:8.1f}")
    unit = yardstick()
    print(f"{'yardstick, one core':<24} {unit:8.2f}")
    print(f"{'wall clock / yardstick':<24} {wall / unit:8.0f}")
    verdict = json.loads(Path("results/comparison.json").read_text())["verdict"]
    print(f"verdict: {verdict}")


if __name__ == "__main__":
    main()
