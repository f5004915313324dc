"""What a reader of a page should not meet: `1 items`, `5%`, a hyphen for a minus, raw backticks."""

import re

ODD = re.compile(
    r"(?<![\w.,−+-])1 (?!is\b|as\b|was\b|has\b|this\b|less\b|its\b|across\b|plus\b)[a-z-]+s\b"
    r"|\d%|(?<![\w.\-/])-\d|`"
)


def odd_signs(text: str) -> list[str]:
    """Each of them in `text`, with what stands around it."""
    return [text[max(0, found.start() - 30) : found.end() + 20] for found in ODD.finditer(text)]
