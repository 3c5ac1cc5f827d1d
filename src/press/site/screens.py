"""Pictures of charts for README.md, taken from the built book in a browser.

`python -m press.site.screens` takes them anew, after `./medallion site`. `book/figures/screens/shown.json`
keeps for each what it shows, so that a test can say that a picture is older than its chart. Needs Chromium or
Chrome.
"""

import hashlib
import json
import shutil
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nbformat

from medallion import paths
from medallion.errors import MedallionError
from press.site import figures

FOLDER = "book/figures/screens"
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# Programs of which one draws the pages, as a name to look for or as a place
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
# What makes the look of a chart beside its own data
_LOOK = ("book/_static/figures.js", "book/_static/medallion.css")


@dataclass(frozen=True)
class Picture:
    """A chart, named by its notebook's stem and its title, and the stem of the files that show it."""

    name: str
    chapter: str
    title: str


PICTURES = (Picture("ring", "08_graph_analytics", "Three groups and a ring"),)


def shown(picture: Picture, root: Path) -> str:
    """Return a digest of what `picture` has to show: its chart's data and the look of the charts.

    Raises MedallionError when the chapter has no chart of that title.
    """
    notebook = nbformat.read(root / "notebooks" / f"{picture.chapter}.ipynb", as_version=4)
    held = (output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ()))
    drawn = [data[figures.MIME] for data in held if figures.MIME in data]
    found = [figure for figure in drawn if figures.title_of(figure) == picture.title]
    if len(found) != 1:
        raise MedallionError(
            f"{picture.chapter} has {len(found)} charts with the title {picture.title!r}, and a picture "
            f"needs one. Name the right one in {Path(__file__).name}."
        )
    digest = hashlib.sha256(json.dumps(found[0], sort_keys=True).encode())
    for name in _LOOK:
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def recorded(root: Path) -> dict[str, str]:
    """Return what each kept picture shows, by its name."""
    return json.loads((root / FOLDER / "shown.json").read_text(encoding="utf-8"))


def take() -> list[Path]:
    """Take every picture, light and dark, from the built site; record what they show; return their files.

    Raises MedallionError without a browser or a built site.
    """
    from playwright.sync_api import sync_playwright  # an optional package, which only this needs

    root = paths.root()
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise MedallionError("There is no Chromium on this machine. Install it (apt-get install chromium).")
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    written = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        for picture in PICTURES:
            address = root / "_build" / "html" / "notebooks" / f"{picture.chapter}.html"
            if not address.exists():
                raise MedallionError("The book is not built. Run ./medallion site first.")
            for theme in THEMES:
                page = browser.new_page(
                    viewport={"width": 1100, "height": 900}, color_scheme=theme, device_scale_factor=1.5
                )
                page.goto(address.as_uri(), wait_until="networkidle")
                chart = page.locator("figure.plot", has=page.locator("figcaption", has_text=picture.title))
                chart.scroll_into_view_if_needed()
                area = chart.locator(".plot-area")
                area.locator("svg").first.wait_for()
                box = area.bounding_box()
                assert box is not None  # it was waited for
                # WebP, which Playwright's own call does not write
                clip = box | {"scale": 1, "y": box["y"] + page.evaluate("scrollY")}
                taken = page.context.new_cdp_session(page).send(
                    "Page.captureScreenshot",
                    {"format": "webp", "quality": 82, "clip": clip, "captureBeyondViewport": True},
                )
                written.append(root / FOLDER / f"{picture.name}-{theme}.webp")
                written[-1].write_bytes(b64decode(taken["data"]))
                page.close()
    held = {picture.name: shown(picture, root) for picture in PICTURES}
    text = json.dumps(held, indent=2) + "\n"
    (root / FOLDER / "shown.json").write_text(text, encoding="utf-8")
    return written


if __name__ == "__main__":
    for file in take():
        print(f"{file.relative_to(paths.root())}: {file.stat().st_size / 1000:.0f} kB")
