"""What all tests share: how they are shared out over processes, and the test cluster."""

import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest

from slurm import cluster as machine


def pytest_configure() -> None:
    """Hear Ctrl-C: a run that a script put into the background ignores it, and so would the
    programs that the drills interrupt; so it is with a lost terminal, under nohup."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # No test is timed: what is slow on a loaded machine is not wrong.
    hypothesis.settings.register_profile(
        "toolgain",
        deadline=None,
        suppress_health_check=[
            hypothesis.HealthCheck.too_slow,
            hypothesis.HealthCheck.function_scoped_fixture,
        ],
    )
    hypothesis.settings.load_profile("toolgain")


# Before xdist looks for the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By file, so that what a file's tests share is made once; there is one cluster for all."""
    for item in items:
        group = "cluster" if item.get_closest_marker("cluster") else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))


# Here and nowhere else: a second fixture of this kind would wait for ever for the first.
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
