"""A report in Chromium, as the tests see it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Opened:
    """A page in Chromium, with what it tried to do."""

    page: Any
    folder: Path
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def comparison(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / "comparison.json").read_text())
        return value

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements, with plain spaces."""
        return [clean(text) for text in self.page.locator(selector).all_inner_texts()]

    def text(self, selector: str) -> str:
        return clean(self.page.locator(selector).first.inner_text())

    def ready(self) -> "Opened":
        """Wait until the items are unpacked."""
        self.page.wait_for_selector("#filters:not([hidden])")
        return self


def clean(text: str) -> str:
    return " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())
