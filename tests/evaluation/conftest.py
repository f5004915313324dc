"""Evaluations through the real harness, against a server whose faults are programmed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from evaluating import Evaluation, evaluate
from fault_server import FaultServer


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """An evaluation against the same server without any fault."""
    with FaultServer() as server:
        evaluation = evaluate(server, tmp_path_factory.mktemp("undisturbed") / "out")
    assert evaluation.exit_code == 0, evaluation.stderr
    return evaluation


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Callable[..., tuple[FaultServer, Evaluation]]]:
    """Evaluate against a server with a fault: `server, evaluation = asked(fault)`."""
    servers = []

    def run(fault: Any = None, **section: Any) -> tuple[FaultServer, Evaluation]:
        server = FaultServer(**({"fault": fault} if fault else {})).__enter__()
        servers.append(server)
        return server, evaluate(server, tmp_path / "out", **section)

    yield run
    for server in servers:
        server.__exit__()
