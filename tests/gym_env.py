"""The environment of NeMo Gym, for the tests that need it."""

import pytest

from toolgain.common import package

GYM = package.environment("gym")

needs_gym = pytest.mark.skipif(
    not (GYM / "bin" / "python").exists(), reason="needs NeMo Gym: make setup-gym"
)
