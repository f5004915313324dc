"""Pictures of a report for the README and the documentation.

    python tests/browser/pictures.py results/report.html [FOLDER]

writes FOLDER/report.png (the answer and where it changed), report-items.png (dark, one item open:
a gained one where there is any) and report-phone.png; FOLDER is docs/pictures by default.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

COLOURS = 96


def picture(page: Any, path: Path, last: str = "") -> None:
    """Take what is in view, or all down to the end of `last`; with few colours, so a small file."""
    page.wait_for_timeout(600)
    if last:
        box = page.locator(last).bounding_box()
        area = {"x": 0, "y": 0, "width": page.viewport_size["width"]}
        page.screenshot(path=path, full_page=True, clip=area | {"height": box["y"] + box["height"]})
    else:
        page.screenshot(path=path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def open_an_item(page: Any) -> None:
    """Open the most telling item that there is, with the filters above it."""
    for change in ("gained", "lost", "all"):
        if page.locator(f"[data-count={change}]").inner_text() != "0":
            page.locator(f"label.chip.{change}").click()
            # Not the topmost: a few rows above it show the list.
            heads = page.locator(".item-head")
            heads.nth(min(2, heads.count() - 1)).click()
            break
    page.evaluate("document.getElementById('filters').scrollIntoView()")


def main(report: Path, folder: Path) -> None:
    """Write the three pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--no-sandbox", "--disable-gpu"],
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

        picture(opened(1280, 900, "light"), folder / "report.png", last="#where")
        page = opened(1280, 900, "dark")
        open_an_item(page)
        picture(page, folder / "report-items.png")
        picture(opened(390, 844, "light"), folder / "report-phone.png")
        browser.close()


if __name__ == "__main__":
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("docs/pictures")
    main(Path(sys.argv[1]), target)
