"""Halves of characters, which models write and no UTF-8 file can hold."""

import re

_HALF = re.compile("[\ud800-\udfff]")
# The same as an escape in JSON text. A pair of escapes is one character, and is skipped.
_ESCAPES = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def without_halves(text: str) -> str:
    """`text` with a replacement character for each half of one."""
    return _HALF.sub("\ufffd", text)


def without_half_escapes(text: str) -> str:
    """JSON text with the escape of a replacement character for each that stands for a half."""
    return _ESCAPES.sub(_whole_escape, text)


def _whole_escape(match: re.Match[str]) -> str:
    return match[0] if match[0] == "\\\\" or len(match[0]) > 6 else "\\ufffd"
