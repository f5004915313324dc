"""The trial that comes before any training, against endpoints that fit and that do not."""

import json
from pathlib import Path
from typing import Any

import pytest
from evaluating import ROOT
from fault_server import Fault, FaultServer, Handler, Request, completion

from toolgain.common.errors import StageError, UserError
from toolgain.config.freeze import frozen
from toolgain.config.sections import parse_config
from toolgain.evaluation.trial import try_evaluation
from toolgain.records.record import read_record
from toolgain.records.trial import Trial

pytestmark = pytest.mark.slow

ENVIRONMENTS = ROOT / ".venvs/bfcl", ROOT / ".venvs/trl"


def trial(folder: Path, server: FaultServer) -> Path:
    """Try `server` as the endpoint of a configuration; the record."""
    config = parse_config(
        {
            "model": {"path": "model"},
            "evaluation": {
                "parallelism": 8,
                "serve": {"backend": "endpoint", "url": server.url},
                "retry": {"backoff_s": 0, "request_attempts": 2},
            },
        }
    )
    results = folder / "results"
    results.mkdir()
    (folder / "evaluation.json").write_text(frozen(config, "evaluation"))
    (results / "model.json").write_text(
        json.dumps({"path": str(folder), "digest": "a" * 64, "name": "m", "files": {}})
    )
    out = results / "trial.json"
    try_evaluation(out, folder / "evaluation.json", results / "model.json", "s", *ENVIRONMENTS)
    return out


def test_an_endpoint_that_fits_passes_with_one_item_of_each_category(tmp_path: Path) -> None:
    with FaultServer() as server:
        record = read_record(Trial, trial(tmp_path, server), "trial")
    assert record.items == 17
    assert 0 < record.with_calls < 17


def always(message: dict[str, Any]) -> Fault:
    def fault(request: Request, handler: Handler) -> bool:
        handler.answer(200, completion({"role": "assistant", **message}, request.body))
        return True

    return fault


def refuses(request: Request, handler: Handler) -> bool:
    if request.canary:
        return False
    handler.answer(500, {"error": {"message": "out of order"}})
    return True


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (
            always({"content": '<tool_call>{"name": "f", "arguments": {}}</tool_call>'}),
            UserError,
            "tool calls come back as text",
        ),
        (always({"content": ""}), UserError, "canary"),
        (refuses, StageError, "of 17 items got no answer"),
    ],
    ids=["no-parser", "empty", "fails"],
)
def test_an_endpoint_that_no_evaluation_could_use_ends_before_the_training(
    tmp_path: Path, fault: Fault, kind: type[Exception], said: str
) -> None:
    with FaultServer(fault=fault) as server, pytest.raises(kind, match=said):
        trial(tmp_path, server)
    assert not (tmp_path / "results/trial.json").exists()
