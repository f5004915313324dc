"""One full run of the small chain, for all tests that look at what it left."""

import pytest
from small_chain import Chain


@pytest.fixture(scope="session")
def finished_chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The chain after one full run."""
    chain = Chain(tmp_path_factory.mktemp("chain"))
    done = chain.run("all")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return chain
