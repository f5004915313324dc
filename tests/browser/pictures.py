"""Pictures of a report for the README and the documentation.

    python tests/browser/pictures.py results/report.html [FOLDER]

writes FOLDER/report.png (the answer and where it changed), report-items.png (dark, one changed
item open) and report-phone.png; FOLDER is docs/pictures by default.
"""

import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

COLOURS = 96


def picture(page: Any, path: Path) -> None:
    """Take what is in view, with few colours so that the file stays small."""
    page.wait_for_timeout(600)
    page.screenshot(path=path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main(report: Path, folder: Path) -> None:
    """Write the three pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )

        def opened(width: int, height: int, scheme: str) -> Any:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                offline=True,
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(report.resolve().as_uri())
            page.wait_for_selector("#filters:not([hidden])")
            return page

        picture(opened(1280, 1370, "light"), folder / "report.png")
        page = opened(1280, 900, "dark")
        page.locator(".item-head", has_text="gained").first.click()
        page.locator("#filters").scroll_into_view_if_needed()
        page.evaluate("document.getElementById('filters').scrollIntoView()")
        picture(page, folder / "report-items.png")
        picture(opened(390, 844, "light"), folder / "report-phone.png")
        browser.close()


if __name__ == "__main__":
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("docs/pictures")
    main(Path(sys.argv[1]), target)
