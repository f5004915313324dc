"""Text of others on a page or a terminal: what it hides, or would do there, is shown instead.

Names, answers and error messages come from models, servers and files. A terminal obeys some of
their characters, and a page reads the text around them in another order.
"""

import logging
import re
from pathlib import Path

_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def visible(text: str) -> str:
    """`text` with control and direction characters shown as `\\u{202E}`."""
    return _HIDDEN.sub(lambda match: f"\\u{{{ord(match[0]):04X}}}", text)


def for_terminal(text: str) -> str:
    """`text` for a terminal, where a carriage return would hide what stands before it."""
    return visible(text.replace("\r\n", "\n")).replace("\r", "\\u{000D}")


def from_here(text: str) -> str:
    """`text` with its paths below the working folder as seen from there."""
    return text.replace(f"{Path.cwd()}/", "")


class TerminalFormatter(logging.Formatter):
    """Log lines for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, tracebacks too."""
        return for_terminal(super().format(record))
