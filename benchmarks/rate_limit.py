"""How long does an evaluation take at an endpoint that allows so many requests a minute?

    .venv/bin/python benchmarks/rate_limit.py [--per-minute 30] [--subset 8] [--faster 1]

Runs `toolgain evaluate` against an instant server that answers 30 requests in any 60 seconds and
refuses the others with 429 and Retry-After. Prints the time from the first request to the last
answer beside the least that the limit allows for so many answers, and fails where it is more than
1.2 times that. With `--faster 60` a minute takes a second: the same code in little time, which
says nothing about Retry-After's whole seconds.
"""

import argparse
import json
import math
import multiprocessing
import tempfile
import time
from collections import deque
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import instant_server
from evaluate import toolgain

ALLOWED = 1.2


@dataclass
class Counts:
    """What the server saw."""

    answered: int = 0
    refused: int = 0
    first: float = 0.0
    last: float = 0.0
    """Times of the first request and of the last answer, as `time.monotonic()` counts."""


def serve(pipe: Connection, per_window: int, window_s: float) -> None:
    """Answer `per_window` requests in any `window_s` seconds; sends its counts when asked."""
    starts: deque[float] = deque()
    counts = Counts()

    def reply(body: bytes) -> tuple[bytes, bytes]:
        now = time.monotonic()
        counts.first = counts.first or now
        while starts and starts[0] <= now - window_s:
            starts.popleft()
        if len(starts) >= per_window:
            counts.refused += 1
            wait = starts[0] + window_s - now
            asked = f"{math.ceil(wait)}" if window_s >= 60 else f"{wait:.3f}"
            return b"429 Too Many Requests\r\nRetry-After: " + asked.encode(), b"{}"
        starts.append(now)
        counts.answered += 1
        counts.last = now
        return b"200 OK", instant_server.answer_to(body)

    instant_server.serve(pipe, reply)
    pipe.send(asdict(counts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-minute", type=int, default=30)
    parser.add_argument("--subset", type=int, default=8, help="items per category")
    parser.add_argument("--parallelism", type=int, default=8)
    parser.add_argument("--faster", type=float, default=1.0, help="a minute takes so much less")
    options = parser.parse_args()
    window_s = 60 / options.faster
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(
        target=serve, args=(theirs, options.per_minute, window_s), daemon=True
    )
    server.start()
    sizes = dict.fromkeys(("non_live", "live", "multi_turn"), options.subset)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        url = f"http://127.0.0.1:{ours.recv()}/v1"
        toolgain(url, out, {"parallelism": options.parallelism, "subset": sizes})
        summary = json.loads((out / "summary.json").read_text())
    ours.send("stop")
    counts = Counts(**ours.recv())
    took = counts.last - counts.first
    least = (counts.answered - 1) // options.per_minute * window_s
    print(
        f"{summary['n']} items, {counts.answered} requests, {counts.refused} refused, "
        f"{'valid' if summary['valid'] else summary['reasons']}"
    )
    print(f"{took:.0f} s; the limit allows {least:.0f} s ({took / least:.3f})")
    if not summary["valid"] or took > ALLOWED * least:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
