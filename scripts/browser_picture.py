"""Makes the picture of the server's page: a real browser, the bundled model, a batch of texts.

`make browser-picture` writes docs/pictures/browser.png.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "browser.png"
PROMPTS = "Once upon a time there was a little\n---\nThe old woman opened the box. Inside it was"
SIZE = {"width": 1120, "height": 700}
FIELDS = {"prompts": PROMPTS, "copies": "2", "max_tokens": "40", "seed": "5"}


@contextmanager
def serving() -> Iterator[str]:
    """The address of `llterm serve` on the bundled model, for as long as this lasts."""
    command = [sys.executable, "-m", "llterm", "serve", "-m", "fable", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        greeted = re.search(r" at (http://\S+)", process.stdout.readline())
        assert greeted is not None
        yield greeted[1]
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    chromium = os.environ.get("LLTERM_CHROMIUM") or shutil.which("chromium")
    with serving() as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="dark")
        page.goto(address)
        page.locator("#tab-batch").click()
        for field, text in FIELDS.items():
            page.locator(f"#{field}").fill(text)
        page.get_by_role("button", name="Draw").click()
        expect(page.locator("#batch:not(.running) #progress")).to_contain_text(
            "4 of 4", timeout=60e3
        )
        page.locator(".result .token.hot").nth(1).click()
        page.locator("#model").scroll_into_view_if_needed()
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
