"""How long `toolgain compare` takes on all 4441 items with 10,000 draws. Wanted: at most 1 s.

    .venv/bin/python benchmarks/compare.py

Writes two made-up evaluations of the real items, of usual size, and compares them, inside this
process (reading both folders, every statistic, writing comparison.json) and as a command. Then two,
and thirty, plain folders as bfcl-eval writes them, beside the time that their JSON alone takes.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from toolgain.bfcl import data, outcomes
from toolgain.bfcl.categories import POPULATION
from toolgain.common.files import write_json
from toolgain.comparison import compare
from toolgain.config.sections import ComparisonSection

WANTED_S = 1.0
MANY = 30
PAIR_S, MANY_S = 1.5, 20.0
"""Seconds of processor time for two and for many plain harness folders."""
ANSWER = "[" + ", ".join(['{\\"name\\": {\\"city\\": \\"x\\"}}'] * 8) + "]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bfcl-env", type=Path, default=Path(".venvs/bfcl"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    items = data.flat(data.load_full(data.installed_data(arguments.bfcl_env)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for repeats in (1, 2):
            baseline = evaluation(folder / f"baseline{repeats}", items, 1, repeats)
            trained = evaluation(folder / f"grpo{repeats}", items, 2, repeats)
            out = folder / "comparison.json"

            def inside(baseline: Path = baseline, trained: Path = trained, out: Path = out) -> None:
                compare.compare_folders(
                    baseline, (trained,), ComparisonSection(), out, arguments.bfcl_env
                )

            def command(
                baseline: Path = baseline, trained: Path = trained, out: Path = out
            ) -> None:
                toolgain = Path(sys.executable).with_name("toolgain")
                line = [toolgain, "compare", baseline, trained, "--out", out]
                subprocess.run(line, check=True, capture_output=True)

            for what, work in (("in the process", inside), ("as a command", command)):
                wall, processor = median(work, arguments.rounds)
                said = f"{what}, repeats {repeats}: {wall:.2f} s, processor {processor:.2f} s"
                print(said + (f" (wanted {WANTED_S:g} s)" if repeats == 1 else ""), flush=True)
        strangers(folder, items, arguments.rounds)


def strangers(folder: Path, items: list[data.Item], rounds: int) -> None:
    """Plain harness folders, as a command; and what parsing their JSON alone takes."""
    written = [plain(folder / f"written{seed}", items, seed) for seed in range(3)]
    roots = []
    for number in range(MANY):
        root = folder / f"run{number}"
        root.symlink_to(written[number % len(written)])
        roots.append(root)

    def parse() -> None:
        for file in written[0].rglob("*.json"):
            for line in file.read_text().splitlines():
                json.loads(line)

    def command(count: int) -> Callable[[], None]:
        toolgain = Path(sys.executable).with_name("toolgain")
        line = [toolgain, "compare", *roots[:count], "--out", folder / "comparison.json"]
        return lambda: void(subprocess.run(line, check=True, capture_output=True))

    _, alone = median(parse, rounds)
    print(f"JSON of one plain folder, parsed alone: processor {alone:.2f} s", flush=True)
    for count, wanted in ((2, PAIR_S), (MANY, MANY_S)):
        wall, processor = median(command(count), rounds if count == 2 else 1)
        print(
            f"{count} plain folders as a command: {wall:.2f} s, processor {processor:.2f} s "
            f"(wanted {wanted:g} s), {processor / count / alone:.1f} times their JSON",
            flush=True,
        )


def void(_: object) -> None:
    """Nothing, of whatever."""


def plain(root: Path, items: list[data.Item], seed: int) -> Path:
    """A folder as bfcl-eval writes it, of all items, two fifths of them wrong."""
    chance = np.random.default_rng(seed)
    files: dict[tuple[str, str], list[dict[str, object]]] = {}
    for item in items:
        multi_turn = item.category.startswith("multi_turn")
        # The id that two items share stays right.
        wrong = chance.random() < 0.4 and item.id != "live_relevance_3-3-0"
        call: list[object] = [{tool["name"]: '{"city": "x"}'} for tool in item.tools[:1]]
        answer = "I do not know." if wrong else [[call, "Done."]] * 3 if multi_turn else call
        count: object = [[700, 40]] * 3 if multi_turn else 700
        files.setdefault(("result", item.category), []).append(
            {"id": item.id, "result": answer, "input_token_count": count, "latency": count}
        )
        bad = files.setdefault(("score", item.category), [])
        if wrong:
            asked = {"id": item.id, "question": item.question, "function": item.tools}
            bad.append(
                {"id": item.id, "valid": False, "error": ["Wrong."], "error_type": "e:others",
                 "prompt": asked, "model_result_raw": answer}
                | ({} if item.answer is None else {"possible_answer": item.expected})
            )  # fmt: skip
    for (kind, category), lines in files.items():
        if kind == "score":
            total = POPULATION[category]
            lines.insert(0, {"correct_count": total - len(lines), "total_count": total})
        file = root / kind / "model" / f"BFCL_v3_{category}_{kind}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(map(json.dumps, lines)))
    return root


def median(work: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Median seconds of `rounds` calls: by the clock, and of the processor, children included."""
    walls, processor = [], []
    for _ in range(rounds):
        clock, times = time.perf_counter(), os.times()
        work()
        walls.append(time.perf_counter() - clock)
        processor.append(sum(os.times()[:4]) - sum(times[:4]))
    return statistics.median(walls), statistics.median(processor)


def evaluation(folder: Path, items: list[data.Item], seed: int, repeats: int) -> Path:
    """An evaluation of all items; a tenth of the outcomes differ by seed, a fiftieth by repeat."""
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    base = shared.random(len(items)) < 0.6
    outcome = np.where(own.random(len(items)) < 0.1, own.random(len(items)) < 0.7, base)
    flips = own.random((len(items), repeats)) < (0.02 if repeats > 1 else 0.0)
    folder.mkdir()
    outcomes.write_items(
        folder,
        (
            row(item, repeat, bool(outcome[place] ^ flips[place, repeat]))
            for place, item in enumerate(items)
            for repeat in range(repeats)
        ),
    )
    summary = {
        "schema": 1,
        "subject": folder.name,
        "n": sum(POPULATION.values()),
        "valid": True,
    }
    write_json(folder / outcomes.SUMMARY, summary)
    write_json(
        folder / outcomes.MANIFEST,
        {
            "schema": 1,
            "subject": folder.name,
            "weights": {"path": str(folder), "digest": str(seed)},
            "comparable": {"items": "all"},
        },
    )
    return folder


def row(item: data.Item, repeat: int, right: bool) -> outcomes.ItemOutcome:
    return outcomes.ItemOutcome(
        category=item.category,
        id=item.id,
        occurrence=item.occurrence,
        index=item.index,
        repeat=repeat,
        cluster=item.cluster,
        valid=right,
        strict_valid=right,
        error_type="" if right else "value_error:others",
        error_message="",
        answer=ANSWER,
        expected=data.expected_text(item),
        calls=1,
        flags=(),
        prompt_tokens=700,
        completion_tokens=40,
        latency_s=0.5,
        requests=1,
        finish_reason="tool_calls",
    )


if __name__ == "__main__":
    main()
