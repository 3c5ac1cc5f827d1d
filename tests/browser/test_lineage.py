"""The drawing of the lineage: by mouse, by keyboard, by touch, and without scripts."""

import re

import pytest
from playwright.sync_api import expect

from .pages import LINEAGE, PHONE, WIDE

NODE = '.node[data-node="silver.orders"]'


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_a_click_on_a_table_names_its_chapter_with_a_link(open_page, width):
    page = open_page(LINEAGE, width).page
    page.locator(NODE).click()
    said = page.locator(".lineage-said")
    chapter = said.get_by_role("link", name=re.compile(r"^chapter\s02$"))
    expect(chapter).to_have_attribute("href", "../../notebooks/02_data_quality_silver.html")
    expect(said.get_by_role("link", name="columns")).to_have_attribute("href", "tables.html#silver-orders")
    assert page.evaluate("document.querySelectorAll('#silver-orders').length") == 1
    chapter.click()
    expect(page.locator("h1")).to_contain_text("Silver")


def test_the_focus_keeps_what_belongs_to_a_table_and_escape_lets_go(open_page):
    page = open_page(LINEAGE).page
    node, drawing = page.locator(NODE), page.locator(".drawing")
    node.focus()
    expect(drawing).to_contain_class("narrowed")
    near = page.locator(".node.near").evaluate_all("(all) => all.map((node) => node.dataset.node)")
    assert {"silver.orders", "bronze.orders", "silver.order_lines"} <= set(near)
    assert "silver.telemetry" not in near
    page.keyboard.press("Enter")
    expect(page.locator(".lineage-said")).to_contain_text("Made in: chapter")
    page.keyboard.press("Escape")
    expect(drawing).not_to_contain_class("narrowed")
    expect(page.locator(".lineage-said")).to_be_empty()


def test_without_scripts_a_table_is_a_link_to_its_row(open_page):
    page = open_page(LINEAGE, java_script_enabled=False).page
    for node in page.locator(".node").all():
        assert page.locator(f"tr {node.get_attribute('href')}").count() == 1
