"""What the report says beside the numbers: where a change comes from, and what goes together."""

from types import SimpleNamespace
from typing import Any

import pytest

from toolgain.records.comparison import CategoryChange
from toolgain.report import origin
from toolgain.report.model import _family_row
from toolgain.report.wording import of_them, typeset


def entry(gained: dict[str, int], lost: dict[str, int] | None = None, delta: float = 2.0) -> Any:
    """A run of a comparison in which these categories gained and lost items."""
    names = [*gained, *(lost or {}), "simple", "multiple", "live_simple"]
    return SimpleNamespace(
        overall=SimpleNamespace(delta=delta),
        categories={
            name: SimpleNamespace(gained=gained.get(name, 0), lost=(lost or {}).get(name, 0))
            for name in names
        },
    )


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (
            entry({"irrelevance": 25}),
            "All 25 gained items of Non-live are in Irrelevance: the model declines more.",
        ),
        (
            entry({"irrelevance": 9, "simple": 1}),
            "9 of 10 gained items of Non-live are in Irrelevance: the model declines more.",
        ),
        (
            entry({}, {"live_irrelevance": 30}, delta=-3.0),
            "All 30 lost items of Live are in Live irrelevance: the model calls more where no "
            "tool fits.",
        ),
        (entry({"irrelevance": 9, "simple": 9}), ""),
        (entry({"irrelevance": 4}), ""),
        (entry({}), ""),
    ],
)
def test_where_a_change_comes_from_is_said_when_it_is_one_place(run: Any, sentence: str) -> None:
    assert origin.origin_sentence(run) == sentence


def training(*passed: bool | None) -> Any:
    return SimpleNamespace(
        signs=tuple(SimpleNamespace(title=f"Sign {n}", passed=one) for n, one in enumerate(passed))
    )


@pytest.mark.parametrize(
    ("verdict", "passed", "words"),
    [
        ("improved", (True, False), "improved although"),
        ("improved", (True, None), ""),
        ("no_clear_change", (True, True), "no clear change"),
        ("no_clear_change", (True, None), ""),
        ("regressed", (True, True), "got worse"),
        ("regressed", (False, True), ""),
    ],
)
def test_no_sign_seems_to_contradict_the_verdict_without_a_sentence(
    verdict: str, passed: tuple[bool | None, ...], words: str
) -> None:
    said = origin.beside_the_signs(verdict, training(*passed))
    assert (words in said) if words else said == ""


def test_a_small_category_that_is_sure_is_shown_as_clear() -> None:
    line = CategoryChange(
        baseline=10.0, trained=80.0, delta=70.0, ci95=(40.0, 90.0), p=0.0001, n=20, gained=14,
        lost=0, p_mcnemar=0.0001, p_holm=0.0004, word=None, population=240, small=True,
    )  # fmt: skip
    sure = _family_row("category", "irrelevance", "Irrelevance", line)
    assert (sure.small, sure.clear) == (False, "up")
    unsure = _family_row(
        "category", "irrelevance", "Irrelevance", line.model_copy(update={"p_holm": 0.02})
    )
    assert (unsure.small, unsure.clear) == (True, "")


def test_signs_of_minus_and_percent_and_plurals_are_those_of_the_page() -> None:
    assert typeset("-0.5 to -1, 30% of val-2, step_-3") == (
        "\N{MINUS SIGN}0.5 to \N{MINUS SIGN}1, 30 % of val-2, step_-3"
    )
    assert (of_them(1, "step"), of_them(12, "step")) == ("1 step", "12 steps")
