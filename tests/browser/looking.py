"""Open a page as a reader does, and write down what happens: requests, complaints, what axe finds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, Page, Request, Response, expect

from .pages import PHONE, WIDE

# What WCAG asks of a page that is enlarged four times
NARROWEST = 320
_HEIGHTS = {PHONE: 740, WIDE: 900}
# WCAG 2.2 at level AA, and of axe's best practices the two in which books of this kind fail
_AXE = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "rules": {
        "region": {"enabled": True},
        "summary-name": {"enabled": True},
        "color-contrast": {"enabled": False},  # see _CONTRAST
    },
    "resultTypes": ["violations"],
}
# Four fifths of axe's time go into the contrast of thousands of words, nearly all in the same few colours. So
# of the words that have colour, size, weight and everything beneath them in common, axe judges the first.
_CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}
_FIRST_OF_EACH_COLOUR = """(part) => {
  const paint = (style) =>
    [style.backgroundColor, style.backgroundImage, style.opacity, style.filter, style.mixBlendMode].join();
  const nothing = "rgba(0, 0, 0, 0),none,1,none,normal";
  const beneath = (box) => (box ? [paint(getComputedStyle(box)), ...beneath(box.parentElement)] : []);
  const hasWords = (e) =>
    [...e.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
  const first = new Map();
  for (const e of document.querySelector(part).querySelectorAll("*")) {
    if (!hasWords(e) || !e.checkVisibility()) continue;
    const { color, fontSize, fontWeight, textShadow, visibility } = getComputedStyle(e);
    const layers = beneath(e).filter((layer) => layer !== nothing);
    const key = [color, fontSize, fontWeight, textShadow, visibility, ...layers].join("|");
    if (!first.has(key)) first.set(key, e);
  }
  return [...first.values()];
}"""
_POLICY_WATCH = """
window.policyViolations = [];
document.addEventListener("securitypolicyviolation", (event) => window.policyViolations.push(
  `${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""
_OPEN_FOLDS = """() => document.querySelectorAll("details").forEach((fold) => {
  fold.removeAttribute("name");  // answers of one name close each other
  fold.open = true;
})"""
# What sticks out of the page to the right and cannot be scrolled to inside a box made for it
_OVERFLOW = """() => {
  const width = document.documentElement.clientWidth;
  const boxed = (e) => {
    for (let box = e.parentElement; box && box !== document.body; box = box.parentElement)
      if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return true;
    return false;
  };
  const found = [...document.body.querySelectorAll("*")].filter((e) =>
    e.checkVisibility() && e.getBoundingClientRect().right > width + 1 && !boxed(e));
  const says = found.map((e) => `<${e.localName} class="${e.getAttribute("class") ?? ""}">`
    + ` ends at ${Math.round(e.getBoundingClientRect().right)}`);
  if (document.documentElement.scrollWidth > width)
    says.push(`the page is ${document.documentElement.scrollWidth} wide`);
  return [...new Set(says)];
}"""


_REDRAWN = 2_000  # milliseconds


@dataclass
class Visit:
    """A page in a window of its own, with the addresses it asked for and what the console said."""

    page: Page
    host: str
    requests: list[str] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def complaints(self) -> list[str]:
        """Return errors and warnings of the console, failed requests, and breaches of the policy."""
        return self.console + self.page.evaluate("window.policyViolations")

    def foreign(self) -> list[str]:
        """Return the addresses on other hosts that the page has asked for."""
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != self.host
        ]

    def leave(self) -> None:
        """Forget what the page has stored, and close its tab."""
        self.page.evaluate("localStorage.clear()")
        self.page.close()

    def plotly(self) -> list[str]:
        """Return the addresses that the page has asked for the script that draws figures."""
        return [url for url in self.requests if "plotly" in url]

    def draw_figures(self) -> None:
        """Scroll to every figure, and wait until it is drawn."""
        figures = self.page.locator("figure.plot")
        for number in range(figures.count()):
            figures.nth(number).locator(".plot-area").scroll_into_view_if_needed()
            expect(figures.nth(number)).to_contain_class("drawn", timeout=30_000)

    def open_folds(self) -> None:
        """Open every fold: solutions, hints, answers, data of figures."""
        self.page.evaluate(_OPEN_FOLDS)


@dataclass(frozen=True)
class Seen:
    """What one look at a page, at a width and in a theme, has found; each an empty list when all is well."""

    axe: list[str]
    overflow: list[str]
    complaints: list[str]
    foreign: list[str]


def window(browser: Browser, width: int, theme: str, **settings: Any) -> BrowserContext:
    """Return a reader's browser, with nothing in its stores: its width in pixels, and "light" or "dark".

    At the width of a phone it is one: touched, not pointed at. `settings` are those of Playwright.
    """
    phone = {"has_touch": True, "is_mobile": True} if width == PHONE else {}
    size: Any = {"width": width, "height": _HEIGHTS[width]}
    # Without motion, what a click scrolls to is there at once
    given = {"viewport": size, "color_scheme": theme, "reduced_motion": "reduce", **phone, **settings}
    return browser.new_context(**given)


def visit(browser: BrowserContext, address: str, name: str) -> Visit:
    """Open the page `name` in a reader's browser, in a tab of its own."""
    page = browser.new_page()
    page.add_init_script(_POLICY_WATCH)
    opened = Visit(page, urlsplit(address).netloc)
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("response", lambda response: opened.responses.append(response))
    page.on("console", lambda said: _keep(opened.console, said.type, said.text, said.location["url"]))
    page.on("pageerror", lambda error: opened.console.append(f"error: {error}"))
    page.on("requestfailed", lambda request: _keep_failure(opened.console, request))
    page.goto(address + name)
    return opened


def _keep(console: list[str], kind: str, text: str, where: str) -> None:
    if kind in ("error", "warning"):
        console.append(f"{kind}: {text} ({Path(urlsplit(where).path).name})")


def _keep_failure(console: list[str], request: Request) -> None:
    if request.failure != "net::ERR_ABORTED":  # what was on its way when the page led elsewhere
        console.append(f"failed: {request.url}: {request.failure}")


def look(browser: BrowserContext, address: str, name: str, phone: bool) -> Seen:
    """Open the page, draw its figures, open its folds and, on a phone, its drawers, and let axe judge all."""
    opened = visit(browser, address, name)
    page = opened.page
    opened.draw_figures()
    opened.open_folds()
    overflow = overflowing(page)
    if phone:
        page.set_viewport_size({"width": NARROWEST, "height": _HEIGHTS[PHONE]})
        if page.locator("figure.plot").count():
            # Plotly draws a figure anew some time after the window has changed
            page.wait_for_timeout(_REDRAWN)
        overflow += overflowing(page)
        page.set_viewport_size({"width": PHONE, "height": _HEIGHTS[PHONE]})
    page.evaluate(AXE_SCRIPT)
    found = judge(page)
    buttons = page.locator(".top button[popovertarget]:visible")
    for number in range(buttons.count()):
        drawer = f"#{buttons.nth(number).get_attribute('popovertarget')}"
        page.evaluate("(drawer) => document.querySelector(drawer).showPopover()", drawer)
        found += judge(page, drawer)
        overflow += overflowing(page)
        page.evaluate("(drawer) => document.querySelector(drawer).hidePopover()", drawer)
    result = Seen(found, overflow, opened.complaints(), opened.foreign())
    opened.leave()
    return result


def overflowing(page: Page) -> list[str]:
    """Return what sticks out of a page to the right."""
    return page.evaluate(_OVERFLOW)


def judge(page: Page, part: str = "html") -> list[str]:
    """Return what axe finds in `part` of a page that has its script: the rule, the element, what is wrong."""
    of_part = "([part, options]) => axe.run(document.querySelector(part), options)"
    of_words = f"([part, options]) => axe.run(({_FIRST_OF_EACH_COLOUR})(part), options)"
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]}: {node['failureSummary']}"
        for run, options in ((of_part, _AXE), (of_words, _CONTRAST))
        for rule in page.evaluate(run, [part, options])["violations"]
        for node in rule["nodes"]
    ]
