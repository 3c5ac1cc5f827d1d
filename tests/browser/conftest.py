"""A browser of this machine, a server for the built site, and visits that record what a page does."""

import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from press.site.config import addresses
from press.site.screens import BROWSERS

from .looking import Seen, Visit, look, visit, window
from .pages import PHONE, WIDE

_weights: list[str] = []


class _Pages(http.server.SimpleHTTPRequestHandler):
    """The site as a host of static pages serves it: under its path, with its page for a wrong address."""

    def __init__(self, *args, prefix: str, **kwargs) -> None:
        self.prefix = prefix
        super().__init__(*args, **kwargs)

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix(self.prefix))

    def send_error(self, code, message=None, explain=None) -> None:
        if code != 404:
            super().send_error(code, message, explain)
            return
        body = Path(self.directory, "404.html").read_bytes()
        self.send_response(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args) -> None:
        pass


@pytest.fixture(scope="package")
def address(site) -> Iterator[str]:
    """The address of the site on this machine, with a slash at the end."""
    prefix = urlsplit(addresses().site).path
    handler = partial(_Pages, prefix=prefix, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}{prefix}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The browser of this machine. It is closed after the last test of this folder: while Playwright runs,
    its event loop occupies the thread, and the tests of notebooks need that for their own.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail(
            "The tests of the book need Chromium or Chrome, and there is none on this machine. Install it "
            "(Debian, Ubuntu: apt-get install chromium) and run this again.",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--disable-background-networking"])
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def reader(browser: Browser) -> Callable[..., BrowserContext]:
    """A function that returns the browser of a reader, which the tests of one width and theme share: to
    start one takes as long as to open the page. A visit leaves nothing in it but the cache.
    """
    known: dict[tuple[Any, ...], BrowserContext] = {}

    def one(width: int, theme: str, **settings: Any) -> BrowserContext:
        key = (width, theme, *settings.items())
        if key not in known:
            known[key] = window(browser, width, theme, **settings)
        return known[key]

    return one


@pytest.fixture
def open_page(reader: Callable[..., BrowserContext], address: str) -> Iterator[Callable[..., Visit]]:
    """A function that opens a page of the site in a tab of its own: name, width, theme, more settings.

    At the end of the test, whatever it did on the page, the page must not have complained, nor asked
    another host for anything.
    """
    visits: list[Visit] = []

    def open_one(name: str, width: int = WIDE, theme: str = "light", **settings) -> Visit:
        visits.append(visit(reader(width, theme, **settings), address, name))
        return visits[-1]

    yield open_one
    complaints = [complaint for one in visits for complaint in one.complaints()]
    foreign = [url for one in visits for url in one.foreign()]
    for one in visits:
        one.leave()
    assert complaints == []
    assert foreign == []


@pytest.fixture(scope="package")
def seen(reader: Callable[..., BrowserContext], address: str) -> Callable[[str, int, str], Seen]:
    """A function that looks once at a page, at a width and in a theme, with everything on it opened."""
    known: dict[tuple[str, int, str], Seen] = {}

    def look_once(name: str, width: int, theme: str) -> Seen:
        key = (name, width, theme)
        if key not in known:
            known[key] = look(reader(width, theme), address, name, width == PHONE)
        return known[key]

    return look_once


@pytest.fixture(scope="session")
def weigh() -> Callable[[str], None]:
    """A function that keeps a line on the weight of a page for the end of the report."""
    return _weights.append


def pytest_terminal_summary(terminalreporter) -> None:
    if _weights:
        terminalreporter.section("weight of the pages")
        for line in _weights:
            terminalreporter.line(line)
