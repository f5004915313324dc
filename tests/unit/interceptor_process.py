"""The interceptor in the harness's environment, which alone can load it.

`interceptor` is for tests; run as a program, this file takes one JSON object per line: the settings
of a new interceptor, or a request, which it answers with the interceptor's response. Loading the
harness takes longer than any test, so one process holds the interceptors of all.
"""

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venvs/bfcl/bin/python"


@dataclass(frozen=True)
class Answered:
    """What the harness gets for a request."""

    status: str
    """`200`, or a status and the kind of the failure."""
    body: str


@dataclass(frozen=True)
class Interceptor:
    """One interceptor and the files that it writes."""

    number: int
    """Among those of the process."""
    record: Path
    answers: Path

    def ask(self, question: str, **other: Any) -> Answered:
        """Ask as the harness does: a user's message, and whatever else is in the body."""
        body = {"model": "m", "messages": [{"role": "user", "content": question}], **other}
        return Answered(**_told({"number": self.number, "body": body}))

    def recorded(self) -> list[dict[str, Any]]:
        """The rows of the request log."""
        return [json.loads(line) for line in self.record.read_text().splitlines()]


@contextmanager
def interceptor(folder: Path, url: str, **settings: Any) -> Iterator[Interceptor]:
    """An interceptor for the server at `url` (its /v1); `settings` replace those for tests."""
    folder.mkdir(parents=True, exist_ok=True)
    secrets = folder / "secrets.json"
    secrets.write_text(json.dumps({"key": settings.pop("key", None), "proxies": {}}))
    params = {
        "model": "policy",
        "sampling": {"temperature": 0.0},
        "record": str(folder / "requests.jsonl"),
        "answers": str(folder / "answers.jsonl"),
        "secrets": str(secrets),
        "timeout_s": 30.0,
        "attempts": 3,
        "at_once": 4,
        "max_bytes": 100_000,
        "give_up_at": 0.0,
        "backoff_s": 0.001,
        **settings,
    }
    made = _told({"params": params, "url": f"{url}/chat/completions"})
    yield Interceptor(made["number"], Path(params["record"]), Path(params["answers"]))


@cache
def _process() -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [PYTHON, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
        text=True,
    )
    atexit.register(process.communicate)
    return process


def _told(message: dict[str, Any]) -> dict[str, Any]:
    """What the process answers `message` with."""
    process = _process()
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def _answer_requests() -> None:
    # What the harness prints goes elsewhere than the answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    import flask
    from nemo_evaluator.adapters.types import (
        AdapterGlobalContext,
        AdapterRequest,
        AdapterRequestContext,
    )
    from werkzeug.test import EnvironBuilder

    from toolgain.evaluation.interceptor import ToolgainEndpoint

    made: list[tuple[ToolgainEndpoint, AdapterGlobalContext]] = []
    for line in sys.stdin:
        message = json.loads(line)
        if "params" in message:
            params = message["params"]
            folder = str(Path(params["record"]).parent)
            context = AdapterGlobalContext(output_dir=folder, url=message["url"])
            made.append((ToolgainEndpoint(ToolgainEndpoint.Params(**params)), context))
            found: dict[str, Any] = {"number": len(made) - 1}
        else:
            endpoint, context = made[message["number"]]
            environ = EnvironBuilder(method="POST", json=message["body"]).get_environ()
            request = AdapterRequest(r=flask.Request(environ), rctx=AdapterRequestContext())
            answer = endpoint.intercept_request(request, context)
            found = {"status": str(answer.r.status_code), "body": answer.r.text}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    _answer_requests()
