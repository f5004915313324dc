"""What does toolgain add to the harness's time? Both against the same instant server.

    .venv/bin/python benchmarks/evaluate.py [--subset N] [--parallelism 8]

Runs the raw harness (`nemo-evaluator run_eval` with its defaults), `toolgain evaluate`, and
`toolgain evaluate` while 2 % of the requests fail, one after the other on the same server, and
prints wall time and processor time, their ratios to the raw harness, and the time to judge the
validity of the items. On a busy machine, look at the processor time.
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import instant_server
import yaml

from toolgain.bfcl import data, results
from toolgain.bfcl.decoder import decoding
from toolgain.evaluation import request_log, result_files, validity
from toolgain.evaluation.harness import EVAL_TYPE
from toolgain.records.summary import Canary

BFCL_ENV = Path(".venvs/bfcl")


def serve(pipe: Connection, fail_every: int) -> None:
    """Answer at once, and with 503 to each `fail_every`th request."""
    asked = 0

    def reply(body: bytes) -> tuple[bytes, bytes]:
        nonlocal asked
        asked += 1
        if fail_every and asked % fail_every == 0:
            return b"503 Service Unavailable", b"busy"
        return b"200 OK", instant_server.answer_to(body)

    instant_server.serve(pipe, reply)


def raw_harness(url: str, folder: Path, items: Path, parallelism: int) -> None:
    """The harness with its defaults, as anyone would start it."""
    config = {
        "config": {
            "type": EVAL_TYPE,
            "output_dir": str(folder),
            "params": {"parallelism": parallelism, "extra": {"native_calling": True}},
        },
        "target": {
            "api_endpoint": {
                "url": f"{url}/chat/completions",
                "model_id": "policy",
                "type": "chat",
            }
        },
    }
    folder.mkdir(parents=True)
    file = folder / "run.yml"
    file.write_text(yaml.safe_dump(config))
    programs = BFCL_ENV.absolute() / "bin"
    subprocess.run(
        [programs / "nemo-evaluator", "run_eval", "--run_config", file],
        check=True,
        env={
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "BFCL_DATA_DIR": str(items),
            "NEMO_EVALUATOR_TELEMETRY_LEVEL": "0",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def toolgain(url: str, folder: Path, section: dict[str, Any]) -> None:
    """`toolgain evaluate` with the same items."""
    config = folder.with_suffix(".json")
    config.write_text(json.dumps(section))
    program = Path(sys.executable).with_name("toolgain")
    arguments = ["--endpoint", url, "--model", "policy", "--config", config, "--out", folder]
    subprocess.run(
        [program, "evaluate", *arguments, "--bfcl-env", BFCL_ENV.absolute()],
        check=True,
        stderr=subprocess.DEVNULL,
    )


def judging(folder: Path, items: data.Items) -> float:
    """Seconds to read the rows and the record, and to judge."""
    (work,) = (folder / "work").glob("*-r0")
    started = time.perf_counter()
    state = result_files.heal(work / "harness/result/policy", items, take_out_failed=False)
    requests = request_log.read_lines(work / "requests.jsonl")
    evidence = request_log.match_requests(requests, state.rows, items, set())
    with decoding(BFCL_ENV) as decoder:
        outcomes = results.outcomes(work / "harness", items, decoder.decode, 0, evidence.seen)
    canary = Canary(answered=True, parsed_call=True, text=True)
    limits = validity.ValidityLimits(0.005, 0.02)
    validity.judge_evaluation(outcomes, len(outcomes), canary, limits, evidence.sampling, {})
    return time.perf_counter() - started


def processor_s() -> float:
    """Processor time of all child processes that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subset", type=int, help="items per category; default: all")
    parser.add_argument("--parallelism", type=int, default=8)
    options = parser.parse_args()
    source = data.installed_data(BFCL_ENV)
    items = data.load_full(source)
    section: dict[str, Any] = {"parallelism": options.parallelism}
    if options.subset:
        sizes = dict.fromkeys(("non_live", "live", "multi_turn"), options.subset)
        section["subset"] = sizes
        items = data.draw(items, data.sizes_of({**sizes, "categories": {}}), 1)
    raw = (0.0, 0.0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data.write_data_folder(items, source, folder / "data")
        for name, fail_every in (("raw harness", 0), ("toolgain", 0), ("toolgain, 2 % fail", 50)):
            ours, theirs = multiprocessing.Pipe()
            server = multiprocessing.Process(target=serve, args=(theirs, fail_every), daemon=True)
            server.start()
            url = f"http://127.0.0.1:{ours.recv()}/v1"
            started, spent = time.perf_counter(), processor_s()
            if name == "raw harness":
                raw_harness(url, folder / "raw", folder / "data", options.parallelism)
            else:
                toolgain(url, folder / f"out{fail_every}", section)
            server.terminate()
            wall, cpu = time.perf_counter() - started, processor_s() - spent
            raw = (wall, cpu) if name == "raw harness" else raw
            print(
                f"{name:20} {wall:7.1f} s wall ({wall / raw[0]:.2f})   "
                f"{cpu:7.1f} s processor ({cpu / raw[1]:.2f})",
                flush=True,
            )
        print(f"{'judging':20} {judging(folder / 'out0', items):7.2f} s")
    print(f"{len(data.flat(items))} items, parallelism {options.parallelism}")


if __name__ == "__main__":
    main()
