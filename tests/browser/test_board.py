"""The dashboard that is one file: its states, its filter in the address, light, dark, phone, and keyboard."""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, expect

from medallion.lesson import board

from .looking import Visit, judge, overflowing, visit, window
from .pages import PHONE, WIDE

TODAY = date(2025, 12, 30)
MONTHS = ("2025-10-01", "2025-11-01", "2025-12-01")


def tile(**other: Any) -> dict[str, Any]:
    """Return a tile of three months and two channels; the web sells 100.50 euros a month, the app 50."""
    euros = {"web": Decimal("100.50"), "app": Decimal("50.00"), None: Decimal("1.00")}
    rows = [
        {"month": month, "channel": channel, "revenue": amount}
        for month in MONTHS
        for channel, amount in euros.items()
    ]
    return {
        "title": "Revenue by month",
        "definition": "What orders add up to",
        "unit": "euros",
        "grain": ["month", "channel"],
        "number": ["revenue"],
        "rows": rows,
        "as_of": date(2025, 12, 29),
        "fresh_days": 2,
        "state": "ok",
        "why": "",
    } | other


def average() -> dict[str, Any]:
    orders = {"web": 1, "app": 4, None: 1}
    rows = [row | {"orders": orders[row["channel"]]} for row in tile()["rows"]]
    return tile(title="Average order", number=["revenue", "orders"], rows=rows)


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Visit]]:
    """A function that publishes tiles, and opens their page at a width, in a theme and on a day.

    At the end the page must not have complained, nor asked anybody for anything but itself.
    """
    visits: list[Visit] = []
    place = tmp_path / "Büch 1" / "page.html"

    def open_one(
        *tiles: dict[str, Any], at: str = "", width: int = WIDE, theme: str = "light", on: date = TODAY
    ) -> Visit:
        board.publish(place, "How is the <month>?", tiles or (tile(), average()), on=TODAY)
        context = window(browser, width, theme)
        context.clock.set_fixed_time(datetime(on.year, on.month, on.day, 12))
        visits.append(visit(context, place.as_uri(), at))
        return visits[-1]

    yield open_one
    complaints = [complaint for one in visits for complaint in one.complaints()]
    asked = {url.partition("?")[0] for one in visits for url in one.requests if not url.startswith("data:")}
    for one in visits:
        one.page.context.close()
    assert complaints == []
    assert asked <= {place.as_uri()}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_it_can_be_read(opened: Callable[..., Visit], width: int, theme: str) -> None:
    page = opened(width=width, theme=theme).page
    assert page.title() == "How is the <month>?"
    first = page.locator("section").first
    expect(first.locator(".number")).to_have_text("151.50 euros")
    expect(page.locator("section").nth(1).locator(".number")).to_have_text("25.25 euros")
    expect(first).to_contain_text("What orders add up to. As of 2025-12-29.")
    expect(first.locator(".state")).to_have_text("In order when this page was published.")
    expect(first.get_by_role("img")).to_have_accessible_name(
        "Revenue by month: highest 151.50 euros in 2025-10-01, last 151.50 euros in 2025-12-01. "
        "The table below has all values."
    )
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    expect(first.get_by_role("row").last).to_have_text("2025-12-01151.50 euros")
    assert overflowing(page) == []
    page.evaluate(AXE_SCRIPT)
    assert judge(page) == []


def test_the_filter_stands_in_the_address(opened: Callable[..., Visit]) -> None:
    page = opened(at="?channel=web").page
    number = page.locator("section .number").first
    expect(number).to_have_text("100.50 euros")
    choice = page.get_by_label("channel")
    expect(choice).to_have_value("web")
    choice.select_option("app")
    expect(number).to_have_text("50.00 euros")
    expect(page.locator("section .number").nth(1)).to_have_text("12.50 euros")
    assert page.url.endswith("?channel=app")
    choice.select_option("unknown")
    expect(number).to_have_text("1.00 euros")
    choice.select_option("all")
    expect(number).to_have_text("151.50 euros")
    assert page.url.endswith(".html")


def test_the_keyboard_reaches_everything(opened: Callable[..., Visit]) -> None:
    page = opened().page
    page.keyboard.press("Tab")
    expect(page.get_by_label("channel")).to_be_focused()
    page.keyboard.press("w")
    expect(page.locator("section .number").first).to_have_text("100.50 euros")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("table").first).to_be_visible()


def test_no_data_is_not_zero(opened: Callable[..., Visit]) -> None:
    for page in (opened(at="?channel=nobody").page, opened(tile(rows=[], as_of=None)).page):
        first = page.locator("section").first
        expect(first.locator(".state")).to_contain_text("No data")
        expect(first.locator(".number, .chart")).to_have_count(0)
        expect(first).not_to_contain_text("0.00")


def test_a_channel_without_the_last_month_has_no_data(opened: Callable[..., Visit]) -> None:
    rows = [row for row in tile()["rows"] if (row["month"], row["channel"]) != ("2025-12-01", "web")]
    first = opened(tile(rows=rows), at="?channel=web").page.locator("section").first
    expect(first.locator(".state")).to_contain_text("No data")
    expect(first.locator(".number")).to_have_count(0)


def test_revenue_over_no_orders_is_no_value(opened: Callable[..., Visit]) -> None:
    rows = [row | {"orders": 0} for row in tile()["rows"]]
    page = opened(tile(number=["revenue", "orders"], rows=rows), tile()).page
    expect(page.locator(".number")).to_have_text(["no value", "151.50 euros"])


def test_a_changed_filter_is_announced_and_keeps_a_table_open(opened: Callable[..., Visit]) -> None:
    page = opened(tile(state="alert", why="below 500")).page
    page.locator("summary").click()
    page.get_by_label("channel").select_option("web")
    expect(page.get_by_role("status")).to_have_text(
        "Revenue by month. 100.50 euros. Without a filter: Alert: below 500"
    )
    expect(page.get_by_role("table")).to_be_visible()


def test_late_data_are_told_by_the_readers_clock(opened: Callable[..., Visit]) -> None:
    for day, said in (
        (date(2025, 12, 31), "In order"),
        (date(2026, 1, 1), "Late data: it ends on 2025-12-29"),
    ):
        expect(opened(on=day).page.locator(".state").first).to_contain_text(said)


def test_data_of_no_day_are_late(opened: Callable[..., Visit]) -> None:
    expect(opened(tile(as_of=None)).page.locator(".state")).to_contain_text("Late data: no day")


def test_an_alert_stands_beside_its_number(opened: Callable[..., Visit]) -> None:
    for kind, said in (("alert", "Alert: below 500"), ("silent", "Silent: below 500")):
        page = opened(tile(state=kind, why="below 500")).page
        expect(page.locator(".state")).to_have_text(said)


def test_a_filter_that_a_tile_does_not_know_is_told(opened: Callable[..., Visit]) -> None:
    plain = tile(title="Shops", grain=["month"], rows=[{"month": "2025-12-01", "revenue": 5}])
    page = opened(tile(), plain, at="?channel=web").page
    expect(page.locator("section").nth(1)).to_contain_text("This tile knows no channel: it shows all.")


def test_text_in_the_data_is_text(opened: Callable[..., Visit]) -> None:
    bad = "</script><script>document.title = 'taken'</script>"
    rows = [{"month": "2025-12-01", "channel": bad, "revenue": 1}]
    page = opened(tile(title=bad, rows=rows)).page
    expect(page.locator("h2")).to_have_text(bad)
    assert page.title() == "How is the <month>?"
