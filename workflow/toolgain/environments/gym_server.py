"""Run one server of NeMo Gym, and count its requests. Runs in Gym's environment.

    python -P gym_server.py COUNT PROGRAM

COUNT is a file that holds how many requests the server has begun and ended: a server that works
through a queue is told from one that loops within a request (`toolgain.environments.health`).
"""

import os
import runpy
import sys
import threading
from typing import Any

import fastapi.routing
import ray


def count_requests(path: str) -> None:
    """Let every request that an endpoint begins or ends add one to the number in `path`."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    lock, number = threading.Lock(), 0
    run = fastapi.routing.run_endpoint_function

    def add() -> None:
        nonlocal number
        with lock:
            number += 1
            # It only grows, so nothing of the number before is left.
            os.pwrite(file, str(number).encode(), 0)

    async def counted(**arguments: Any) -> Any:
        add()
        try:
            return await run(**arguments)
        finally:
            add()

    fastapi.routing.run_endpoint_function = counted


if __name__ == "__main__":
    count_requests(sys.argv[1])
    # Nothing in this server's code asks for Ray, so that it need not be there.
    ray.is_initialized = lambda: True
    runpy.run_path(sys.argv[2], run_name="__main__")
