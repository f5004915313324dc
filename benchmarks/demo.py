"""Where the time of the demo goes: wall time and memory of each stage, against the whole.

    make demo && .venv/bin/python benchmarks/demo.py

Reads what Snakemake measured for each job (results/benchmarks) and the manifests; runs nothing.
"""

import csv
import json
from pathlib import Path


def rows(folder: Path) -> list[tuple[str, float, float]]:
    """Stage, wall seconds and peak resident MiB of each benchmarked job."""
    found = []
    for path in sorted(folder.rglob("*.tsv")):
        with path.open() as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        stage = str(path.relative_to(folder).with_suffix(""))
        memory = float(row["max_rss"]) if row["max_rss"] not in ("-", "NA") else 0.0
        found.append((stage, float(row["s"]), memory))
    return found


def main() -> None:
    """Print the table."""
    table = rows(Path("results/benchmarks"))
    times = [path.stat().st_mtime for path in Path("results").glob("config/*.json")]
    wall = Path("results/report.html").stat().st_mtime - min(times)
    total = sum(seconds for _, seconds, _ in table)
    print(f"{'stage':<24} {'wall s':>8} {'share':>7} {'peak MiB':>9}")
    for stage, seconds, memory in sorted(table, key=lambda row: -row[1]):
        print(f"{stage:<24} {seconds:8.1f} {seconds / wall:7.0%} {memory:9.0f}")
    print(f"{'sum over stages':<24} {total:8.1f} {total / wall:7.0%}")
    print(f"{'wall clock':<24} {wall:8.1f}")
    verdict = json.loads(Path("results/comparison.json").read_text())["verdict"]
    print(f"verdict: {verdict}")


if __name__ == "__main__":
    main()
