"""What all tests share: how they are shared out over processes, and the test cluster."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from slurm import cluster as machine

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def pytest_configure() -> None:
    """Hear Ctrl-C: a run that a script put into the background ignores it, and so would the
    programs that the drills interrupt; so it is with a lost terminal, under nohup."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # No test is timed: what is slow on a loaded machine is not wrong.
    hypothesis.settings.register_profile(
        "search",
        deadline=None,
        suppress_health_check=[
            hypothesis.HealthCheck.too_slow,
            hypothesis.HealthCheck.function_scoped_fixture,
        ],
    )
    # The same examples in every run: CI judges the change, not the draw.
    hypothesis.settings.register_profile(
        "toolgain", hypothesis.settings.get_profile("search"), derandomize=True, database=None
    )
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "toolgain"))


# Before xdist looks for the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By file, so that what a file's tests share is made once; there is one cluster for all.

    The cluster's tests take longest and come first, then the slow ones. The many quick ones are
    left for whichever process is done early.
    """
    for item in items:
        group = "cluster" if item.get_closest_marker("cluster") else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.get_closest_marker("cluster"), item.path not in slow))


@pytest.fixture(autouse=True)
def left_as_found(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves another one a changed process: order must decide nothing.

    What a test changed is set back; a unit test that changed something fails.
    """
    before = _process()
    yield
    after = _process()
    _set_back(before)
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    assert not changed or "unit" not in request.path.parts, (
        f"this test leaves the process changed: {changed}"
    )


def _process() -> dict[str, Any]:
    umask = os.umask(0o022)
    os.umask(umask)
    root = logging.getLogger()
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    return {
        "environment": environment,
        "folder": Path.cwd(),
        "umask": umask,
        "log level": root.level,
        "log handlers": list(root.handlers),
        "signals": [signal.getsignal(number) for number in SIGNALS],
        "module path": list(sys.path),
    }


def _set_back(found: dict[str, Any]) -> None:
    now = os.environ.get("PYTEST_CURRENT_TEST")
    os.environ.clear()
    os.environ.update(found["environment"] | ({"PYTEST_CURRENT_TEST": now} if now else {}))
    os.chdir(found["folder"])
    os.umask(found["umask"])
    root = logging.getLogger()
    root.setLevel(found["log level"])
    root.handlers[:] = found["log handlers"]
    for number, handler in zip(SIGNALS, found["signals"], strict=True):
        signal.signal(number, handler)
    sys.path[:] = found["module path"]


# Here and nowhere else: a second fixture of this kind would wait forever for the first.
@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """The cluster, up, and for this session alone."""
    reason = machine.missing()
    if reason and os.environ.get("TOOLGAIN_REQUIRE_CLUSTER"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with machine.session():
        yield
