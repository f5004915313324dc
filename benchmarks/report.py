"""How large and how quick the report is: bytes, first paint, filters, with all 4441 items twice.

    .venv/bin/python benchmarks/report.py [report.html]

Without a file, the page of simulated answers to all items is made first. Needs Chromium. Prints
one JSON object; the aims are 5 MB, 1000 ms and 100 ms on two idle cores.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

ROUNDS = 5
FILTERS = [
    ("change", "all"), ("text", "weather"), ("text", "no such text"), ("text", ""),
    ("category", "live_multiple"), ("category", ""), ("error", "type_error:simple"),
    ("error", ""), ("change", "gained"), ("change", "changed"),
]  # fmt: skip
APPLY = """filters => {
  const form = document.getElementById("filters");
  return filters.map(([name, value]) => {
    const start = performance.now();
    form.elements[name].value = value;
    form.dispatchEvent(new Event("input"));
    document.body.getBoundingClientRect();
    return performance.now() - start;
  });
}"""


def measure(path: Path) -> dict[str, Any]:
    """Open the page several times in a fresh profile; medians, and the slowest filter of all."""
    from playwright.sync_api import sync_playwright

    paints, ready, filters = [], [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        for _ in range(ROUNDS):
            page = browser.new_context(offline=True).new_page()
            page.goto(path.as_uri())
            page.wait_for_selector("#filters:not([hidden])")
            ready.append(page.evaluate("performance.now()"))
            paints.append(
                page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            )
            page.wait_for_timeout(1000)
            filters.append(page.evaluate(APPLY, FILTERS))
            page.context.close()
        browser.close()
    return {
        "bytes": path.stat().st_size,
        "first_paint_ms": round(median(paints)),
        "items_ready_ms": round(median(ready)),
        "filter_median_ms": round(median(value for row in filters for value in row), 1),
        "filter_slowest_ms": round(max(value for row in filters for value in row), 1),
    }


def main() -> None:
    """Measure the page named on the command line, or one made for it."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]).resolve()), indent=1))
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests/browser"))
    from scenarios import build

    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(build("improved", Path(folder))), indent=1))


if __name__ == "__main__":
    main()
