"""What is noted while a response is brought into the strict form: changes, or that it is none."""

from dataclasses import dataclass, field

from toolgain.common.characters import without_halves


class MissingAnswerError(Exception):
    """The response holds no answer."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


@dataclass
class Changes:
    """Collects the kinds of changes, each once per answer."""

    kinds: list[str] = field(default_factory=list)

    def note(self, kind: str) -> None:
        """Note a change of this kind."""
        if kind not in self.kinds:
            self.kinds.append(kind)

    def text(self, value: str) -> str:
        """`value` without halves of characters, which no UTF-8 can hold."""
        fixed = without_halves(value)
        if fixed != value:
            self.note("lone_surrogate")
        return fixed


def beginning(text: str) -> str:
    """The first words, on one line, for a record."""
    return without_halves(" ".join(text[:1000].split())[:200])
