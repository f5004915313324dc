"""Exact tests and corrections, against published or hand-made values."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgain.statistics import paired_tests


def test_mcnemar_is_the_binomial_test_of_the_changed_items() -> None:
    assert paired_tests.mcnemar(9, 1) == pytest.approx(2 * (1 + 10) / 2**10)
    assert paired_tests.mcnemar(1, 9) == paired_tests.mcnemar(9, 1)
    assert paired_tests.mcnemar(5, 5) == 1.0
    assert paired_tests.mcnemar(0, 0) == 1.0


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_the_sum_of_binomial_probabilities(gained: int, lost: int) -> None:
    changed = gained + lost
    tail = sum(comb(changed, k) for k in range(min(gained, lost) + 1)) / 2**changed
    assert paired_tests.mcnemar(gained, lost) == pytest.approx(min(1.0, 2 * tail))


def test_holm_as_in_the_textbook() -> None:
    assert paired_tests.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=17))
def test_holm_keeps_order_and_never_lowers(values: list[float]) -> None:
    corrected = paired_tests.holm(values)
    assert all(after >= before for before, after in zip(values, corrected, strict=True))
    order = np.argsort(values, kind="stable")
    assert all(np.diff(np.array(corrected)[order]) >= 0)


def test_non_inferiority_says_what_it_cannot_tell() -> None:
    assert paired_tests.non_inferiority(-0.5, 2.0, lost=0.9, margin=1.0) == "yes"
    assert paired_tests.non_inferiority(-0.5, 2.0, lost=1.5, margin=1.0) == "cannot tell"
    assert paired_tests.non_inferiority(-4.0, -1.5, lost=5.0, margin=1.0) == "no"
    assert paired_tests.non_inferiority(-2.0, 1.0, lost=0.9, margin=1.0) == "cannot tell"


def test_held_needs_every_group() -> None:
    assert paired_tests.held(["yes", "yes"]) == "yes"
    assert paired_tests.held(["yes", "cannot tell"]) == "cannot tell"
    assert paired_tests.held(["cannot tell", "no"]) == "no"


def test_unpaired_z_by_hand() -> None:
    z, p = paired_tests.unpaired_z(50, 60, 100)
    assert z == pytest.approx(0.1 / np.sqrt(2 * 0.55 * 0.45 / 100))
    assert p == pytest.approx(0.1552, abs=1e-4)
