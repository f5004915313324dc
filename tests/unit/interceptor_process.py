"""The interceptor in the harness's environment, which alone can load it.

`Interceptor` is for tests; run as a program, this file takes one JSON request per line and answers
each with the interceptor's response.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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

    process: "subprocess.Popen[str]"
    url: str
    record: Path
    answers: Path

    def ask(self, question: str, **other: Any) -> Answered:
        """Ask as the harness does: a user's message, and whatever else is in the body."""
        assert self.process.stdin and self.process.stdout
        body = {"model": "m", "messages": [{"role": "user", "content": question}], **other}
        self.process.stdin.write(json.dumps(body) + "\n")
        self.process.stdin.flush()
        return Answered(**json.loads(self.process.stdout.readline()))

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
    process = subprocess.Popen(
        [PYTHON, __file__, json.dumps(params), f"{url}/chat/completions"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(folder / "stderr").open("w"),
        env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
        text=True,
    )
    with process:
        yield Interceptor(process, url, Path(params["record"]), Path(params["answers"]))
        assert process.stdin
        process.stdin.close()


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

    params, url = json.loads(sys.argv[1]), sys.argv[2]
    endpoint = ToolgainEndpoint(ToolgainEndpoint.Params(**params))
    context = AdapterGlobalContext(output_dir=str(Path(params["record"]).parent), url=url)
    for line in sys.stdin:
        asked = flask.Request(EnvironBuilder(method="POST", json=json.loads(line)).get_environ())
        answer = endpoint.intercept_request(
            AdapterRequest(r=asked, rctx=AdapterRequestContext()), context
        )
        found = {"status": str(answer.r.status_code), "body": answer.r.text}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    _answer_requests()
