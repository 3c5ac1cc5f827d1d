"""Screenshots of the built book in `book/figures/screens`: two pages, light and dark, wide and on a phone.

Run `./medallion site` first, and look at them afterwards. Needs Chromium or Chrome.
"""

import shutil
from base64 import b64decode

from playwright.sync_api import Browser, sync_playwright

from medallion import paths
from medallion.errors import MedallionError

PAGES = {"welcome": "index.html", "chapter-01": "notebooks/01_data_ingestion_bronze.html"}
SIZES = {"wide": (1440, 900), "phone": (360, 740)}
THEMES = ("light", "dark")


def shoot(browser: Browser, name: str, size: str, theme: str) -> None:
    """Write one screenshot: what is seen of the page before its reader scrolls."""
    width, height = SIZES[size]
    phone = size == "phone"
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=theme,
        is_mobile=phone,
        has_touch=phone,
        device_scale_factor=2 if phone else 1,
    )
    page = context.new_page()
    page.goto((paths.root() / "_build" / "html" / PAGES[name]).as_uri(), wait_until="networkidle")
    # WebP, which Playwright's own call does not write
    taken = context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": 82})
    target = paths.root() / "book" / "figures" / "screens" / f"{name}-{size}-{theme}.webp"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(b64decode(taken["data"]))
    print(f"{target.relative_to(paths.root())}: {target.stat().st_size / 1000:.0f} kB")
    context.close()


def main() -> None:
    """Take all of them."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise MedallionError("There is no Chromium on this machine. Install it (apt-get install chromium).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        for name in PAGES:
            for size in SIZES:
                for theme in THEMES:
                    shoot(browser, name, size, theme)


if __name__ == "__main__":
    main()
