"""The verdict's words, and the one sentence that says it.

comparison.json holds the sentence; the command line, the report and its Markdown repeat it.
"""

TITLES: dict[str, str] = {
    "improved": "Improved",
    "regressed": "Regressed",
    "no_clear_change": "No clear change",
    "not_comparable": "Not comparable",
}
REFUSAL = "Not comparable: the two evaluations cannot tell whether the training helped."
"""The sentence of a comparison that cannot be made; the reasons stand beside it."""


def verdict_sentence(
    verdict: str,
    what: str,
    sides: tuple[float, float],
    change: float,
    interval: tuple[float, float],
    p: float,
    names: tuple[str, str] | None = None,
    level: float = 0.95,
) -> str:
    """The verdict with its numbers.

    Args:
        verdict: any but not_comparable, whose sentence is `REFUSAL`.
        what, sides, change, interval, p, names, level: as for `moved`.
    """
    return f"{TITLES[verdict]}: {moved(what, sides, change, interval, p, names, level)}."


def moved(
    what: str,
    sides: tuple[float, float],
    change: float,
    interval: tuple[float, float],
    p: float,
    names: tuple[str, str] | None = None,
    level: float = 0.95,
) -> str:
    """How a score moved, in points: `... went from 40.00 to 50.00, +10.00 points (95 % ...)`.

    Args:
        what: the score, such as `the official Overall on BFCL v3`.
        sides: the score before and after.
        change: of the score.
        interval: of the change, two-sided.
        p: of the change, two-sided.
        names: of the two sides, where they are not before and after the training.
        level: of the interval.
    """
    old, new = (f"{side:.2f}" for side in sides)
    if names is not None:
        old, new = f"{old} ({names[0]})", f"{new} ({names[1]})"
    low, high = map(signed, interval)
    moved_by = f"{change:+.2f}"
    # What did not move has no sign.
    moved_by = "0.00" if float(moved_by) == 0 else moved_by
    return (
        f"{what} went from {old} to {new}, {moved_by} points "
        f"({100 * level:g} % interval {low} to {high}, {p_equals(p)})"
    )


def signed(value: float, digits: int = 2) -> str:
    """An end of an interval, with as many digits as tell on which side of zero it is."""
    while digits < 6 and value and float(f"{value:.{digits}f}") == 0:
        digits += 1
    return f"{value:+.{digits}f}"


def p_equals(p: float) -> str:
    """A p value with its relation, `p < 0.001` or `p = 0.034`."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"
