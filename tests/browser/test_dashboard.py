"""The dashboard in a browser: its number moves as the table does, in light and dark, and by keyboard."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from deltalake import write_deltalake
from playwright.sync_api import Browser, Page, Route, expect

from medallion.lakehouse import tables
from medallion.servers import dashboard

from .looking import Visit, judge, overflowing, visit, window
from .pages import PHONE, WIDE

SOON = 15_000  # milliseconds: it looks once a second
LOST = "This page has ended with the program that served it. The numbers are the last it had."


def commit(hours: int, mode: str = "append") -> None:
    """Write `hours` hours from 2025-07-01 on, each with one order of 10.50 euros in each of two channels."""
    at = [datetime(2025, 7, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(hours) for _ in range(2)]
    columns = {
        "hour": pa.array(at, pa.timestamp("us", "UTC")),
        "channel": ["web", "app"] * hours,
        "orders": [1] * 2 * hours,
        "revenue_cents": [1_050] * 2 * hours,
    }
    place = tables.folder(dashboard.TABLE)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(str(place), pa.table(columns), mode=mode)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dashboard.Dashboard]:
    """The page of a lakehouse of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDALLION_HOME", str(tmp_path_factory.mktemp("lakehouse")))
        with dashboard.start() as started:
            yield started


@pytest.fixture
def opened(browser: Browser, live: dashboard.Dashboard) -> Iterator[Callable[[int, str], Visit]]:
    """A function that opens the page at a width and in a theme. There is no table yet.

    At the end the page must not have complained, nor asked another host for anything.
    """
    shutil.rmtree(tables.folder(dashboard.TABLE), ignore_errors=True)
    visits: list[Visit] = []

    def open_one(width: int, theme: str) -> Visit:
        visits.append(visit(window(browser, width, theme), live.url, ""))
        return visits[-1]

    yield open_one
    complaints = [complaint for one in visits for complaint in one.complaints()]
    foreign = [url for one in visits for url in one.foreign()]
    for one in visits:
        one.page.context.close()
    assert complaints == []
    assert foreign == []


def expect_total(page: Page, revenue: str, orders: str) -> None:
    expect(page.locator("#total")).to_have_text(f"{revenue} from {orders} orders", timeout=SOON)


def test_the_number_moves_with_each_commit(opened) -> None:
    page = opened(WIDE, "light").page
    expect(page.locator("#note")).to_contain_text("Waiting for gold.live_sales.", timeout=SOON)
    expect(page.locator("#sales")).to_be_hidden()
    commit(1)
    expect_total(page, "€21.00", "2")
    expect(page.locator("#version")).to_have_text(" in version 0")
    expect(page.locator("#note")).to_be_empty()
    expect(page.locator("#graph .barlayer .point")).to_have_count(2)
    commit(100)
    expect_total(page, "€2,121.00", "202")
    expect(page.locator("#heading")).to_have_text("Revenue by day and channel")
    expect(page.locator("#version")).to_have_text(" in version 1")
    expect(page.locator("#graph .barlayer .point")).to_have_count(10)
    expect(page.locator("#channels tbody tr")).to_have_text(["app101€1,060.50", "web101€1,060.50"])
    assert page.title() == "Live sales"


def test_it_survives_a_reset(opened) -> None:
    page = opened(WIDE, "light").page
    commit(1)
    expect_total(page, "€21.00", "2")
    shutil.rmtree(tables.folder(dashboard.TABLE))
    expect(page.locator("#note")).to_contain_text("Waiting for gold.live_sales.", timeout=SOON)
    expect(page.locator("#total")).to_have_text("– ")
    commit(2)
    expect_total(page, "€42.00", "4")


def test_what_is_shown_late_is_not_taken_for_what_was_asked(opened) -> None:
    page = opened(WIDE, "light").page
    commit(1)
    expect_total(page, "€21.00", "2")

    looks: list[Route] = []

    def come_and_go(route: Route) -> None:
        """Have a table while the page is told of what it missed, and none a moment later."""
        # The next look waits until the answer has come
        page.route("**/state", lambda look: looks.append(look), times=1)
        page.unroute("**/_dash-update-component**")
        commit(2)
        answer = route.fetch()
        shutil.rmtree(tables.folder(dashboard.TABLE))
        route.fulfill(response=answer)

    page.route("**/_dash-update-component**", come_and_go)
    shutil.rmtree(tables.folder(dashboard.TABLE))
    expect_total(page, "€42.00", "4")
    for look in looks:
        look.continue_()
    expect(page.locator("#note")).to_contain_text("Waiting for gold.live_sales.", timeout=SOON)


@pytest.mark.parametrize(
    ("width", "theme"), [(WIDE, "light"), (WIDE, "dark"), (PHONE, "light"), (PHONE, "dark")]
)
def test_axe_finds_nothing_and_nothing_sticks_out(opened, width: int, theme: str) -> None:
    page = opened(width, theme).page
    expect(page.locator("#note")).to_contain_text("Waiting for gold.live_sales.", timeout=SOON)
    page.evaluate(AXE_SCRIPT)
    assert judge(page) == []
    commit(100)
    expect(page.locator("#graph .barlayer .point")).to_have_count(10, timeout=SOON)
    assert judge(page) == []
    assert overflowing(page) == []


def test_the_text_of_the_chart_follows_the_theme(opened) -> None:
    commit(100)
    for theme, ink in (("light", "rgb(77, 72, 66)"), ("dark", "rgb(189, 184, 176)")):
        page = opened(WIDE, theme).page
        expect(page.locator("#graph .xtick text").first).to_have_css("fill", ink, timeout=SOON)


def test_a_screen_reader_is_told(opened) -> None:
    page = opened(WIDE, "light").page
    commit(2)
    expect_total(page, "€42.00", "4")
    total = page.get_by_role("status").filter(has_text="€42.00")
    expect(total).to_have_attribute("aria-live", "polite")
    expect(total).to_have_attribute("aria-atomic", "true")
    expect(page.locator("#chart")).to_have_accessible_name(
        "Stacked bars of the revenue by hour and channel, from 2025-07-01 00:00 to 2025-07-01 01:00. "
        "The highest is €21.00, 2025-07-01 00:00. The table below has the sums of the channels."
    )
    expect(page.locator("#chart")).to_have_role("img")
    expect(page.get_by_role("rowheader")).to_have_text(["app", "web"])


def test_the_keyboard_holds_the_page_and_lets_it_go_on(opened) -> None:
    page = opened(WIDE, "light").page
    commit(1)
    expect_total(page, "€21.00", "2")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Pause")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Go on")).to_be_focused()
    page.wait_for_timeout(1_500)  # a question that was on its way when the key was pressed is still answered
    commit(1)
    page.wait_for_timeout(2_500)
    expect_total(page, "€21.00", "2")
    page.keyboard.press("Enter")
    expect_total(page, "€42.00", "4")


def test_a_page_whose_program_has_ended_says_so(browser: Browser, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MEDALLION_HOME", str(tmp_path))
    commit(1)
    with dashboard.start() as live:
        page = visit(window(browser, WIDE, "light"), live.url, "").page
        expect_total(page, "€21.00", "2")
    expect(page.get_by_role("alert")).to_have_text(LOST, timeout=SOON)
    expect_total(page, "€21.00", "2")
    page.context.close()
