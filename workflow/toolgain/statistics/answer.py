"""The words of the verdict, and the sentence that says it."""

from toolgain.statistics.verdict import Verdict

TITLES: dict[str, str] = {
    "improved": "Improved",
    "regressed": "Regressed",
    "no_clear_change": "No clear change",
    "not_comparable": "Not comparable",
}


def sentence(
    verdict: Verdict,
    scope: str,
    before: float,
    after: float,
    change: float,
    interval: tuple[float, float],
    p: float,
) -> str:
    """The verdict with its numbers, in points: `Improved: the official Overall on ... went from`.

    Args:
        verdict: any but not_comparable, which has no numbers.
        scope: what was evaluated, such as `on BFCL v3`.
        before, after, change: of the Overall.
        interval: of the change.
        p: of the change, two-sided.
    """
    low, high = interval
    return (
        f"{TITLES[verdict]}: the official Overall {scope} went from {before:.2f} to {after:.2f}, "
        f"{change:+.2f} points [{low:+.2f}, {high:+.2f}], p = {p:.3g}."
    )


def refusal(why: str) -> str:
    """The sentence of a comparison that cannot be made."""
    return f"{TITLES['not_comparable']}. {why}"
