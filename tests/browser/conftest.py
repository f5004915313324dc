"""Chromium, the scenario pages (each made once), and axe-core."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from opened import Opened  # noqa: E402

from report_fixtures import data_folder  # noqa: E402

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), ""
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test here, and skip them in one line where something is missing."""
    reason = (
        "Chromium is not installed"
        if not CHROMIUM
        else "BFCL's data is not installed (.venvs/bfcl)"
        if data_folder() is None
        else ""
    )
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium, for one module: as long as it runs, the process has a running event loop."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The report of a scenario; each is made once."""
    from scenarios import build

    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = build(name, tmp_path_factory.mktemp(name))
        return made[name]

    return of


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Opened]]:
    """Open a report with the network off; every request and error is noted."""
    contexts = []

    def open_(path: Path, fragment: str = "", **options: Any) -> Opened:
        viewport = {"width": options.pop("width", 1280), "height": options.pop("height", 900)}
        context = chromium.new_context(
            viewport=viewport, offline=True, reduced_motion="reduce", **options
        )
        # A busy machine is slow; a page that never comes still ends the test.
        context.set_default_timeout(180_000)
        context.set_default_navigation_timeout(180_000)
        contexts.append(context)
        page = context.new_page()
        opened = Opened(page, path.parent)
        own = path.as_uri()
        page.on(
            "request",
            lambda request: (
                opened.requests.append(request.url)
                if request.url.split("#")[0] != own
                and not request.url.startswith(("data:", "blob:"))
                else None
            ),
        )
        page.on("pageerror", lambda error: opened.errors.append(str(error)))
        page.on(
            "console",
            lambda message: opened.errors.append(message.text) if message.type == "error" else None,
        )
        page.on("dialog", lambda dialog: opened.errors.append(f"dialog: {dialog.message}"))
        page.goto(own + (f"#{fragment}" if fragment else ""))
        return opened

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which this package carries."""
    package = Path(axe_playwright_python.__file__).parent
    return (package / "axe.min.js").read_text(encoding="utf-8")
